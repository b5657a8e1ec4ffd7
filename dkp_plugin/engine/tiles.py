"""Crops and overlapping tiles of large images."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from dkp_plugin.archs.tiled_prior import OVERLAP, blending_window, tile_starts

Place = tuple[slice, slice]  # rows and columns of an LR image


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out; PyTorch has an error class for this only on GPUs."""
    on_cpu = isinstance(error, RuntimeError) and 'DefaultCPUAllocator' in str(error)
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or on_cpu


def most_informative_place(lq: Tensor, side: int) -> Place:
    """Find the square with the most edges, measured by the mean squared gradient.

    Args:
        lq: Image, (1, C, h, w).
        side: Side of the square in pixels; a smaller image is kept in full along that side.
    """
    height, width = (min(side, length) for length in lq.shape[-2:])
    gray = lq.mean(1, keepdim=True)
    energy = gray[..., 1:, :-1].sub(gray[..., :-1, :-1]).square() + gray[..., :-1, 1:].sub(gray[..., :-1, :-1]).square()
    stride = max(1, side // 8)
    windows = F.avg_pool2d(energy, (height - 1, width - 1), stride)[0, 0]
    row, column = (stride * index for index in divmod(int(windows.argmax()), windows.shape[1]))
    return slice(row, row + height), slice(column, column + width)


def tile_places(size: tuple[int, int], tile: int, scale: int) -> list[Place]:
    """Rows and columns of the tiles that cover an LR image.

    Args:
        size: (h, w) of the LR image.
        tile: Side of a tile in HR pixels.
        scale: Scale factor.
    """
    side, overlap = tile // scale, OVERLAP // scale
    rows, columns = ([slice(i, i + side) for i in tile_starts(length, side, overlap)] for length in size)
    return [(row, column) for row in rows for column in columns]


def scale_place(place: Place, factor: int) -> Place:
    """The rows and columns of a place in an image that is ``factor`` times as large."""
    rows, columns = (slice(factor * part.start, factor * part.stop) for part in place)
    return rows, columns


def even_tile(size: tuple[int, int], tile: int) -> int:
    """The smallest tile that needs no more tiles than the given one: less overlap, less work.

    Args:
        size: Height and width of the HR image.
        tile: Side of a tile in HR pixels.
    """
    counts = [len(tile_starts(length, tile)) for length in size]
    return max(-(-(length + (num - 1) * OVERLAP) // num) for length, num in zip(size, counts, strict=True))


def blend_tiles(restore: Callable[[int, Tensor], Tensor], lq: Tensor, places: list[Place], scale: int) -> Tensor:
    """Restore tiles one by one and blend them by raised cosines.

    Args:
        restore: Takes the index of a tile and its part of the LR image; returns its part of the HR image.
        lq: LR image, (1, C, h, w) in [0, 1].
        places: See :func:`tile_places`.
        scale: Scale factor s.

    Returns:
        HR image, (1, C, s h, s w) in [0, 1].
    """
    total = lq.new_zeros(*lq.shape[:2], *(scale * side for side in lq.shape[-2:]))
    weights = torch.zeros_like(total[:, :1])
    for index, place in enumerate(places):
        x = restore(index, lq[(..., *place)])
        window = torch.outer(*(blending_window(side) for side in x.shape[-2:])).to(x)
        hr_place = (..., *scale_place(place, scale))
        total[hr_place] += window * x
        weights[hr_place] += window
    return total / weights
