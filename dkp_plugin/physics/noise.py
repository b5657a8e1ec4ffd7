"""Blind noise estimation from a single image."""

import torch
from torch import Tensor

from dkp_plugin.physics.degradation import degrade

# The difference of two Laplacians suppresses image structure that is linear over three pixels (Immerkaer 1996).
MASK = ((1.0, -2.0, 1.0), (-2.0, 4.0, -2.0), (1.0, -2.0, 1.0))
MAD_TO_STD = 1.4826  # standard deviation of a Gaussian over the median of its absolute values
FLOOR = 1.0 / 255  # fine texture and rounding to 8 bits look like noise of this strength


def estimate_noise(image: Tensor) -> float:
    """Estimate the standard deviation of white noise in an image.

    The median excludes edges, but fine texture still counts as noise. Estimates below one 8-bit level are therefore
    reported as 0.

    Args:
        image: (1, C, H, W) in [0, 1], at least 3x3 pixels.

    Returns:
        The standard deviation in the units of the image, averaged over the channels; 0 if it is below 1 / 255.
    """
    sigma = MAD_TO_STD * noise_response(image).abs().flatten(2).median(2).values.mean().item()
    return sigma if sigma >= FLOOR else 0.0


def noise_response(image: Tensor) -> Tensor:
    """Suppress the image: of white noise, a response of the same standard deviation remains.

    Args:
        image: (1, C, H, W), at least 3x3 pixels.

    Returns:
        (1, C, H - 2, W - 2).
    """
    mask = torch.tensor(MASK).to(image)
    return degrade(image, (mask / mask.square().sum().sqrt())[None, None], 1)[..., 1:-1, 1:-1]
