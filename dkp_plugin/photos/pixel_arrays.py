"""Images as arrays of pixels, from whatever Python programs hold them in."""

import numpy as np
from PIL import Image
from torch import Tensor

from dkp_plugin.host.errors import ImageError
from dkp_plugin.io.colours import to_gray_or_rgb


def to_pixels(image: np.ndarray | Tensor | Image.Image) -> np.ndarray:
    """Turn what Python programs hold an image in into an array of pixels.

    Args:
        image: An array, which is returned as it is; a tensor (C, H, W) or (1, C, H, W); or an image of Pillow.

    Returns:
        (H, W) or (H, W, C); see :func:`check_pixels`, which checks it.

    Raises:
        ImageError: for anything else.
    """
    if isinstance(image, np.ndarray):
        return image
    if isinstance(image, Image.Image):
        try:
            return to_gray_or_rgb(image, image.info.get('icc_profile'))[0]
        except ValueError as error:
            raise ImageError(f'image: {error}') from None
    if isinstance(image, Tensor) and image.is_floating_point():
        if image.ndim == 4 and len(image) == 1:
            image = image[0]
        if image.ndim == 3:
            return image.detach().cpu().permute(1, 2, 0).numpy()
    found = f'a tensor of {image.dtype} and shape {tuple(image.shape)}' if isinstance(image, Tensor) else type(image)
    raise ImageError(
        f'image: {found} is not allowed; allowed: a file, an array, an image of Pillow, or a floating-point tensor '
        '(C, H, W) or (1, C, H, W)'
    )


def check_pixels(pixels: np.ndarray) -> np.ndarray:
    """Check an array of pixels and give it three dimensions.

    Args:
        pixels: (H, W) or (H, W, C), C = 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha; uint8, uint16, or floating
            point in [0, 1].

    Returns:
        (H, W, C).

    Raises:
        ImageError: for another shape or dtype, and for values that are not finite or not in [0, 1].
    """
    allowed = 'allowed: (H, W) or (H, W, C), C from 1 to 4, of uint8, uint16 or floating point'
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (1, 2, 3, 4)):
        raise ImageError(f'image: an array of shape {pixels.shape}; {allowed}')
    if pixels.dtype not in (np.uint8, np.uint16) and pixels.dtype.kind != 'f':
        raise ImageError(f'image: an array of {pixels.dtype}; {allowed}')
    if pixels.dtype.kind == 'f' and pixels.size and not (pixels.min() >= 0 and pixels.max() <= 1):
        raise ImageError(f'image: values from {pixels.min():.4g} to {pixels.max():.4g}; allowed: 0 to 1')
    return pixels if pixels.ndim == 3 else pixels[..., None]
