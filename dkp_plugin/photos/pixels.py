"""From arrays of pixels, as people have them, to tensors, as the methods want them, and back."""

import numpy as np
import torch
from torch import Tensor

from dkp_plugin.host.errors import ImageError
from dkp_plugin.io.pixels import from_tensor, to_tensor  # noqa: F401
from dkp_plugin.io.transparency import fill_hidden, join_alpha, split_alpha  # noqa: F401


def check_pixels(pixels: np.ndarray) -> np.ndarray:
    """Check an array of pixels and give it three dimensions.

    Args:
        pixels: (H, W) or (H, W, C), C = 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha; uint8, uint16, or floating
            point in [0, 1].

    Returns:
        (H, W, C).

    Raises:
        ImageError: for another shape or dtype, and for values that are not finite or not in [0, 1].
    """
    allowed = 'allowed: (H, W) or (H, W, C), C from 1 to 4, of uint8, uint16 or floating point'
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (1, 2, 3, 4)):
        raise ImageError(f'image: an array of shape {pixels.shape}; {allowed}')
    if pixels.dtype not in (np.uint8, np.uint16) and pixels.dtype.kind != 'f':
        raise ImageError(f'image: an array of {pixels.dtype}; {allowed}')
    if pixels.dtype.kind == 'f' and pixels.size and not (pixels.min() >= 0 and pixels.max() <= 1):
        raise ImageError(f'image: values from {pixels.min():.4g} to {pixels.max():.4g}; allowed: 0 to 1')
    return pixels if pixels.ndim == 3 else pixels[..., None]


def mirror_border(image: Tensor, margin: int) -> Tensor:
    """Surround (1, C, H, W) by its mirror image, the outermost pixels twice; ``margin`` at most H and W."""
    for axis in (-2, -1):
        before, after = image.narrow(axis, 0, margin), image.narrow(axis, image.shape[axis] - margin, margin)
        image = torch.cat([before.flip(axis), image, after.flip(axis)], axis)
    return image


def crop_border(image: Tensor, margin: int) -> Tensor:
    """Undo :func:`mirror_border`."""
    return image[..., margin : image.shape[-2] - margin, margin : image.shape[-1] - margin]
