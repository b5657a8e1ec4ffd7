"""Denoise images of any size in overlapping tiles that are blended at every step."""

from collections.abc import Callable

import torch
from torch import Tensor

from dkp_plugin.archs.image_prior import ImagePrior

OVERLAP = 64  # minimum overlap of neighbouring tiles, in pixels


def tile_starts(length: int, tile: int, overlap: int = OVERLAP) -> list[int]:
    """Starts of evenly spaced tiles that cover ``length`` pixels and overlap by at least ``overlap`` pixels.

    Args:
        length: Pixels to cover.
        tile: Length of a tile; a shorter image has one tile.
        overlap: Minimum overlap, smaller than ``tile``.

    Returns:
        Starts in ascending order. All tiles lie within the image unless the image is shorter than one tile.
    """
    if length <= tile:
        return [0]
    num = -(-(length - overlap) // (tile - overlap))
    return [round(index * (length - tile) / (num - 1)) for index in range(num)]


def blending_window(length: int) -> Tensor:
    """Weights (length,) of a tile's pixels: positive raised cosines, nearly 0 at the ends, which lack context."""
    return torch.hann_window(length + 2, periodic=False)[1:-1]


def map_tiles(function: Callable[[Tensor], Tensor], x: Tensor, tile: int, overlap: int = OVERLAP) -> Tensor:
    """Apply a function from images to images tile by tile, and blend the results.

    It processes one tile at a time, so that the activations need no more memory for larger images.

    Args:
        function: Maps (B, C, h, w) to the same shape.
        x: Images, (B, C, H, W).
        tile: Side of a tile in pixels.
        overlap: Minimum overlap of neighbouring tiles in pixels.

    Returns:
        (B, C, H, W).
    """
    height, width = (min(side, tile) for side in x.shape[-2:])
    window = torch.outer(blending_window(height), blending_window(width)).to(x)
    total, weight = torch.zeros_like(x), x.new_zeros(x.shape[-2:])
    for top in tile_starts(x.shape[-2], tile, overlap):
        for left in tile_starts(x.shape[-1], tile, overlap):
            place = (..., slice(top, top + height), slice(left, left + width))
            total[place] += window * function(x[place])
            weight[place] += window
    return total / weight


class TiledPrior(ImagePrior):
    """Image prior that denoises tile by tile; all tiles are cut from one noisy image and share its noise.

    Args:
        net: The image prior.
        tile: Side of a tile in pixels.
        overlap: Minimum overlap of neighbouring tiles in pixels.
    """

    def __init__(self, net: ImagePrior, tile: int, overlap: int = OVERLAP) -> None:
        super().__init__()
        self.net, self.tile, self.overlap = net, tile, overlap

    def denoise(
        self, x: Tensor, sigma: Tensor, dtype: torch.dtype = torch.float32, label: Tensor | None = None
    ) -> Tensor:
        """See :meth:`ImagePrior.denoise`."""
        return map_tiles(lambda part: self.net.denoise(part, sigma, dtype, label), x, self.tile, self.overlap)
