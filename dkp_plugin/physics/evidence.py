"""The evidence of the innovation: how well a kernel explains an LR image, given an imperfect HR estimate.

The HR estimate z has an error e = x - z. Under a kernel k the innovation is ``r_k = y - A(z, k) = A(e, k) + n``. The
kernel determines how much of the error reaches the innovation, so the squared innovations of two kernels are not
directly comparable. If e is Gaussian with stationary spectrum v V(f) and n is white with variance sigma^2, the
innovation is also Gaussian. Its covariance is diagonal in the Fourier basis of the LR grid, with the entries

    S_k(f) = v G_k(f) + sigma^2,    G_k(f) = mean over the s * s aliases a of |K(f + a)|^2 V(f + a).

Twice its negative log-likelihood per LR frequency, without constants, is

    J(k) = mean_f [ |R_k(f)|^2 / S_k(f) + log S_k(f) ].

``docs/evidence.md`` derives it. All transforms are unitary. Images are real, so half of the frequencies suffice; S_k is
smooth, so averages over frequency bins suffice: :class:`FrequencyGrid`.
"""

import math

import torch
from torch import Tensor

from dkp_plugin.physics.degradation import degrade

PROFILE_STEPS = 4  # few fixed-point steps suffice: the variance of the error starts from a good guess
MIN_VARIANCE = 1e-8
MAX_BINS = 32  # LR frequency bins per direction; the transfer function of a 19-pixel kernel is smooth at this width


class FrequencyGrid:
    """The frequencies of LR images, binned if there are many, and the HR frequencies that alias onto each.

    Args:
        lq: LR image, (..., h, w); only its size, device and dtype are used.
        scale: Subsampling factor s.
        max_bins: Maximum number m of bins for the vertical frequencies. The horizontal ones have at most m // 2 + 1
            bins, since half of them suffice. With as many bins as frequencies, nothing is averaged.
        margin: Width, in LR pixels, of the frame in which the innovation does not count, since the forward model does
            not hold there.

    Attributes:
        rows: Vertical frequencies of the bins and their s - 1 aliases, in cycles per HR pixel, (s m,): all bins of the
            first alias, then all bins of the second, and so on.
        columns: Horizontal frequencies in the same order, (s n,).
        window: Factor on the innovation of each LR pixel, (h, w), of mean square 1.
    """

    def __init__(self, lq: Tensor, scale: int, max_bins: int = MAX_BINS, margin: int = 0) -> None:
        height, width = lq.shape[-2:]
        vertical = torch.fft.fftfreq(height, dtype=torch.float64)
        horizontal = torch.arange(width // 2 + 1, dtype=torch.float64) / width
        # Only one of f and -f is stored, except for 0 and, if the width is even, the highest frequency.
        share = torch.where((horizontal == 0) | (horizontal == 0.5), 0.5, 1.0).double()
        row_bins, row_weights = _bins(vertical, torch.ones_like(vertical), max_bins)
        column_bins, column_weights = _bins(horizontal, share, max_bins // 2 + 1)
        rows, columns = _aliases(row_bins @ vertical, scale), _aliases(column_bins @ horizontal, scale)
        weights = row_weights.unsqueeze(1) * column_weights
        window = torch.outer(*(_window(side, margin) for side in (height, width)))
        self.scale, self.window = scale, (window / window.square().mean().sqrt()).to(lq)
        self.row_bins, self.column_bins, self.weights, self.rows, self.columns = (
            tensor.to(lq.dtype).to(lq.device) for tensor in (row_bins, column_bins, weights, rows, columns)
        )

    def bin(self, power: Tensor) -> Tensor:
        """Average the frequencies of :func:`torch.fft.rfft2`, (L, h, w // 2 + 1), over the bins: (L, m, n)."""
        return self.row_bins @ power @ self.column_bins.T

    def mean(self, values: Tensor) -> Tensor:
        """Average binned values, (L, m, n), over all frequencies: (L,)."""
        return (values * self.weights).sum((-2, -1))


def _window(size: int, margin: int) -> Tensor:
    """0 in a frame, 1 inside, and a half in the pixels between; without a frame 1 everywhere."""
    if margin == 0:
        return torch.ones(size, dtype=torch.float64)
    to_border = torch.minimum(torch.arange(size), torch.arange(size - 1, -1, -1))
    return ((to_border - margin + 1) / 2).clamp(0, 1).double()


def _bins(frequencies: Tensor, share: Tensor, max_bins: int) -> tuple[Tensor, Tensor]:
    """The matrix that averages over bins of neighbouring frequencies, (bins, F), and the weight of each, (bins,)."""
    num = min(len(frequencies), max_bins)
    order = frequencies.argsort()
    matrix = torch.zeros(num, len(frequencies), dtype=torch.float64)
    matrix[torch.arange(len(order)) * num // len(order), order] = share[order]
    sums = matrix.sum(1)
    return matrix / sums.unsqueeze(1), sums / sums.sum()


def _aliases(frequencies: Tensor, scale: int) -> Tensor:
    """Map frequencies in cycles per LR pixel, (F,), to the HR frequencies that alias onto them, (s * F,)."""
    aliases = (frequencies + torch.arange(scale).unsqueeze(1)).flatten() / scale
    return (aliases + 0.5).remainder(1) - 0.5


def innovation_power(z: Tensor, lq: Tensor, kernels: Tensor, grid: FrequencyGrid) -> Tensor:
    """Power |R_k(f)|^2 of the innovation of each kernel, averaged over channels and bins.

    Args:
        z: HR estimate, (1, C, s h, s w).
        lq: LR image, (1, C, h, w).
        kernels: (L, 1, K, K).
        grid: The frequency grid.

    Returns:
        (L, m, n).
    """
    transform = torch.fft.rfft2(grid.window * (lq - degrade(z, kernels, grid.scale)), norm='ortho')
    return grid.bin((transform.real.square() + transform.imag.square()).mean(1))


def error_gain(kernels: Tensor, spectra: Tensor, grid: FrequencyGrid) -> Tensor:
    """Power G_k(f) in the LR image of an error with a given spectrum, for each kernel.

    Args:
        kernels: (L, 1, K, K).
        spectra: V at the frequencies ``grid.rows`` and ``grid.columns``, (N, s m, s n); N is L, or 1 for all kernels.
        grid: The frequency grid.

    Returns:
        (L, m, n).
    """
    # The kernel is small, so products with its rows and columns are cheaper than an image-sized FFT.
    pixels = torch.arange(kernels.shape[-1], device=kernels.device)
    vertical, horizontal = (2 * math.pi * f.unsqueeze(1) * pixels for f in (grid.rows, grid.columns))
    columns = torch.cat([kernels.squeeze(1) @ part.T for part in (horizontal.cos(), horizontal.sin())], dim=1)
    cos, sin = vertical.cos(), vertical.sin()
    real, imaginary = (torch.cat(parts, dim=1) @ columns for parts in ((cos, -sin), (sin, cos)))
    power = (real.square() + imaginary.square()) * spectra
    return power.unflatten(1, (grid.scale, -1)).mean(1).unflatten(2, (grid.scale, -1)).mean(2)


def profile_variance(power: Tensor, gain: Tensor, noise_variance: float, grid: FrequencyGrid) -> Tensor:
    """The error variance v that maximises the likelihood of the innovation of each kernel.

    Args:
        power: |R_k(f)|^2, (L, m, n).
        gain: G_k(f), (L, m, n).
        noise_variance: sigma^2 of the LR image, positive.
        grid: The frequency grid.

    Returns:
        (L,), at least 1e-8: the fixed point of v = v mean(|R|^2 G / S^2) / mean(G / S), where dJ/dv = 0.
    """
    variance = ((grid.mean(power) - noise_variance) / grid.mean(gain)).clamp_min(MIN_VARIANCE)
    for _ in range(PROFILE_STEPS):
        innovation_variance = variance.view(-1, 1, 1) * gain + noise_variance
        share = gain / innovation_variance
        ratio = grid.mean(power * share / innovation_variance) / grid.mean(share)
        variance = (variance * ratio).clamp_min(MIN_VARIANCE)
    return variance


def negative_log_evidence(
    z: Tensor, lq: Tensor, kernels: Tensor, spectra: Tensor, noise_variance: float, grid: FrequencyGrid
) -> Tensor:
    """J(k) of each kernel with the error variance profiled out; lower is better.

    Args:
        z: HR estimate, (1, C, s h, s w), not yet made consistent with any kernel.
        lq: LR image, (1, C, h, w).
        kernels: (L, 1, K, K).
        spectra: V(f) of the error of z up to a factor, as for :func:`error_gain`.
        noise_variance: sigma^2 of the LR image, positive; rounding to 8 bits alone contributes 1.3e-6.
        grid: The frequency grid of the LR image.

    Returns:
        (L,). Differentiable in ``kernels``.
    """
    power, gain = innovation_power(z, lq, kernels, grid), error_gain(kernels, spectra, grid)
    # At the minimum over v, J is stationary in v, so no gradient needs to flow through v.
    variance = profile_variance(power.detach(), gain.detach(), noise_variance, grid).view(-1, 1, 1)
    innovation_variance = variance * gain + noise_variance
    return grid.mean(power / innovation_variance + innovation_variance.log())
