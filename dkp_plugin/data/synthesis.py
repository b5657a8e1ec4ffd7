"""Generate an LR image and its kernel from an HR image, for ``random_kernel`` and ``prepare_blur_dataset.py``.

A generator seeded by the seed and the image name draws first the kernel, then the noise. The result therefore depends
neither on the order nor on the subset of the images, and the kernel is the same with and without noise.

All values are computed in float64 and rounded to 8 bits. In float32 one value in a thousand would be off by one level,
and not the same ones on each type of processor, so checksums would differ between machines.
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from dkp_plugin.data.kernel_folder import FolderFamily
from dkp_plugin.host.errors import ImageError
from dkp_plugin.host.seeds import image_generator
from dkp_plugin.io.images import decode_image
from dkp_plugin.io.pixels import to_levels
from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.physics.kernel_families import KERNEL_FAMILIES, KernelFamily, build_family
from dkp_plugin.physics.kernels import default_kernel_size

LEVIN_FOLDER = Path('datasets/kernels/levin')


class RandomKernelOptions(BaseModel):
    """Block ``random_kernel``; see :mod:`dkp_plugin.physics.kernels` for the ranges.

    ``family`` is one of ``KERNEL_FAMILIES``, a folder of kernel files, or ``levin`` for the folder ``LEVIN_FOLDER``.
    ``shared`` gives all images one kernel, as one camera would. ``noise`` is the standard deviation of Gaussian noise
    in 8-bit levels; ``jpeg_quality`` is OpenCV's.
    """

    model_config = ConfigDict(extra='forbid')
    family: str = 'gaussian'
    kernel_size: int | None = None
    variance_range: tuple[float, float] | None = None
    length_range: tuple[float, float] | None = None
    shared: bool = False
    seed: int = 0
    noise: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    jpeg_quality: int | None = Field(default=None, ge=1, le=100)


@dataclass(frozen=True)
class Synthesis:
    """Generates LR images and kernels.

    Args:
        degradation: Scale, kernel size and convention.
        family: Family of the kernels.
        seed: Seed of kernels and noise, combined with the image name.
        noise: Standard deviation of Gaussian noise in 8-bit levels.
        jpeg_quality: 1 to 100; None: no compression.
        shared: Whether all images have one kernel.
    """

    degradation: Degradation
    family: KernelFamily
    seed: int = 0
    noise: float = 0.0
    jpeg_quality: int | None = None
    shared: bool = False

    @classmethod
    def build(cls, options: RandomKernelOptions, scale: int, convention: str) -> 'Synthesis':
        """Build from a block of options.

        Raises:
            ValueError: for an unknown family, or a size or range that the family does not allow.
            UserError: if a kernel folder cannot be used.
        """
        kernel_size = default_kernel_size(scale) if options.kernel_size is None else options.kernel_size
        degradation = Degradation(scale, kernel_size, convention)
        ranges = {'variance_range': options.variance_range, 'length_range': options.length_range}
        family = _build_family(options.family, degradation, ranges)
        return cls(degradation, family, options.seed, options.noise, options.jpeg_quality, options.shared)

    def crop(self, gt: Tensor) -> Tensor:
        """Crop an HR image (C, H, W) at the top left to multiples of the scale."""
        height, width = (side - side % self.degradation.scale for side in gt.shape[-2:])
        return gt[..., :height, :width]

    def params(self, name: str) -> tuple[Tensor, torch.Generator]:
        """Coordinates of an image's kernel, (1, P), and the generator that draws its noise next."""
        # The prefix separates these numbers from those of a model with the same seed, which would reveal the kernel.
        generator = image_generator(self.seed, f'random_kernel/{name}')
        params = self.family.sample(1, generator)
        if self.shared:
            params = self.family.sample(1, image_generator(self.seed, 'random_kernel'))
        return params, generator

    def degrade(self, gt: Tensor, name: str) -> tuple[Tensor, Tensor]:
        """Generate an LR image rounded to 8 bits, and its kernel.

        Args:
            gt: HR image, (C, H, W) in [0, 1]; its sides are multiples of the scale.
            name: File name of the image without folder and extension.

        Returns:
            LR image (C, H / s, W / s) in [0, 1] and kernel (1, K, K), float32.

        Raises:
            ImageError: if the image is smaller than the kernel.
        """
        params, generator = self.params(name)
        kernel = self.family.render(params.double()).float()
        try:
            lq = self.degradation.A(gt.double().unsqueeze(0), kernel.double())[0]
        except ValueError as error:
            raise ImageError(f'{name}: {error}') from None
        levels = 255 * lq + self.noise * torch.randn(lq.shape, generator=generator, dtype=lq.dtype)
        lq = levels.round().clamp(0, 255).float() / 255  # bit-identical to decode_image
        return compress(lq, self.jpeg_quality), kernel[0]


def compress(image: Tensor, quality: int | None) -> Tensor:
    """An image (C, h, w) in [0, 1] after JPEG compression by OpenCV at a quality of 1 to 100; None: unchanged."""
    if quality is None:
        return image
    levels = to_levels(image)[..., ::-1].copy()  # OpenCV expects BGR
    content = cv2.imencode('.jpg', levels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
    return decode_image(content, 'JPEG')


def _build_family(name: str, degradation: Degradation, ranges: dict[str, tuple[float, float] | None]) -> KernelFamily:
    """Build a family by name or from a kernel folder."""
    arguments = degradation.scale, degradation.kernel_size, degradation.centre
    if name in KERNEL_FAMILIES:
        return build_family(name, *arguments, **ranges)
    folder = LEVIN_FOLDER if name == 'levin' else Path(name).expanduser()
    if not folder.is_dir():
        if name == 'levin':
            raise ValueError(f'kernel_family: levin: {folder} must contain the kernels of Levin et al. (CVPR 2009)')
        names = ', '.join([*KERNEL_FAMILIES, 'levin'])
        raise ValueError(f'kernel_family: {name!r} is not one of {names}, nor a folder of kernels')
    for key, value in ranges.items():
        if value is not None:
            raise ValueError(f'{key}: {value} is not allowed with a folder of kernels, {name}')
    return FolderFamily(*arguments, folder)
