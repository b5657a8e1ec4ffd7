"""Convert the colours of an image of any of Pillow's modes to gray or RGB."""

import io

import numpy as np
from PIL import Image, ImageCms

MODES = {  # what a mode of Pillow is converted to
    **dict.fromkeys(('1', 'L'), 'L'),
    **dict.fromkeys(('LA', 'La'), 'LA'),
    **dict.fromkeys(('RGB', 'RGBX', 'CMYK', 'YCbCr', 'LAB', 'HSV', 'P'), 'RGB'),
    **dict.fromkeys(('RGBA', 'RGBa', 'PA'), 'RGBA'),
}
WITH_ALPHA = {'L': 'LA', 'RGB': 'RGBA'}
OTHER_SPACES = (b'CMYK', b'Lab ', b'XYZ ', b'YCbr')  # of profiles that do not fit gray or RGB


def to_gray_or_rgb(image: Image.Image, profile: bytes | None) -> tuple[np.ndarray, tuple[str, ...]]:
    """Convert an image; CMYK goes to sRGB by its ICC profile.

    Args:
        image: Of a mode of :data:`MODES`.
        profile: Its ICC profile.

    Returns:
        (h, w, C) uint8, C = 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha; and notes on what may be inexact.

    Raises:
        ValueError: for another mode.
    """
    if image.mode not in MODES:
        raise ValueError(f'pixels of mode {image.mode}; allowed: 8 or 16 bits per channel')
    mode, notes = MODES[image.mode], ()
    if image.mode == 'CMYK':
        image, notes = _from_cmyk(image, profile)
    elif 'transparency' in image.info:
        mode = WITH_ALPHA.get(mode, mode)
    pixels = np.asarray(image if image.mode == mode else image.convert(mode))
    return pixels.reshape(*pixels.shape[:2], -1), notes


def fitting_profile(profile: bytes | None, channels: int) -> bytes | None:
    """The profile, unless it is one of other colours than gray or RGB pixels have, or of gray for RGB."""
    space = profile[16:20] if profile else b''
    is_foreign = space in OTHER_SPACES or (space == b'GRAY' and channels > 2)
    return None if is_foreign or not profile else profile


def _from_cmyk(image: Image.Image, profile: bytes | None) -> tuple[Image.Image, tuple[str, ...]]:
    """Convert from CMYK to sRGB; without a usable profile, by the complement."""
    try:
        # The module is not in every build of Pillow, and importing it then fails where it is used first.
        converted = ImageCms.profileToProfile(
            image,
            io.BytesIO(profile or b''),
            ImageCms.createProfile('sRGB'),
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode='RGB',
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
        return converted, ()
    except (ImportError, OSError, ImageCms.PyCMSError):
        return image.convert('RGB'), ('its colours are CMYK without a usable profile, so they are not exact',)
