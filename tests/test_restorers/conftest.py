"""Tiny networks with random weights."""

import pytest
import torch

from dkp_plugin.archs.unpaired_arch import UnpairedSR
from dkp_plugin.archs.usrnet_arch import USRNetwork


@pytest.fixture
def tiny_usrnet() -> USRNetwork:
    """Always the same network, of two iterations."""
    generator = torch.Generator().manual_seed(0)
    net = USRNetwork(2, (2, 3, 4, 5), num_blocks=1, num_units=4)
    for parameter in net.parameters():
        parameter.data = 0.2 * torch.randn(parameter.shape, generator=generator)
    return net.eval().requires_grad_(False)


@pytest.fixture
def tiny_unpaired() -> UnpairedSR:
    """Always the same network, for x2; no layer of it is zero."""
    generator = torch.Generator().manual_seed(0)
    net = UnpairedSR(2, num_feat=4, num_block=1, num_block_refine=1, num_feat_kernel=4, num_block_kernel=1)
    for name, parameter in net.named_parameters():
        if not name.endswith(('exponents', 'log_weights')):
            parameter.data = 0.07 * torch.randn(parameter.shape, generator=generator)
    return net.eval().requires_grad_(False)
