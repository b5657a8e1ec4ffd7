"""A kernel that is given instead of estimated: from a file, a simple one, or the true one as the oracle."""

from pathlib import Path

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor

from dkp_plugin.estimators.base import KernelEstimator
from dkp_plugin.host.errors import KernelError
from dkp_plugin.io.kernel_files import KERNEL_SUFFIXES, read_kernel
from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.physics.kernels import cubic_kernel, rasterise

SIMPLE = ('delta', 'bicubic')


@ARCH_REGISTRY.register()
class FixedKernel(KernelEstimator):
    """Keeps one kernel for all images, or the true kernel of each as an upper bound on what an estimator can reach.

    Args:
        source: ``delta``: one pixel at the centre; ``bicubic``: the kernel of
            antialiased bicubic downsampling, which has negative lobes; a file
            (``.mat`` or ``.npy``), whose convention must be that of the run; or ``gt``: the oracle. The oracle is the
            one exception from blindness here. Its kernel comes from the model, by :meth:`set_oracle`, and every record
            of such a run says ``oracle: true``.

    Raises:
        ValueError: for a source that is none of these.
        KernelError: for a kernel that cannot be read, that is too large for the image, or that is missing for ``gt``.
    """

    def __init__(self, source: str = 'delta') -> None:
        super().__init__()
        if source not in ('gt', *SIMPLE) and Path(source).suffix.lower() not in KERNEL_SUFFIXES:
            raise ValueError(
                f'source: {source!r} is not one of gt, {", ".join(SIMPLE)}, '
                f'or a file that ends in {", ".join(KERNEL_SUFFIXES)}'
            )
        self.source = source
        self.oracle: Tensor | None = None

    @property
    def is_oracle(self) -> bool:
        """Whether the kernel is the true one."""
        return self.source == 'gt'

    def set_oracle(self, kernel: Tensor | None) -> None:
        """Take the true kernel, (1, 1, K, K), of the next image."""
        self.oracle = kernel

    def reset(self, lq: Tensor, degradation: Degradation, generator: torch.Generator) -> None:
        if self.is_oracle:
            if self.oracle is None:
                raise KernelError(
                    'network_k: source: gt needs true kernels, but the dataset has none (dataroot_kernel)'
                )
            kernel = self.oracle
        elif self.source == 'delta':
            kernel = rasterise(torch.full((1, 1, 2), degradation.centre), degradation.kernel_size)
        elif self.source == 'bicubic':
            kernel = cubic_kernel(degradation.scale, degradation.kernel_size, degradation.centre)
        else:
            kernel = read_kernel(Path(self.source).expanduser(), degradation.convention)
        limit = min(lq.shape[-2:]) * degradation.scale
        if kernel.shape[-1] > limit:
            raise KernelError(f'{self.source}: kernel size {kernel.shape[-1]} is larger than the image, {limit} pixels')
        self.kernel = kernel.to(lq)

    def forward(self) -> Tensor:
        return self.kernel

    def step(self, x: Tensor) -> dict[str, Tensor]:
        return {}
