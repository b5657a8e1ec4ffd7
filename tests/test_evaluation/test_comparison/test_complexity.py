import pytest
import torch
from torch import nn

from dkp_plugin.evaluation.comparison.complexity import PROBE_SIZE, Complexity, count_flops, measure_complexity

TINY_DIP = {'type': 'DIP', 'num_feat': 4, 'num_skip': 2, 'num_scales': 2, 'non_local_scales': [2]}


def measured(workshop, network_k, network_g=None, **more):
    options = workshop.options() | {'network_k': network_k, 'network_g': network_g or {'type': 'ClosedForm'}} | more
    return measure_complexity(options)


def test_convolutions_and_linear_layers_by_hand():
    # 3 to 5 channels, 3x3, on 6x7 pixels that are left of 8x9; then 5 * 6 * 7 to 2.
    net = nn.Sequential(nn.Conv2d(3, 5, 3), nn.Flatten(), nn.Linear(5 * 6 * 7, 2))
    x = torch.zeros(1, 3, 8, 9)
    once = 5 * 6 * 7 * 3 * 9 + 5 * 6 * 7 * 2
    assert count_flops(lambda: net(x)) == once
    assert count_flops(lambda: (net(x), net(x).sum().backward())) == 2 * once  # forward only
    assert count_flops(lambda: net[0](x)) == 5 * 6 * 7 * 3 * 9  # a part of a network that is called alone
    assert count_flops(lambda: x + 1) == 0


def test_a_call_that_fails_leaves_nothing_behind():
    with pytest.raises(RuntimeError):
        count_flops(lambda: nn.Linear(2, 2)(torch.zeros(3)))
    assert count_flops(lambda: nn.Linear(2, 2)(torch.zeros(1, 2))) == 4


def test_the_kernel_network_by_hand(workshop):
    # 200 numbers to 10 units to 11x11 pixels; the closed form asks for the kernel once.
    expected = Complexity(201 * 10 + 11 * 121, 200 * 10 + 10 * 121)
    assert measured(workshop, {'type': 'DoubleDIP', 'num_units': 10}) == expected


def test_estimator_and_restorer_add_up(workshop):
    options = {'alternation': {'num_iter': 2}}
    alone = measured(workshop, {'type': 'FixedKernel', 'source': 'gt'}, TINY_DIP, **options)
    both = measured(workshop, {'type': 'DoubleDIP', 'num_units': 10}, TINY_DIP, **options)
    assert both.num_parameters == alone.num_parameters + 201 * 10 + 11 * 121
    assert both.flops == alone.flops + 2 * (200 * 10 + 10 * 121)  # for the estimator's step, and for the restorer's
    finished = measured(workshop, {'type': 'FixedKernel'}, TINY_DIP, **options, restorer={'final': 'ClosedForm'})
    assert finished == alone


def test_zssr_by_hand(workshop):
    # Three convolutions of 3x3 on crops of 16x16, to which 3 pixels are added on each side.
    network_g = {'type': 'ZSSR', 'num_feat': 4, 'num_hidden': 2, 'crop_size': 16}
    complexity = measured(workshop, {'type': 'FixedKernel'}, network_g)
    assert complexity.num_parameters == (27 + 1) * 4 + (36 + 1) * 4 + (36 + 1) * 3
    assert complexity.flops == 9 * (3 * 4 * 20**2 + 4 * 4 * 18**2 + 4 * 3 * 16**2) and PROBE_SIZE // 2 > 16


@pytest.mark.parametrize('restorer', ['Diffusion', 'DIP'])
def test_methods_as_they_come(workshop, restorer):
    options = {'alternation': {'num_iter': 2}} if restorer == 'DIP' else {}
    network_k = {'type': 'EvidenceDKP' if restorer == 'Diffusion' else 'DKP', 'num_samples': 4}
    complexity = measured(workshop, network_k, {'type': restorer}, **options)
    assert complexity.num_parameters > 1e6 and complexity.flops > 1e9


def test_unknown_costs(workshop):
    assert measured(workshop, {'type': 'KernelGAN'}) == Complexity()
    assert measured(workshop, {'type': 'FixedKernel'}, {'type': 'USRNet'}) == Complexity()  # has no weights
