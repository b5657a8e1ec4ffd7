"""Double-DIP, a baseline of the DKP paper: the kernel network alone, fitted to the LR image; no prior on kernels."""

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor

from dkp_plugin.archs.initialise import build_initialised
from dkp_plugin.archs.kernel_fcn_arch import KernelFCN
from dkp_plugin.degradation import Degradation
from dkp_plugin.estimators.base import KernelEstimator
from dkp_plugin.losses import data_loss


@ARCH_REGISTRY.register()
class DoubleDIP(KernelEstimator):
    """Kernel network that descends the LR residual, one step per call.

    Args:
        num_layers: Hidden layers of the kernel network.
        num_units: Units per hidden layer.
        lr: Learning rate of Adam.
        ssim_iters: Calls of ``step`` with the residual 1 - SSIM, before the mean squared error takes over; should be
            the restorer's own number.
    """

    def __init__(
        self,
        num_layers: PositiveInt = 1,
        num_units: PositiveInt = 1000,
        lr: PositiveFloat = 1e-4,
        ssim_iters: NonNegativeInt = 400,
    ) -> None:
        super().__init__()
        self.num_layers, self.num_units, self.lr, self.ssim_iters = num_layers, num_units, lr, ssim_iters

    def reset(self, lq: Tensor, degradation: Degradation, generator: torch.Generator) -> None:
        self.lq, self.degradation, self.iteration = lq, degradation, 0
        self.net = build_initialised(
            lambda: KernelFCN(degradation.kernel_size, num_units=self.num_units, num_layers=self.num_layers),
            generator,
            lq.device,
        )
        self.code = self.net.random_code(generator).to(lq.device)
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=self.lr)

    def forward(self) -> Tensor:
        with torch.no_grad():
            return self.net(self.code)

    def step(self, x: Tensor) -> dict[str, Tensor]:
        y = self.degradation.A(x, self.net(self.code))
        residual = data_loss(y, self.lq, use_ssim=self.iteration < self.ssim_iters)
        self.optimizer.zero_grad()
        residual.backward()
        self.optimizer.step()
        self.iteration += 1
        return {'l_k_residual': residual.detach()}
