"""Kernel files of any size and origin, and the family of kernels that a folder of them makes."""

import hashlib
import io
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import scipy.io
import torch
from torch import Tensor

from dkp_plugin.host.errors import KernelError
from dkp_plugin.io.folders import list_folder
from dkp_plugin.io.images import IMAGE_SUFFIXES, decode_image
from dkp_plugin.io.kernel_files import KERNEL_SUFFIXES
from dkp_plugin.physics.kernel_families import KernelFamily
from dkp_plugin.physics.kernels import fit_to_grid


def list_images_or_kernels(folder: Path, key: str) -> list[Path]:
    """Find the kernel files of a folder (pictures beside them only show them) or, if it has none, its images.

    Args:
        folder: The folder.
        key: The option that names it, for the error message.

    Raises:
        OptionError: see :func:`dkp_plugin.io.folders.list_folder`.
    """
    has_kernels = folder.is_dir() and any(path.suffix.lower() in KERNEL_SUFFIXES for path in folder.iterdir())
    return list_folder(folder, key, KERNEL_SUFFIXES if has_kernels else IMAGE_SUFFIXES)


def read_kernel(content: bytes, name: str) -> np.ndarray:
    """Read a kernel of any shape, sum and centre.

    Args:
        content: Bytes of a ``.mat`` file (key ``Kernel``, or a single matrix of any name), a ``.npy`` file or a gray
            picture.
        name: The file's name for the error message.

    Returns:
        float64 (H, W), non-negative, of sum 1.

    Raises:
        KernelError, ImageError: if the file holds no such kernel.
    """
    kernel = _load(content, name)
    if kernel.dtype.kind not in 'biuf' or kernel.ndim != 2:
        raise KernelError(f'{name}: holds {kernel.dtype} of shape {kernel.shape}, not a matrix of real numbers')
    kernel = kernel.astype(np.float64)
    if not (np.isfinite(kernel).all() and kernel.sum() > 0):
        raise KernelError(f'{name}: the kernel has sum {kernel.sum():.6g}; allowed are positive, finite numbers')
    kernel = kernel.clip(min=0)
    return kernel / kernel.sum()


def _load(content: bytes, name: str) -> np.ndarray:
    """Read the array of a kernel file as it is."""
    if Path(name).suffix.lower() not in KERNEL_SUFFIXES:
        image = decode_image(content, name)
        if not image.eq(image[:1]).all():
            raise KernelError(f'{name}: is a picture in colour; a kernel is a gray one')
        return image[0].numpy()
    try:
        if content.startswith(b'\x93NUMPY'):
            return np.load(io.BytesIO(content), allow_pickle=False)
        fields = scipy.io.loadmat(io.BytesIO(content))
    except Exception as error:  # a damaged file raises errors of many kinds, SciPy's own MatReadError among them
        raise KernelError(f'{name}: not a readable kernel file ({error})') from None
    fields = {key: value for key, value in fields.items() if not key.startswith('_')}
    matrices = {key: value for key, value in fields.items() if value.ndim == 2 and min(value.shape) > 1}
    if 'Kernel' not in fields and len(matrices) != 1:
        raise KernelError(f'{name}: has neither a key Kernel nor a single matrix; it has {list(fields)}')
    return fields['Kernel'] if 'Kernel' in fields else next(iter(matrices.values()))


@dataclass(frozen=True)
class FolderFamily(KernelFamily):
    """The kernels of a folder, moved to the K x K grid; the only coordinate picks one.

    Args:
        folder: ``.mat`` or ``.npy`` files or else gray pictures, such as those of Levin et al. (CVPR 2009).

    Raises:
        UserError: if there is no such folder or an unusable file in it.
    """

    folder: Path
    num_params: int = field(default=1, init=False)
    names: tuple[str, ...] = field(default=(), init=False)
    kernels: Tensor = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        paths = list_images_or_kernels(self.folder, 'kernel_family')
        kernels = [torch.from_numpy(read_kernel(path.read_bytes(), str(path))) for path in paths]
        fitted = [fit_to_grid(kernel, self.kernel_size, self.centre) for kernel in kernels]
        object.__setattr__(self, 'names', tuple(path.name for path in paths))
        object.__setattr__(self, 'kernels', torch.cat(fitted))

    def index(self, params: Tensor) -> Tensor:
        """Map points of the unit cube (N, 1) to positions in ``names``: integers (N,)."""
        return (params[:, 0] * len(self.names)).long().clamp(0, len(self.names) - 1)

    def render(self, params: Tensor) -> Tensor:
        return self.kernels.to(params)[self.index(params)]


def kernel_digest(kernel: Tensor) -> str:
    """SHA-256 of a kernel's size and its values in float32: 64 hexadecimal digits."""
    array = kernel.float().cpu().numpy().astype('<f4')
    return hashlib.sha256(f'{"x".join(map(str, array.shape[-2:]))} float32'.encode() + array.tobytes()).hexdigest()
