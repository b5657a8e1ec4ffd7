import itertools
import logging

import pytest
import torch

from dkp_plugin.estimators.base import KernelEstimator
from dkp_plugin.estimators.dkp_estimator import DKP, residuals
from dkp_plugin.estimators.evidence_dkp_estimator import EvidenceDKP
from dkp_plugin.host.errors import OptionError
from dkp_plugin.host.schema import build_network
from dkp_plugin.physics.data_loss import data_loss
from dkp_plugin.physics.degradation import Degradation

DEGRADATION = Degradation(scale=2, kernel_size=11)


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


@pytest.mark.parametrize(('centre_weight', 'is_centred'), [(0.03, True), (0.0, False)])
def test_the_kernel_stays_centred_beside_an_image_that_is_not(scene, centre_weight, is_centred):
    x, _, lq = scene
    estimator = DKP(num_units=100, lr=1e-3, warmup_iters=50, ssim_iters=0, rks_weight=0.0, centre_weight=centre_weight)
    estimator.reset(lq, DEGRADATION, torch.Generator().manual_seed(0))
    for _ in range(300):
        estimator.step(x.roll(1, -1))  # by a pixel to the right, which a kernel that is off its centre would explain
    rows, columns = (estimator()[0, 0].sum(side) for side in (1, 0))
    offsets = [(share * torch.arange(11.0)).sum().item() - DEGRADATION.centre for share in (rows, columns)]
    assert abs(offsets[0]) < 0.1 and abs(offsets[1]) < 0.1 if is_centred else offsets[1] > 0.5


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
    for _ in range(10):
        losses = estimator.step(x)
    assert estimator().shape == (1, 1, 11, 11) and estimator().min() >= 0
    assert estimator().sum().item() == pytest.approx(1, abs=1e-5)
    assert all(value.isfinite() for value in losses.values())


def test_residual_steps_may_count_from_the_start_of_each_round(scene):
    x, _, lq = scene
    estimator = DKP(num_units=20, warmup_iters=0, residual_count='round')
    estimator.reset(lq, DEGRADATION, torch.Generator().manual_seed(0))
    kernels = [estimator()]
    for _ in range(10):
        estimator.step(x)
        kernels.append(estimator())
    moved = [not torch.equal(old, new) for old, new in itertools.pairwise(kernels)]
    assert moved == 2 * [True, False, True, False, False]  # RKS at calls 1 and 6, the residual at calls 3 and 8


def test_residual_steps_count_over_the_run_as_in_the_released_program(scene):
    x, _, lq = scene
    estimator = DKP(num_units=20, warmup_iters=0, rks_weight=0.0)
    estimator.reset(lq, DEGRADATION, torch.Generator().manual_seed(0))
    kernels = [estimator()]
    for _ in range(15):
        estimator.step(x)
        kernels.append(estimator())
    moved = [not torch.equal(old, new) for old, new in itertools.pairwise(kernels)]
    assert moved == 5 * [False, False, True]


@pytest.mark.parametrize('ssim_padding', ['none', 'zeros'])
def test_residual_has_the_padding_that_is_set(scene, ssim_padding):
    x, _, lq = scene
    estimator = DKP(num_units=20, warmup_iters=0, rks_weight=0.0, ssim_padding=ssim_padding)
    estimator.reset(lq, DEGRADATION, torch.Generator().manual_seed(0))
    expected = data_loss(DEGRADATION.A(x, estimator()), lq, True, ssim_padding).item()
    assert estimator.step(x)['l_k_residual'].item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize('network', [DKP, EvidenceDKP])
@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'weighting': 'linear'}, "weighting: 'linear' is not one of inverse, focal, softmax"),
        ({'sampler': 'gibbs'}, "sampler: 'gibbs' is not one of independent, metropolis, population"),
        ({'variance_range': [4, 2]}, 'variance_range'),
        ({'kernel_family': 'line', 'variance_range': [1, 2]}, 'variance_range'),
        ({'kernel_family': 'free', 'pke_weight': 0.0}, 'pke_weight: 0 is not allowed without RKS'),
        ({'kernel_family': 'box'}, "kernel_family: 'box' is not one of gaussian, motion, line, disc, auto, free"),
    ],
)
def test_wrong_names_are_refused_at_once(network, options, message):
    with pytest.raises(ValueError, match=message):
        network(**options)


@pytest.mark.parametrize('network', [DKP, EvidenceDKP])
@pytest.mark.parametrize('key', ['weighting', 'sampler', 'kernel_family'])
def test_option_files_offer_the_names_that_are_allowed(network, key):
    with pytest.raises(OptionError, match=rf"^network_k: {key}: 'x' is not allowed: input should be '\w+', '\w+'"):
        build_network({'type': network.__name__, key: 'x'}, 'network_k', KernelEstimator)


@pytest.mark.parametrize(
    ('old', 'network', 'note'),
    [
        ({'likelihood': 'evidence', 'num_units': 9, 'memory': 0.5}, EvidenceDKP, 'is now type: EvidenceDKP'),
        ({'likelihood': 'residual', 'num_units': 9}, DKP, 'is now type: DKP;'),
        ({'num_units': 9}, DKP, None),
    ],
)
def test_old_option_files_build_what_they_did_and_one_line_names_the_new_form(old, network, note, monkeypatch):
    options = {'type': 'DKP'} | old
    lines = []
    monkeypatch.setattr(logging.getLogger('basicsr'), 'warning', lines.append)
    estimator = build_network(options, 'network_k', KernelEstimator)
    assert type(estimator) is network and estimator.num_units == 9
    assert getattr(estimator, 'memory', 0.5) == 0.5
    assert options == {'type': 'DKP'} | old  # the records keep what the file says
    assert len(lines) == (note is not None)
    assert all(line.startswith('network_k: type: DKP with likelihood: ') and note in line for line in lines)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'type': 'DKP', 'pke_iters': 3}, 'pke_iters: unknown key of DKP, did you mean'),
        ({'type': 'DKP', 'memory': 0.5}, 'memory: unknown key of DKP, allowed: .*centre_weight'),
        ({'type': 'DKP', 'likelihood': 'residual', 'rks_rounds': 3}, 'rks_rounds: unknown key of DKP'),
        ({'type': 'DKP', 'likelihood': 'evidence', 'ssim_iters': 3}, 'ssim_iters: unknown key of EvidenceDKP'),
        ({'type': 'DKP', 'likelihood': 'evidenc'}, 'likelihood: unknown key of DKP'),
        ({'type': 'EvidenceDKP', 'centre_weight': 1.0}, 'centre_weight: unknown key of EvidenceDKP, did you mean'),
        ({'type': 'EvidenceDKP', 'likelihood': 'evidence'}, 'likelihood: unknown key of EvidenceDKP'),
    ],
)
def test_options_of_the_other_method_are_refused(options, message):
    with pytest.raises(OptionError, match=f'^network_k: {message}'):
        build_network(options, 'network_k', KernelEstimator)
