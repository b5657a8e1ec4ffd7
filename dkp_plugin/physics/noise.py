"""Estimate the noise of an image from the image alone."""

import torch
from torch import Tensor

from dkp_plugin.physics.degradation import degrade

# The difference of two Laplacians, which no image structure that is linear over three pixels passes (Immerkaer 1996).
MASK = ((1.0, -2.0, 1.0), (-2.0, 4.0, -2.0), (1.0, -2.0, 1.0))
MAD_TO_STD = 1.4826  # of a Gaussian, from the median of its absolute values
FLOOR = 1.0 / 255  # what fine texture and the rounding to 8 bits feign


def estimate_noise(image: Tensor) -> float:
    """Standard deviation of white noise in an image.

    The median keeps edges out, but fine texture counts as noise, so that estimates below one level of 8 bits are taken
    for none.

    Args:
        image: (1, C, H, W) in [0, 1], at least 3x3 pixels.

    Returns:
        The standard deviation in the units of the image, averaged over the channels; 0 below 1 / 255.
    """
    mask = torch.tensor(MASK).to(image)
    response = degrade(image, mask[None, None], 1)[..., 1:-1, 1:-1].abs().flatten(2)
    sigma = MAD_TO_STD * response.median(2).values.mean().item() / mask.square().sum().sqrt().item()
    return sigma if sigma >= FLOOR else 0.0
