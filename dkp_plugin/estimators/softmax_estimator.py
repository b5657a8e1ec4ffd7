"""The simplest estimator, a baseline of the FKP paper: one free logit per kernel pixel, fitted to the LR image."""

from collections.abc import Iterable

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from pydantic import NonNegativeInt, PositiveFloat
from torch import Tensor

from dkp_plugin.estimators.residual_descent import ResidualDescent
from dkp_plugin.physics.data_loss import SsimPadding


@ARCH_REGISTRY.register()
class Softmax(ResidualDescent):
    """Softmax of pixel logits that descends the LR residual. It starts uniform and has no prior on kernels.

    Args:
        lr: Learning rate of Adam.
        ssim_iters: Calls of ``step`` that use 1 - SSIM as the residual; later calls use the mean squared error. Set it
            to the restorer's own ``ssim_iters``.
        ssim_padding: ``zeros`` or ``none``, see ``DIP``. Set it to the restorer's own.
    """

    def __init__(
        self, lr: PositiveFloat = 5e-2, ssim_iters: NonNegativeInt = 400, ssim_padding: SsimPadding = 'zeros'
    ) -> None:
        super().__init__(lr, ssim_iters, ssim_padding)

    def start(self, generator: torch.Generator, device: torch.device) -> Iterable[Tensor]:
        self.logits = torch.zeros(1, self.degradation.kernel_size**2, device=device, requires_grad=True)
        return [self.logits]

    def kernel(self) -> Tensor:
        return torch.softmax(self.logits, dim=1).unflatten(1, (1, *[self.degradation.kernel_size] * 2))
