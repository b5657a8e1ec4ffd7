"""Arrays and tensors are the same numbers."""

import numpy as np
import pytest
import torch

from dkp_plugin.engine.borders import crop_border, mirror_border
from dkp_plugin.photos.pixels import fill_hidden, from_tensor, to_tensor


@pytest.mark.parametrize('dtype', ['uint8', 'uint16', 'float32'])
def test_every_level_survives(dtype):
    levels = np.arange(256 if dtype == 'uint8' else 65536)
    pixels = (levels / levels[-1] if dtype == 'float32' else levels).astype(dtype).reshape(-1, 16, 1)
    tensor = to_tensor(pixels)
    assert tensor.shape == (1, 1, len(levels) // 16, 16) and tensor.min() == 0 and tensor.max() == 1
    np.testing.assert_array_equal(from_tensor(tensor, pixels.dtype), pixels)


def test_borders_are_mirrored_as_by_numpy(rng):
    image = torch.rand(1, 2, 5, 7, generator=rng)
    expected = np.pad(image.numpy(), ((0, 0), (0, 0), (3, 3), (3, 3)), mode='symmetric')
    np.testing.assert_array_equal(mirror_border(image, 3), expected)
    torch.testing.assert_close(crop_border(mirror_border(image, 3), 3), image)


def test_hidden_pixels_get_the_mean_of_what_is_visible_around_them():
    colour = torch.zeros(1, 1, 4, 4)
    alpha = torch.zeros(1, 1, 4, 4)
    colour[..., 0, 0], alpha[..., 0, 0] = 0.75, 1.0
    torch.testing.assert_close(fill_hidden(colour, alpha), torch.full((1, 1, 4, 4), 0.75))
    torch.testing.assert_close(fill_hidden(colour, torch.zeros_like(alpha)), torch.full((1, 1, 4, 4), 0.5))
    half = torch.full_like(alpha, 0.5)
    torch.testing.assert_close(fill_hidden(torch.full_like(colour, 0.3), half), torch.full((1, 1, 4, 4), 0.3))
