"""The interface of an image restorer."""

import abc
import enum

import torch
from torch import Tensor, nn

from dkp_plugin.physics.degradation import SCALES, Degradation


class Tiling(enum.Enum):
    """How a restorer deals with images that are too large to be processed whole."""

    SUPPORTED = 'supported'  # works on the whole image, and in tiles of ``Restorer.tile`` where it needs much memory
    INTERNAL = 'internal'  # works on the whole image, always in tiles of its own
    DISCOURAGED = 'discouraged'  # needs the whole image; the engine restores tiles separately and blends them


class Restorer(nn.Module, abc.ABC):
    """Estimates the HR image of one LR image, beside an estimator that estimates the blur kernel.

    The mirror image of :class:`~dkp_plugin.estimators.base.KernelEstimator`; the truth never reaches it either.
    To add one, write ``restorers/<name>_restorer.py`` and name the class in ``network_g: {type: <class>}``.

    An interrupted image resumes from a snapshot of all attributes that are tensors, numbers, texts, lists,
    dictionaries, optimisers, schedulers or generators (:mod:`dkp_plugin.engine.snapshot`). So ``reset`` must create
    every network and optimiser that ``step`` changes, and ``step`` must keep its state in such attributes. Trained
    networks whose parameters do not require gradients are not saved, and tensors with a graph come back as None.

    Attributes:
        num_iter: Number of steps, if the method fixes it; None: the option file sets it.
        updates_kernel: Whether the current image is of use to an estimator; otherwise the kernel stays as it is.
        has_weights: Whether the method has trained weights.
        tiling: How it deals with large images.
        tile: Side of its tiles in HR pixels, for ``Tiling.SUPPORTED``; None: no tiles. The engine sets it.
        paper: Reference, for the table of methods.
        scales: Scale factors that the method supports.
    """

    num_iter: int | None = None
    updates_kernel: bool = True
    has_weights: bool = False
    tiling: Tiling = Tiling.DISCOURAGED
    tile: int | None = None
    paper: str = ''
    scales: tuple[int, ...] = SCALES

    def load(self, path: str | None) -> None:
        """Load trained weights; called once, before the first image, if ``has_weights``.

        Args:
            path: The file that the option file names, or None.

        Raises:
            UserError: for a file that cannot be used.
            OptionError: if a file must be named; its message follows the name of the option.
        """
        raise NotImplementedError

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
        """Return the current HR estimate, (1, C, s h, s w) in [0, 1], detached."""

    @abc.abstractmethod
    def step(self, kernel: Tensor) -> dict[str, Tensor]:
        """Improve the image, given the estimator's current kernel.

        Args:
            kernel: (1, 1, K, K), non-negative, of sum 1, detached.

        Returns:
            Scalar losses by name, each name starting with ``l_x_``.
        """
