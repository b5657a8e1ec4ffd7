"""The baseline of every learned method: the closed-form solution for a given kernel with a bicubic prior image."""

import torch
import torch.nn.functional as F
from basicsr.utils.registry import ARCH_REGISTRY
from pydantic import PositiveFloat
from torch import Tensor

from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.restorers.base import Restorer


@ARCH_REGISTRY.register()
class ClosedForm(Restorer):
    """Restores an image by ``argmin_x ||A(x, k) - y||^2 + alpha ||x - z||^2``, z the bicubically enlarged LR image.

    It runs once and uses the estimator's initial kernel. z stays on the bicubic grid, even if the kernel convention
    shifts the image.

    Args:
        alpha: Weight of the prior; a smaller weight fits the LR image more closely and amplifies its noise.
    """

    num_iter = 1
    updates_kernel = False

    def __init__(self, alpha: PositiveFloat = 3e-3) -> None:
        super().__init__()
        self.alpha = alpha

    def reset(self, lq: Tensor, degradation: Degradation, generator: torch.Generator) -> None:
        self.lq, self.degradation = lq, degradation
        self.prior = F.interpolate(lq, scale_factor=degradation.scale, mode='bicubic').clamp(0, 1)
        self.x = self.prior

    def forward(self) -> Tensor:
        return self.x

    def step(self, kernel: Tensor) -> dict[str, Tensor]:
        self.x = self.degradation.data_step(self.prior, self.lq, kernel, self.alpha).clamp(0, 1)
        return {'l_x_data': (self.degradation.A(self.x, kernel) - self.lq).square().mean()}
