import math

import pytest
import torch

from dkp_plugin.estimators import evidence_dkp_estimator as module
from dkp_plugin.estimators.dkp_estimator import DKP
from dkp_plugin.estimators.evidence_dkp_estimator import EvidenceDKP
from dkp_plugin.host.errors import OptionError
from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.physics.error_spectrum import power_law
from dkp_plugin.physics.evidence import FrequencyGrid, negative_log_evidence

DEGRADATION = Degradation(scale=2, kernel_size=11)


def errors_of_the_kernel(network, scene, calls, **options):
    """Squared error of the kernel before and after some calls of step, the estimator and its last losses."""
    z, kernel, lq = scene
    estimator = network(num_units=100, warmup_iters=50, **options)
    estimator.reset(lq, DEGRADATION, torch.Generator().manual_seed(0))
    before = (estimator() - kernel).square().mean().item()
    for _ in range(calls):
        losses = estimator.step(z)
    return before, (estimator() - kernel).square().mean().item(), estimator, losses


def test_evidence_finds_the_kernel_in_spite_of_an_imperfect_image(denoised_scene):
    before, after, estimator, losses = errors_of_the_kernel(EvidenceDKP, denoised_scene, 30)
    assert after < 0.1 * before
    assert losses.keys() == {'l_k_rks', 'l_k_evidence'}
    assert estimator.expected_psnr() > -10 * math.log10(before)


def test_expected_psnr_is_that_of_the_uniform_samples_under_tempered_weights(denoised_scene):
    z, _, lq = denoised_scene
    estimator = EvidenceDKP(num_samples=6, num_units=20, warmup_iters=1, memory=0.0)
    estimator.reset(lq, DEGRADATION, torch.Generator().manual_seed(0))
    for _ in range(2):
        estimator.step(z)
    kernels = estimator.family.render(estimator.random.samples[:3, :3]).double()
    weights = (-estimator.random.energies[:3].double() / 0.1).exp()
    weights = (weights / weights.sum()).tolist()
    mean = sum(w * k for w, k in zip(weights, kernels, strict=True))
    variance = sum(w * (k - mean) ** 2 for w, k in zip(weights, kernels, strict=True)).mean().item()
    assert estimator.expected_psnr() == pytest.approx(-10 * math.log10(variance), abs=1e-3)


def test_without_pke_the_kernel_is_the_running_average_of_the_weighted_means(denoised_scene, monkeypatch):
    """From the middle of the family over the mean of the first call; there is no network."""
    z, _, lq = denoised_scene
    monkeypatch.setattr(module, 'KernelNetwork', None)
    estimator = EvidenceDKP(num_samples=5, pke_weight=0.0, memory=0.75, temperature=0.5)
    estimator.reset(lq, DEGRADATION, torch.Generator().manual_seed(0))
    torch.testing.assert_close(estimator(), estimator.family.render(torch.full((1, 3), 0.5)))
    average = None
    for _ in range(3):
        losses = estimator.step(z)
        kernels = estimator.family.render(estimator.random.samples[:, :3]).double()
        weights = (-estimator.random.energies.double() / 0.5).exp()
        mean = (weights.view(-1, 1, 1, 1) * kernels).sum(0, keepdim=True) / weights.sum()
        average = mean if average is None else 0.75 * average + 0.25 * mean
        torch.testing.assert_close(estimator().double(), average, rtol=0, atol=1e-6)
        assert losses == {'l_k_evidence': estimator.random.energies.min()}


def with_proposal(tiny_unpaired, path, **options):
    """An estimator with the kernel of a tiny network as a proposal, and that kernel."""
    torch.save(tiny_unpaired.state_dict(), path)
    estimator = EvidenceDKP(num_samples=5, pke_weight=0.0, proposal=str(path), **options)
    estimator.check(DEGRADATION)
    return estimator


def test_a_proposal_adds_its_distance_to_the_evidence(denoised_scene, tiny_unpaired, tmp_path):
    z, _, lq = denoised_scene
    estimator = with_proposal(tiny_unpaired, tmp_path / 'net.pth', proposal_weight=7.0)
    estimator.reset(lq, DEGRADATION, torch.Generator().manual_seed(0))
    tiny_unpaired.adopt(DEGRADATION)
    proposed = tiny_unpaired.estimate_kernel(lq)
    torch.testing.assert_close(estimator(), proposed)  # before the image is looked at
    estimator.step(z)
    grid = FrequencyGrid(lq, 2)
    for sample, energy in zip(estimator.random.samples, estimator.random.energies, strict=True):
        kernel = estimator.family.render(sample[None, :3])
        law = power_law(grid.rows, grid.columns, 3 * sample[3:4], 2 * (2 * sample[None, 4:] - 1))
        evidence = negative_log_evidence(z, lq, kernel, law, DEGRADATION.noise_variance, grid).item()
        distance = (kernel.double() - proposed.double()).square().mean().item()
        assert energy.item() == pytest.approx(evidence + 7 * distance, rel=1e-4)


def test_a_proposal_does_not_hide_a_doubt(denoised_scene, tiny_unpaired, tmp_path):
    z, _, lq = denoised_scene
    expected = []
    for weight in (0.0, 1e6):
        estimator = with_proposal(tiny_unpaired, tmp_path / 'net.pth', proposal_weight=weight)
        estimator.reset(lq, DEGRADATION, torch.Generator().manual_seed(0))
        estimator.random.draw = lambda judge, r=estimator.random: _judge_as_they_are(r, judge)
        estimator.step(z)
        expected.append(estimator.expected_psnr())
    assert expected[0] == pytest.approx(expected[1], abs=1e-2)


def _judge_as_they_are(random, judge):
    """A round of random kernels that draws none."""
    kernels, random.energies = judge(random.samples)
    return kernels, random.energies


def test_a_strong_proposal_is_followed(denoised_scene, tiny_unpaired, tmp_path):
    z, _, lq = denoised_scene
    errors = []
    for weight in (0.0, 1e7):
        estimator = with_proposal(tiny_unpaired, tmp_path / 'net.pth', proposal_weight=weight)
        estimator.reset(lq, DEGRADATION, torch.Generator().manual_seed(0))
        proposed = estimator()
        for _ in range(5):
            estimator.step(z)
        errors.append((estimator() - proposed).square().mean().item())
    assert errors[1] < 0.5 * errors[0]


def test_a_proposal_that_cannot_be_used_is_one_line(tmp_path):
    with pytest.raises(OptionError, match=r'network_k: .*none\.pth: No such file'):
        EvidenceDKP(proposal=str(tmp_path / 'none.pth')).check(DEGRADATION)
    with pytest.raises(OptionError, match='network_k: unpaired: the package has no weights for scale 2; allowed: 4'):
        EvidenceDKP(proposal='unpaired').check(DEGRADATION)


def test_one_sample_has_no_spread(denoised_scene):
    z, _, lq = denoised_scene
    estimator = EvidenceDKP(num_samples=1, num_units=20, warmup_iters=1)
    estimator.reset(lq, DEGRADATION, torch.Generator().manual_seed(0))
    estimator.step(z)
    assert estimator.expected_psnr() is None


def test_residual_is_led_astray_by_an_imperfect_image(denoised_scene):
    """DKP and EvidenceDKP with the same sampler and kernel network."""
    options = {
        'num_samples': 64,
        'weighting': 'softmax',
        'temperature': 0.01,
        'sampler': 'population',
        'proposal_std': 0.05,
        'variance_range': (0.2, 8.0),
        'lr': 1e-3,
    }
    residual = {'rks_weight': 1e4, 'rks_interval': 1, 'residual_interval': 1, 'ssim_iters': 0}
    _, by_evidence, *_ = errors_of_the_kernel(EvidenceDKP, denoised_scene, 30, **options)
    _, by_residual, *_ = errors_of_the_kernel(DKP, denoised_scene, 300, **options, **residual)
    assert by_evidence < 0.2 * by_residual


def test_rounds_of_random_kernels_per_call(denoised_scene):
    """Six on the first image, to get from uniform samples to good ones, and as many as are asked for on the others."""
    z, _, lq = denoised_scene
    estimator = EvidenceDKP(num_samples=4, num_units=20, warmup_iters=1, rks_rounds=3)
    estimator.reset(lq, DEGRADATION, torch.Generator().manual_seed(0))
    rounds = []
    for _ in range(3):
        estimator.step(z)
        rounds.append(estimator.random.rounds)
    assert rounds == [6, 9, 12]


def test_free_kernels_descend_the_evidence_alone(denoised_scene):
    before, after, estimator, losses = errors_of_the_kernel(
        EvidenceDKP, denoised_scene, 30, kernel_family='free', pke_weight=1.0
    )
    assert after < 0.5 * before
    assert losses.keys() == {'l_k_evidence'} and estimator.expected_psnr() is None
    z, kernel, lq = denoised_scene
    grid = FrequencyGrid(lq, 2)
    spectra = power_law(grid.rows, grid.columns, torch.tensor([1.5]))
    judged = [
        negative_log_evidence(z, lq, k, spectra, DEGRADATION.noise_variance, grid).item()
        for k in (torch.full_like(kernel, 1 / 121), estimator())
    ]
    assert judged[1] < judged[0]


def test_loss_of_the_evidence_is_that_of_the_best_spectrum_drawn(denoised_scene):
    z, _, lq = denoised_scene
    options = {'error_exponents': (1.0, 2.0), 'error_stretch': 0.5, 'num_samples': 8}
    estimator = EvidenceDKP(kernel_family='free', num_units=20, warmup_iters=5, pke_iters=1, **options)
    estimator.reset(lq, DEGRADATION, torch.Generator().manual_seed(0))
    kernel, grid = estimator(), FrequencyGrid(lq, 2)
    loss = estimator.step(z)['l_k_evidence'].item()
    judged = []
    for p, a, b in estimator.random.samples:  # of the unit cube
        law = power_law(grid.rows, grid.columns, (1 + p).view(1), torch.stack([a - 0.5, b - 0.5])[None])
        judged.append(negative_log_evidence(z, lq, kernel, law, DEGRADATION.noise_variance, grid).item())
    assert len(judged) == 8 and loss == pytest.approx(min(judged), rel=1e-4)


@pytest.mark.parametrize('kernel_family', ['gaussian', 'motion', 'line', 'free'])
def test_evidence_with_every_family_depends_on_the_generator_alone(denoised_scene, kernel_family):
    z, _, lq = denoised_scene
    kernels = []
    for seed in (0, 0, 1):
        torch.manual_seed(len(kernels))  # the global generator must not matter
        estimator = EvidenceDKP(kernel_family=kernel_family, num_samples=4, num_units=20, warmup_iters=2)
        estimator.reset(lq, DEGRADATION, torch.Generator().manual_seed(seed))
        for _ in range(3):
            estimator.step(z)
        kernels.append(estimator())
    assert torch.equal(kernels[0], kernels[1]) and not torch.equal(kernels[0], kernels[2])
    assert kernels[0].shape == (1, 1, 11, 11) and kernels[0].min() >= 0
    assert kernels[0].sum().item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize('options', [{'kernel_family': 'free'}, {'rks_weight': 0.0}])
def test_a_proposal_without_random_kernels_is_refused(options):
    with pytest.raises(ValueError, match='proposal: one_pass needs random kernels'):
        EvidenceDKP(proposal='one_pass', **options)
