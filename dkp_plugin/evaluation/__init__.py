"""Measure, record and compare results."""
