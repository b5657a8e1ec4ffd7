import math

import pytest
import scipy.optimize
import torch

from dkp_plugin.physics import evidence
from dkp_plugin.physics.degradation import aliased_power, degrade, kernel_to_otf
from dkp_plugin.physics.error_spectrum import power_law
from dkp_plugin.physics.evidence import (
    FrequencyGrid,
    error_gain,
    innovation_power,
    negative_log_evidence,
    profile_variance,
)
from dkp_plugin.physics.kernel_families import GaussianFamily
from dkp_plugin.physics.kernels import normalise

SIZES = [(12, 8, 2, 3), (8, 10, 2, 5), (6, 9, 3, 5), (9, 6, 3, 3)]  # H, W, scale, K: even and odd LR sides
NOISE_VARIANCE = 1e-4


def random_spectrum(height, width, rng):
    """A positive spectrum of mean 1 that a stationary real field can have: V(f) = V(-f)."""
    power = torch.fft.fft2(torch.randn(height, width, generator=rng, dtype=torch.float64)).abs().square() + 1
    return power / power.mean()


def scene(height, width, scale, kernel_size, rng, num_kernels=1):
    """z, lq, kernels and spectra with numbers of no meaning."""
    z = torch.rand(1, 3, height, width, generator=rng, dtype=torch.float64)
    lq = torch.rand(1, 3, height // scale, width // scale, generator=rng, dtype=torch.float64)
    kernels = normalise(torch.rand(num_kernels, 1, kernel_size, kernel_size, generator=rng, dtype=torch.float64))
    spectra = torch.stack([random_spectrum(height, width, rng) for _ in range(num_kernels)])
    return z, lq, kernels, spectra


def on_grid(spectra, grid):
    """Values of spectra (L, H, W) at the frequencies of a grid that has no bins."""
    rows, columns = (
        (f * side).round().long() % side for f, side in zip((grid.rows, grid.columns), spectra.shape[1:], strict=True)
    )
    return spectra[:, rows][:, :, columns]


def full_law(size, exponent):
    """The power law of an exponent on the grid of fft2, (1, H, W)."""
    rows, columns = (torch.fft.fftfreq(side, dtype=torch.float64) for side in size)
    return power_law(rows, columns, torch.tensor([exponent]).double())


def dense_operator(kernel, scale, size):
    """The matrix of A, column by column: the LR images of all HR images with one pixel of 1."""
    pixels = torch.eye(size[0] * size[1], dtype=torch.float64).view(-1, 1, *size)
    return degrade(pixels, kernel, scale).flatten(1).T


def dense_covariance(spectrum):
    """Covariance of the pixels of a stationary field: entry (i, j) is the autocovariance at the offset i - j."""
    height, width = spectrum.shape
    autocovariance = torch.fft.ifft2(spectrum).real
    index = torch.arange(height * width)
    rows, columns = index // width, index % width
    return autocovariance[(rows[:, None] - rows) % height, (columns[:, None] - columns) % width]


def dense_evidence(z, lq, kernel, scale, spectrum):
    """-2 log N(r; 0, S) per LR value, without constants, as a function of v, by dense linear algebra."""
    operator = dense_operator(kernel, scale, spectrum.shape)
    error = operator @ dense_covariance(spectrum) @ operator.T
    innovation = lq.flatten(2)[0].T - operator @ z.flatten(2)[0].T  # a column for each channel

    def evaluate(variance):
        covariance = variance * error + NOISE_VARIANCE * torch.eye(len(error), dtype=torch.float64)
        square = (innovation * torch.linalg.solve(covariance, innovation)).sum() / innovation.shape[1]
        return ((square + torch.linalg.slogdet(covariance)[1]) / len(covariance)).item()

    return evaluate


def gaussian_field(spectrum, generator):
    """A stationary field of a given spectrum, (1, 1, H, W)."""
    white = torch.randn(spectrum.shape, generator=generator, dtype=torch.float64)
    return torch.fft.ifft2(torch.fft.fft2(white) * spectrum.sqrt()).real[None, None]


@pytest.fixture
def converged(monkeypatch):
    """As many steps of the fixed point as it takes."""
    monkeypatch.setattr(evidence, 'PROFILE_STEPS', 30)


@pytest.mark.parametrize('size', SIZES, ids=str)
def test_covariance_of_the_innovation_is_diagonal_with_the_aliased_gain(size, rng):
    height, width, scale, kernel_size = size
    _, lq, kernel, spectra = scene(height, width, scale, kernel_size, rng)
    operator = dense_operator(kernel, scale, (height, width))
    covariance = operator @ dense_covariance(spectra[0]) @ operator.T
    num = lq[0, 0].numel()
    basis = torch.fft.fft2(torch.eye(num, dtype=torch.float64).view(num, *lq.shape[-2:]), norm='ortho').flatten(1).T
    transformed = basis @ covariance.to(basis.dtype) @ basis.conj().T
    diagonal = transformed.diagonal().real.view(lq.shape[-2:])
    assert (transformed - transformed.diagonal().diag()).abs().max() < 1e-14
    grid = FrequencyGrid(lq, scale)
    gain = error_gain(kernel, on_grid(spectra, grid), grid)[0]
    signed = torch.fft.fftshift(diagonal, dim=0)  # the grid goes from the lowest frequency to the highest
    torch.testing.assert_close(gain, signed[:, : gain.shape[1]], rtol=1e-10, atol=0)


@pytest.mark.parametrize('size', SIZES, ids=str)
def test_evidence_is_that_of_the_dense_covariance(size, rng, converged):
    height, width, scale, kernel_size = size
    z, lq, kernel, spectra = scene(height, width, scale, kernel_size, rng)
    dense = dense_evidence(z, lq, kernel, scale, spectra[0])
    grid = FrequencyGrid(lq, scale)
    spectra = on_grid(spectra, grid)
    power, gain = innovation_power(z, lq, kernel, grid), error_gain(kernel, spectra, grid)
    variance = profile_variance(power, gain, NOISE_VARIANCE, grid).item()
    best = scipy.optimize.minimize_scalar(
        lambda log_v: dense(math.exp(log_v)), bounds=(-12, 5), options={'xatol': 1e-7}
    )
    assert variance == pytest.approx(math.exp(best.x), rel=1e-4)  # about a minimum, the other value says little
    j = negative_log_evidence(z, lq, kernel, spectra, NOISE_VARIANCE, grid)
    assert j.shape == (1,)
    assert j.item() == pytest.approx(dense(variance), rel=1e-12)
    assert j.item() == pytest.approx(best.fun, rel=1e-9)


@pytest.mark.parametrize('noise_variance', [2e-6, 1e-4, 1.5e-3])  # rounding alone, 2.5 and 10 of 255
@pytest.mark.parametrize('exponent', [0.0, 1.0, 2.0])
def test_the_few_steps_of_the_profile_are_enough(noise_variance, exponent, rng, monkeypatch):
    """Good kernels are compared at a temperature of 0.01; of bad ones it is enough to know that they are bad."""
    size, family = (32, 32), GaussianFamily(2, 11, 5.5, variance_range=(0.5, 5))
    kernels = family.render(family.sample(40, rng).double())
    power, spectra = (full_law(size, p) for p in (2.0, exponent))
    z, error = (torch.cat([gaussian_field(v[0], rng) for _ in range(3)], dim=1) for v in (power, spectra))
    lq = degrade(0.2 * z + 0.1 * error, kernels[:1], 2)
    lq = lq + noise_variance**0.5 * torch.randn(lq.shape, generator=rng, dtype=torch.float64)
    grid = FrequencyGrid(lq, 2)
    spectra = on_grid(spectra, grid)

    def evaluate():
        j = negative_log_evidence(0.2 * z, lq, kernels.requires_grad_(), spectra, noise_variance, grid)
        return j.detach(), torch.autograd.grad(j.sum(), kernels)[0]

    j, gradient = evaluate()
    monkeypatch.setattr(evidence, 'PROFILE_STEPS', 500)
    exact, exact_gradient = evaluate()
    excess = exact - exact.min()
    assert ((j - exact).abs() < 5e-4 + 0.01 * excess).all()
    # All gradients are perpendicular to kernels of sum 1 only after their mean is taken away.
    gradient, exact_gradient = (g - g.mean((-2, -1), keepdim=True) for g in (gradient, exact_gradient))
    lengths = exact_gradient.flatten(1).norm(dim=1)
    assert ((gradient - exact_gradient).flatten(1).norm(dim=1) < 0.05 * lengths).all()


@pytest.mark.parametrize('size', SIZES, ids=str)
def test_gradient_where_the_profile_has_converged(size, rng, converged):
    height, width, scale, kernel_size = size
    z, lq, kernels, spectra = scene(height, width, scale, kernel_size, rng, num_kernels=2)
    kernels.requires_grad_()
    grid = FrequencyGrid(lq, scale, max_bins=4)
    spectra = on_grid(spectra, FrequencyGrid(lq, scale))[:, : len(grid.rows), : len(grid.columns)]  # any will do
    assert torch.autograd.gradcheck(
        lambda k: negative_log_evidence(z, lq, k, spectra, NOISE_VARIANCE, grid), kernels, rtol=1e-5
    )


def test_many_kernels_at_once_are_those_one_at_a_time(rng):
    z, lq, kernels, spectra = scene(12, 10, 2, 5, rng, num_kernels=4)
    grid = FrequencyGrid(lq, 2)
    spectra = on_grid(spectra, grid)
    together = negative_log_evidence(z, lq, kernels, spectra, NOISE_VARIANCE, grid)
    alone = [
        negative_log_evidence(z, lq, kernel[None], spectrum[None], NOISE_VARIANCE, grid)
        for kernel, spectrum in zip(kernels, spectra, strict=True)
    ]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-12, atol=0)
    shared = negative_log_evidence(z, lq, kernels, spectra[:1], NOISE_VARIANCE, grid)
    expanded = negative_log_evidence(z, lq, kernels, spectra[:1].expand(4, -1, -1), NOISE_VARIANCE, grid)
    torch.testing.assert_close(shared, expanded, rtol=1e-12, atol=0)


def test_a_spectrum_that_no_kernel_changes_leaves_the_logarithm_of_the_residual(rng):
    """Single pixels pass all frequencies alike: S is constant, and J = 1 + log residual."""
    z, lq, _, _ = scene(12, 10, 2, 3, rng)
    kernels = torch.eye(9, dtype=torch.float64).view(9, 1, 3, 3)
    residuals = (degrade(z, kernels, 2) - lq).square().mean((1, 2, 3))
    grid = FrequencyGrid(lq, 2)
    j = negative_log_evidence(z, lq, kernels, torch.ones(1, len(grid.rows), len(grid.columns)), 1e-9, grid)
    torch.testing.assert_close(j, 1 + residuals.log(), rtol=1e-9, atol=0)


def test_the_frame_says_nothing(rng):
    """Whatever the LR image holds in the frame, J is the same; without a frame it is not."""
    z, lq, kernels, spectra = scene(24, 28, 2, 3, rng, num_kernels=3)
    spoilt = torch.rand(lq.shape, generator=rng, dtype=lq.dtype)
    spoilt[..., 3:-3, 3:-3] = lq[..., 3:-3, 3:-3]
    for margin, is_same in ((3, True), (2, False), (0, False)):
        grid = FrequencyGrid(lq, 2, margin=margin)
        first, second = (
            negative_log_evidence(z, image, kernels, on_grid(spectra, grid), NOISE_VARIANCE, grid)
            for image in (lq, spoilt)
        )
        assert torch.allclose(first, second) is is_same, margin


def test_the_frame_keeps_the_power_of_white_innovations(rng):
    lq = torch.randn(400, 1, 20, 24, generator=rng, dtype=torch.float64)
    z, kernel = torch.zeros(1, 1, 40, 48, dtype=torch.float64), torch.full((1, 1, 3, 3), 1 / 9, dtype=torch.float64)
    grid = FrequencyGrid(lq, 2, margin=4)
    mean = innovation_power(z, lq.transpose(0, 1), kernel, grid).mean()
    assert mean.item() == pytest.approx(1, rel=0.02)


def test_an_innovation_below_the_noise_is_put_down_to_no_error(rng):
    z, lq, kernels, spectra = scene(12, 10, 2, 3, rng)
    grid = FrequencyGrid(lq, 2)
    j = negative_log_evidence(z, degrade(z, kernels, 2), kernels, on_grid(spectra, grid), NOISE_VARIANCE, grid)
    assert j.item() == pytest.approx(math.log(NOISE_VARIANCE), abs=1e-3)


@pytest.mark.parametrize('size', SIZES, ids=str)
def test_gain_is_the_aliased_power_of_the_transfer_function(size, rng):
    height, width, scale, kernel_size = size
    _, lq, kernels, spectra = scene(height, width, scale, kernel_size, rng, num_kernels=3)
    power = kernel_to_otf(kernels, (height, width)).abs().square().squeeze(1)
    half = width // scale // 2 + 1
    expected = torch.fft.fftshift(aliased_power(power * spectra, scale), dim=1)[..., :half]
    grid = FrequencyGrid(lq, scale)
    torch.testing.assert_close(error_gain(kernels, on_grid(spectra, grid), grid), expected, rtol=1e-10, atol=0)


@pytest.mark.parametrize('max_bins', [32, 4, 1])
@pytest.mark.parametrize('width', [10, 14])  # LR widths of 5 and 7 have no Nyquist column, 8 below has one
def test_power_keeps_the_energy_of_the_innovation(width, max_bins, rng):
    """Parseval: the mean over the bins is the mean square, however many bins there are."""
    for right in (width, 16):
        z, lq, kernels, _ = scene(18, right, 2, 3, rng, num_kernels=2)
        grid = FrequencyGrid(lq, 2, max_bins)
        power = innovation_power(z, lq, kernels, grid)
        assert power.shape[1:] == (min(max_bins, 9), min(max_bins // 2 + 1, right // 4 + 1))
        torch.testing.assert_close(grid.mean(power), (lq - degrade(z, kernels, 2)).square().mean((1, 2, 3)))


def test_bins_are_means_of_neighbouring_frequencies():
    """Six rows in three bins: -3, -2 | -1, 0 | 1, 2 sixths; four columns, 0 to 3 sixths of multiplicity 1, 2, 2, 1."""
    grid = FrequencyGrid(torch.zeros(1, 1, 6, 6, dtype=torch.float64), 2, max_bins=3)
    power = torch.fft.fftfreq(6, dtype=torch.float64)[None, :, None] * 6 + 10 * torch.arange(4.0).double()
    rows, columns = torch.tensor([-2.5, -0.5, 1.5]), torch.tensor([2 / 3, 7 / 3])
    torch.testing.assert_close(grid.bin(power), (rows[:, None] + 10 * columns)[None].double())
    assert grid.weights.tolist() == [[pytest.approx(1 / 6)] * 2] * 3
    # Aliases of f in cycles per LR pixel lie at f / 2 and (f + 1) / 2 of the HR grid, which ends at 1 / 2.
    expected = [-2.5 / 12, -0.5 / 12, 1.5 / 12, 3.5 / 12, 5.5 / 12, -4.5 / 12]
    assert grid.rows.tolist() == pytest.approx(expected)
    assert grid.columns.tolist() == pytest.approx([2 / 36, 7 / 36, 20 / 36 - 1, 25 / 36 - 1])


def test_bins_change_the_evidence_of_a_large_image_little():
    """A blurred field in 64x64 LR pixels: J by 32 bins a direction is that by all frequencies, up to its own spread.

    The averages have the expectation of what they average, so that only the smoothness of S_k counts.
    """
    rng, size, scale = torch.Generator().manual_seed(3), (128, 128), 2
    family = GaussianFamily(scale, 11, 5.5, variance_range=(0.5, 5))
    kernels = family.render(family.sample(30, rng).double())
    spectrum = full_law(size, 1.5)
    error = torch.cat([gaussian_field(0.01 * spectrum[0], rng) for _ in range(3)], dim=1)
    z = torch.cat([gaussian_field(0.04 * full_law(size, 2.0)[0], rng) for _ in range(3)], dim=1)
    lq = degrade(z + error, kernels[:1], scale)
    values = []
    for max_bins in (64, 32):
        grid = FrequencyGrid(lq, scale, max_bins)
        law = power_law(grid.rows, grid.columns, torch.tensor([1.5]).double())
        values.append(negative_log_evidence(z, lq, kernels, law, 1e-5, grid))
    exact, binned = (value - value[0] for value in values)
    assert exact.min() == 0
    assert ((binned - exact).abs() < 5e-3 + 0.05 * exact).all()


def test_residual_prefers_wrong_kernels_where_the_evidence_finds_the_right_one():
    """Gaussian fields of power |f|^-2 in white noise, by the best of all denoisers, the Wiener filter.

    Its error has the spectrum X sigma^2 / (X + sigma^2), most of it at low frequencies, where all kernels are alike.
    Candidates are Gaussians of variances 0.5, 1, ..., 5; the fifth is the true one.
    """
    size, scale, sigma, true = (48, 48), 2, 1.0, 4
    family = GaussianFamily(scale, 11, 5.5, variance_range=(0.5, 5))
    widths = torch.linspace(0, 1, 10, dtype=torch.float64)
    kernels = family.render(torch.stack([widths, widths, 0 * widths], dim=1))
    power = 0.04 * full_law(size, 2.0)[0]
    grid = FrequencyGrid(torch.zeros(24, 24, dtype=torch.float64), scale)
    gain = power / (power + sigma**2)
    by_residual, by_evidence, by_squares = [], [], []
    for seed in range(12):
        generator = torch.Generator().manual_seed(seed)
        x, noise = gaussian_field(power, generator), gaussian_field(torch.ones(size), generator)
        z = torch.fft.ifft2(torch.fft.fft2(x + sigma * noise) * gain).real
        lq = degrade(x, kernels[true : true + 1], scale)
        lq = lq + 1e-3 * torch.randn(lq.shape, generator=generator, dtype=torch.float64)
        spectrum = on_grid(((1 - gain) * power)[None], grid)
        innovation = innovation_power(z, lq, kernels, grid)
        by_residual.append((degrade(z, kernels, scale) - lq).square().mean((1, 2, 3)).argmin().item())
        by_evidence.append(negative_log_evidence(z, lq, kernels, spectrum, 1e-6, grid).argmin().item())
        # Without the logarithm, those kernels win that let the error pass.
        by_squares.append((innovation / (error_gain(kernels, spectrum, grid) + 1e-6)).mean((1, 2)).argmin().item())
    assert by_evidence == [true] * 12
    assert sum(index != true for index in by_residual) >= 8
    assert max(by_squares) < true
