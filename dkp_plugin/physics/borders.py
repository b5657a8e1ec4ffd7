"""Mirror padding for photographs, which do not have the periodic borders of the forward model."""

import math

import torch
from torch import Tensor

from dkp_plugin.physics.degradation import Degradation


def mirror_border(image: Tensor, margin: int) -> Tensor:
    """Pad images (B, C, H, W) with their mirror image and repeat the edge pixels; ``margin`` is at most H and W."""
    for axis in (-2, -1):
        before, after = image.narrow(axis, 0, margin), image.narrow(axis, image.shape[axis] - margin, margin)
        image = torch.cat([before.flip(axis), image, after.flip(axis)], axis)
    return image


def crop_border(image: Tensor, margin: int) -> Tensor:
    """Undo :func:`mirror_border`."""
    return image[..., margin : image.shape[-2] - margin, margin : image.shape[-1] - margin]


def taper_border(lq: Tensor, kernel: Tensor, degradation: Degradation) -> Tensor:
    """Make a mirrored border consistent with the periodic forward model.

    Opposite ends of a mirrored border meet in an edge that no kernel has blurred, and data steps answer it by ringing
    that reaches far into the image. Towards the ends, the border therefore becomes the degraded enlargement of the LR
    image, which is periodic.

    Args:
        lq: LR images, (B, C, h, w), with a mirrored border of ``degradation.margin`` pixels.
        kernel: (B or 1, 1, K, K) in the convention of ``degradation``.
        degradation: The forward model.

    Returns:
        (B, C, h, w), equal to ``lq`` inside the border.
    """
    margin = degradation.margin
    if margin == 0:
        return lq
    rise = torch.sin(math.pi / 2 * (torch.arange(margin) + 0.5) / margin).square()
    rows, columns = (torch.cat([rise, torch.ones(side - 2 * margin), rise.flip(0)]) for side in lq.shape[-2:])
    weight = torch.outer(rows, columns).to(lq)
    return torch.lerp(degradation.A(degradation.enlarge(lq), kernel), lq, weight)
