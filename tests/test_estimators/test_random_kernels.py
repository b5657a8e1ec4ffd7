import math
from typing import get_args

import pytest
import torch

from dkp_plugin.estimators.random_kernels import Family, RandomKernelOptions, RandomKernels, kernel_weights, perturb
from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.physics.kernel_families import KERNEL_FAMILIES, GaussianFamily


def test_inverse_weights_by_hand():
    weights = kernel_weights(torch.tensor([1.0, 2.0, 4.0]).log(), 'inverse')
    assert weights.tolist() == pytest.approx([4 / 7, 2 / 7, 1 / 7])


def test_softmax_weights_by_hand():
    weights = kernel_weights(torch.tensor([1.0, 2.0]).log(), 'softmax', temperature=0.5)  # 1 : 2^-2
    assert weights.tolist() == pytest.approx([0.8, 0.2])


def test_focal_weights_by_hand():
    # excess 0, 1e-5, 3e-5; with 1e-5 added to their sum, shares 0, 1/5, 3/5
    expected = [-math.log(0.001), -((4 / 5) ** 2) * math.log(0.201), -((2 / 5) ** 2) * math.log(0.601)]
    losses = torch.tensor([1e-4, 1.1e-4, 1.3e-4], dtype=torch.float64)
    assert kernel_weights(losses.log(), 'focal').tolist() == pytest.approx(expected)


@pytest.mark.parametrize('weighting', ['inverse', 'focal', 'softmax'])
def test_equal_energies_weigh_alike(weighting):
    weights = kernel_weights(torch.zeros(3), weighting)
    assert weights.isfinite().all() and weights.min() > 0 and weights.max() - weights.min() < 1e-6


def test_perturbed_samples_stay_in_the_cube_and_move_by_the_step(rng):
    start = torch.full((20000, 1), 0.5)
    moved = perturb(start, 0.05, rng)
    assert (moved - start).std().item() == pytest.approx(0.05, rel=0.05)
    at_the_face = perturb(torch.ones(20000, 1), 0.05, rng)
    assert at_the_face.max() <= 1
    # A step of a standard normal length beyond the face comes back: the distance is half-normal.
    assert (1 - at_the_face).mean().item() == pytest.approx(0.05 * math.sqrt(2 / math.pi), rel=0.05)


@pytest.mark.parametrize('sampler', ['metropolis', 'population'])
def test_samplers_find_the_likely_corner(sampler, rng):
    target = torch.tensor([0.2, 0.7, 0.9])
    random = RandomKernels(
        64, 3, sampler, temperature=0.01, proposal_std=0.1, generator=rng, device=torch.device('cpu')
    )

    def judge(samples):
        return samples.view(-1, 1, 1, 3), (samples - target).square().sum(1)

    for _ in range(80):
        kernels, energies = random.draw(judge)
    weights = kernel_weights(energies, 'softmax', 0.01)
    # exp(-|p - target|^2 / T) is a Gaussian of variance T / 2 about the target
    assert (weights @ kernels.view(-1, 3) - target).abs().max() < 0.05


def test_independent_samples_forget_the_round_before(rng):
    random = RandomKernels(5000, 1, 'independent', 0.01, 0.1, rng, torch.device('cpu'))
    for _ in range(3):
        random.draw(lambda samples: (samples.view(-1, 1, 1, 1), samples[:, 0]))
    assert random.samples.mean().item() == pytest.approx(0.5, abs=0.02)
    assert random.samples.std().item() == pytest.approx(12**-0.5, rel=0.03)


def rks_options(**changes):
    options = {'weight': 1.0, 'num_samples': 4, 'weighting': 'softmax', 'temperature': 0.5, 'sampler': 'independent'}
    options |= {'proposal_std': 0.1, 'kernel_family': 'gaussian', 'variance_range': None, 'length_range': None}
    return RandomKernelOptions(**options | {'default_variances': (0.5, 3.0)} | changes)


@pytest.mark.parametrize('scale', [2, 4])
@pytest.mark.parametrize('kernel_family', ['gaussian', 'free'])
def test_default_variances_are_in_units_of_the_scale(scale, kernel_family):
    degradation = Degradation(scale, 11)
    family = rks_options(kernel_family=kernel_family).build_family(degradation)
    assert isinstance(family, GaussianFamily) and family.variance_range == (0.5 * scale, 3.0 * scale)
    assert (family.scale, family.kernel_size, family.centre) == (scale, 11, degradation.centre)
    given = rks_options(kernel_family=kernel_family, variance_range=(1, 2)).build_family(degradation)
    assert given.variance_range == (1, 2)


def test_lengths_are_those_of_the_family_unless_they_are_given():
    degradation = Degradation(2, 11)
    assert rks_options(kernel_family='motion').build_family(degradation).length_range == (1, pytest.approx(8.8))
    given = rks_options(kernel_family='line', length_range=(2, 5)).build_family(degradation)
    assert given.length_range == (2, 5)


@pytest.mark.parametrize(
    ('weight', 'kernel_family', 'expected'),
    [(1, 'gaussian', True), (0, 'gaussian', False), (1, 'free', False), (1e-9, 'line', True)],
)
def test_random_kernels_guide_the_network_unless_they_weigh_nothing_or_are_none(weight, kernel_family, expected):
    options = rks_options(weight=weight, kernel_family=kernel_family)
    assert options.has_rks is expected
    options.check_moves(pke_weight=1)
    if not expected:
        with pytest.raises(ValueError, match='pke_weight: 0 is not allowed without RKS'):
            options.check_moves(pke_weight=0)


def test_every_kernel_family_can_be_named():
    assert set(get_args(Family)) == {*KERNEL_FAMILIES, 'free'}


def test_the_options_reach_sampler_and_weights(rng):
    options = rks_options(num_samples=6, sampler='population', temperature=0.5)
    random = options.start(3, rng, torch.device('cpu'))
    assert random.samples.shape == (6, 3) and random.num_fresh == 3
    # temperature 1/2: losses 1 and 2 weigh 1 : 2^-2
    assert options.weigh(torch.tensor([1.0, 2.0]).log()).tolist() == pytest.approx([0.8, 0.2])
