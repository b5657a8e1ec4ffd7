import io

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image

from dkp_plugin.physics.jpeg_coding import JpegCoding
from dkp_plugin.physics.jpeg_detection import detect_jpeg

PHOTOS = {name: getattr(skimage.data, name)()[:192, :200, :3] for name in ('astronaut', 'coffee', 'chelsea')}


def to_tensor(pixels):
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).unsqueeze(0).float() / 255


def saved(pixels, **options):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, 'JPEG', **options)
    return np.array(Image.open(buffer))


@pytest.mark.parametrize('subsampling', [0, 2])
@pytest.mark.parametrize('quality', [30, 50, 75, 90])
@pytest.mark.parametrize('name', PHOTOS)
def test_quality_and_grid_of_a_cropped_jpeg_are_found(name, quality, subsampling):
    pixels = saved(PHOTOS[name], quality=quality, subsampling=subsampling)[3:, 5:]
    assert detect_jpeg(to_tensor(pixels)) == JpegCoding.standard(quality, (5, 3))


@pytest.mark.parametrize('name', PHOTOS)
def test_what_was_resized_or_is_noisy_is_no_jpeg(name, rng):
    noisy = to_tensor(saved(PHOTOS[name], quality=50))
    noisy = noisy + 3 / 255 * torch.randn(noisy.shape, generator=rng)
    half = np.array(Image.fromarray(PHOTOS[name]).resize((100, 96), Image.Resampling.BICUBIC))
    assert detect_jpeg((noisy * 255).round().clamp(0, 255) / 255) is None
    assert detect_jpeg(to_tensor(half)) is None


@pytest.mark.parametrize('size', [(8, 40), (64, 64)])
def test_flat_and_small_images_say_nothing(size):
    assert detect_jpeg(torch.full((1, 3, *size), 0.5)) is None


def test_a_part_of_a_large_image_suffices():
    tiles = np.tile(PHOTOS['coffee'], (4, 4, 1))  # 768x800
    assert detect_jpeg(to_tensor(saved(tiles, quality=60)[1:, 2:])) == JpegCoding.standard(60, (7, 6))
