"""Large images: the kernel from their most informative part, the image in overlapping tiles."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from dkp_plugin.archs.tiled_prior import blending_window, tile_starts
from dkp_plugin.engine.out_of_memory import OVERLAP, has_tiles, tiled
from dkp_plugin.estimators.base import KernelEstimator
from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.restorers.base import Restorer


class FoundKernel(KernelEstimator):
    """Keeps a kernel that was found before.

    Args:
        kernel: (1, 1, K, K), non-negative, of sum 1.
    """

    def __init__(self, kernel: Tensor) -> None:
        super().__init__()
        self.kernel = kernel

    def reset(self, lq: Tensor, degradation: Degradation, generator: torch.Generator) -> None:
        return None

    def forward(self) -> Tensor:
        return self.kernel

    def step(self, x: Tensor) -> dict[str, Tensor]:
        return {}


def most_informative_crop(lq: Tensor, side: int) -> Tensor:
    """The square that has the most edges, measured by its mean squared gradient.

    Args:
        lq: Image, (1, C, h, w).
        side: Side of the square in pixels; where the image is smaller, its own.

    Returns:
        (1, C, at most side, at most side).
    """
    height, width = (min(side, length) for length in lq.shape[-2:])
    gray = lq.mean(1, keepdim=True)
    energy = gray[..., 1:, :-1].sub(gray[..., :-1, :-1]).square() + gray[..., :-1, 1:].sub(gray[..., :-1, :-1]).square()
    stride = max(1, side // 8)
    windows = F.avg_pool2d(energy, (height - 1, width - 1), stride)[0, 0]
    row, column = divmod(int(windows.argmax()), windows.shape[1])
    return lq[..., row * stride :, column * stride :][..., :height, :width]


def tile_places(size: tuple[int, int], tile: int, scale: int) -> list[tuple[slice, slice]]:
    """Rows and columns of the tiles that cover an LR image.

    Args:
        size: (h, w) of the LR image.
        tile: Side of a tile in HR pixels.
        scale: Scale factor.
    """
    side, overlap = tile // scale, OVERLAP // scale
    rows, columns = ([slice(i, i + side) for i in tile_starts(length, side, overlap)] for length in size)
    return [(row, column) for row in rows for column in columns]


def even_tile(size: tuple[int, int], tile: int) -> int:
    """The smallest tile of which no more are needed: less overlap, less work.

    Args:
        size: Height and width of the HR image.
        tile: Side of a tile in HR pixels.
    """
    counts = [len(tile_starts(length, tile, OVERLAP)) for length in size]
    return max(-(-(length + (num - 1) * OVERLAP) // num) for length, num in zip(size, counts, strict=True))


def restore_in_tiles(
    restore: Callable[[Tensor], Tensor], restorer: Restorer, lq: Tensor, tile: int, scale: int
) -> Tensor:
    """Restore an image in tiles.

    A restorer with an image prior denoises tile by tile, at every step anew, and takes all other steps on the whole
    image; so its tiles share noise and data step. Any other restorer does each tile for itself, and the results are
    blended.

    Args:
        restore: Restores an LR image by ``restorer``, from the same random numbers each time.
        restorer: Image restorer.
        lq: LR image, (1, C, h, w) in [0, 1].
        tile: Side of a tile in HR pixels.
        scale: Scale factor s.

    Returns:
        HR image, (1, C, s h, s w) in [0, 1].
    """
    if has_tiles(restorer):
        with tiled(restorer, even_tile(tuple(scale * side for side in lq.shape[-2:]), tile)):
            return restore(lq)
    total = lq.new_zeros(*lq.shape[:2], *(scale * side for side in lq.shape[-2:]))
    weights = torch.zeros_like(total[:, :1])
    for place in tile_places(tuple(lq.shape[-2:]), tile, scale):
        x = restore(lq[(..., *place)])
        window = torch.outer(*(blending_window(side) for side in x.shape[-2:])).to(x)
        hr_place = (..., *(slice(scale * part.start, scale * part.stop) for part in place))
        total[hr_place] += window * x
        weights[hr_place] += window
    return total / weights
