"""Levels and numbers in [0, 1] are the same pixels."""

import hashlib

import cv2
import numpy as np
import pytest
import torch

from dkp_plugin.io.images import decode_image
from dkp_plugin.io.pixels import from_tensor, pixel_digest, to_levels, to_tensor
from dkp_plugin.io.png import encode_png


@pytest.mark.parametrize('dtype', ['uint8', 'uint16', 'float32'])
def test_every_level_survives(dtype):
    levels = np.arange(256 if dtype == 'uint8' else 65536)
    pixels = (levels / levels[-1] if dtype == 'float32' else levels).astype(dtype).reshape(-1, 16, 1)
    tensor = to_tensor(pixels)
    assert tensor.shape == (1, 1, len(levels) // 16, 16) and tensor.min() == 0 and tensor.max() == 1
    np.testing.assert_array_equal(from_tensor(tensor, pixels.dtype), pixels)


@pytest.mark.parametrize(('dtype', 'peak'), [(np.uint8, 255), (np.uint16, 65535)])
def test_levels_are_those_of_the_file(dtype, peak):
    every_level = np.arange(peak + 1, dtype=dtype).reshape(1, -1, 1)
    image = torch.from_numpy(every_level.astype(np.float32) / peak).permute(2, 0, 1)
    levels = to_levels(image)
    assert levels.dtype == dtype and np.array_equal(levels, every_level)
    assert decode_image(encode_png(to_levels(image)), '').equal(image)


def test_digest_is_of_the_pixels_and_not_of_the_file():
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    by_hand = hashlib.sha256(b'2x4 uint8' + bytes(range(24))).hexdigest()
    for suffix in ('.png', '.bmp'):
        content = cv2.imencode(suffix, np.ascontiguousarray(pixels[..., ::-1]))[1].tobytes()
        assert pixel_digest(decode_image(content, '')) == by_hand


def test_digest_of_gray_is_that_of_gray_in_colour_and_knows_the_size():
    gray = torch.arange(6.0).view(1, 2, 3) / 255
    assert pixel_digest(gray) == pixel_digest(gray.expand(3, -1, -1))
    assert pixel_digest(gray) != pixel_digest(gray.view(1, 3, 2))
    assert pixel_digest(gray) != pixel_digest(gray / 257)
