"""Random crops of photographs that are kept in memory at several sizes."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from dkp_plugin.host.errors import ImageError, OptionError


def check_factors(factors: Sequence[float], key: str) -> None:
    """Check the option ``resize_factors``.

    Args:
        factors: Sizes of a photograph, as shares of its own.
        key: Block that holds the option, for the message.

    Raises:
        OptionError: for a factor that is not in (0, 1].
    """
    for factor in factors:
        if not 0 < factor <= 1:
            raise OptionError(f'{key}: resize_factors: {factor} is not in (0, 1]')


def check_size(image: Tensor, size: int, name: str, key: str) -> None:
    """Check that an image (C, H, W) holds a square of ``size`` pixels; ``name`` and ``key`` are for the message.

    Raises:
        ImageError: if it does not.
    """
    if min(image.shape[-2:]) < size:
        raise ImageError(f'{name}: {image.shape[-1]}x{image.shape[-2]} pixels are fewer than {key} {size}')


def resize_photo(photo: Tensor, factors: Sequence[float], size: int, name: str, key: str) -> list[Tensor]:
    """A photograph at all sizes that are large enough for a crop; smaller ones have sharper edges and less noise.

    Args:
        photo: 8-bit RGB pixels (3, H, W).
        factors: Sizes, as shares of its own, in (0, 1].
        size: Height and width of the crop.
        name: Of the photograph, for the message.
        key: Option that holds ``size``, for the message.

    Returns:
        8-bit RGB pixels by falling size, at least one image.

    Raises:
        ImageError: if the largest size is too small for a crop.
    """
    sizes = [[round(factor * side) for side in photo.shape[-2:]] for factor in sorted(factors, reverse=True)]
    large = [sides for sides in sizes if min(sides) >= size] or sizes[:1]
    resized = (F.interpolate(photo[None].float(), sides, mode='bicubic', antialias=True)[0] for sides in large)
    photos = [image.round().clamp(0, 255).byte() for image in resized]
    check_size(photos[0], size, name, key)
    return photos


def random_crop(image: Tensor, size: int) -> Tensor:
    """A random square of 8-bit pixels (C, H, W), as float32 (C, size, size) in [0, 1]."""
    top, left = (randint(side - size + 1) for side in image.shape[-2:])
    return image[:, top : top + size, left : left + size].float() / 255


def randint(bound: int) -> int:
    """An integer of 0 to ``bound`` - 1, from PyTorch's global generator, which BasicSR seeds in each of its workers."""
    return int(torch.randint(bound, ()))
