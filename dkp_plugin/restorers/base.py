"""The interface of an image restorer."""

import abc
import enum

import torch
from torch import Tensor, nn

from dkp_plugin.physics.degradation import SCALES, Degradation


class Tiling(enum.Enum):
    """How a restorer handles images that are too large to process whole."""

    SUPPORTED = 'supported'  # takes the whole image; its network can run in tiles of ``Restorer.tile`` to save memory
    INTERNAL = 'internal'  # takes the whole image; its network always runs in tiles
    DISCOURAGED = 'discouraged'  # has no tiles; the engine restores tiles of large images separately and blends them


class Restorer(nn.Module, abc.ABC):
    """Estimates the HR image of one LR image, alternating with an estimator of the blur kernel.

    It is the counterpart of :class:`~dkp_plugin.estimators.base.KernelEstimator`. Neither ever sees the true image or
    the true kernel. To add a restorer, write ``restorers/<name>_restorer.py`` and name the class in
    ``network_g: {type: <class>}``.

    An interrupted image resumes from a snapshot of all attributes that are tensors, numbers, strings, lists,
    dictionaries, optimisers, schedulers or generators (:mod:`dkp_plugin.engine.snapshot`). Therefore ``reset`` must
    create every network and optimiser that ``step`` changes, and ``step`` must keep its state in such attributes.
    Trained networks whose parameters do not require gradients are not saved; tensors with a graph are restored as None.

    Attributes:
        num_iter: Number of steps, if the method fixes it; None: the option file sets it.
        updates_kernel: Whether the estimator should learn from the current image; otherwise the kernel stays fixed.
        has_weights: Whether the method has trained weights.
        tiling: How it handles large images.
        tile: Side of its tiles in HR pixels, for ``Tiling.SUPPORTED``; None: no tiles. The engine sets it.
        auto_tile: Side of the results, in HR pixels, above which ``tile: auto`` cuts them into tiles; None: that of its
            ``tiling``.
        shows_misfit: Whether a misfit (:mod:`dkp_plugin.engine.misfit`) means that the image breaks the forward model,
            not that the method has not converged.
        paper: Reference, for the table of methods.
        scales: Scale factors that the method supports.
    """

    num_iter: int | None = None
    updates_kernel: bool = True
    has_weights: bool = False
    tiling: Tiling = Tiling.DISCOURAGED
    tile: int | None = None
    auto_tile: int | None = None
    shows_misfit: bool = False
    paper: str = ''
    scales: tuple[int, ...] = SCALES

    def load(self, path: str | None) -> None:
        """Load trained weights; called once, before the first image, if ``has_weights``.

        Args:
            path: The weight file of the option file, or None.

        Raises:
            UserError: if the file cannot be used.
            OptionError: if a file must be named; the caller prefixes its message with the name of the option.
        """
        raise NotImplementedError

    def num_kernel_iter(self, num_iter: int) -> int:
        """Number of steps, of ``num_iter``, in which the estimator updates the kernel; for the expected time."""
        return 0 if type(self).updates_kernel is False else num_iter

    @abc.abstractmethod
    def reset(self, lq: Tensor, degradation: Degradation, generator: torch.Generator) -> None:
        """Start a new image and discard all state of the previous one.

        Args:
            lq: The LR image, (1, C, h, w) in [0, 1]. The engine passes three channels, identical for a gray image.
            degradation: Scale, kernel size and kernel convention.
            generator: CPU generator, the only source of random numbers.
        """

    @abc.abstractmethod
    def forward(self) -> Tensor:
        """Return the current HR estimate, (1, C, s h, s w) in [0, 1], detached."""

    def stages(self) -> dict[str, Tensor]:
        """The images that led to the current one, by name, each (1, C, s h, s w) in [0, 1]; the records score them."""
        return {}

    @abc.abstractmethod
    def step(self, kernel: Tensor) -> dict[str, Tensor]:
        """Improve the image with the estimator's current kernel.

        Args:
            kernel: (1, 1, K, K), non-negative, of sum 1, detached.

        Returns:
            Scalar losses by name, each name starting with ``l_x_``.
        """
