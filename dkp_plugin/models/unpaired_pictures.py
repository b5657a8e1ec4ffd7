"""Pictures of an unpaired training for TensorBoard."""

import math

import torch
from torch import Tensor

from dkp_plugin.archs.unpaired_arch import UnpairedSR


def kernel_sheet(kernels: Tensor) -> Tensor:
    """All kernels of a bank side by side, each scaled to its maximum.

    Args:
        kernels: (N, 1, K, K).

    Returns:
        (1, rows K, columns K) in [0, 1], about square, filled up with black.
    """
    num, _, size, _ = kernels.shape
    columns = math.ceil(math.sqrt(num))
    rows = math.ceil(num / columns)
    cells = kernels.new_zeros(rows * columns, size, size)
    cells[:num] = (kernels / kernels.amax((-2, -1), keepdim=True)).squeeze(1)
    return cells.view(rows, columns, size, size).transpose(1, 2).reshape(1, rows * size, columns * size)


def preview(net: UnpairedSR, lq: Tensor) -> Tensor:
    """One row for each LR image: bicubic, intermediate, variational model, result, all by one pass.

    Args:
        net: The network.
        lq: (B, 3, h, w) in [0, 1].

    Returns:
        (3, B s h, 4 s w) in [0, 1].
    """
    with torch.no_grad():
        restored = net.restore(lq)
        stages = [net.degradation.enlarge(lq), restored.intermediate, restored.variational, restored.result]
    return torch.cat([torch.cat(list(stage), dim=-2) for stage in stages], dim=-1).clamp(0, 1)
