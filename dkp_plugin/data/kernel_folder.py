"""Folders of kernel files, and their use as a kernel family."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from dkp_plugin.io.folders import list_folder
from dkp_plugin.io.formats import IMAGE_SUFFIXES
from dkp_plugin.io.kernel_files import KERNEL_SUFFIXES, decode_any_kernel
from dkp_plugin.physics.kernel_families import KernelFamily
from dkp_plugin.physics.kernels import fit_to_grid


def list_images_or_kernels(folder: Path, key: str) -> list[Path]:
    """List the kernel files of a folder, ignoring preview images, or its images if it has no kernel files.

    Args:
        folder: The folder.
        key: Name of its option, for error messages.

    Raises:
        OptionError: see :func:`dkp_plugin.io.folders.list_folder`.
    """
    has_kernels = folder.is_dir() and any(path.suffix.lower() in KERNEL_SUFFIXES for path in folder.iterdir())
    return list_folder(folder, key, KERNEL_SUFFIXES if has_kernels else IMAGE_SUFFIXES)


@dataclass(frozen=True)
class FolderFamily(KernelFamily):
    """The kernels of a folder, moved to the K x K grid; the single coordinate selects one of them.

    Args:
        folder: Folder of ``.mat`` or ``.npy`` files or, without those, gray images such as the kernels of Levin et al.
            (CVPR 2009).

    Raises:
        UserError: if the folder does not exist or contains a file that cannot be used.
    """

    folder: Path
    num_params: int = field(default=1, init=False)
    names: tuple[str, ...] = field(default=(), init=False)
    kernels: Tensor = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        paths = list_images_or_kernels(self.folder, 'kernel_family')
        kernels = [torch.from_numpy(decode_any_kernel(path.read_bytes(), str(path))) for path in paths]
        fitted = [fit_to_grid(kernel, self.kernel_size, self.centre) for kernel in kernels]
        object.__setattr__(self, 'names', tuple(path.name for path in paths))
        object.__setattr__(self, 'kernels', torch.cat(fitted))

    def index(self, params: Tensor) -> Tensor:
        """Map points of the unit cube (N, 1) to indices into ``names``: integers (N,)."""
        return (params[:, 0] * len(self.names)).long().clamp(0, len(self.names) - 1)

    def render(self, params: Tensor) -> Tensor:
        return self.kernels.to(params)[self.index(params)]


def kernel_digest(kernel: Tensor) -> str:
    """SHA-256 of a kernel's size and its values in float32: 64 hexadecimal digits."""
    array = kernel.float().cpu().numpy().astype('<f4')
    return hashlib.sha256(f'{"x".join(map(str, array.shape[-2:]))} float32'.encode() + array.tobytes()).hexdigest()
