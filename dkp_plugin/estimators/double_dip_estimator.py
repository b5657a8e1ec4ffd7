"""Double-DIP, a baseline of the DKP paper: the kernel network alone, fitted to the LR image; no prior on kernels."""

from collections.abc import Iterable

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor

from dkp_plugin.archs.initialise import build_initialised
from dkp_plugin.archs.kernel_fcn_arch import KernelFCN
from dkp_plugin.estimators.residual_descent import ResidualDescent


@ARCH_REGISTRY.register()
class DoubleDIP(ResidualDescent):
    """Kernel network that descends the LR residual, one step per call.

    Args:
        num_layers: Hidden layers of the kernel network.
        num_units: Units per hidden layer.
        lr: Learning rate of Adam.
        ssim_iters: Calls of ``step`` with the residual 1 - SSIM, before the mean squared error takes over; should be
            the restorer's own number.
    """

    paper = 'Ren et al., CVPR 2020'

    def __init__(
        self,
        num_layers: PositiveInt = 1,
        num_units: PositiveInt = 1000,
        lr: PositiveFloat = 1e-4,
        ssim_iters: NonNegativeInt = 400,
    ) -> None:
        super().__init__(lr, ssim_iters)
        self.num_layers, self.num_units = num_layers, num_units

    def start(self, generator: torch.Generator, device: torch.device) -> Iterable[Tensor]:
        kernel_size = self.degradation.kernel_size
        self.net = build_initialised(
            lambda: KernelFCN(kernel_size, num_units=self.num_units, num_layers=self.num_layers), generator, device
        )
        self.code = self.net.random_code(generator).to(device)
        return self.net.parameters()

    def kernel(self) -> Tensor:
        return self.net(self.code)
