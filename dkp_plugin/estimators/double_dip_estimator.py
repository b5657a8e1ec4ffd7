"""Double-DIP, a baseline of the DKP paper: the kernel network alone, fitted to the LR image without a kernel prior."""

from collections.abc import Iterable

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor

from dkp_plugin.estimators.kernel_network import KernelNetwork
from dkp_plugin.estimators.residual_descent import ResidualDescent
from dkp_plugin.physics.data_loss import SsimPadding


@ARCH_REGISTRY.register()
class DoubleDIP(ResidualDescent):
    """Kernel network that descends the LR residual ``||y - A(x, k_phi)||^2``, one Adam step per call.

    Args:
        num_layers: Hidden layers of the kernel network.
        num_units: Units per hidden layer.
        lr: Learning rate of Adam.
        ssim_iters: Calls of ``step`` that use 1 - SSIM as the residual; later calls use the mean squared error. Set it
            to the restorer's own ``ssim_iters``.
        ssim_padding: ``zeros`` or ``none``, see ``DIP``. Set it to the restorer's own.
    """

    paper = 'Ren et al., CVPR 2020'

    def __init__(
        self,
        num_layers: PositiveInt = 1,
        num_units: PositiveInt = 1000,
        lr: PositiveFloat = 1e-4,
        ssim_iters: NonNegativeInt = 400,
        ssim_padding: SsimPadding = 'zeros',
    ) -> None:
        super().__init__(lr, ssim_iters, ssim_padding)
        self.num_layers, self.num_units = num_layers, num_units

    def start(self, generator: torch.Generator, device: torch.device) -> Iterable[Tensor]:
        kernel_size = self.degradation.kernel_size
        self.network = KernelNetwork(kernel_size, self.num_layers, self.num_units, generator, device)
        return self.network.parameters()

    def kernel(self) -> Tensor:
        return self.network.kernel()
