"""The noise schedule of guided diffusion, which relates the timesteps of its networks to noise levels.

A variance-preserving process mixes an image x0 in [-1, 1] with standard normal noise n,
    x_t = sqrt(abar_t) x0 + sqrt(1 - abar_t) n,    abar_t = prod_{i <= t} (1 - beta_i)    (DDPM, NeurIPS 2020, eq. 4).
Division by sqrt(abar_t) gives x0 + sigma_t n, the variance-exploding form that denoisers expect.
"""

import itertools

import torch
from torch import Tensor

STRIDES = ('even', 'ddim')


def linear_betas(num_steps: int = 1000) -> Tensor:
    """Variances beta_t that grow linearly in t, scaled so that processes of any length end at the same noise level.

    Args:
        num_steps: Number T of timesteps, more than 20; otherwise the last variance reaches 1.

    Returns:
        (T,), float64, from 0.1 / T to 20 / T: for T = 1000, the 1e-4 to 0.02 of DDPM (section 4).
    """
    return torch.linspace(0.1, 20, num_steps, dtype=torch.float64) / num_steps


def alphas_cumprod(betas: Tensor) -> Tensor:
    """Share abar_t, (T,), of the image in the variance of x_t, given the variances beta_t, (T,)."""
    return (1 - betas).cumprod(0)


def noise_levels(abar: Tensor) -> Tensor:
    """Noise level sigma_t = sqrt((1 - abar_t) / abar_t) of x_t / sqrt(abar_t), (T,), for images in [-1, 1]."""
    return ((1 - abar) / abar).sqrt()


def space_timesteps(num_steps: int, num_used: int, stride: str = 'even') -> list[int]:
    """Choose the timesteps of a shorter process, as guided diffusion's option ``timestep_respacing`` does.

    Args:
        num_steps: Number T of timesteps that the network was trained with.
        num_used: Number of timesteps to choose, 1 to T.
        stride: ``even``: evenly spaced from 0 to T - 1, rounded to integers; ``ddim``: the smallest integer stride
            from 0 that gives this many timesteps (DDIM, ICLR 2021).

    Returns:
        Timesteps in ascending order.

    Raises:
        ValueError: if no such timesteps exist.
    """
    if stride not in STRIDES:
        raise ValueError(f'stride: {stride!r} is not one of {", ".join(STRIDES)}')
    if not 1 <= num_used <= num_steps:
        raise ValueError(f'num_used: {num_used} is not between 1 and {num_steps}')
    if stride == 'even':
        # Accumulated, not multiplied, so that rounding errors break ties as they do in guided diffusion.
        step = (num_steps - 1) / max(num_used - 1, 1)
        return [round(t) for t in itertools.accumulate(itertools.repeat(step, num_used - 1), initial=0.0)]
    for step in range(1, num_steps + 1):
        timesteps = range(0, num_steps, step)
        if len(timesteps) == num_used:
            return list(timesteps)
    raise ValueError(f'num_used: no whole stride chooses {num_used} of {num_steps} timesteps')


def timestep_of_sigma(sigma: Tensor, levels: Tensor) -> Tensor:
    """The timestep with a given noise level, interpolated linearly in log sigma.

    Args:
        sigma: Noise levels, (B,), floating point, in the units of ``levels``.
        levels: Increasing noise levels of the timesteps, (T,), on any device; see :func:`noise_levels`.

    Returns:
        Fractional timesteps, (B,), on the device and in the dtype of ``sigma``. Noise levels outside the table give
        the first or last timestep. Rounding gives the nearest timestep.
    """
    logs, table = sigma.log(), levels.log().to(sigma)
    above = torch.searchsorted(table, logs).clamp(1, len(table) - 1)
    low, high = table[above - 1], table[above]
    return (above - 1 + (logs - low) / (high - low)).clamp(0, len(table) - 1)


def x0_from_epsilon(x_t: Tensor, epsilon: Tensor, abar: Tensor) -> Tensor:
    """Estimate the image from an estimate of its noise (DDPM, eq. 15).

    Args:
        x_t: (B, C, H, W), images in [-1, 1] times sqrt(abar) plus noise of variance 1 - abar.
        epsilon: Estimates of the unit-variance noise, (B, C, H, W).
        abar: Share of the image in the variance, (B,).

    Returns:
        (B, C, H, W), images in [-1, 1] if the estimate is exact; not clipped.
    """
    abar = abar.view(-1, 1, 1, 1)
    return (x_t - (1 - abar).sqrt() * epsilon) / abar.sqrt()
