"""Image restorers, one method per file; see ``base.py``."""
