"""Scenes whose true kernel is known."""

import pytest
import torch

from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.physics.error_spectrum import power_law
from dkp_plugin.physics.kernel_families import build_family

DEGRADATION = Degradation(scale=2, kernel_size=11)


@pytest.fixture
def scene(rng):
    """A random image, its true kernel and its LR image."""
    family = build_family('gaussian', 2, 11, DEGRADATION.centre)
    x = torch.rand(1, 3, 48, 40, generator=rng)
    kernel = family.render(torch.tensor([[0.8, 0.2, 0.3]]))
    return x, kernel, DEGRADATION.A(x, kernel)


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
