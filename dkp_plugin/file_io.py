"""Read and write images, kernels and records; nothing is ever left half-written."""

import io
import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import scipy.io
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from dkp_plugin.errors import ImageError, KernelError
from dkp_plugin.kernels import CONVENTIONS

IMAGE_SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff', '.webp')
KERNEL_SUFFIXES = ('.mat', '.npy')
KERNEL_SUM_TOLERANCE = 1e-3


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file in one move: it is there as a whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')  # processes may write the same summary at once
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)  # left over by a failure only


def write_json(path: Path, content: Any) -> None:
    """Write JSON; numbers that are not finite become null, since JSON has none."""

    def finite(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: finite(entry) for key, entry in value.items()}
        if isinstance(value, list | tuple):
            return [finite(entry) for entry in value]
        return None if isinstance(value, float) and not np.isfinite(value) else value

    write_bytes(path, json.dumps(finite(content), indent=2, allow_nan=False).encode())


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


def decode_kernel(content: bytes, name: str, convention: str) -> Tensor:
    """Decode a kernel file: ``.mat`` with the key ``Kernel``, or ``.npy``.

    Args:
        content: The file's bytes.
        name: The file's name for the error message.
        convention: The convention that the kernel must have, where the file names one.

    Returns:
        float32 (1, K, K), K odd, of sum 1.

    Raises:
        KernelError: if the file holds no such kernel.
    """
    try:
        if content.startswith(b'\x93NUMPY'):
            fields = {'Kernel': np.load(io.BytesIO(content), allow_pickle=False)}
        else:
            fields = scipy.io.loadmat(io.BytesIO(content))
    except Exception as error:  # a damaged file raises errors of many kinds, SciPy's own MatReadError among them
        raise KernelError(f'{name}: not a readable kernel file ({error})') from None
    if 'Kernel' not in fields:
        raise KernelError(f'{name}: has no key Kernel; it has {[key for key in fields if key[0] != "_"]}')
    kernel = np.asarray(fields['Kernel'])
    if kernel.dtype.kind not in 'biuf':
        raise KernelError(f'{name}: the kernel is of type {kernel.dtype}, not of real numbers')
    kernel = kernel.astype(np.float64)
    if kernel.ndim != 2 or kernel.shape[0] != kernel.shape[1] or kernel.shape[0] % 2 == 0:
        raise KernelError(f'{name}: the kernel has shape {kernel.shape}, not an odd square')
    if not abs(kernel.sum() - 1) <= KERNEL_SUM_TOLERANCE or kernel.min() < -KERNEL_SUM_TOLERANCE:
        raise KernelError(
            f'{name}: the kernel has sum {kernel.sum():.6g} and minimum {kernel.min():.3g}; '
            f'allowed are sum 1 and minimum 0, within {KERNEL_SUM_TOLERANCE}'
        )
    found = ''.join(map(str, np.ravel(fields.get('convention', convention))))
    if found != convention:
        raise KernelError(f'{name}: the kernel has convention {found!r}, the option file says {convention!r}')
    return torch.from_numpy(kernel).float().unsqueeze(0)


def read_kernel(path: Path, convention: str) -> Tensor:
    """Read a kernel file, (1, 1, K, K); see :func:`decode_kernel`."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise KernelError(f'{path}: {error.strerror}') from None
    return decode_kernel(content, str(path), convention).unsqueeze(0)


def write_kernel(path: Path, kernel: Tensor, convention: str, scale: int) -> None:
    """Write a kernel as ``.mat`` (keys Kernel, convention, scale) and, beside it, as a ``.png`` to look at.

    Args:
        path: The ``.mat`` file.
        kernel: (1, 1, K, K), of sum 1.
        convention: Where its centre lies, a name of ``kernels.CONVENTIONS``.
        scale: Subsampling factor that it belongs to.
    """
    assert convention in CONVENTIONS
    array = kernel.detach().double().cpu().numpy()[0, 0]
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, {'Kernel': array, 'convention': convention, 'scale': scale})
    # The first 116 bytes are free text, in which SciPy puts the time; equal kernels shall be equal files.
    write_bytes(path, b'MATLAB 5.0 MAT-file, a blur kernel by dkp_plugin'.ljust(116) + buffer.getvalue()[116:])
    write_image(path.with_suffix('.png'), kernel_picture(array))


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
