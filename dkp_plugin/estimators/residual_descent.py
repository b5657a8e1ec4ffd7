"""What the estimators share that fit a parametrised kernel to the LR image by gradient descent."""

import abc
from collections.abc import Iterable

import torch
from torch import Tensor

from dkp_plugin.estimators.base import KernelEstimator
from dkp_plugin.physics.data_loss import SsimPadding, data_loss
from dkp_plugin.physics.degradation import Degradation


def descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> Tensor:
    """Take one step on one loss alone: gradients that were accumulated before are dropped, and none are left.

    Args:
        optimizer: Optimizer of the parameters that the loss depends on.
        loss: Scalar with its graph.

    Returns:
        The loss before the step, detached.
    """
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return loss.detach()


class ResidualDescent(KernelEstimator):
    """Kernel that descends the LR residual, one Adam step per call; subclasses define how the kernel is parametrised.

    Args:
        lr: Learning rate of Adam.
        ssim_iters: Calls of ``step`` that use 1 - SSIM as the residual; later calls use the mean squared error. Set it
            to the restorer's own ``ssim_iters``.
        ssim_padding: ``zeros`` or ``none``, see ``DIP``. Set it to the restorer's own.
    """

    def __init__(self, lr: float, ssim_iters: int, ssim_padding: SsimPadding = 'zeros') -> None:
        super().__init__()
        self.lr, self.ssim_iters, self.ssim_padding = lr, ssim_iters, ssim_padding

    @abc.abstractmethod
    def start(self, generator: torch.Generator, device: torch.device) -> Iterable[Tensor]:
        """Start on a new image, with ``self.degradation`` set, and return the leaf tensors to optimise."""

    @abc.abstractmethod
    def kernel(self) -> Tensor:
        """Return the current kernel, (1, 1, K, K), non-negative, of sum 1, with its graph."""

    def update(self) -> None:
        """Move the parameters along the gradients of the residual, which are ready."""
        self.optimizer.step()

    def reset(self, lq: Tensor, degradation: Degradation, generator: torch.Generator) -> None:
        self.lq, self.degradation, self.iteration = lq, degradation, 0
        self.optimizer = torch.optim.Adam(self.start(generator, lq.device), lr=self.lr)

    def forward(self) -> Tensor:
        with torch.no_grad():
            return self.kernel()

    def step(self, x: Tensor) -> dict[str, Tensor]:
        y = self.degradation.A(x, self.kernel())
        residual = data_loss(y, self.lq, self.iteration < self.ssim_iters, self.ssim_padding)
        self.optimizer.zero_grad()
        residual.backward()
        self.update()
        self.iteration += 1
        return {'l_k_residual': residual.detach()}
