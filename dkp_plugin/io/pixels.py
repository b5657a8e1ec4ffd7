"""Images as whole levels: what a PNG file holds, and what a checksum of pixels is taken of."""

import hashlib

import cv2
import numpy as np
from torch import Tensor


def to_levels(image: Tensor) -> np.ndarray:
    """Undo the division by which :func:`dkp_plugin.io.images.decode_image` brings levels to [0, 1].

    Args:
        image: (C, H, W) float32 in [0, 1], C 1 or 3 (RGB).

    Returns:
        (H, W, C), uint8 where 8 bits hold every value exactly, else uint16.
    """
    array = image.permute(1, 2, 0).numpy()
    levels = np.rint(array * 255).astype(np.uint8)
    if np.array_equal(levels.astype(np.float32) / 255, array):
        return levels
    return np.rint(array * 65535).astype(np.uint16)


def encode_png(image: Tensor, compression: int) -> bytes:
    """Encode an image as PNG of 8 or 16 bits; decoding gives the same numbers.

    Args:
        image: (C, H, W) float32 in [0, 1], C 1 or 3 (RGB), as ``decode_image`` returns it.
        compression: zlib's level, 0 (fast) to 9 (small).
    """
    levels = np.ascontiguousarray(to_levels(image)[..., ::-1])  # OpenCV expects BGR
    return cv2.imencode('.png', levels, [cv2.IMWRITE_PNG_COMPRESSION, compression])[1].tobytes()


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
