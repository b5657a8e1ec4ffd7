"""One report from the results of several option files: what ``scripts/compare.py`` runs."""
