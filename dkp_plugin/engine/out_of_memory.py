"""What to do when a GPU, or the machine, has too little memory for an image."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from dkp_plugin.archs.tiled_prior import TiledPrior
from dkp_plugin.restorers.base import Restorer

TILES = (1024, 512, 256)  # sides, in HR pixels, that are tried one after the other
OVERLAP = 64


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory has run out; PyTorch has a class for that on the GPU only."""
    on_cpu = isinstance(error, RuntimeError) and 'DefaultCPUAllocator' in str(error)
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or on_cpu


def describe_out_of_memory(lq: Tensor, scale: int, device: torch.device) -> str:
    """One line for the user.

    Args:
        lq: The LR image, (1, C, h, w).
        scale: Scale factor.
        device: Where the memory has run out.
    """
    size = f'{scale * lq.shape[-1]}x{scale * lq.shape[-2]} pixels'
    advice = 'cut the image, or use num_gpu: 0 (CPU)' if device.type == 'cuda' else 'cut the image'
    return f'the memory of the device {device.type} is too small for an output of {size}; {advice}'


def has_tiles(restorer: Restorer) -> bool:
    """Whether tiles would save memory: the restorer has an image prior that denoises and does not know tiles yet."""
    net = getattr(restorer, 'net', None)
    return hasattr(net, 'denoise') and not isinstance(net, TiledPrior)


@contextmanager
def tiled(restorer: Restorer, tile: int | None) -> Iterator[None]:
    """Let the restorer's prior work tile by tile for the time of the block.

    Args:
        restorer: Restorer whose attribute ``net`` is an image prior.
        tile: Side of a tile in HR pixels; None: the prior stays as it is.
    """
    if tile is None:
        yield
        return
    net = restorer.net
    restorer.net = TiledPrior(net, tile, OVERLAP)
    try:
        yield
    finally:
        restorer.net = net
