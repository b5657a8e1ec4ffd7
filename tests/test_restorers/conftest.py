"""Tiny networks with random weights."""

import pytest
import torch

from dkp_plugin.archs.usrnet_arch import USRNetwork


@pytest.fixture
def tiny_usrnet() -> USRNetwork:
    """Always the same network, of two iterations."""
    generator = torch.Generator().manual_seed(0)
    net = USRNetwork(2, (2, 3, 4, 5), num_blocks=1, num_units=4)
    for parameter in net.parameters():
        parameter.data = 0.2 * torch.randn(parameter.shape, generator=generator)
    return net.eval().requires_grad_(False)
