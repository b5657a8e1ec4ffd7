"""JPEG compression leaves an error and blocks in the pixels."""

import io

import cv2
import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image

from dkp_plugin.physics.jpeg import blockiness, compression_error


def as_tensor(pixels) -> torch.Tensor:
    return torch.from_numpy(np.asarray(pixels) / np.float32(255)).permute(2, 0, 1).unsqueeze(0)


@pytest.mark.parametrize('name', ['astronaut', 'chelsea', 'coffee'])
def test_blocks_show_wherever_they_begin(name):
    photo = getattr(skimage.data, name)()
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, 'JPEG', quality=50)
    compressed = np.asarray(Image.open(buffer))
    assert blockiness(as_tensor(photo))[0] < 0.1
    for top, left in ((0, 0), (3, 5)):
        strength, origin = blockiness(as_tensor(compressed[top:, left:]))
        assert strength > 0.3 and origin == (-top % 8, -left % 8)


def test_steps_of_known_height_are_measured():
    # Steps of 1/100 between columns, and of 3/100 where a block of eight begins: an excess of twice the median.
    steps = torch.full((64,), 0.01)
    steps[4::8] = 0.03
    row = steps.cumsum(0)
    image = row.expand(1, 1, 64, 64)
    assert blockiness(image)[0] == pytest.approx(0.5 * 2.0, abs=0.02)  # the rows have no steps at all


@pytest.mark.parametrize('quality', [30, 50, 75, 90, 95])
@pytest.mark.parametrize('name', ['astronaut', 'chelsea', 'coffee'])
def test_the_error_of_compression_is_known_roughly(name, quality):
    photo = getattr(skimage.data, name)()
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, 'JPEG', quality=quality)
    error = np.asarray(Image.open(buffer)).astype(float) - photo
    assert compression_error(quality) == pytest.approx(error.std(), rel=0.4)


def make_text(line_type, paper, ink):
    """Lines of text, 200x300 pixels."""
    image = np.full((200, 300, 3), paper, np.uint8)
    for row in range(18, 200, 18):
        line = 'the quick brown fox jumps over'
        cv2.putText(image, line, (8, row), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (ink,) * 3, 1, line_type)
    return image


def make_drawing(kind):
    """Line art, 200x304 pixels; lines and squares with the period of JPEG blocks among it."""
    image, rng = np.full((200, 304, 3), 255, np.uint8), np.random.default_rng(0)
    if kind == 'grid':
        image[::8], image[:, ::8] = 0, 0
    elif kind == 'squares':  # in random colours, as of pixel art that was enlarged
        image = np.kron(rng.integers(0, 256, (25, 38, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    for _ in range(12 if kind in ('lines', 'rectangles') else 0):
        (x0, x1), (y0, y1) = rng.integers(0, 304, 2).tolist(), rng.integers(0, 200, 2).tolist()
        if kind == 'lines':
            cv2.line(image, (x0, y0), (x1, y1), (0, 0, 0), 2, cv2.LINE_AA)
        else:
            cv2.rectangle(image, (x0, y0), (x1, y1), rng.integers(0, 256, 3).tolist(), -1)
    return image


PLAIN = {
    'text': make_text(cv2.LINE_AA, 255, 0),
    'text in two colours': make_text(cv2.LINE_8, 255, 0),
    'white text': make_text(cv2.LINE_AA, 0, 255),
    'one line of text': np.where(np.arange(200)[:, None, None] < 30, make_text(cv2.LINE_AA, 255, 0), np.uint8(255)),
    **{kind: make_drawing(kind) for kind in ('lines', 'rectangles', 'grid', 'squares')},
    'checkerboard': np.repeat(skimage.data.checkerboard()[..., None], 3, 2),
    'silhouette': np.repeat(np.where(skimage.data.horse(), 255, 0).astype(np.uint8)[..., None], 3, 2),
    'blank': np.full((64, 64, 3), 255, np.uint8),
}


@pytest.mark.parametrize('name', PLAIN)
def test_text_and_line_art_have_no_blocks(name):
    assert 0 <= blockiness(as_tensor(PLAIN[name]))[0] < 0.25
    assert 0 <= blockiness(as_tensor(PLAIN[name][3:, 5:]))[0] < 0.25


@pytest.mark.parametrize('name', ['logo', 'text'])
def test_blocks_of_compressed_text_and_drawings_show(name):
    picture = np.atleast_3d(getattr(skimage.data, name)())[..., :3]
    picture = np.repeat(picture, 3, 2) if picture.shape[2] == 1 else picture
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, 'JPEG', quality=50)
    assert blockiness(as_tensor(picture))[0] < 0.1
    assert blockiness(as_tensor(np.asarray(Image.open(buffer))))[0] > 0.3
