"""Unsupervised blind super-resolution for BasicSR: the blur kernel is unknown, no paired training data exist."""

__version__ = '0.1.0'
