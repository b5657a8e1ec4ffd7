"""Make BasicSR 1.4.2 from PyPI importable with current releases of torchvision and SciPy.

BasicSR's last release dates from August 2022. The package calls :func:`apply` before anything imports ``basicsr``. Each
repair first checks whether it is needed, so a second call changes nothing.
"""

import importlib
import importlib.util
import sys
from importlib import metadata
from importlib.machinery import ModuleSpec

BASICSR_VERSION = '1.4.2'
INSTALL_COMMAND = f'pip install --no-build-isolation --no-deps basicsr=={BASICSR_VERSION}'

_FUNCTIONAL_TENSOR = 'torchvision.transforms.functional_tensor'
_SCIPY_FILTERS = 'scipy.ndimage.filters'

# The operators to which torchvision attaches a fake implementation without asking whether its library was loaded.
_OPERATOR_SCHEMAS = (
    'nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor',
    'qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor',
)
_libraries = []  # a torch.library.Library withdraws its operators when it is collected


def apply() -> None:
    """Check BasicSR, make the repairs that are needed, and import it.

    Raises:
        ImportError: if BasicSR is missing or has another version.
    """
    check_basicsr()
    repair_torchvision_operators()
    repair_functional_tensor()
    import_basicsr()


def check_basicsr() -> None:
    """Raise an ImportError that names the install command unless BasicSR 1.4.2 is installed."""
    try:
        version = metadata.version('basicsr')
    except metadata.PackageNotFoundError:
        if importlib.util.find_spec('basicsr') is not None:
            return  # a source tree on sys.path without a recorded version
        version = None
    if version != BASICSR_VERSION:
        found = 'it is not installed' if version is None else f'found {version}'
        raise ImportError(f'dkp_plugin needs BasicSR {BASICSR_VERSION}, {found}: {INSTALL_COMMAND}')


def repair_torchvision_operators() -> bool:
    """Import torchvision even if its compiled operators cannot be loaded.

    An example is the torchvision wheel for CUDA together with torch for the CPU. torchvision tolerates that its library
    does not load, but its import then fails with "operator torchvision::nms does not exist". BasicSR uses none of these
    operators. The repair declares them without an implementation; calling one still raises an error.

    Returns:
        bool: Whether the repair was made.
    """
    try:
        importlib.import_module('torchvision')
        return False
    except RuntimeError as error:
        if 'operator torchvision::nms does not exist' not in str(error):
            raise
    # torchvision has already imported torch, so this import is free.
    from torch.library import Library

    library = Library('torchvision', 'FRAGMENT')
    for schema in _OPERATOR_SCHEMAS:
        library.define(schema)
    _libraries.append(library)
    for name in [name for name in sys.modules if name.partition('.')[0] == 'torchvision']:
        del sys.modules[name]
    importlib.import_module('torchvision')
    return True


def repair_functional_tensor() -> bool:
    """Restore ``torchvision.transforms.functional_tensor`` with the only function that BasicSR imports from it.

    torchvision 0.17 removed the module; ``rgb_to_grayscale`` is now in ``torchvision.transforms.functional``.

    Returns:
        bool: Whether the repair was made.
    """
    try:
        importlib.import_module(_FUNCTIONAL_TENSOR)
        return False
    except ModuleNotFoundError as error:
        if error.name != _FUNCTIONAL_TENSOR:
            raise
    from torchvision.transforms.functional import rgb_to_grayscale

    module = importlib.util.module_from_spec(ModuleSpec(_FUNCTIONAL_TENSOR, loader=None))
    module.rgb_to_grayscale = rgb_to_grayscale
    sys.modules[_FUNCTIONAL_TENSOR] = module
    return True


def import_basicsr() -> None:
    """Import BasicSR while providing ``scipy.ndimage.filters``.

    SciPy deprecates this namespace and removes it in release 2. ``convolve``, the only function that BasicSR imports
    from it, is also in ``scipy.ndimage``. After the import, ``scipy.ndimage.filters`` is SciPy's own again.
    """
    if 'basicsr' in sys.modules or _SCIPY_FILTERS in sys.modules:
        importlib.import_module('basicsr')
        return
    from scipy.ndimage import convolve

    module = importlib.util.module_from_spec(ModuleSpec(_SCIPY_FILTERS, loader=None))
    module.convolve = convolve
    sys.modules[_SCIPY_FILTERS] = module
    try:
        importlib.import_module('basicsr')
    finally:
        del sys.modules[_SCIPY_FILTERS]
