"""What every registered kernel estimator has to do; a new one is found through the registry."""

import pytest
import torch
from basicsr.utils.registry import ARCH_REGISTRY
from mmengine.registry import MODELS

from dkp_plugin.archs.unpaired_arch import UnpairedSR
from dkp_plugin.estimators.base import KernelEstimator
from dkp_plugin.physics.degradation import Degradation

ESTIMATORS = sorted(
    name
    for name, network in ARCH_REGISTRY
    if issubclass(network, KernelEstimator) and network.__module__.startswith('dkp_plugin')
)
DEGRADATION = Degradation(scale=2, kernel_size=7)
TINY = {'KernelGAN': {'num_iter': 2, 'num_feat': 4, 'crop_size': 27}}


@pytest.fixture(autouse=True)
def weights(tmp_path, monkeypatch):
    """A file of weights for x2 in the place of the package's, which are for x4."""
    net = UnpairedSR(2, num_feat=4, num_block=1, num_block_refine=1, num_feat_kernel=4, num_block_kernel=1)
    torch.save(net.state_dict(), tmp_path / 'unpaired.pth')
    monkeypatch.setitem(TINY, 'UnpairedKernel', {'pretrained': str(tmp_path / 'unpaired.pth')})


def run(estimator, seed, steps=6):
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(1, 3, 24, 20, generator=generator)
    estimator.reset(torch.rand(1, 3, 12, 10, generator=generator), DEGRADATION, generator)
    losses = [estimator.step(x) for _ in range(steps)]
    return estimator().clone(), losses


def test_there_are_estimators():
    assert {'DKP', 'EvidenceDKP'} <= set(ESTIMATORS)


@pytest.mark.parametrize('name', ESTIMATORS)
def test_contract(name):
    estimator = MODELS.build({'type': name} | TINY.get(name, {}))
    kernel, losses = run(estimator, seed=0)
    assert kernel.shape == (1, 1, 7, 7) and kernel.min() >= 0 and not kernel.requires_grad
    assert kernel.sum().item() == pytest.approx(1, abs=1e-5)
    for row in losses:
        assert all(key.startswith('l_k_') and value.ndim == 0 and not value.requires_grad for key, value in row.items())


@pytest.mark.parametrize('name', ESTIMATORS)
def test_reset_forgets_the_previous_image(name):
    used, fresh = (ARCH_REGISTRY.get(name)(**TINY.get(name, {})) for _ in range(2))
    run(used, seed=1)
    torch.manual_seed(5)  # the global generator must not matter
    assert torch.equal(run(used, seed=0)[0], run(fresh, seed=0)[0])
