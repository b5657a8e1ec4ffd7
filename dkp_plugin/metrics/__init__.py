"""Metrics beside those of BasicSR."""
