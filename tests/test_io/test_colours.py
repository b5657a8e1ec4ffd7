"""Colours of Pillow's modes become gray or RGB."""

import numpy as np
import pytest
from PIL import Image, ImageCms
from test_io.image_makers import cmyk_profile

from dkp_plugin.io.colours import MODES, fitting_profile, to_gray_or_rgb


def profile_of(space: bytes) -> bytes:
    """The head of an ICC profile."""
    return bytes(16) + space + bytes(108)


@pytest.mark.parametrize('mode', MODES)
def test_every_mode_becomes_gray_or_rgb(mode):
    pixels, _ = to_gray_or_rgb(Image.new(mode, (5, 3)), None)
    channels = {'L': 1, 'LA': 2, 'RGB': 3, 'RGBA': 4}[MODES[mode]]
    assert pixels.shape == (3, 5, channels) and pixels.dtype == np.uint8


@pytest.mark.parametrize('mode', ['I', 'F', 'I;16'])
def test_other_modes_are_refused(mode):
    with pytest.raises(ValueError, match=f'pixels of mode {mode}; allowed: 8 or 16 bits per channel'):
        to_gray_or_rgb(Image.new(mode, (5, 3)), None)


@pytest.mark.parametrize(
    ('mode', 'colour', 'expected'),
    [
        ('L', 7, [7]),
        ('1', 1, [255]),
        ('LA', (7, 9), [7, 9]),
        ('RGBA', (1, 2, 3, 4), [1, 2, 3, 4]),
        ('HSV', (0, 255, 255), [255, 0, 0]),
        ('YCbCr', (100, 128, 128), [100, 100, 100]),
        ('CMYK', (255, 0, 0, 0), [0, 255, 255]),  # without a profile, by the complement
    ],
)
def test_colours_by_hand(mode, colour, expected):
    pixels, _ = to_gray_or_rgb(Image.new(mode, (2, 2), colour), None)
    assert pixels[0, 1].tolist() == expected


@pytest.mark.parametrize(('mode', 'colour', 'expected'), [('L', 7, [[7, 0]]), ('RGB', (1, 2, 3), [[1, 2, 3, 0]])])
def test_a_transparent_colour_becomes_alpha(mode, colour, expected):
    image = Image.new(mode, (1, 1), colour)
    image.info['transparency'] = colour
    assert to_gray_or_rgb(image, None)[0][0].tolist() == expected


def test_cmyk_goes_to_srgb_by_its_profile():
    corners = np.full((16, 3), 128, np.uint8)
    corners[:, 0] = 0
    corners[0, 0] = 255  # no ink is white, any full ink is black
    inks = Image.fromarray(np.array([[[0, 0, 0, 0], [255, 0, 0, 0], [0, 0, 0, 255]]], np.uint8), 'CMYK')
    pixels, notes = to_gray_or_rgb(inks, cmyk_profile(corners))
    np.testing.assert_allclose(pixels[0].astype(int), [[255] * 3, [0] * 3, [0] * 3], atol=1)
    assert notes == ()


@pytest.mark.parametrize('profile', [None, b'', b'no profile', profile_of(b'RGB ')])
def test_cmyk_without_a_usable_profile_is_noted(profile):
    _, (note,) = to_gray_or_rgb(Image.new('CMYK', (2, 2)), profile)
    assert note == 'its colours are CMYK without a usable profile, so they are not exact'


@pytest.mark.parametrize(
    ('space', 'channels', 'fits'),
    [
        (b'RGB ', 3, True),
        (b'RGB ', 4, True),
        (b'GRAY', 1, True),
        (b'GRAY', 2, True),
        (b'GRAY', 3, False),
        (b'CMYK', 3, False),
        (b'Lab ', 3, False),
    ],
)
def test_a_profile_of_other_colours_is_dropped(space, channels, fits):
    profile = profile_of(space)
    assert fitting_profile(profile, channels) == (profile if fits else None)


def test_no_profile_fits_nothing():
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()
    assert fitting_profile(srgb, 3) == srgb
    assert fitting_profile(None, 3) is None and fitting_profile(b'', 3) is None
