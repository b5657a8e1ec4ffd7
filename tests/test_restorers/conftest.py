"""A tiny image prior with random weights."""

import pytest
import torch

from dkp_plugin.archs.compact_prior_arch import CompactPrior


@pytest.fixture
def tiny_prior() -> CompactPrior:
    """Always the same network; no layer of it is zero."""
    generator = torch.Generator().manual_seed(0)
    net = CompactPrior(num_feats=(4, 8), num_blocks=(1, 1), num_emb=8)
    for parameter in net.parameters():
        parameter.data = 0.1 * torch.randn(parameter.shape, generator=generator)
    return net.eval().requires_grad_(False)
