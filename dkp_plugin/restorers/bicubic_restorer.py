"""Bicubic enlargement, the baseline of every restorer."""

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor

from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.restorers.base import Restorer


@ARCH_REGISTRY.register()
class Bicubic(Restorer):
    """Enlarges the LR image bicubically, on the HR grid of the kernel convention.

    It ignores the kernel, so its result does not depend on the estimator.
    """

    num_iter = 1
    updates_kernel = False

    def reset(self, lq: Tensor, degradation: Degradation, generator: torch.Generator) -> None:
        self.x = degradation.enlarge(lq).clamp(0, 1)

    def forward(self) -> Tensor:
        return self.x

    def step(self, kernel: Tensor) -> dict[str, Tensor]:
        return {'l_x_none': self.x.new_zeros(())}
