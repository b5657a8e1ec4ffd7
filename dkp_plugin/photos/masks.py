"""Masks: which parts of a photograph are restored; the others are plain enlargement."""

from pathlib import Path

import numpy as np
from torch import Tensor

from dkp_plugin.host.errors import ImageError
from dkp_plugin.io.photo_files import read_photo
from dkp_plugin.io.pixels import to_tensor
from dkp_plugin.photos.pixel_arrays import check_pixels


def read_mask(path: Path, max_pixels: int) -> Tensor:
    """Read a mask from an image file; see :func:`make_mask`.

    Raises:
        ImageError: if the file is no image.
    """
    return make_mask(read_photo(path, max_pixels).pixels)


def make_mask(pixels: np.ndarray) -> Tensor:
    """Turn an image into a mask: its brightness, whatever its alpha channel.

    Args:
        pixels: (h, w) or (h, w, C), bool, or as :func:`check_pixels` allows.

    Returns:
        (1, 1, h, w) in [0, 1]: 1 where the photograph is to be restored, 0 where it is to be plain enlargement.
    """
    array = check_pixels(pixels.astype(np.float32) if pixels.dtype == bool else pixels)
    colour = array[..., : 1 if array.shape[2] <= 2 else 3]
    return to_tensor(np.ascontiguousarray(colour)).mean(1, keepdim=True)


def check_mask(mask: Tensor, size: tuple[int, int]) -> None:
    """Raise an ImageError unless a mask has the size, (h, w), of the photograph."""
    if tuple(mask.shape[-2:]) != size:
        height, width = mask.shape[-2:]
        raise ImageError(f'mask: {width}x{height} pixels; allowed: {size[1]}x{size[0]}, as the image')
