"""How far an image prior and the data disagree about a result, which shows whether the forward model holds.

A blur with a non-negative kernel cannot sharpen. If a camera has sharpened the photograph, the image that explains it
has halos that no photograph has, and the image prior removes them. What it removes shows when the denoised result is
degraded again: the innovation y - A(denoise(x)) is larger than noise and rounding explain. A wrong kernel shows in the
same way.

Fine texture passes for noise in an estimate from the whole image. White noise is the same everywhere, though, so it is
no stronger than in the quietest parts of the innovation.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from dkp_plugin.archs.lq_denoiser import LqDenoiser
from dkp_plugin.engine.tiles import most_informative_place, scale_place
from dkp_plugin.physics.borders import crop_border
from dkp_plugin.physics.coding_noise import rgb_to_ycc
from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.physics.noise import noise_response

SIGMA = 0.02  # noise level at which the prior judges the result
LARGEST_PART = 512  # HR pixels to a side that suffice
BLOCK = 6  # LR pixels
ROUNDING = 0.04 / 255**2  # variance of the rounding error in luma
LUMA_GAIN = 0.299**2 + 0.587**2 + 0.114**2  # of the variance of white noise, from RGB to luma
LEAST_DETAIL = 12 / 255
QUIET_SHARE, QUIET_FACTOR = 0.1, 1.4  # of white noise, the quietest tenth of such blocks is this much below the rest


def measure_misfit(
    x: Tensor, lq: Tensor, kernel: Tensor, degradation: Degradation, denoise: LqDenoiser
) -> float | None:
    """Innovation of the denoised result in luma, beyond rounding, noise and the error of JPEG, relative to the detail.

    Args:
        x: The result, (1, 3, s h, s w) in [0, 1].
        lq: LR image, (1, 3, h, w) in [0, 1].
        kernel: (1, 1, K, K).
        degradation: The forward model with its noise.
        denoise: The image prior as a denoiser.

    Returns:
        Its standard deviation, relative to that of the steps between neighbouring pixels (or to ``LEAST_DETAIL``); None
        for images so small that the border leaves nothing.
    """
    scale, margin = degradation.scale, degradation.reach
    if min(lq.shape[-2:]) < 2 * margin + BLOCK + 2:
        return None
    place = most_informative_place(lq, max(LARGEST_PART // scale, 3 * margin + BLOCK))
    part = lq[(..., *place)]
    hr_part = x[(..., *scale_place(place, scale))]
    innovation = part - degradation.A(denoise(hr_part, SIGMA), kernel)
    luma = rgb_to_ycc(crop_border(innovation, margin))[:, :1]
    coding, white = degradation.coding, degradation.noise
    known = ROUNDING
    if coding is not None:
        white = coding.white
        known += coding.spectrum(tuple(part.shape[-2:]))[0].mean().item()
    known += min(LUMA_GAIN * white**2, _white_variance(luma))
    error = math.sqrt(max(luma.square().mean().item() - known, 0.0))
    gray = rgb_to_ycc(part)[:, :1]
    detail = math.sqrt(sum(gray.diff(dim=dim).square().mean().item() for dim in (-2, -1)))
    return error / max(detail, LEAST_DETAIL)


def _white_variance(luma: Tensor) -> float:
    """Variance of the white noise in an image (1, 1, h, w), from its quietest blocks."""
    blocks = F.avg_pool2d(noise_response(luma).square(), BLOCK).flatten()
    return QUIET_FACTOR**2 * torch.quantile(blocks, QUIET_SHARE).item()
