"""Unsupervised blind super-resolution for BasicSR: the blur kernel is unknown, no paired training data exist."""

from . import compat

__version__ = '0.1.0'

compat.apply()  # before anything imports basicsr
