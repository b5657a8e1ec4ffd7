import itertools

import pytest
import torch

from dkp_plugin.degradation import Degradation
from dkp_plugin.estimators.dkp_estimator import DKP, residuals
from dkp_plugin.kernels import build_family

DEGRADATION = Degradation(scale=2, kernel_size=11)


@pytest.fixture
def scene(rng):
    """A random image, its true kernel and its LR image."""
    family = build_family('gaussian', 2, 11, DEGRADATION.centre)
    x = torch.rand(1, 3, 48, 40, generator=rng)
    kernel = family.render(torch.tensor([[0.8, 0.2, 0.3]]))
    return x, kernel, DEGRADATION.A(x, kernel)


def test_residuals_are_those_of_each_kernel_alone(scene, rng):
    x, _, lq = scene
    kernels = torch.rand(4, 1, 11, 11, generator=rng)
    expected = [((DEGRADATION.A(x, kernel[None]) - lq) ** 2).mean().item() for kernel in kernels]
    assert residuals(x, kernels, lq, DEGRADATION).tolist() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize('sampler', ['independent', 'metropolis', 'population'])
def test_given_the_true_image_the_kernel_approaches_the_true_one(scene, sampler):
    x, kernel, lq = scene
    estimator = DKP(
        num_samples=32,
        weighting='softmax',
        sampler=sampler,
        variance_range=[0.35, 5.0],
        num_units=100,
        lr=1e-3,
        warmup_iters=50,
        ssim_iters=0,
        rks_weight=100.0,
    )
    estimator.reset(lq, DEGRADATION, torch.Generator().manual_seed(0))
    before = (estimator() - kernel).square().mean()
    for _ in range(300):
        estimator.step(x)
    assert (estimator() - kernel).square().mean() < 0.1 * before


def test_metropolis_chains_settle_on_kernels_that_explain_the_image(scene):
    x, _, lq = scene
    estimator = DKP(num_samples=64, sampler='metropolis', variance_range=[0.35, 5.0], temperature=0.05, warmup_iters=0)
    estimator.reset(lq, DEGRADATION, torch.Generator().manual_seed(0))
    start = residuals(x, estimator.family.render(estimator.random.samples), lq, DEGRADATION).median()
    for _ in range(60):
        estimator.rks_step(x)
    end = residuals(x, estimator.family.render(estimator.random.samples), lq, DEGRADATION).median()
    assert estimator.random.samples.min() >= 0 and estimator.random.samples.max() <= 1
    assert end < 0.05 * start


def test_warm_up_ends_near_the_mean_of_the_family(scene):
    estimator = DKP(num_samples=64, num_units=100, lr=1e-3, warmup_iters=300)
    estimator.reset(scene[2], DEGRADATION, torch.Generator().manual_seed(0))
    mean = estimator.family.render(estimator.family.sample(4000, torch.Generator().manual_seed(1))).mean(0)
    uniform = torch.full_like(mean, 1 / mean.numel())
    assert (estimator()[0] - mean).square().mean() < 0.02 * (uniform - mean).square().mean()


@pytest.mark.parametrize('kernel_family', ['gaussian', 'motion', 'line'])
@pytest.mark.parametrize('sampler', ['independent', 'metropolis', 'population'])
def test_every_family_with_every_sampler(scene, kernel_family, sampler):
    x, _, lq = scene
    estimator = DKP(kernel_family=kernel_family, sampler=sampler, num_units=20, warmup_iters=2)
    estimator.reset(lq, DEGRADATION, torch.Generator().manual_seed(0))
    for _ in range(6):
        losses = estimator.step(x)
    assert estimator().shape == (1, 1, 11, 11) and estimator().min() >= 0
    assert estimator().sum().item() == pytest.approx(1, abs=1e-5)
    assert all(value.isfinite() for value in losses.values())


def test_gradients_of_a_round_accumulate_until_the_residual_step(scene):
    x, _, lq = scene
    estimator = DKP(num_units=20, warmup_iters=0, rks_interval=5, residual_interval=3)
    estimator.reset(lq, DEGRADATION, torch.Generator().manual_seed(0))
    kernels = [estimator()]
    for _ in range(6):
        estimator.step(x)
        kernels.append(estimator())
    moved = [not torch.equal(old, new) for old, new in itertools.pairwise(kernels)]
    assert moved == [True, False, True, False, False, True]  # RKS at calls 1 and 6, the residual at call 3


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'weighting': 'linear'}, "weighting: 'linear' is not one of inverse, focal, softmax"),
        ({'sampler': 'gibbs'}, "sampler: 'gibbs' is not one of independent, metropolis, population"),
        ({'variance_range': [4, 2]}, 'variance_range'),
        ({'kernel_family': 'line', 'variance_range': [1, 2]}, 'variance_range'),
        ({'kernel_family': 'disc'}, "kernel_family: 'disc' is not one of gaussian, motion, line"),
    ],
)
def test_wrong_names_are_refused_at_once(options, message):
    with pytest.raises(ValueError, match=message):
        DKP(**options)
