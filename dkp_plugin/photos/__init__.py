"""Photographs of one's own, from Python and the command line."""
