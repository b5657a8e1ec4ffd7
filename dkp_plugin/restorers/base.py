"""What a restorer is."""

import abc

import torch
from torch import Tensor, nn

from dkp_plugin.physics.degradation import Degradation


class Restorer(nn.Module, abc.ABC):
    """Estimates the HR image of one LR image, beside an estimator that estimates the blur kernel.

    The mirror image of :class:`~dkp_plugin.estimators.base.KernelEstimator`; the truth never reaches it either.
    To add one, write ``restorers/<name>_restorer.py`` and name the class in ``network_g: {type: <class>}``.

    Attributes:
        num_iter: Number of steps, where the method fixes it itself; None: the option file says.
        updates_kernel: Whether the current image is of use to an estimator; otherwise its kernel is kept as it is.
        has_weights: Whether the method has trained weights.
    """

    num_iter: int | None = None
    updates_kernel: bool = True
    has_weights: bool = False

    def load(self, path: str | None) -> None:
        """Load trained weights; called once, before the first image, where ``has_weights`` says so.

        Args:
            path: The file that the option file names, or None.

        Raises:
            UserError: for a file that cannot be used.
            OptionError: where a file must be named; its message goes on after the name of the option.
        """
        raise NotImplementedError

    @abc.abstractmethod
    def reset(self, lq: Tensor, degradation: Degradation, generator: torch.Generator) -> None:
        """Start on a new image; nothing of the previous one may remain.

        Args:
            lq: The LR image, (1, C, h, w) in [0, 1].
            degradation: Scale, kernel size and kernel convention.
            generator: CPU generator, the only source of random numbers.
        """

    @abc.abstractmethod
    def forward(self) -> Tensor:
        """Return the current HR estimate, (1, C, s h, s w) in [0, 1], detached."""

    @abc.abstractmethod
    def step(self, kernel: Tensor) -> dict[str, Tensor]:
        """Improve the image, given the estimator's current kernel.

        Args:
            kernel: (1, 1, K, K), non-negative, of sum 1, detached.

        Returns:
            Scalar losses by name, each name starting with ``l_x_``.
        """
