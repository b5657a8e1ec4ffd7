import pytest
import torch
from torch import nn

from dkp_plugin.archs.initialise import build_initialised
from dkp_plugin.archs.skip_arch import SkipNet

CPU = torch.device('cpu')


def build(seed):
    return build_initialised(
        lambda: SkipNet(num_feat=8, num_scales=2, non_local_scales=()), torch.Generator().manual_seed(seed), CPU
    )


def test_weights_depend_on_the_generator_alone():
    torch.manual_seed(1)
    first = build(0).state_dict()
    torch.manual_seed(2)
    state = torch.get_rng_state()
    second, other = build(0).state_dict(), build(3).state_dict()
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert not torch.equal(first['last.weight'], other['last.weight'])


def test_law_is_pytorchs_default():
    linear = build_initialised(lambda: nn.Linear(400, 500), torch.Generator().manual_seed(0), CPU)
    bound = 1 / 400**0.5  # uniform in +- 1 / sqrt(fan in), of variance bound^2 / 3
    assert linear.weight.abs().max() <= bound
    assert linear.weight.var().item() == pytest.approx(bound**2 / 3, rel=0.02)
    norm = build_initialised(lambda: nn.BatchNorm2d(3), torch.Generator(), CPU)
    assert norm.weight.tolist() == [1, 1, 1] and norm.running_mean.tolist() == [0, 0, 0]


def test_unknown_layer_is_refused():
    with pytest.raises(TypeError, match='PReLU'):
        build_initialised(nn.PReLU, torch.Generator(), CPU)
