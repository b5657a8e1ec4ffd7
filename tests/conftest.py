"""Fixtures that several tests share."""

from pathlib import Path

import pytest
import skimage.data
import torch

import dkp_plugin  # noqa: F401  # before a test imports basicsr, which it repairs
from dkp_plugin.archs.kernel_flow_arch import KernelFlow


@pytest.fixture
def rng() -> torch.Generator:
    """A seeded generator."""
    return torch.Generator().manual_seed(0)


@pytest.fixture
def photo() -> torch.Tensor:
    """A photograph, (1, 3, 96, 96) in [0, 1]."""
    crop = skimage.data.astronaut()[0:96, 176:272].copy()
    return torch.from_numpy(crop).permute(2, 0, 1).unsqueeze(0) / 255


@pytest.fixture
def flow(rng: torch.Generator) -> KernelFlow:
    """A flow of 7x7 kernels with random weights."""
    flow = KernelFlow(7, num_units=4, num_blocks=2, normalization=0.3).eval()
    for parameter in flow.parameters():
        torch.nn.init.normal_(parameter, 0, 0.3, generator=rng)
    return flow


@pytest.fixture
def shared_data() -> Path:
    """The folder of benchmarks and weights that lies beside the repository in development."""
    folder = Path(__file__).parents[2] / 'shared' / 'data'
    if not folder.is_dir():
        pytest.skip('shared/data is not at hand')
    return folder
