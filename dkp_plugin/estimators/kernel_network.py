"""The kernel network on one image, which DKP, EvidenceDKP and Double-DIP share."""

from typing import Literal

import torch
from torch import Tensor, nn

from dkp_plugin.archs.initialise import build_initialised
from dkp_plugin.archs.kernel_fcn_arch import KernelFCN
from dkp_plugin.estimators.residual_descent import descend
from dkp_plugin.physics.kernel_families import KernelFamily

Warmup = Literal['mean', 'single']


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
    warmup: Warmup = 'mean',
) -> None:
    """Move the kernel towards random kernels, without looking at the image.

    Args:
        network: Network to train.
        optimizer: Optimizer of its parameters.
        family: Family of the random kernels.
        num_samples: Random kernels per step.
        num_iter: Number of steps.
        generator: CPU generator of the random kernels.
        warmup: ``mean``: each step descends ``||k_phi - k_m||^2``, where k_m is the mean of ``num_samples`` random
            kernels; the kernel ends near the mean of the family. ``single``: each step descends
            ``||k_phi - k_m||^2 / K^2`` with a single random kernel, as the released program does. The gradients of this
            loss are smaller than the epsilon of Adam, so the kernel stays nearly flat.
    """
    for _ in range(num_iter):
        kernels = family.render(family.sample(num_samples if warmup == 'mean' else 1, generator).to(network.code))
        squares = (network.kernel() - kernels.mean(0)).square()
        descend(optimizer, squares.sum() if warmup == 'mean' else squares.mean())
