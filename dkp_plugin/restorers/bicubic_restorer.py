"""Bicubic enlargement: what every restorer has to beat."""

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor

from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.restorers.base import Restorer


@ARCH_REGISTRY.register()
class Bicubic(Restorer):
    """Enlarges the LR image bicubically, on the grid to which the kernel's convention relates it.

    It uses no kernel, so every estimator beside it gives the same image.
    """

    num_iter = 1
    updates_kernel = False

    def reset(self, lq: Tensor, degradation: Degradation, generator: torch.Generator) -> None:
        self.x = degradation.enlarge(lq).clamp(0, 1)

    def forward(self) -> Tensor:
        return self.x

    def step(self, kernel: Tensor) -> dict[str, Tensor]:
        return {'l_x_none': self.x.new_zeros(())}
