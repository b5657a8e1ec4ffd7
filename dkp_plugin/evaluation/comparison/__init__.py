"""Comparison of several option files in one report, for ``scripts/compare.py``."""
