"""What every registered restorer has to do; a new one is found through the registry."""

import pytest
import torch
from basicsr.utils.registry import ARCH_REGISTRY

from dkp_plugin.archs.unfolded_arch import UnfoldedPrior
from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.restorers.base import Restorer

TINY = {
    'DIP': {'num_feat': 4, 'num_skip': 2, 'num_scales': 2, 'non_local_scales': (2,)},
    'Diffusion': {'num_steps': 2, 'num_final_steps': 1},
    'OnePass': {'kernel_iters': 3},
    'Unpaired': {'kernel_iters': 3},
    'ZSSR': {'num_steps': 3, 'num_feat': 4, 'num_hidden': 2},
}
RESTORERS = sorted(
    name
    for name, network in ARCH_REGISTRY
    if issubclass(network, Restorer) and network.__module__.startswith('dkp_plugin')
)


def run(restorer, seed, scale=2, height=8, width=9, steps=3):
    generator = torch.Generator().manual_seed(seed)
    lq = torch.rand(1, 3, height, width, generator=generator)
    kernel = torch.full((1, 1, 7, 7), 1 / 49)
    restorer.reset(lq, Degradation(scale, 7), generator)
    losses = [restorer.step(kernel) for _ in range(steps)]
    return restorer().clone(), losses


@pytest.fixture
def build(tiny_prior, tiny_usrnet, tiny_unpaired):
    nets = {'Diffusion': tiny_prior, 'USRNet': tiny_usrnet, 'OnePass': tiny_unpaired, 'Unpaired': tiny_unpaired}
    nets['Unfolded'] = UnfoldedPrior(num_step=1, lora_rank=1).requires_grad_(False)

    def build_tiny(name):
        restorer = ARCH_REGISTRY.get(name)(**TINY.get(name, {}))
        if restorer.has_weights:
            restorer.net = nets[name]
        return restorer

    return build_tiny


def test_there_are_restorers():
    assert {'DIP', 'Diffusion', 'ZSSR'} <= set(RESTORERS)


@pytest.mark.parametrize('name', RESTORERS)
@pytest.mark.parametrize(('scale', 'height', 'width'), [(2, 16, 16), (3, 17, 16), (4, 19, 23)])
def test_contract(name, build, scale, height, width):
    restorer = build(name)
    if name in ('OnePass', 'Unpaired') and scale != 2:
        pytest.skip('the weights are for x2')
    x, losses = run(restorer, 0, scale, height, width)
    assert x.shape == (1, 3, scale * height, scale * width) and not x.requires_grad
    assert x.min() >= 0 and x.max() <= 1
    for row in losses:
        assert all(key.startswith('l_x_') and value.ndim == 0 and not value.requires_grad for key, value in row.items())


@pytest.mark.parametrize('name', RESTORERS)
def test_reset_forgets_the_previous_image(name, build):
    used, fresh = build(name), build(name)
    run(used, seed=1, height=12, width=12)
    torch.manual_seed(5)  # the global generator must not matter
    assert torch.equal(run(used, seed=0, height=12)[0], run(fresh, seed=0, height=12)[0])
