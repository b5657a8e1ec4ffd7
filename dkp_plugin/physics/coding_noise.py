"""The error of JPEG compression as noise with a spectrum.

JPEG rounds the DCT coefficients of 8x8 blocks, separately for luma and for two chroma channels of lower resolution.
Its error is therefore not white: it is as large as the steps of the quantisation tables where the image has detail, and
as small as the image's own coefficients where it has none. For each of the 64 coefficients, the share of zeros gives
the scale of a Laplacian distribution, and the distribution the error's variance. Averaged over the position of the
blocks, an error whose coefficients (u, v) have the variances V_uv is stationary with the power spectrum

    N(f) = sum_uv V_uv P_u(f_y) P_v(f_x),    P_u(f) = |DTFT of the u-th DCT vector|^2 / 8,

which is flat for equal variances. The forward model blurs all channels alike, so luma and chroma can be treated
separately: ``docs/evidence.md``.
"""

import math
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from dkp_plugin.physics.jpeg import BLOCK
from dkp_plugin.physics.jpeg_coding import USUAL_FACTORS, JpegCoding

UNSEEN_VARIANCE = 0.05  # of chroma at frequencies that its lower resolution does not hold: next to no information

FEW_NONZEROS = 3  # blocks; with fewer the share of zeros says little of a coefficient's scale
USUAL_SLOPE, SLOPE_TRUST = -1.5, 0.1  # of a coefficient's scale over its frequency, in logarithms

NUM_LEVELS = 3  # of the noise, for networks: white, and the coding errors of luma and chroma
LEVEL_UNIT = 0.05  # standard deviation that networks see as 1

RGB_TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))  # ITU-T T.871


@dataclass(frozen=True)
class CodingNoise:
    """What is known of the noise of a JPEG image.

    Attributes:
        variances: V_uv of luma and the two chroma channels, (3, 8, 8), in the squared units of [0, 1].
        white: Standard deviation of the white noise besides, in the units of [0, 1].
        chroma_factors: How many rows and columns share one value of chroma.
    """

    variances: Tensor
    white: float = 0.0
    chroma_factors: tuple[int, int] = USUAL_FACTORS

    def spectrum(self, size: tuple[int, int]) -> Tensor:
        """N(f) of the coding error of luma and chroma for LR images of (h, w) pixels, (3, h, w), as of ``fft2``."""
        chroma = block_spectrum(self.variances[1:], size, self.chroma_factors)
        return torch.cat([block_spectrum(self.variances[:1], size), chroma])


@dataclass(frozen=True)
class NoiseModel:
    """The noise of a batch of LR images, for networks and data steps.

    Attributes:
        levels: Standard deviations of the white noise, the coding error of luma and that of chroma at the frequencies
            it holds, (B, 3), in the units of [0, 1].
        spectrum: N(f) of everything together in luma and chroma, (B, 3, h, w).
    """

    levels: Tensor
    spectrum: Tensor

    @classmethod
    def of(cls, size: tuple[int, int], white: list[float], coding: list[CodingNoise | None]) -> 'NoiseModel':
        """The noise of a batch: of each image its white noise, and its coding error if it has one."""
        gains = rgb_to_ycc_matrix().square().sum(1)  # of white noise, from RGB to luma and chroma
        levels, spectra = [], []
        for sigma, code in zip(white, coding, strict=True):
            spectrum = (sigma**2 * gains).view(3, 1, 1).expand(3, *size)
            luma = chroma = 0.0
            if code is not None:
                spectrum = spectrum + code.spectrum(size)
                luma, chroma = (code.variances[part].mean().sqrt().item() for part in (slice(0, 1), slice(1, 3)))
            levels.append([sigma, luma, chroma])
            spectra.append(spectrum)
        return cls(torch.tensor(levels), torch.stack(spectra))

    def to(self, device: torch.device) -> 'NoiseModel':
        """Move to a device."""
        return NoiseModel(self.levels.to(device), self.spectrum.to(device))


def rgb_to_ycc_matrix() -> Tensor:
    """The matrix from RGB to luma and chroma, (3, 3); chroma is centred at 0."""
    return torch.tensor(RGB_TO_YCC)


def rgb_to_ycc(x: Tensor) -> Tensor:
    """Luma and chroma of RGB images, (B, 3, H, W)."""
    return torch.einsum('dc,bchw->bdhw', rgb_to_ycc_matrix().to(x), x)


def ycc_to_rgb(x: Tensor) -> Tensor:
    """Undo :func:`rgb_to_ycc`."""
    return torch.einsum('dc,bchw->bdhw', torch.linalg.inv(rgb_to_ycc_matrix().double()).to(x), x)


@cache
def dct_matrix() -> Tensor:
    """Orthonormal DCT-II of 8 values, rows are the vectors, (8, 8)."""
    n = torch.arange(BLOCK, dtype=torch.float64)
    matrix = torch.cos(math.pi / BLOCK * n.unsqueeze(1) * (n + 0.5)) * math.sqrt(2 / BLOCK)
    matrix[0] /= math.sqrt(2)
    return matrix.float()


def block_coefficients(channel: Tensor) -> Tensor:
    """DCT coefficients of the whole 8x8 blocks of a channel, (H, W) to (N, 8, 8)."""
    height, width = (side // BLOCK * BLOCK for side in channel.shape)
    blocks = channel[:height, :width].unflatten(1, (-1, BLOCK)).unflatten(0, (-1, BLOCK)).transpose(1, 2).flatten(0, 1)
    dct = dct_matrix().to(channel)
    return dct @ blocks @ dct.T


def estimate_coding_noise(image: Tensor, jpeg: JpegCoding, white: float = 0.0) -> CodingNoise:
    """The coding error of a decoded JPEG.

    Args:
        image: (1, 3, h, w) in [0, 1], at least 16x16 pixels.
        jpeg: How it was compressed.
        white: Standard deviation of the white noise besides.
    """
    # In an image of a few blocks the error hardly depends on where they begin.
    row, column = (
        start if side - start >= 2 * BLOCK else 0 for start, side in zip(jpeg.origin, image.shape[-2:], strict=True)
    )
    ycc = rgb_to_ycc(image[..., row:, column:] - torch.tensor(0.5).to(image))[0]
    channels = (ycc[0], *F.avg_pool2d(ycc[1:], jpeg.chroma_factors))
    steps = jpeg.steps.to(image)
    variances = [coding_variances(block_coefficients(c), step) for c, step in zip(channels, steps, strict=True)]
    return CodingNoise(torch.stack(variances).cpu(), white, jpeg.chroma_factors)


def coding_variances(coefficients: Tensor, step: Tensor) -> Tensor:
    """Error variances of quantised coefficients with a Laplacian distribution.

    Args:
        coefficients: As decoded, (N, 8, 8).
        step: Of the quantisation table, (8, 8), in the same units.

    Returns:
        (8, 8): E[x^2; |x| < q/2] + P(|x| > q/2) q^2 / 12, with the scale b = -q / (2 log(1 - share of zeros)).
    """
    num = len(coefficients)
    if num == 0:  # a chroma channel smaller than a block
        return step**2 / 12
    nonzeros = (coefficients.abs() > step / 2).float().sum(0)
    outside = nonzeros.clamp(0.5, num - 0.5) / num
    scale = step / (-2 * outside.log())
    fitted = _fitted_scale(scale, nonzeros).clamp_min(scale / 4)  # not trusted below a quarter of the bound
    scale = torch.where(nonzeros < FEW_NONZEROS, torch.minimum(scale, fitted), scale)
    ratio = step / (2 * scale)
    outside = torch.exp(-ratio)
    inside = 2 * scale**2 - outside * scale**2 * (ratio**2 + 2 * ratio + 2)
    return inside.clamp_min(0) + outside * step**2 / 12


def _fitted_scale(scale: Tensor, nonzeros: Tensor) -> Tensor:
    """Scales (8, 8) on a power law of the frequency, fitted to the coefficients that are not always zero.

    Where every coefficient is zero, the share of zeros gives only an upper bound.
    """
    index = torch.arange(BLOCK).to(scale)
    log_radius = torch.hypot(index.unsqueeze(1), index).clamp_min(0.5).log()
    weight = torch.where(nonzeros < FEW_NONZEROS, 0.0, nonzeros.sqrt())
    weight[0, 0] = 0  # the mean of a block follows another law
    if not weight.any():
        weight[0, 1] = weight[1, 0] = 1.0
    weight = weight / weight.sum()
    x, y = log_radius - (weight * log_radius).sum(), scale.log() - (weight * scale.log()).sum()
    slope = ((weight * x * y).sum() + SLOPE_TRUST * USUAL_SLOPE) / ((weight * x * x).sum() + SLOPE_TRUST)
    return ((weight * scale.log()).sum() + slope * x).exp()


def block_spectrum(variances: Tensor, size: tuple[int, int], factors: tuple[int, int] = (1, 1)) -> Tensor:
    """Power spectrum of an error whose 8x8 DCT coefficients have the given variances.

    Args:
        variances: (C, 8, 8).
        size: (h, w) of the image.
        factors: How many rows and columns of the image share one value of the channel.

    Returns:
        (C, h, w), on the grid of :func:`torch.fft.fft2`. For factors of 1, its mean over
        all frequencies is that of the variances. Frequencies that the channel does not hold have ``UNSEEN_VARIANCE``.
    """
    rows, columns = (
        torch.fft.fftfreq(side, device=variances.device) * factor for side, factor in zip(size, factors, strict=True)
    )
    spectrum = torch.einsum('cuv,uh,vw->chw', variances, *(_vector_power(f) for f in (rows, columns)))
    held_rows, held_columns = (f.abs() < (0.5 if s > 1 else 1) for f, s in zip((rows, columns), factors, strict=True))
    return torch.where(held_rows.unsqueeze(1) & held_columns, math.prod(factors) * spectrum, UNSEEN_VARIANCE)


def _vector_power(frequencies: Tensor) -> Tensor:
    """P_u(f) of the 8 DCT vectors at frequencies in cycles per pixel, (F,) to (8, F)."""
    phase = 2 * math.pi * torch.arange(BLOCK, device=frequencies.device).unsqueeze(1) * frequencies
    dct = dct_matrix().to(frequencies)
    return ((dct @ phase.cos()).square() + (dct @ phase.sin()).square()) / BLOCK
