"""Training data for kernel priors: synthetic kernels, generated on the fly."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from basicsr.utils.registry import DATASET_REGISTRY
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import Tensor
from torch.utils.data import Dataset

from dkp_plugin.data.basicsr_options import LoaderOptions
from dkp_plugin.host.errors import OptionError
from dkp_plugin.host.schema import parse_section
from dkp_plugin.host.seeds import image_generator
from dkp_plugin.physics.degradation import SCALES
from dkp_plugin.physics.kernel_families import build_family
from dkp_plugin.physics.kernels import check_kernel_size, default_kernel_size, kernel_centre


class KernelDatasetOptions(LoaderOptions):
    """Option keys of :class:`KernelDataset`."""

    scale: Literal[SCALES]
    kernel_family: str = 'gaussian'
    kernel_size: int | None = None
    variance_range: tuple[float, float] | None = None
    length_range: tuple[float, float] | None = None
    noise: NonNegativeFloat = 0.0
    num_kernels: PositiveInt
    seed: int = 0
    num_worker_per_gpu: NonNegativeInt = 0
    batch_size_per_gpu: PositiveInt = 100


@DATASET_REGISTRY.register()
class KernelDataset(Dataset):
    """Random kernels of a family (see :mod:`dkp_plugin.physics.kernels`), in the convention ``released``.

    Kernel i depends only on ``seed`` and i, so nothing is stored and any i >= 0 is valid; ``num_kernels`` sets the
    length of an epoch. An item holds ``kernel``: float32 (1, K, K), non-negative, of sum 1 before ``noise``.

    ``noise`` is the upper bound of the uniform noise added to each pixel (dequantisation). Without it, the zeros around
    a kernel would be points of infinite density. Keys: :class:`KernelDatasetOptions`.

    Raises:
        OptionError: for an unknown family, a key that the family does not accept, or an even kernel size.
    """

    def __init__(self, opt: dict[str, Any]) -> None:
        self.opt = opt
        self.options = options = parse_section(KernelDatasetOptions, opt, f'datasets: {opt.get("name")}')
        kernel_size = default_kernel_size(options.scale) if options.kernel_size is None else options.kernel_size
        ranges = {'variance_range': options.variance_range, 'length_range': options.length_range}
        try:
            check_kernel_size(kernel_size)
            centre = kernel_centre(kernel_size, options.scale, 'released')
            self.family = build_family(options.kernel_family, options.scale, kernel_size, centre, **ranges)
        except ValueError as error:
            raise OptionError(f'datasets: {options.name}: {error}') from None

    def __len__(self) -> int:
        return self.options.num_kernels

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Tensor]]:
        """Generate all items of a batch at once; PyTorch's loader prefers this method, which is much faster."""
        generators = [image_generator(self.options.seed, f'kernel {index}') for index in indices]
        params = torch.cat([self.family.sample(1, generator) for generator in generators])
        shape = (1, self.family.kernel_size, self.family.kernel_size)
        noise = torch.stack([torch.rand(shape, generator=generator) for generator in generators])
        kernels = self.family.render(params) + self.options.noise * noise
        return [{'kernel': kernel} for kernel in kernels]
