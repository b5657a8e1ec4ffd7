"""Unsupervised blind super-resolution for BasicSR, for unknown blur kernels and without paired training data.

Importing the package registers its networks, estimators, restorers, datasets, metrics and models.
"""

import importlib
from typing import TYPE_CHECKING, Any

from dkp_plugin.host import compat
from dkp_plugin.host.version import __version__

if TYPE_CHECKING:
    from dkp_plugin.engine.methods import list_methods as list_methods
    from dkp_plugin.photos.api import RestorationResult as RestorationResult
    from dkp_plugin.photos.api import restore as restore

__all__ = ['RestorationResult', '__version__', 'list_methods', 'restore']

# The Python interface, imported on first use, because most users of the registries do not need it.
_LAZY = {
    'RestorationResult': 'dkp_plugin.photos.api',
    'list_methods': 'dkp_plugin.engine.methods',
    'restore': 'dkp_plugin.photos.api',
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})


compat.apply()  # before anything imports basicsr

from dkp_plugin import registration  # noqa: E402

registration.register_all()
