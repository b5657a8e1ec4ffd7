"""The fully connected network whose softmax output is a blur kernel (PKE of DKP, CVPR 2024)."""

import itertools

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn


@ARCH_REGISTRY.register()
class KernelFCN(nn.Module):
    """Map a code to a kernel: linear layers with ReLU6, then a softmax over the pixels.

    Args:
        kernel_size: K of the K x K kernel.
        num_in: Length of the code.
        num_units: Units of each hidden layer.
        num_layers: Number of hidden layers, at least 1.
    """

    def __init__(self, kernel_size: int, num_in: int = 200, num_units: int = 1000, num_layers: int = 1) -> None:
        super().__init__()
        self.kernel_size, self.num_in = kernel_size, num_in
        widths = [num_in] + [num_units] * num_layers
        hidden = [
            layer
            for fan_in, fan_out in itertools.pairwise(widths)
            for layer in (nn.Linear(fan_in, fan_out), nn.ReLU6())
        ]
        self.layers = nn.Sequential(*hidden, nn.Linear(num_units, kernel_size**2))

    def random_code(self, generator: torch.Generator) -> Tensor:
        """Draw a code (1, num_in), uniform in [0, 0.1], on the CPU; it stays fixed while an image is restored."""
        return 0.1 * torch.rand(1, self.num_in, generator=generator)

    def forward(self, code: Tensor) -> Tensor:
        """Map codes (B, num_in) to kernels (B, 1, K, K), non-negative, of sum 1."""
        return torch.softmax(self.layers(code), dim=1).view(-1, 1, self.kernel_size, self.kernel_size)
