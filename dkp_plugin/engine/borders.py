"""Surround an image by its mirror image, since the forward model is periodic and photographs are not."""

import torch
from torch import Tensor


def mirror_border(image: Tensor, margin: int) -> Tensor:
    """Surround (1, C, H, W) by its mirror image, the outermost pixels twice; ``margin`` at most H and W."""
    for axis in (-2, -1):
        before, after = image.narrow(axis, 0, margin), image.narrow(axis, image.shape[axis] - margin, margin)
        image = torch.cat([before.flip(axis), image, after.flip(axis)], axis)
    return image


def crop_border(image: Tensor, margin: int) -> Tensor:
    """Undo :func:`mirror_border`."""
    return image[..., margin : image.shape[-2] - margin, margin : image.shape[-1] - margin]
