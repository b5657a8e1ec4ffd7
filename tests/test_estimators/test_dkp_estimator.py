import itertools
import math

import pytest
import torch

from dkp_plugin.estimators.dkp_estimator import DKP, residuals
from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.physics.error_spectrum import power_law
from dkp_plugin.physics.evidence import FrequencyGrid, negative_log_evidence
from dkp_plugin.physics.kernel_families import build_family

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


@pytest.fixture
def denoised_scene(rng):
    """A random field, denoised by the Wiener filter as in a reverse diffusion step, its true kernel and LR image."""
    power = 0.04 * power_law(torch.fft.fftfreq(48), torch.fft.fftfreq(40), torch.tensor([2.0]))[0]
    x, noise = torch.randn(2, 1, 3, 48, 40, generator=rng)
    x, sigma = torch.fft.ifft2(torch.fft.fft2(x) * power.sqrt()).real, 0.5
    z = torch.fft.ifft2(torch.fft.fft2(x + sigma * noise) * power / (power + sigma**2)).real
    kernel = build_family('gaussian', 2, 11, DEGRADATION.centre, variance_range=(0.5, 5)).render(
        torch.tensor([[0.6, 0.2, 0.3]])
    )
    lq = DEGRADATION.A(x, kernel)
    return z, kernel, lq + DEGRADATION.noise_variance**0.5 * torch.randn(lq.shape, generator=rng)


def errors_of_the_kernel(scene, calls, **options):
    """Squared error of the kernel before and after some calls of step, the estimator and its last losses."""
    z, kernel, lq = scene
    estimator = DKP(num_units=100, warmup_iters=50, **options)
    estimator.reset(lq, DEGRADATION, torch.Generator().manual_seed(0))
    before = (estimator() - kernel).square().mean().item()
    for _ in range(calls):
        losses = estimator.step(z)
    return before, (estimator() - kernel).square().mean().item(), estimator, losses


def test_evidence_finds_the_kernel_in_spite_of_an_imperfect_image(denoised_scene):
    before, after, estimator, losses = errors_of_the_kernel(denoised_scene, 30, likelihood='evidence')
    assert after < 0.1 * before
    assert losses.keys() == {'l_k_rks', 'l_k_evidence'}
    assert estimator.expected_psnr() > -10 * math.log10(before)


def test_expected_psnr_is_that_of_the_uniform_samples_under_tempered_weights(denoised_scene):
    z, _, lq = denoised_scene
    estimator = DKP(likelihood='evidence', num_samples=6, num_units=20, warmup_iters=1, memory=0.0)
    estimator.reset(lq, DEGRADATION, torch.Generator().manual_seed(0))
    for _ in range(2):
        estimator.step(z)
    kernels = estimator.family.render(estimator.random.samples[:3, :3]).double()
    weights = (-estimator.random.energies[:3].double() / 0.1).exp()
    weights = (weights / weights.sum()).tolist()
    mean = sum(w * k for w, k in zip(weights, kernels, strict=True))
    variance = sum(w * (k - mean) ** 2 for w, k in zip(weights, kernels, strict=True)).mean().item()
    assert estimator.expected_psnr() == pytest.approx(-10 * math.log10(variance), abs=1e-3)


def test_one_sample_has_no_spread(denoised_scene):
    z, _, lq = denoised_scene
    estimator = DKP(likelihood='evidence', num_samples=1, num_units=20, warmup_iters=1)
    estimator.reset(lq, DEGRADATION, torch.Generator().manual_seed(0))
    estimator.step(z)
    assert estimator.expected_psnr() is None


def test_residual_is_led_astray_by_an_imperfect_image(denoised_scene):
    """The same sampler and network under both likelihoods."""
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
    _, by_evidence, *_ = errors_of_the_kernel(denoised_scene, 30, likelihood='evidence', **options)
    _, by_residual, *_ = errors_of_the_kernel(denoised_scene, 300, **options, **residual)
    assert by_evidence < 0.2 * by_residual


def test_rounds_of_random_kernels_per_call(denoised_scene):
    """Six on the first image, to get from uniform samples to good ones, and as many as are asked for on the others."""
    z, _, lq = denoised_scene
    estimator = DKP(likelihood='evidence', num_samples=4, num_units=20, warmup_iters=1, rks_rounds=3)
    estimator.reset(lq, DEGRADATION, torch.Generator().manual_seed(0))
    rounds = []
    for _ in range(3):
        estimator.step(z)
        rounds.append(estimator.random.rounds)
    assert rounds == [6, 9, 12]


def test_free_kernels_descend_the_evidence_alone(denoised_scene):
    before, after, estimator, losses = errors_of_the_kernel(
        denoised_scene, 30, likelihood='evidence', kernel_family='free', pke_weight=1.0
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
    estimator = DKP(likelihood='evidence', kernel_family='free', num_units=20, warmup_iters=5, pke_iters=1, **options)
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
        estimator = DKP(likelihood='evidence', kernel_family=kernel_family, num_samples=4, num_units=20, warmup_iters=2)
        estimator.reset(lq, DEGRADATION, torch.Generator().manual_seed(seed))
        for _ in range(3):
            estimator.step(z)
        kernels.append(estimator())
    assert torch.equal(kernels[0], kernels[1]) and not torch.equal(kernels[0], kernels[2])
    assert kernels[0].shape == (1, 1, 11, 11) and kernels[0].min() >= 0
    assert kernels[0].sum().item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'weighting': 'linear'}, "weighting: 'linear' is not one of inverse, focal, softmax"),
        ({'sampler': 'gibbs'}, "sampler: 'gibbs' is not one of independent, metropolis, population"),
        ({'variance_range': [4, 2]}, 'variance_range'),
        ({'kernel_family': 'line', 'variance_range': [1, 2]}, 'variance_range'),
        ({'kernel_family': 'free', 'pke_weight': 0.0}, 'pke_weight: 0 is not allowed without RKS'),
        ({'kernel_family': 'disc'}, "kernel_family: 'disc' is not one of gaussian, motion, line, free"),
    ],
)
def test_wrong_names_are_refused_at_once(options, message):
    with pytest.raises(ValueError, match=message):
        DKP(**options)
