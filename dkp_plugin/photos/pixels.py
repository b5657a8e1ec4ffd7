"""From arrays of pixels, as people have them, to tensors, as the methods want them, and back."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dkp_plugin.host.errors import ImageError


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


def to_tensor(pixels: np.ndarray) -> Tensor:
    """(H, W, C) of a dtype of :func:`check_pixels` to float32 (1, C, H, W) in [0, 1]."""
    top = 1 if pixels.dtype.kind == 'f' else np.iinfo(pixels.dtype).max
    array = (pixels.transpose(2, 0, 1) / np.float64(top)).astype(np.float32)
    return torch.from_numpy(np.ascontiguousarray(array)).unsqueeze(0)


def from_tensor(image: Tensor, dtype: np.dtype) -> np.ndarray:
    """(1, C, H, W) in [0, 1] to (H, W, C) of a dtype of :func:`check_pixels`, integers rounded."""
    array = image[0].clamp(0, 1).double().cpu().numpy().transpose(1, 2, 0)
    if dtype.kind == 'f':
        return array.astype(dtype)
    return (array * np.iinfo(dtype).max).round().astype(dtype)


def split_alpha(image: Tensor) -> tuple[Tensor, Tensor | None]:
    """Separate colour and alpha: (1, C, H, W) to (1, 1 or 3, H, W) and, if there is alpha, (1, 1, H, W).

    The colour of hidden pixels has no meaning and must not bleed into their neighbours. So each pixel keeps the share
    alpha of its colour and takes the rest from the visible pixels around it.
    """
    has_alpha = image.shape[1] in (2, 4)
    colour, alpha = (image[:, :-1], image[:, -1:]) if has_alpha else (image, None)
    if has_alpha:
        colour = fill_hidden(colour, alpha)
    return colour, alpha


def join_alpha(colour: Tensor, alpha: Tensor) -> Tensor:
    """Undo :func:`split_alpha`, except for the hidden colours."""
    return torch.cat([colour, alpha], 1)


def fill_hidden(colour: Tensor, alpha: Tensor) -> Tensor:
    """Put what surrounds them in the place of hidden pixels, from coarse to fine.

    Args:
        colour: (1, C, H, W) in [0, 1], not premultiplied.
        alpha: (1, 1, H, W) in [0, 1].

    Returns:
        alpha colour + (1 - alpha) surroundings, (1, C, H, W); gray where nothing is visible.
    """
    if alpha.min() == 1:
        return colour
    if min(alpha.shape[-2:]) == 1:
        total = alpha.sum()
        mean = (alpha * colour).sum((-2, -1), keepdim=True) / total if total > 0 else torch.full_like(colour, 0.5)
        surroundings = mean.expand_as(colour)
    else:
        size = [-(-side // 2) for side in alpha.shape[-2:]]
        coarse_alpha = F.adaptive_avg_pool2d(alpha, size)
        coarse = F.adaptive_avg_pool2d(alpha * colour, size) / coarse_alpha.clamp_min(1e-6)
        # A coarse pixel with anything visible in it knows its colour.
        coarse = fill_hidden(coarse.clamp(0, 1), (coarse_alpha > 1e-6).to(alpha))
        surroundings = F.interpolate(coarse, alpha.shape[-2:], mode='bilinear')
    return alpha * colour + (1 - alpha) * surroundings
