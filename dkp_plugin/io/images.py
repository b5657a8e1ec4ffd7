"""Images as tensors, and pictures of kernels."""

from pathlib import Path

import cv2
import numpy as np
from torch import Tensor

from dkp_plugin.host.errors import ImageError
from dkp_plugin.io.files import write_bytes
from dkp_plugin.io.photo_files import Photo, decode_photo
from dkp_plugin.io.pixels import to_tensor
from dkp_plugin.io.transparency import split_alpha

FIELD_PIXEL = 3  # side of the squares of a field of kernels, which has many of them


def decode_image(content: bytes, name: str) -> Tensor:
    """Decode an image file as :func:`~dkp_plugin.io.photo_files.decode_photo` does, without its alpha channel.

    Args:
        content: The file's bytes.
        name: The file's name for the error message.

    Returns:
        float32 (C, H, W) in [0, 1]; C is 1 for gray images, else 3 (RGB). Hidden pixels are filled; see
        :func:`~dkp_plugin.io.transparency.split_alpha`.

    Raises:
        ImageError: if the bytes are no image or a truncated one.
    """
    return image_of(decode_photo(content, name))[0]


def image_of(photo: Photo) -> tuple[Tensor, Tensor | None]:
    """Colour (C, H, W), C 1 or 3, and alpha (1, H, W) of a photograph, None for one without: float32 in [0, 1]."""
    colour, alpha = split_alpha(to_tensor(photo.pixels))
    return colour[0], None if alpha is None else alpha[0]


def write_image(path: Path, image: np.ndarray) -> None:
    """Write a uint8 image (H, W) or (H, W, 3), BGR, in the format of the path's suffix."""
    is_encoded, content = cv2.imencode(path.suffix, image)
    if not is_encoded:
        raise ImageError(f'{path}: cannot be encoded as {path.suffix}')
    write_bytes(path, content.tobytes())


def kernel_picture(kernel: np.ndarray, peak: float | None = None, pixel: int = 8) -> np.ndarray:
    """Draw a kernel in colours, each of its pixels as a square.

    Args:
        kernel: (K, K).
        peak: Value of the brightest colour; the kernel's maximum by default.
        pixel: Side of a square.

    Returns:
        uint8 (pixel K, pixel K, 3), BGR.
    """
    levels = np.clip(kernel / (peak or kernel.max()) * 255, 0, 255).round().astype(np.uint8)
    return cv2.applyColorMap(np.kron(levels, np.ones((pixel, pixel), np.uint8)), cv2.COLORMAP_VIRIDIS)


def field_picture(kernels: np.ndarray, is_sure: np.ndarray) -> np.ndarray:
    """Draw the kernels of the parts of an image in their places, all with the same colours.

    Args:
        kernels: (rows, columns, K, K).
        is_sure: (rows, columns); the others are drawn pale.

    Returns:
        uint8 (height, width, 3), BGR: ``FIELD_PIXEL`` squares per pixel of a kernel, with white lines between kernels.
    """
    pictures = [[kernel_picture(kernel, kernels.max(), FIELD_PIXEL) for kernel in row] for row in kernels]
    pale = np.where(is_sure, 0.0, 0.6)[..., None, None, None]
    mixed = (np.array(pictures) * (1 - pale) + 255 * pale).round().astype(np.uint8)
    framed = np.pad(mixed, ((0, 0), (0, 0), (1, 1), (1, 1), (0, 0)), constant_values=255)
    return np.concatenate(np.concatenate(framed, axis=1), axis=1)
