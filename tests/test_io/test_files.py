import io
import json
import os

import cv2
import numpy as np
import pytest
import scipy.io
import torch

from dkp_plugin.host.errors import ImageError, KernelError
from dkp_plugin.io import files
from dkp_plugin.io.files import write_bytes, write_json
from dkp_plugin.io.images import decode_image, kernel_picture, write_image
from dkp_plugin.io.kernel_files import decode_kernel, write_kernel

BOX = np.full((5, 5), 1 / 25)


def encode(array, suffix='.png'):
    """A file of an image (H, W) or (H, W, C), RGB or RGBA."""
    if array.ndim == 3:
        array = array[..., [2, 1, 0, *range(3, array.shape[2])]]
    return cv2.imencode(suffix, array)[1].tobytes()


def mat(**fields):
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, fields)
    return buffer.getvalue()


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


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


def test_alpha_channel_is_dropped(pixels):
    alpha = np.arange(96 * 96).reshape(96, 96, 1).astype(np.uint8)
    image = decode_image(encode(np.concatenate([pixels, alpha], axis=2)), 'rgba.png')
    np.testing.assert_array_equal(image.permute(1, 2, 0).numpy(), pixels.astype(np.float32) / 255)


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
    assert str(error.value) == 'some folder/page.png: not a readable image (unknown format)'


def test_float_image_is_refused():
    with pytest.raises(ImageError, match=r'a\.tiff: not an image of 8 or 16 bits per channel'):
        decode_image(encode(np.zeros((9, 9), np.float32), '.tiff'), 'a.tiff')


@pytest.mark.parametrize('channels', [slice(None), 0])
def test_written_image_is_read_back(channels, pixels, tmp_path):
    path = tmp_path / 'new folder' / 'é ü.png'
    image = np.ascontiguousarray(pixels[..., channels])
    write_image(path, image)
    decoded = decode_image(path.read_bytes(), 'a').permute(1, 2, 0).numpy() * 255
    np.testing.assert_array_equal(decoded.round()[..., ::-1], np.atleast_3d(image))


def test_write_bytes_replaces_the_old_file_and_makes_its_folder(tmp_path):
    path = tmp_path / 'a' / 'b' / 'file'
    write_bytes(path, b'old')
    write_bytes(path, b'new')
    assert path.read_bytes() == b'new'
    assert os.listdir(path.parent) == ['file']


@pytest.mark.parametrize('failure', ['write', 'replace'])
def test_failed_write_leaves_the_old_file_and_nothing_else(failure, tmp_path, monkeypatch):
    def fail(path, content=None, *_):
        if failure == 'write':
            with open(path, 'wb') as file:
                file.write(content[:2])
        raise OSError('no space left on device')

    path = tmp_path / 'file'
    write_bytes(path, b'old')
    monkeypatch.setattr(*{'write': (type(path), 'write_bytes'), 'replace': (files.os, 'replace')}[failure], fail)
    with pytest.raises(OSError, match='no space left'):
        write_bytes(path, b'new content')
    assert path.read_bytes() == b'old'
    assert os.listdir(tmp_path) == ['file']


def test_numbers_that_json_lacks_become_null(tmp_path):
    content = {'a': float('inf'), 'b': [1, float('nan'), (-float('inf'), 2.5)], 'c': {'d': np.float64('inf')}, 'e': 'ü'}
    write_json(tmp_path / 'a.json', content)
    text = (tmp_path / 'a.json').read_text()
    assert json.loads(text) == {'a': None, 'b': [1, None, [None, 2.5]], 'c': {'d': None}, 'e': 'ü'}


def test_kernel_file_round_trip(tmp_path, rng):
    kernel = torch.rand(1, 1, 7, 7, generator=rng, dtype=torch.float64)
    kernel /= kernel.sum()
    write_kernel(tmp_path / 'k.mat', kernel, 'released', 4)
    fields = scipy.io.loadmat(tmp_path / 'k.mat')
    assert fields['Kernel'].dtype == np.float64
    np.testing.assert_array_equal(fields['Kernel'], kernel[0, 0].numpy())
    assert fields['convention'].tolist() == ['released']
    assert fields['scale'].tolist() == [[4]]
    assert decode_kernel((tmp_path / 'k.mat').read_bytes(), 'k.mat', 'released').equal(kernel[0].float())
    assert cv2.imread(str(tmp_path / 'k.png')).shape == (56, 56, 3)


@pytest.mark.parametrize('dtype', [np.float32, np.float64])
def test_kernel_of_npy_or_without_convention_is_taken_as_it_is(dtype, rng):
    kernel = torch.rand(5, 5, generator=rng).numpy().astype(dtype)
    kernel /= kernel.sum()
    for content in (npy(kernel), mat(Kernel=kernel)):
        decoded = decode_kernel(content, 'k', 'aligned')
        assert decoded.dtype == torch.float32 and decoded.shape == (1, 5, 5)
        np.testing.assert_array_equal(decoded[0].numpy(), kernel.astype(np.float32))


@pytest.mark.parametrize(
    ('content', 'reason'),
    [
        (mat(kernel=BOX, other=1), "has no key Kernel; it has ['kernel', 'other']"),
        (npy(np.full((4, 4), 1 / 16)), 'the kernel has shape (4, 4), not an odd square'),
        (npy(np.full((3, 5), 1 / 15)), 'the kernel has shape (3, 5), not an odd square'),
        (npy(BOX[None]), 'the kernel has shape (1, 5, 5), not an odd square'),
        (npy(BOX * 0.9), 'the kernel has sum 0.9 and minimum 0.036; allowed are sum 1 and minimum 0, within 0.001'),
        (npy(np.diag([-0.5, 1, 0.5])), 'the kernel has sum 1 and minimum -0.5; allowed are'),
        (npy(np.where(np.eye(5), np.nan, BOX)), 'the kernel has sum nan and minimum nan; allowed are'),
        (mat(Kernel=BOX + 0j), 'the kernel is of type complex128, not of real numbers'),
        (mat(Kernel='box'), 'the kernel is of type <U3, not of real numbers'),
        (mat(Kernel=BOX, convention='released'), "convention 'released', the option file says 'aligned'"),
        (mat(Kernel=BOX, convention=''), "convention '', the option file says 'aligned'"),
        (mat(Kernel=BOX, convention=3), "convention '3', the option file says 'aligned'"),
        (b'', 'not a readable kernel file'),
        (b'hello ' * 50, 'not a readable kernel file'),
        (npy(np.array([{}])), 'not a readable kernel file'),
    ],
    ids=lambda value: value if isinstance(value, str) else 'file',
)
def test_bad_kernel_is_refused_by_name_and_reason(content, reason):
    with pytest.raises(KernelError) as error:
        decode_kernel(content, 'folder/k.mat', 'aligned')
    message = str(error.value)
    assert message.startswith('folder/k.mat: ') and reason in message and '\n' not in message


@pytest.mark.parametrize('content', [mat(Kernel=BOX), npy(BOX)], ids=['mat', 'npy'])
def test_truncated_kernel_file_is_refused_wherever_it_ends(content):
    for length in range(len(content)):
        with pytest.raises(KernelError, match=r'^k\.mat: ') as error:
            decode_kernel(content[:length], 'k.mat', 'aligned')
        assert '\n' not in str(error.value)


def test_kernel_picture_shows_each_pixel_as_a_square_up_to_the_peak():
    kernel = np.array([[0, 0.1, 0], [0.2, 0.4, 0.1], [0, 0.2, 0]])
    colours = cv2.applyColorMap(np.arange(256, dtype=np.uint8), cv2.COLORMAP_VIRIDIS)[:, 0]
    picture = kernel_picture(kernel, pixel=4)
    assert picture.dtype == np.uint8 and picture.shape == (12, 12, 3)
    levels = np.array([[0, 64, 0], [128, 255, 64], [0, 128, 0]])  # 63.75 and 127.5, rounded
    np.testing.assert_array_equal(picture, colours[levels.repeat(4, 0).repeat(4, 1)])
    np.testing.assert_array_equal(kernel_picture(kernel, peak=0.8, pixel=1)[1, 1], colours[128])
    np.testing.assert_array_equal(kernel_picture(kernel, peak=0.2, pixel=1)[1, :2], colours[[255, 255]])
