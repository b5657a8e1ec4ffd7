"""The kernel network on one image, which DKP, EvidenceDKP and Double-DIP share."""

import torch
from torch import Tensor, nn

from dkp_plugin.archs.initialise import build_initialised
from dkp_plugin.archs.kernel_fcn_arch import KernelFCN
from dkp_plugin.estimators.residual_descent import descend
from dkp_plugin.physics.kernel_families import KernelFamily


class KernelNetwork(nn.Module):
    """Kernel ``k = softmax(FCN_phi(z))`` with fixed noise z and trainable parameters phi, new for every image.

    Args:
        kernel_size: K of the K x K kernel.
        num_layers: Hidden layers of the FCN.
        num_units: Units per hidden layer.
        generator: CPU generator. It gives the initial parameters and z.
        device: Device of the network.
    """

    def __init__(
        self, kernel_size: int, num_layers: int, num_units: int, generator: torch.Generator, device: torch.device
    ) -> None:
        super().__init__()
        self.fcn = build_initialised(
            lambda: KernelFCN(kernel_size, num_units=num_units, num_layers=num_layers), generator, device
        )
        self.code = self.fcn.random_code(generator).to(device)

    def kernel(self) -> Tensor:
        """Return the current kernel, (1, 1, K, K), non-negative, of sum 1, with its graph."""
        return self.fcn(self.code)


def warm_up(
    network: KernelNetwork,
    optimizer: torch.optim.Optimizer,
    family: KernelFamily,
    num_samples: int,
    num_iter: int,
    generator: torch.Generator,
) -> None:
    """Move the kernel towards the mean of a family, without looking at the image.

    Each step descends ``||k_phi - k_m||^2``, where k_m is the mean of a few random kernels.

    Args:
        network: Network to train.
        optimizer: Optimizer of its parameters.
        family: Family of the random kernels.
        num_samples: Random kernels per step.
        num_iter: Number of steps.
        generator: CPU generator of the random kernels.
    """
    for _ in range(num_iter):
        kernels = family.render(family.sample(num_samples, generator).to(network.code))
        descend(optimizer, (network.kernel() - kernels.mean(0)).square().sum())
