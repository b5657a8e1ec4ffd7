import math

import pytest
import torch

from dkp_plugin.estimators.random_kernels import RandomKernels, kernel_weights, perturb


def test_inverse_weights_by_hand():
    weights = kernel_weights(torch.tensor([1.0, 2.0, 4.0]).log(), 'inverse')
    assert weights.tolist() == pytest.approx([4 / 7, 2 / 7, 1 / 7])


def test_softmax_weights_by_hand():
    weights = kernel_weights(torch.tensor([1.0, 2.0]).log(), 'softmax', temperature=0.5)  # 1 : 2^-2
    assert weights.tolist() == pytest.approx([0.8, 0.2])


def test_focal_weights_by_hand():
    # excess 0, 1, 3; shares 0, 1/4, 3/4
    expected = [-math.log(0.001), -((3 / 4) ** 2) * math.log(0.251), -((1 / 4) ** 2) * math.log(0.751)]
    assert kernel_weights(torch.tensor([1.0, 2.0, 4.0]).log(), 'focal').tolist() == pytest.approx(expected)


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
