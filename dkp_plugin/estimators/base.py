"""The interface of a kernel estimator."""

import abc

import torch
from torch import Tensor, nn

from dkp_plugin.physics.degradation import SCALES, Degradation


class KernelEstimator(nn.Module, abc.ABC):
    """Estimates the blur kernel of one LR image, beside a restorer that estimates the HR image.

    An estimator sees the LR image and the current HR estimate; the truth never reaches it. To add one, write a
    file ``estimators/<name>_estimator.py`` with a subclass under ``@ARCH_REGISTRY.register()`` and name it in the
    option file: ``network_k: {type: <class>}``. Constructor arguments are the option keys.

    An interrupted image resumes from a snapshot of the estimator's attributes; what these may hold is written at
    :class:`~dkp_plugin.restorers.base.Restorer`.

    Attributes:
        needs_truth: Whether the method is an oracle, which is given the true kernel of each image.
        paper: Reference, for the table of methods.
        kernel_families: Kernel families that the method knows; empty: it assumes none.
        scales: Scale factors that the method supports.
        adapts_size: Whether weight at the border of the grid means that the kernel is larger than its grid; it may be
            noise of a kernel network instead. If so, photographs are searched again with a larger kernel size.
        trains_in_reset: Whether ``reset`` trains networks for minutes and keeps none of them.
        search_side: Side, in HR pixels, of the part of a large image that suffices; None: it sees all of it, or a tile.
    """

    needs_truth: bool = False
    paper: str = ''
    kernel_families: tuple[str, ...] = ()
    scales: tuple[int, ...] = SCALES
    adapts_size: bool = False
    trains_in_reset: bool = False
    search_side: int | None = None

    def check(self, degradation: Degradation) -> None:
        """Refuse a degradation that the method does not support; called when the options are checked.

        Raises:
            UserError: naming the option, the value and the allowed values.
        """
        return None

    @abc.abstractmethod
    def reset(self, lq: Tensor, degradation: Degradation, generator: torch.Generator) -> None:
        """Start on a new image; nothing of the previous one may remain.

        Args:
            lq: The LR image, (1, C, h, w) in [0, 1]. The engine passes three channels, equal ones for a gray image.
            degradation: Scale, kernel size and kernel convention.
            generator: CPU generator, the only source of random numbers.
        """

    @abc.abstractmethod
    def forward(self) -> Tensor:
        """Return the current kernel, (1, 1, K, K), non-negative, of sum 1."""

    def expected_psnr(self) -> float | None:
        """Kernel PSNR that the estimator expects of its own result, in dB; None if it has no estimate of it."""
        return None

    @abc.abstractmethod
    def step(self, x: Tensor) -> dict[str, Tensor]:
        """Improve the kernel, given the restorer's current image.

        Args:
            x: The HR estimate, (1, C, s h, s w) in [0, 1], detached.

        Returns:
            Scalar losses by name, each name starting with ``l_k_``.
        """
