"""Images as whole levels, as files hold them, and as tensors, as the methods want them."""

import hashlib

import numpy as np
import torch
from torch import Tensor


def to_tensor(pixels: np.ndarray) -> Tensor:
    """Levels to numbers in [0, 1].

    Args:
        pixels: (H, W, C) uint8 or uint16, or floating point in [0, 1].

    Returns:
        float32 (1, C, H, W) in [0, 1]: levels divided by the largest one, correctly rounded.
    """
    top = 1 if pixels.dtype.kind == 'f' else np.iinfo(pixels.dtype).max
    array = (pixels.transpose(2, 0, 1) / np.float64(top)).astype(np.float32)
    return torch.from_numpy(np.ascontiguousarray(array)).unsqueeze(0)


def from_tensor(image: Tensor, dtype: np.dtype) -> np.ndarray:
    """Numbers in [0, 1] to levels; the inverse of :func:`to_tensor`.

    Args:
        image: (1, C, H, W); values beyond [0, 1] are clipped.
        dtype: uint8, uint16 or floating point.

    Returns:
        (H, W, C) of that dtype, integers rounded in float64.
    """
    array = image[0].clamp(0, 1).double().cpu().numpy().transpose(1, 2, 0)
    if dtype.kind == 'f':
        return array.astype(dtype)
    return (array * np.iinfo(dtype).max).round().astype(dtype)


def to_levels(image: Tensor) -> np.ndarray:
    """Numbers in [0, 1] to the levels that they came from.

    Args:
        image: (C, H, W) float32 in [0, 1], C from 1 to 4.

    Returns:
        (H, W, C), uint8 where 8 bits hold every value exactly, else uint16.
    """
    levels = from_tensor(image[None], np.dtype(np.uint8))
    return levels if to_tensor(levels)[0].equal(image) else from_tensor(image[None], np.dtype(np.uint16))


def pixel_digest(image: Tensor) -> str:
    """SHA-256 of an image's size and levels: the same for every lossless encoding, and for gray as gray or as RGB.

    Args:
        image: (C, H, W) float32 in [0, 1], C 1 or 3 (RGB).

    Returns:
        64 hexadecimal digits.
    """
    levels = to_levels(image)
    height, width = levels.shape[:2]
    digest = hashlib.sha256(f'{height}x{width} {levels.dtype}'.encode())
    digest.update(np.broadcast_to(levels, (height, width, 3)).astype(levels.dtype.newbyteorder('<')).tobytes())
    return digest.hexdigest()
