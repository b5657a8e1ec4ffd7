"""The simplest estimator: a free logit for each pixel of the kernel, fitted to the LR image (a baseline of FKP)."""

from collections.abc import Iterable

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from pydantic import NonNegativeInt, PositiveFloat
from torch import Tensor

from dkp_plugin.estimators.residual_descent import ResidualDescent


@ARCH_REGISTRY.register()
class Softmax(ResidualDescent):
    """Kernel of pixel logits that descends the LR residual; it starts uniform and knows nothing of kernels.

    Args:
        lr: Learning rate of Adam.
        ssim_iters: Calls of ``step`` with the residual 1 - SSIM, before the mean squared error takes over; should be
            the restorer's own number.
    """

    def __init__(self, lr: PositiveFloat = 5e-2, ssim_iters: NonNegativeInt = 400) -> None:
        super().__init__(lr, ssim_iters)

    def start(self, generator: torch.Generator, device: torch.device) -> Iterable[Tensor]:
        self.logits = torch.zeros(1, self.degradation.kernel_size**2, device=device, requires_grad=True)
        return [self.logits]

    def kernel(self) -> Tensor:
        return torch.softmax(self.logits, dim=1).unflatten(1, (1, *[self.degradation.kernel_size] * 2))
