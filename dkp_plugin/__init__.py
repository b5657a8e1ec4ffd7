"""Unsupervised blind super-resolution for BasicSR: the blur kernel is unknown, no paired training data exist.

Importing the package registers its networks, estimators, restorers, datasets, metrics and models.
"""

from typing import Any

from dkp_plugin.host import compat
from dkp_plugin.host.version import __version__

__all__ = ['RestorationResult', '__version__', 'restore']

compat.apply()  # before anything imports basicsr

from dkp_plugin import registration  # noqa: E402

registration.register_all()


def __getattr__(name: str) -> Any:
    """Import the Python interface when it is asked for, and not by everyone who needs the registries."""
    if name in ('restore', 'RestorationResult'):
        from dkp_plugin.photos import api

        return getattr(api, name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
