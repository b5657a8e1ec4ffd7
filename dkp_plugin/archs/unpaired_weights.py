"""The weights of networks of the class ``UnpairedSR``: those of the package, or a file of a training."""

from pathlib import Path
from typing import Any

from dkp_plugin.archs.unpaired_arch import UnpairedSR
from dkp_plugin.host.errors import UserError
from dkp_plugin.io.weight_files import check_sum, network_weights, read_weights

FOLDER = Path(__file__).parent / 'weights'
PACKAGE_WEIGHTS = {  # file and SHA-256, by scale
    'one_pass': {
        2: (
            FOLDER / 'one_pass_x2.safetensors',
            'e1400924eae37f92643a5c6f91f972a8b4d62fa9c621cf7569d238dde48775d0',
        ),
        3: (
            FOLDER / 'one_pass_x3.safetensors',
            'cede6d3001e2990a638386349498bea51bd64e7f9d8a8a3b574c2151a44923c6',
        ),
        4: (
            FOLDER / 'one_pass_x4.safetensors',
            '8d735e6cfec02856f9d62cbbf1b32b5c7693c1042ddf98d163d1f3b89e0ce003',
        ),
    },
    'unpaired': {
        4: (
            FOLDER / 'unpaired_x4.safetensors',
            'a720508d15c41b415e48da0f1c6a78db1efa346bfbb73109d34f34ad5f8961f6',
        ),
    },
}


def package_scales(path: str | None, default: str = 'unpaired') -> tuple[int, ...] | None:
    """The scales for which the package has weights; None if ``path`` is a file of its own.

    Args:
        path: See :func:`read_unpaired_weights`.
        default: A key of ``PACKAGE_WEIGHTS``.
    """
    name = default if path in (None, 'auto') else path
    return tuple(PACKAGE_WEIGHTS[name]) if name in PACKAGE_WEIGHTS else None


def read_unpaired_weights(path: str | None, default: str = 'unpaired', scale: int = 4) -> dict[str, Any]:
    """Read the weights of an :class:`~dkp_plugin.archs.unpaired_arch.UnpairedSR`.

    Args:
        path: Safetensors, or a checkpoint of BasicSR, of which the averaged weights are taken; a key of
            ``PACKAGE_WEIGHTS``; None or ``auto``: the default.
        default: A key of ``PACKAGE_WEIGHTS``.
        scale: Of the weights of the package; a file of weights has its own.

    Returns:
        A state dict.

    Raises:
        UserError: for a file that is missing or damaged, and for a scale for which the package has no weights.
    """
    name, scales = default if path in (None, 'auto') else path, package_scales(path, default)
    if scales is None:
        return network_weights(read_weights(Path(name).expanduser())[0])
    if scale not in scales:
        allowed = ', '.join(map(str, scales))
        raise UserError(f'{name}: the package has no weights for scale {scale}; allowed: {allowed}')
    file, checksum = PACKAGE_WEIGHTS[name][scale]
    check_sum(file, checksum)
    return network_weights(read_weights(file)[0])


def load_unpaired(
    path: str | None, default: str = 'unpaired', convention: str = 'aligned', scale: int = 4
) -> UnpairedSR:
    """Build the network of a file of weights.

    Args:
        path: See :func:`read_unpaired_weights`.
        default: A key of ``PACKAGE_WEIGHTS``.
        convention: Of the images and kernels that go in and come out.
        scale: Of the weights of the package; a file of weights has its own.

    Returns:
        The network in evaluation mode, on the CPU, its parameters without gradients.

    Raises:
        UserError: for a file that is missing, damaged or of another network, and for a scale for which the package has
            no weights.
    """
    weights = read_unpaired_weights(path, default, scale)
    try:
        net = UnpairedSR.from_weights(weights, convention)
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        reason = ' '.join(str(error).split())
        raise UserError(f'{path}: these are not the weights of UnpairedSR ({reason[:200]})') from None
    return net.eval().requires_grad_(False)
