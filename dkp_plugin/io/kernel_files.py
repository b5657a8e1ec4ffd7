"""Read and write kernel files, each of which says which convention its kernel has."""

import io
from pathlib import Path

import numpy as np
import scipy.io
import torch
from torch import Tensor

from dkp_plugin.host.errors import KernelError
from dkp_plugin.io.files import write_bytes
from dkp_plugin.io.images import kernel_picture, write_image
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
