"""Colour and transparency: images are restored without alpha, which is enlarged beside them."""

import torch
import torch.nn.functional as F
from torch import Tensor


def split_alpha(image: Tensor) -> tuple[Tensor, Tensor | None]:
    """Separate colour and alpha.

    The colour of hidden pixels has no meaning and must not bleed into their neighbours. So each pixel keeps the share
    alpha of its colour and takes the rest from the visible pixels around it; see :func:`fill_hidden`.

    Args:
        image: (1, C, H, W) in [0, 1]; C = 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha.

    Returns:
        Gray or RGB, (1, 1 or 3, H, W), and alpha, (1, 1, H, W), or None for an image without.
    """
    if image.shape[1] not in (2, 4):
        return image, None
    colour, alpha = image[:, :-1], image[:, -1:]
    return fill_hidden(colour, alpha), alpha


def join_alpha(colour: Tensor, alpha: Tensor) -> Tensor:
    """Undo :func:`split_alpha`, except for the hidden colours."""
    return torch.cat([colour, alpha], 1)


def fill_hidden(colour: Tensor, alpha: Tensor) -> Tensor:
    """Replace hidden pixels by what surrounds them, from coarse to fine.

    Args:
        colour: (1, C, H, W) in [0, 1], not premultiplied.
        alpha: (1, 1, H, W) in [0, 1].

    Returns:
        alpha colour + (1 - alpha) surroundings, (1, C, H, W); gray where nothing is visible.
    """
    if alpha.min() == 1:
        return colour
    if min(alpha.shape[-2:]) == 1:
        total = alpha.sum()
        mean = (alpha * colour).sum((-2, -1), keepdim=True) / total if total > 0 else torch.full_like(colour, 0.5)
        surroundings = mean.expand_as(colour)
    else:
        size = [-(-side // 2) for side in alpha.shape[-2:]]
        coarse_alpha = F.adaptive_avg_pool2d(alpha, size)
        coarse = F.adaptive_avg_pool2d(alpha * colour, size) / coarse_alpha.clamp_min(1e-6)
        # A coarse pixel with anything visible in it knows its colour.
        coarse = fill_hidden(coarse.clamp(0, 1), (coarse_alpha > 1e-6).to(alpha))
        surroundings = F.interpolate(coarse, alpha.shape[-2:], mode='bilinear')
    return alpha * colour + (1 - alpha) * surroundings
