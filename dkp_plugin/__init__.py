"""Unsupervised blind super-resolution for BasicSR: the blur kernel is unknown, no paired training data exist.

Importing the package registers its networks, estimators, restorers, datasets, metrics and models.
"""

from dkp_plugin import compat

__version__ = '0.1.0'

compat.apply()  # before anything imports basicsr

from dkp_plugin import registration  # noqa: E402

registration.register_all()
