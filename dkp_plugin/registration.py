"""Import every module that registers something, so that a new method needs only one new file."""

import importlib
import pkgutil

from dkp_plugin.host.imports import import_entry_points

# Folders and suffixes of their modules; BasicSR scans its own folders in the same way.
SCANNED = {
    'archs': '_arch',
    'estimators': '_estimator',
    'restorers': '_restorer',
    'data': '_dataset',
    'losses': '_loss',
    'evaluation': '_metric',
    'models': '_model',
}


def register_all() -> None:
    """Import the modules of ``SCANNED`` and of other packages' entry points; also register methods with MMEngine."""
    for folder, suffix in SCANNED.items():
        package = importlib.import_module(f'dkp_plugin.{folder}')
        for module in pkgutil.iter_modules(package.__path__):
            if module.name.endswith(suffix):
                importlib.import_module(f'{package.__name__}.{module.name}')
    import_entry_points()
    _register_with_mmengine()


def _register_with_mmengine() -> None:
    from basicsr.utils.registry import ARCH_REGISTRY
    from mmengine.registry import MODELS

    from dkp_plugin.estimators.base import KernelEstimator
    from dkp_plugin.restorers.base import Restorer

    for name, network in ARCH_REGISTRY:
        if issubclass(network, KernelEstimator | Restorer) and name not in MODELS:
            MODELS.register_module(module=network)
