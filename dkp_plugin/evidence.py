"""The evidence of the innovation: how well a kernel explains an LR image, given an imperfect HR estimate.

The HR estimate z carries an error e = x - z. Under a kernel k the innovation is ``r_k = y - A(z, k) = A(e, k) + n``:
how much of the error reaches it depends on the kernel, so the squared innovations of two kernels cannot be compared as
they are. With e Gaussian of stationary spectrum v V(f) and n white of variance sigma^2, the innovation is Gaussian,
too, and its covariance is diagonal in the Fourier basis of the LR grid, with the entries

    S_k(f) = v G_k(f) + sigma^2,    G_k(f) = mean over the s * s aliases a of |K(f + a)|^2 V(f + a).

Twice its negative log-likelihood per LR frequency, without constants, is

    J(k) = mean_f [ |R_k(f)|^2 / S_k(f) + log S_k(f) ].

``docs/evidence.md`` derives it. All transforms are unitary. Since images are real, half of the frequencies say it all:
spectra on the LR grid have the shape (h, w // 2 + 1) of :func:`torch.fft.rfft2`.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from dkp_plugin.degradation import degrade

PROFILE_STEPS = 4  # fixed-point steps for the variance of the error, which start from a good guess
MIN_VARIANCE = 1e-8


def error_spectra(size: tuple[int, int], exponents: Sequence[float], device: torch.device | None = None) -> Tensor:
    """Spectra V(f) = (|f|^2 + 1e-5)^(-exponent / 2) of the error of an HR estimate, each scaled to mean 1.

    Args:
        size: (H, W) of the HR grid.
        exponents: 0 for a white error, 1 to 2 for one that lies at low frequencies as images do; N of them.
        device: Where the result goes.

    Returns:
        (N, H, W), float32, on the grid of :func:`torch.fft.fft2`; f is in cycles per HR pixel.
    """
    rows, columns = (torch.fft.fftfreq(side, dtype=torch.float64).square() for side in size)
    spectra = (rows[:, None] + columns + 1e-5) ** (-torch.tensor(exponents).double().view(-1, 1, 1) / 2)
    return (spectra / spectra.mean((1, 2), keepdim=True)).float().to(device)


def innovation_power(z: Tensor, lq: Tensor, kernels: Tensor, scale: int) -> Tensor:
    """Power |R_k(f)|^2 of the innovation of each kernel, averaged over the channels.

    Args:
        z: HR estimate, (1, C, H, W).
        lq: LR image, (1, C, h, w).
        kernels: (L, 1, K, K).
        scale: Subsampling factor s.

    Returns:
        (L, h, w // 2 + 1).
    """
    transform = torch.fft.rfft2(lq - degrade(z, kernels, scale), norm='ortho')
    return (transform.real.square() + transform.imag.square()).mean(1)


def error_gain(kernels: Tensor, spectra: Tensor, scale: int, index: Tensor | None = None) -> Tensor:
    """Power G_k(f) that an error of a given spectrum leaves in the LR image of each kernel.

    Args:
        kernels: (L, 1, K, K).
        spectra: V(f), (N, H, W), on the grid of :func:`torch.fft.fft2`; N is L, or 1 for all kernels, unless ``index``
            says which spectrum belongs to which kernel.
        scale: Subsampling factor s.
        index: (L,), integers below N.

    Returns:
        (L, h, w // 2 + 1).
    """
    (height, width), half = (side // scale for side in spectra.shape[1:]), spectra.shape[2] // scale // 2 + 1
    rows = torch.arange(scale * height)
    columns = (torch.arange(half) + width * torch.arange(scale).unsqueeze(1)).flatten()  # and their aliases
    # The kernel is small, so two products with its rows and columns are cheaper than an FFT of the size of the image.
    left = _dft_matrix(rows, scale * height, kernels)
    right = _dft_matrix(columns, scale * width, kernels)
    otf = left @ kernels.squeeze(1).to(left.dtype) @ right.T
    spectra = spectra[:, :, columns.to(spectra.device)]
    power = (otf.real.square() + otf.imag.square()) * (spectra if index is None else spectra[index])
    return power.view(-1, scale, height, scale, half).mean((1, 3))


def _dft_matrix(frequencies: Tensor, period: int, kernels: Tensor) -> Tensor:
    """exp(2 pi i f m / period) for the pixels m of a kernel, (F, K); complex, in the precision of ``kernels``."""
    angles = 2 * math.pi / period * frequencies.double().unsqueeze(1) * torch.arange(kernels.shape[-1])
    return torch.polar(torch.ones_like(angles), angles).to(kernels.device, kernels.dtype.to_complex())


def _mean(values: Tensor, width: int) -> Tensor:
    """Mean over all frequencies of an LR grid of the given width, from their half: (L, h, w // 2 + 1) to (L,)."""
    weights = torch.full((values.shape[-1],), 2.0, dtype=values.dtype, device=values.device)
    weights[0] = 1
    if width % 2 == 0:
        weights[-1] = 1
    return (values * weights).sum((-2, -1)) / (values.shape[-2] * width)


def profile_variance(power: Tensor, gain: Tensor, noise_variance: float, width: int) -> Tensor:
    """The error variance v under which the innovation of each kernel is most likely.

    Args:
        power: |R_k(f)|^2, (L, h, w // 2 + 1).
        gain: G_k(f), of the same shape.
        noise_variance: sigma^2 of the LR image, positive.
        width: w.

    Returns:
        (L,), at least 1e-8: the fixed point of v = v mean(|R|^2 G / S^2) / mean(G / S), where dJ/dv = 0.
    """
    variance = ((_mean(power, width) - noise_variance) / _mean(gain, width)).clamp_min(MIN_VARIANCE)
    for _ in range(PROFILE_STEPS):
        innovation_variance = variance.view(-1, 1, 1) * gain + noise_variance
        share = gain / innovation_variance
        ratio = _mean(power * share / innovation_variance, width) / _mean(share, width)
        variance = (variance * ratio).clamp_min(MIN_VARIANCE)
    return variance


def negative_log_evidence(
    z: Tensor,
    lq: Tensor,
    kernels: Tensor,
    scale: int,
    spectra: Tensor,
    noise_variance: float,
    index: Tensor | None = None,
) -> Tensor:
    """J(k) of each kernel, with the variance of the error profiled out; lower is better.

    Args:
        z: HR estimate, (1, C, H, W), not yet made consistent with any kernel.
        lq: LR image, (1, C, H / s, W / s).
        kernels: (L, 1, K, K).
        scale: Subsampling factor s.
        spectra: V(f) of the error of z up to a factor, as for :func:`error_gain`.
        noise_variance: sigma^2 of the LR image, positive; rounding to 8 bits alone leaves 1.3e-6.
        index: As for :func:`error_gain`.

    Returns:
        (L,). Differentiable in ``kernels``.
    """
    width = lq.shape[-1]
    power = innovation_power(z, lq, kernels, scale)
    gain = error_gain(kernels, spectra, scale, index)
    # At its minimum over v, J does not change with v to first order, so the gradient need not pass through v.
    variance = profile_variance(power.detach(), gain.detach(), noise_variance, width).view(-1, 1, 1)
    innovation_variance = variance * gain + noise_variance
    return _mean(power / innovation_variance + innovation_variance.log(), width)
