"""Mirror padding for photographs, which do not have the periodic borders of the forward model."""

import torch
from torch import Tensor


def mirror_border(image: Tensor, margin: int) -> Tensor:
    """Pad images (B, C, H, W) with their mirror image and repeat the edge pixels; ``margin`` is at most H and W."""
    for axis in (-2, -1):
        before, after = image.narrow(axis, 0, margin), image.narrow(axis, image.shape[axis] - margin, margin)
        image = torch.cat([before.flip(axis), image, after.flip(axis)], axis)
    return image


def crop_border(image: Tensor, margin: int) -> Tensor:
    """Undo :func:`mirror_border`."""
    return image[..., margin : image.shape[-2] - margin, margin : image.shape[-1] - margin]
