"""Weights of the kernel flow, shipped with the package or read from a file."""

import math
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from dkp_plugin.archs.kernel_flow_arch import KernelFlow
from dkp_plugin.host.errors import UserError
from dkp_plugin.io.weight_files import read_weights

SHIPPED = Path(__file__).parent / 'weights' / 'fkp'
# Keys of the weights: in files of the released program, and in BasicSR's with and without averaging.
WRAPPERS = ('model_state', 'params_ema', 'params')


def shipped_names() -> list[str]:
    """Names of the shipped weights, each ``<kernel family>_x<scale>``."""
    return sorted(path.stem for path in SHIPPED.glob('*.safetensors'))


def load_kernel_flow(path: Path) -> KernelFlow:
    """Load a kernel flow for inference: on the CPU, in evaluation mode, without gradients.

    Args:
        path: ``.safetensors``, a BasicSR checkpoint (``.pth``) or one of the released program (``.pt``). The weights
            determine the sizes of the flow.

    Raises:
        UserError: if the file cannot be read or does not hold the weights of a kernel flow.
    """
    content, _ = read_weights(path)
    if not isinstance(content, Mapping):
        raise UserError(f'{path}: found a {type(content).__name__}, expected a dictionary of weights')
    state = next((content[wrapper] for wrapper in WRAPPERS if wrapper in content), content)
    tensors = {name: value.float() for name, value in state.items() if isinstance(value, Tensor)}
    with torch.device('meta'):  # spends no time on weights that are replaced below
        flow = KernelFlow(*_sizes(tensors, path))
    expected = {name: list(tensor.shape) for name, tensor in flow.state_dict().items()}
    found = {name: list(tensor.shape) for name, tensor in tensors.items()}
    for name in expected | found:
        if found.get(name) != expected.get(name):
            raise UserError(
                f'{path}: not the weights of a kernel flow: {name}: found {_describe(found.get(name))}, '
                f'expected {_describe(expected.get(name))}'
            )
    if not all(tensor.isfinite().all() for tensor in tensors.values()):
        raise UserError(f'{path}: found weights that are not finite')
    flow.load_state_dict(tensors, assign=True)
    return flow.requires_grad_(False).eval()


def _sizes(tensors: Mapping[str, Tensor], path: Path) -> tuple[int, int, int]:
    """Kernel size, hidden units and number of blocks of the flow, read from its weights."""
    for name in ('base_dist_mean', 'net.0.s_net.0.weight'):
        if name not in tensors:
            found = ', '.join(list(tensors)[:3]) or 'no tensors'
            raise UserError(f'{path}: not the weights of a kernel flow: found {found}, expected {name} among them')
    num_dims = tensors['base_dist_mean'].numel()
    kernel_size = math.isqrt(num_dims)
    if kernel_size**2 != num_dims or kernel_size % 2 == 0:
        raise UserError(f'{path}: found a flow of {num_dims} dimensions, expected the square of an odd kernel size')
    num_blocks = sum(name.endswith('.mask') for name in tensors)
    return kernel_size, len(tensors['net.0.s_net.0.weight']), num_blocks


def _describe(shape: list[int] | None) -> str:
    return 'none' if shape is None else f'shape {shape}'
