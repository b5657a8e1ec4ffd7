"""Read and write kernel files, each of which says which convention its kernel has."""

import io
from pathlib import Path

import numpy as np
import scipy.io
import torch
from torch import Tensor

from dkp_plugin.host.errors import KernelError
from dkp_plugin.io.files import write_bytes
from dkp_plugin.io.images import decode_image, kernel_picture, write_image
from dkp_plugin.physics.kernels import CONVENTIONS

KERNEL_SUFFIXES = ('.mat', '.npy')
KERNEL_SUM_TOLERANCE = 1e-3


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
    fields = _read_fields(content, name)
    if 'Kernel' not in fields:
        raise KernelError(f'{name}: has no key Kernel; it has {list(fields)}')
    kernel = check_kernel(fields['Kernel'], name)
    found = ''.join(map(str, np.ravel(fields.get('convention', convention))))
    if found != convention:
        raise KernelError(f'{name}: the kernel has convention {found!r}, the option file says {convention!r}')
    return kernel


def check_kernel(kernel: np.ndarray, name: str) -> Tensor:
    """Turn an array into a kernel.

    Args:
        kernel: (K, K), K odd, real, of sum 1, non-negative; both within ``KERNEL_SUM_TOLERANCE``.
        name: What it is called in the error message.

    Returns:
        float32 (1, K, K).

    Raises:
        KernelError: for any other array.
    """
    kernel = _real(kernel, name)
    if kernel.ndim != 2 or kernel.shape[0] != kernel.shape[1] or kernel.shape[0] % 2 == 0:
        raise KernelError(f'{name}: the kernel has shape {kernel.shape}, not an odd square')
    if not abs(kernel.sum() - 1) <= KERNEL_SUM_TOLERANCE or kernel.min() < -KERNEL_SUM_TOLERANCE:
        raise KernelError(
            f'{name}: the kernel has sum {kernel.sum():.6g} and minimum {kernel.min():.3g}; '
            f'allowed are sum 1 and minimum 0, within {KERNEL_SUM_TOLERANCE}'
        )
    return torch.from_numpy(kernel).float().unsqueeze(0)


def decode_any_kernel(content: bytes, name: str) -> np.ndarray:
    """Decode a kernel of any shape, sum and centre.

    Args:
        content: Bytes of a ``.mat`` file (key ``Kernel``, or a single matrix of any name), a ``.npy`` file or a gray
            picture.
        name: The file's name, whose suffix says which of the two it is, and for the error message.

    Returns:
        float64 (H, W), non-negative, of sum 1.

    Raises:
        KernelError, ImageError: if the file holds no such kernel.
    """
    if Path(name).suffix.lower() in KERNEL_SUFFIXES:
        fields = _read_fields(content, name)
        matrices = [key for key, value in fields.items() if value.ndim == 2 and min(value.shape) > 1]
        if 'Kernel' not in fields and len(matrices) != 1:
            raise KernelError(f'{name}: has neither a key Kernel nor a single matrix; it has {list(fields)}')
        kernel = _real(fields['Kernel' if 'Kernel' in fields else matrices[0]], name)
    else:
        image = decode_image(content, name)
        if not image.eq(image[:1]).all():
            raise KernelError(f'{name}: is a picture in colour; a kernel is a gray one')
        kernel = image[0].double().numpy()
    if kernel.ndim != 2:
        raise KernelError(f'{name}: the kernel has shape {kernel.shape}, not that of a matrix')
    if not (np.isfinite(kernel).all() and kernel.sum() > 0):
        raise KernelError(f'{name}: the kernel has sum {kernel.sum():.6g}; allowed are positive, finite numbers')
    kernel = kernel.clip(min=0)
    return kernel / kernel.sum()


def _read_fields(content: bytes, name: str) -> dict[str, np.ndarray]:
    """The arrays of a kernel file by name; that of a ``.npy`` file is called Kernel."""
    try:
        if content.startswith(b'\x93NUMPY'):
            return {'Kernel': np.load(io.BytesIO(content), allow_pickle=False)}
        fields = scipy.io.loadmat(io.BytesIO(content))
    except Exception as error:  # a damaged file raises errors of many kinds, SciPy's own MatReadError among them
        raise KernelError(f'{name}: not a readable kernel file ({error})') from None
    return {key: value for key, value in fields.items() if not key.startswith('_')}


def _real(array: np.ndarray, name: str) -> np.ndarray:
    """An array as float64.

    Raises:
        KernelError: if it is not of real numbers.
    """
    array = np.asarray(array)
    if array.dtype.kind not in 'biuf':
        raise KernelError(f'{name}: the kernel is of type {array.dtype}, not of real numbers')
    return array.astype(np.float64)


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
    # The first 116 bytes are free text, in which SciPy writes the time; equal kernels must give equal files.
    write_bytes(path, b'MATLAB 5.0 MAT-file, a blur kernel by dkp_plugin'.ljust(116) + buffer.getvalue()[116:])
    write_image(path.with_suffix('.png'), kernel_picture(array))
