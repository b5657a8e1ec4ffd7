import math

import pytest
import torch

from dkp_plugin.archs.diffusion_schedule import (
    alphas_cumprod,
    linear_betas,
    noise_levels,
    space_timesteps,
    timestep_of_sigma,
    x0_from_epsilon,
)


@pytest.fixture
def levels() -> torch.Tensor:
    return noise_levels(alphas_cumprod(linear_betas()))


def test_tables_of_ddpm():
    betas = linear_betas()
    assert betas.dtype == torch.float64 and betas.shape == (1000,)
    assert betas[0].item() == pytest.approx(1e-4) and betas[-1].item() == pytest.approx(0.02)
    assert (betas[2] - betas[1]).item() == pytest.approx(0.0199 / 999)
    abar = alphas_cumprod(betas)
    assert abar[:2].tolist() == pytest.approx([0.9999, 0.9999 * (1 - 1e-4 - 0.0199 / 999)])
    # To second order, -log abar_T is the sum of beta + beta^2 / 2 over an arithmetic series; the third adds 0.0007.
    step, num = 0.0199 / 999, 1000
    squares = num * 1e-8 + 1e-4 * step * num * (num - 1) + step**2 * (num - 1) * num * (2 * num - 1) / 6
    assert -abar[-1].log().item() == pytest.approx(num * (1e-4 + 0.02) / 2 + squares / 2, abs=1e-3)


def test_shorter_processes_end_at_a_similar_noise_level():
    for num_steps in (100, 4000):
        betas = linear_betas(num_steps)
        assert betas[0].item() == pytest.approx(0.1 / num_steps) and betas[-1].item() == pytest.approx(20 / num_steps)
        assert -alphas_cumprod(betas)[-1].log().item() == pytest.approx(10.05, rel=0.1)  # the sum of beta_t


def test_noise_levels_by_hand():
    abar = torch.tensor([0.9, 0.5, 0.2], dtype=torch.float64)
    torch.testing.assert_close(noise_levels(abar), torch.tensor([1 / 3, 1, 2], dtype=torch.float64))


@pytest.mark.parametrize(
    ('num_steps', 'num_used', 'stride', 'expected'),
    [
        (1000, 1000, 'even', list(range(1000))),
        (1000, 2, 'even', [0, 999]),
        (1000, 1, 'even', [0]),
        (1000, 5, 'even', [0, 250, 500, 749, 999]),  # multiples of 249.75; 499.5 goes to the even neighbour
        (10, 4, 'even', [0, 3, 6, 9]),
        (1000, 4, 'ddim', [0, 250, 500, 750]),
        (10, 10, 'ddim', list(range(10))),
        (10, 1, 'ddim', [0]),
        (10, 4, 'ddim', [0, 3, 6, 9]),
    ],
)
def test_space_timesteps_by_hand(num_steps, num_used, stride, expected):
    assert space_timesteps(num_steps, num_used, stride) == expected


@pytest.mark.parametrize('num_used', [25, 50, 100, 250])
def test_usual_numbers_of_steps(num_used):
    even = space_timesteps(1000, num_used)
    assert len(set(even)) == num_used and even == sorted(even) and (even[0], even[-1]) == (0, 999)
    assert space_timesteps(1000, num_used, 'ddim') == list(range(0, 1000, 1000 // num_used))


@pytest.mark.parametrize(
    ('num_used', 'stride', 'message'),
    [
        (0, 'even', r'num_used: 0 is not between 1 and 10'),
        (11, 'ddim', r'num_used: 11 is not between 1 and 10'),
        (7, 'ddim', r'num_used: no whole stride chooses 7 of 10 timesteps'),
        (5, 'odd', r"stride: 'odd' is not one of even, ddim"),
    ],
)
def test_impossible_choices(num_used, stride, message):
    with pytest.raises(ValueError, match=message):
        space_timesteps(10, num_used, stride)


def test_timestep_of_sigma_inverts_the_table(levels):
    torch.testing.assert_close(timestep_of_sigma(levels, levels), torch.arange(1000.0, dtype=torch.float64))
    single = timestep_of_sigma(levels.float(), levels)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single, torch.arange(1000.0), rtol=0, atol=0.01)


def test_timestep_of_sigma_between_and_beyond():
    levels = torch.tensor([0.01, 0.1, 1.0, 100.0], dtype=torch.float64)
    sigma = torch.tensor([0.0, 1e-3, 0.01, 0.1**1.5, 10.0**0.5, 50.0, 100.0, 1e9], dtype=torch.float64)
    expected = torch.tensor([0, 0, 0, 0.5, 2.25, 3 - math.log10(2) / 2, 3, 3], dtype=torch.float64)
    torch.testing.assert_close(timestep_of_sigma(sigma, levels), expected)


def test_x0_from_the_true_noise(rng):
    x0, noise = torch.randn(2, 2, 3, 4, 5, dtype=torch.float64, generator=rng)
    abar = torch.tensor([0.99, 4e-5], dtype=torch.float64)
    share = abar.view(2, 1, 1, 1)
    x_t = share.sqrt() * x0 + (1 - share).sqrt() * noise
    torch.testing.assert_close(x0_from_epsilon(x_t, noise, abar), x0)
    # By hand: (0.5 - 0.6 * 0.5) / 0.8 = 0.25.
    half = torch.full((1, 1, 1, 1), 0.5)
    assert x0_from_epsilon(half, half, torch.tensor([0.64])).item() == pytest.approx(0.25)
