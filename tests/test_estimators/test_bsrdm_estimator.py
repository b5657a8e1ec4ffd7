import math

import numpy as np
import pytest
import scipy.stats
import torch

from dkp_plugin.estimators.base import KernelEstimator
from dkp_plugin.estimators.bsrdm_estimator import BSRDM, gaussian_kernel, langevin_step, noise_variances
from dkp_plugin.host.errors import OptionError
from dkp_plugin.host.schema import build_network
from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.physics.kernel_families import GaussianFamily


def test_kernel_is_the_density_of_scipy():
    a, b, c, variance, centre = 0.3, -0.5, -0.2, 4.0, 7.5
    factor = np.array([[math.exp(a), 0], [b, math.exp(c)]])
    covariance = np.linalg.inv(factor @ factor.T) * variance
    grid = np.stack(np.meshgrid(np.arange(19), np.arange(19), indexing='ij'), axis=-1)
    density = scipy.stats.multivariate_normal([centre, centre], covariance).pdf(grid)
    kernel = gaussian_kernel(torch.tensor([a, b, c], dtype=torch.float64), 19, centre, variance)
    np.testing.assert_allclose(kernel[0, 0], density / density.sum(), rtol=1e-10)


@pytest.mark.parametrize('theta', [(6.0, 0.0, 6.0), (-9.0, 0.0, -9.0), (0.0, 50.0, 0.0)])
def test_extreme_kernels_are_finite(theta):
    """Needles, a flat kernel and a thin line, where the exponential underflows everywhere if taken as it is."""
    kernel = gaussian_kernel(torch.tensor(theta, dtype=torch.float64), 7, 3.5, 2.0)
    assert kernel.min() >= 0 and kernel.sum().item() == pytest.approx(1, abs=1e-12)


def test_noise_variances_by_hand():
    residual = torch.zeros(1, 2, 3, 4)
    residual[0, :, 1, 1] = torch.tensor([3.0, 1.0])  # sum of squares 10
    variances = noise_variances(residual, 3, prior_variance=0.5, prior_shape=1.0)
    # The corner's patch has 2 x 2 pixels, 8 values; that of (1, 1) has 18; that of (1, 3) does not see the pixel.
    for (row, column), expected in {(0, 0): (1 + 5) / (2 + 4), (1, 1): (1 + 5) / (2 + 9), (1, 3): 1 / (2 + 6)}.items():
        assert variances[0, 0, row, column].item() == pytest.approx(expected, rel=1e-5)


def test_noise_variance_is_found(rng):
    residual = torch.randn(1, 3, 40, 40, generator=rng) * torch.tensor([0.01, 0.05]).repeat_interleave(20)
    variances = noise_variances(residual, 15, prior_variance=1e-6, prior_shape=1.0)
    assert variances[..., :10].mean().sqrt().item() == pytest.approx(0.01, rel=0.05)
    assert variances[..., 30:].mean().sqrt().item() == pytest.approx(0.05, rel=0.05)


def test_langevin_chain_has_the_moments_of_a_gaussian_posterior():
    """The chain is linear: its mean contracts, and its covariance C solves C = (1 - e / 2)^2 C + e G^-1."""
    metric = torch.tensor([[4.0, 1.0, 0.5], [1.0, 3.0, -1.0], [0.5, -1.0, 2.0]], dtype=torch.float64)
    theta, zero, step_size = torch.tensor([1.0, -2.0, 0.3], dtype=torch.float64), torch.zeros(3).double(), 0.4
    mean = langevin_step(theta, metric @ theta, metric, step_size, zero)
    torch.testing.assert_close(mean, (1 - step_size / 2) * theta)
    noise = torch.stack([langevin_step(zero, zero, metric, step_size, unit) for unit in torch.eye(3).double()], dim=1)
    covariance = torch.linalg.inv(metric) / (1 - step_size / 4)
    torch.testing.assert_close((1 - step_size / 2) ** 2 * covariance + noise @ noise.T, covariance)


def test_a_step_is_that_of_a_dense_finite_difference_model(rng):
    degradation, step_size, shift = Degradation(2, 7), 0.3, 1e-5
    x = torch.rand(1, 3, 24, 20, generator=rng, dtype=torch.float64)
    lq = torch.rand(1, 3, 12, 10, generator=rng, dtype=torch.float64)
    estimator = BSRDM(step_size=step_size, patch_size=5)
    estimator.reset(lq, degradation, rng)
    theta = torch.tensor([0.2, -0.3, 0.1], dtype=torch.float64)
    estimator.theta = theta.clone()
    noise = torch.randn(3, generator=rng.clone_state(), dtype=torch.float64)

    def blurred(theta):
        return degradation.A(x, gaussian_kernel(theta, 7, degradation.centre, 2.0))

    residual = blurred(theta) - lq
    slopes = torch.stack([(blurred(theta + d) - blurred(theta - d)) / (2 * shift) for d in shift * torch.eye(3)])
    slopes = slopes.flatten(1)
    precision = noise_variances(residual, 5, degradation.noise_variance, 1.0).reciprocal().expand(1, 3, -1, -1)
    precision = precision.flatten()
    metric = slopes @ torch.diag(precision) @ slopes.T + torch.eye(3)
    gradient = slopes @ (precision * residual.flatten()) + theta
    values, vectors = torch.linalg.eigh(metric)
    losses = estimator.step(x)
    moved = estimator.theta - (theta - step_size / 2 * torch.linalg.solve(metric, gradient))
    # Any root of the inverse serves as the noise's factor; its length in the metric is that of the noise.
    assert (vectors.T @ moved).square() @ values == pytest.approx(step_size * noise.square().sum().item(), rel=1e-4)
    assert losses['l_k_residual'].item() == pytest.approx(residual.square().mean().item())


@pytest.mark.parametrize('scale', [2, 4])
def test_given_the_true_image_the_kernel_is_found(scale, rng):
    degradation = Degradation(scale, 4 * scale + 3, noise=0.01)
    x = torch.rand(1, 3, 64, 64, generator=rng)
    family = GaussianFamily(scale, degradation.kernel_size, degradation.centre)
    kernel = family.render(torch.tensor([[0.7, 0.2, 0.3]]))
    lq = degradation.A(x, kernel)
    lq = lq + 0.01 * torch.randn(lq.shape, generator=rng)
    estimator = BSRDM()
    estimator.reset(lq, degradation, rng)
    start = (estimator() - kernel).square().mean()
    for _ in range(150):
        losses = estimator.step(x)
    assert (estimator() - kernel).square().mean() < 1e-2 * start
    assert losses['l_k_noise_variance'].sqrt().item() == pytest.approx(0.01, rel=0.1)


@pytest.mark.parametrize(('key', 'value'), [('patch_size', 4), ('step_size', 3), ('step_size', 0), ('variance', -1.0)])
def test_wrong_values_are_named(key, value):
    with pytest.raises(OptionError, match=f'network_k: {key}: {value}'):
        build_network({'type': 'BSRDM', key: value}, 'network_k', KernelEstimator)
