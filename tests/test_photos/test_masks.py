"""White parts are restored, black ones enlarged, gray ones blended."""

import numpy as np
import pytest
import torch
from PIL import Image

from dkp_plugin.host.errors import ImageError
from dkp_plugin.photos.api import PhotoRestorer
from dkp_plugin.photos.masks import make_mask, read_mask
from dkp_plugin.photos.presets import Choices, make_options

PIXELS = np.random.default_rng(0).integers(0, 256, (24, 30, 3), dtype=np.uint8)


def restore(mask=None, strength=1.0):
    opt = make_options(Choices(scale=2, preset='fast')) | {
        'network_k': {'type': 'FixedKernel'},
        'network_g': {'type': 'ClosedForm'},
    }
    return PhotoRestorer(opt, 'cpu', strength=strength, mask=mask)(PIXELS).image.astype(int)


def test_the_parts_of_the_mask():
    full, plain = restore(), restore(strength=0.0)
    assert np.abs(full - plain).max() > 5
    halves = np.zeros((24, 30), np.uint8)
    halves[:, 15:] = 255
    mixed = restore(make_mask(halves))
    np.testing.assert_array_equal(mixed[:, :22], plain[:, :22])  # 8 pixels of the result for the soft edge
    np.testing.assert_array_equal(mixed[:, 38:], full[:, 38:])
    np.testing.assert_allclose(restore(make_mask(np.full((24, 30), 51, np.uint8))), 0.2 * full + 0.8 * plain, atol=1.1)
    white = make_mask(np.ones((24, 30), bool))
    np.testing.assert_array_equal(restore(white), full)
    np.testing.assert_array_equal(restore(white, strength=0.5), restore(strength=0.5))


@pytest.mark.parametrize(
    'pixels',
    [
        np.full((24, 30, 1), 102, np.uint8),
        np.full((24, 30, 3), 102 * 257, np.uint16),
        np.dstack([np.full((24, 30), 102, np.uint8), np.zeros((24, 30), np.uint8)]),  # alpha does not count
        np.full((24, 30), 0.4, np.float32),
    ],
)
def test_images_of_any_kind_are_masks(pixels):
    torch.testing.assert_close(make_mask(pixels), torch.full((1, 1, 24, 30), 0.4))


def test_files_and_wrong_sizes(tmp_path):
    Image.new('L', (20, 10), 255).save(tmp_path / 'mask.png')
    mask = read_mask(tmp_path / 'mask.png', 10**6)
    with pytest.raises(ImageError, match=r'^mask: 20x10 pixels; allowed: 30x24, as the image$'):
        restore(mask)
    (tmp_path / 'text.png').write_text('text')
    with pytest.raises(ImageError, match=r'text\.png: not a readable image'):
        read_mask(tmp_path / 'text.png', 10**6)
