"""Images as tensors: the numbers that OpenCV reads, divided by the largest level."""

import cv2
import numpy as np
import pytest
import torch

from dkp_plugin.host.errors import ImageError
from dkp_plugin.io.images import decode_image, kernel_picture, write_image


def encode(array, suffix='.png'):
    """A file of an image (H, W) or (H, W, C), RGB or RGBA."""
    if array.ndim == 3:
        array = array[..., [2, 1, 0, *range(3, array.shape[2])]]
    return cv2.imencode(suffix, array)[1].tobytes()


@pytest.fixture
def pixels(photo):
    """The photograph as uint8 (96, 96, 3), RGB."""
    return (photo[0] * 255).round().permute(1, 2, 0).numpy().astype(np.uint8)


@pytest.mark.parametrize('suffix', ['.png', '.bmp', '.tiff'])
def test_lossless_formats_decode_to_the_pixels(suffix, pixels):
    image = decode_image(encode(pixels, suffix), 'a' + suffix)
    assert image.dtype == torch.float32 and image.shape == (3, 96, 96)
    np.testing.assert_array_equal(image.permute(1, 2, 0).numpy(), pixels.astype(np.float32) / 255)


@pytest.mark.parametrize('suffix', ['.jpg', '.webp'])
def test_lossy_formats_decode_in_rgb(suffix, pixels):
    image = decode_image(encode(pixels, suffix), 'a' + suffix).permute(1, 2, 0).numpy() * 255
    assert np.abs(image - pixels).mean() < 3
    assert np.abs(image[..., ::-1] - pixels).mean() > 10


def test_gray_image_stays_one_channel(pixels):
    image = decode_image(encode(pixels[..., 0]), 'gray.png')
    np.testing.assert_array_equal(image[0].numpy(), pixels[..., 0].astype(np.float32) / 255)
    assert image.shape[0] == 1


def test_hidden_pixels_do_not_show(pixels):
    # Where nothing is hidden, colours are those of the file; a hidden square gets the colour around it.
    alpha = np.full((96, 96, 1), 255, np.uint8)
    image = decode_image(encode(np.concatenate([pixels, alpha], axis=2)), 'rgba.png')
    np.testing.assert_array_equal(image.permute(1, 2, 0).numpy(), pixels.astype(np.float32) / 255)
    square = np.full((16, 16, 4), (200, 100, 50, 255), np.uint8)
    square[4:8, 4:8] = (0, 255, 0, 0)
    image = decode_image(encode(square), 'rgba.png').permute(1, 2, 0).numpy() * 255
    np.testing.assert_allclose(image, np.broadcast_to([200, 100, 50], image.shape), atol=0.01)


@pytest.mark.parametrize('channels', [slice(None), 0])
def test_16_bits_are_kept(channels, pixels):
    deep = pixels[..., channels].astype(np.uint16) * 256 + 77
    image = decode_image(encode(deep), 'deep.png')
    expected = np.atleast_3d(deep.astype(np.float32) / 65535)
    np.testing.assert_array_equal(image.permute(1, 2, 0).numpy(), expected)


@pytest.mark.parametrize('suffix', ['.png', '.jpg', '.webp', '.bmp'])
@pytest.mark.parametrize('share', [0.01, 0.5, 0.95])
def test_truncated_image_is_refused_by_name(suffix, share, pixels):
    content = encode(pixels, suffix)
    with pytest.raises(ImageError, match=r'^cut: not a readable image') as error:
        decode_image(content[: int(share * len(content))], 'cut')
    assert '\n' not in str(error.value)


@pytest.mark.parametrize(
    'content',
    [b'', b'\x00', b'<html>not found</html>', b'\x89PNG\r\n\x1a\n'],
    ids=['empty', 'zero', 'page', 'signature alone'],
)
def test_what_is_no_image_is_refused_by_name(content):
    with pytest.raises(ImageError) as error:
        decode_image(content, 'some folder/page.png')
    assert str(error.value).startswith('some folder/page.png: not a readable image')


def test_float_image_is_refused():
    with pytest.raises(
        ImageError, match=r'a\.tiff: not a readable image \(32 bits per channel; allowed: 8 or 16, unsigned\)'
    ):
        decode_image(encode(np.zeros((9, 9), np.float32), '.tiff'), 'a.tiff')


@pytest.mark.parametrize('channels', [slice(None), 0])
def test_written_image_is_read_back(channels, pixels, tmp_path):
    path = tmp_path / 'new folder' / 'é ü.png'
    image = np.ascontiguousarray(pixels[..., channels])
    write_image(path, image)
    decoded = decode_image(path.read_bytes(), 'a').permute(1, 2, 0).numpy() * 255
    np.testing.assert_array_equal(decoded.round()[..., ::-1], np.atleast_3d(image))


def test_kernel_picture_shows_each_pixel_as_a_square_up_to_the_peak():
    kernel = np.array([[0, 0.1, 0], [0.2, 0.4, 0.1], [0, 0.2, 0]])
    colours = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_VIRIDIS)[:, 0]
    picture = kernel_picture(kernel, pixel=4)
    assert picture.dtype == np.uint8 and picture.shape == (12, 12, 3)
    levels = np.array([[0, 64, 0], [128, 255, 64], [0, 128, 0]])  # 63.75 and 127.5, rounded
    np.testing.assert_array_equal(picture, colours[levels.repeat(4, 0).repeat(4, 1)])
    np.testing.assert_array_equal(kernel_picture(kernel, peak=0.8, pixel=1)[1, 1], colours[128])
    np.testing.assert_array_equal(kernel_picture(kernel, peak=0.2, pixel=1)[1, :2], colours[[255, 255]])
