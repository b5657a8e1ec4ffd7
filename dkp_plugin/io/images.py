"""Read and write images."""

import io
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from dkp_plugin.host.errors import ImageError
from dkp_plugin.io.files import write_bytes

IMAGE_SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff', '.webp')


def decode_image(content: bytes, name: str) -> Tensor:
    """Decode an image file.

    Args:
        content: The file's bytes, 8 or 16 bits per channel.
        name: The file's name for the error message.

    Returns:
        float32 (C, H, W) in [0, 1]; C is 1 for gray images, else 3 (RGB); an alpha channel is dropped.

    Raises:
        ImageError: if the bytes are no image or a truncated one.
    """
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()  # OpenCV fills the missing part of a truncated file with gray and says nothing
    except UnidentifiedImageError:  # its message names a buffer in memory
        raise ImageError(f'{name}: not a readable image (unknown format)') from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ImageError(f'{name}: not a readable image ({str(error).splitlines()[0]})') from None
    array = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH)
    if array is None or array.dtype not in (np.uint8, np.uint16):
        raise ImageError(f'{name}: not an image of 8 or 16 bits per channel')
    array = array[None] if array.ndim == 2 else array[..., ::-1].transpose(2, 0, 1)
    return torch.from_numpy(array.astype(np.float32) / np.iinfo(array.dtype).max)


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
