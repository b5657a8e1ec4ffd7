"""Kernel estimators, one method per file; see ``base.py``."""
