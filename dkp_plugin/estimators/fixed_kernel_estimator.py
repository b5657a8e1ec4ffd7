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
        source: ``delta``: one pixel at the centre; ``bicubic``: the kernel of antialiased bicubic downsampling, which
            has negative lobes; a file (``.mat`` or ``.npy``), whose convention must be that of the run; or ``gt``: the
            oracle. The oracle is the one exception from blindness here. The model gives it the true kernel by
            :meth:`take_truth`, and every record of such a run says ``oracle: true``.

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
        self.source, self.needs_truth = source, source == 'gt'
        self.given: Tensor | None = None

    @classmethod
    def of(cls, kernel: Tensor) -> 'FixedKernel':
        """An estimator that keeps a kernel found elsewhere, (1, 1, K, K)."""
        estimator = cls()
        estimator.given = kernel
        return estimator

    def take_truth(self, kernel: Tensor | None) -> None:
        """Take the true kernel of the next image, (1, 1, K, K); ignored unless ``source`` is ``gt``."""
        if self.needs_truth:
            self.given = kernel

    def check(self, degradation: Degradation) -> None:
        if not self.needs_truth:
            self._kernel(degradation)

    def reset(self, lq: Tensor, degradation: Degradation, generator: torch.Generator) -> None:
        kernel = self._kernel(degradation)
        limit = min(lq.shape[-2:]) * degradation.scale
        if kernel.shape[-1] > limit:
            raise KernelError(f'{self.source}: kernel size {kernel.shape[-1]} is larger than the image, {limit} pixels')
        self.kernel = kernel.to(lq)

    def _kernel(self, degradation: Degradation) -> Tensor:
        if self.given is not None:
            return self.given
        if self.needs_truth:
            raise KernelError('network_k: source: gt needs true kernels, but the dataset has none (dataroot_kernel)')
        if self.source == 'delta':
            return rasterise(torch.full((1, 1, 2), degradation.centre), degradation.kernel_size)
        if self.source == 'bicubic':
            return cubic_kernel(degradation.scale, degradation.kernel_size, degradation.centre)
        return read_kernel(Path(self.source).expanduser(), degradation.convention)

    def forward(self) -> Tensor:
        return self.kernel

    def step(self, x: Tensor) -> dict[str, Tensor]:
        return {}
