"""What the estimators share that fit a parametrised kernel to the LR image and do nothing else."""

import abc
from collections.abc import Iterable

import torch
from torch import Tensor

from dkp_plugin.estimators.base import KernelEstimator
from dkp_plugin.physics.data_loss import data_loss
from dkp_plugin.physics.degradation import Degradation


class ResidualDescent(KernelEstimator):
    """Kernel that descends the LR residual by one step of Adam per call; a subclass says of what it is a function.

    Args:
        lr: Learning rate of Adam.
        ssim_iters: Calls of ``step`` with the residual 1 - SSIM, before the mean squared error takes over; should be
            the restorer's own number.
    """

    def __init__(self, lr: float, ssim_iters: int) -> None:
        super().__init__()
        self.lr, self.ssim_iters = lr, ssim_iters

    @abc.abstractmethod
    def start(self, generator: torch.Generator, device: torch.device) -> Iterable[Tensor]:
        """Start on a new image, with ``self.degradation`` set; return the leaf tensors that are optimised."""

    @abc.abstractmethod
    def kernel(self) -> Tensor:
        """The current kernel, (1, 1, K, K), non-negative, of sum 1, with its graph."""

    def update(self) -> None:
        """Take the step for which the gradients are ready."""
        self.optimizer.step()

    def reset(self, lq: Tensor, degradation: Degradation, generator: torch.Generator) -> None:
        self.lq, self.degradation, self.iteration = lq, degradation, 0
        self.optimizer = torch.optim.Adam(self.start(generator, lq.device), lr=self.lr)

    def forward(self) -> Tensor:
        with torch.no_grad():
            return self.kernel()

    def step(self, x: Tensor) -> dict[str, Tensor]:
        y = self.degradation.A(x, self.kernel())
        residual = data_loss(y, self.lq, use_ssim=self.iteration < self.ssim_iters)
        self.optimizer.zero_grad()
        residual.backward()
        self.update()
        self.iteration += 1
        return {'l_k_residual': residual.detach()}
