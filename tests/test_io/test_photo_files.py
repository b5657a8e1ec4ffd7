"""Photographs of every mode; no file, however damaged, may end in anything but an ImageError."""

import io
import struct
import time
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from dkp_plugin.host.errors import ImageError
from dkp_plugin.io.photo_files import decode_photo, photo_size, read_photo, write_photo
from dkp_plugin.io.png import encode_png

MODES = {1: 'L', 2: 'LA', 3: 'RGB', 4: 'RGBA'}


def random_pixels(channels: int, dtype: str, height: int = 18, width: int = 23) -> np.ndarray:
    top = np.iinfo(dtype).max
    return np.random.default_rng(channels).integers(0, top, (height, width, channels), dtype, endpoint=True)


def pillow_bytes(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize('dtype', ['uint8', 'uint16'])
@pytest.mark.parametrize('channels', MODES)
@pytest.mark.parametrize('suffix', ['.png', '.tiff'])
def test_every_mode_and_depth_survives_a_round_trip(suffix, channels, dtype, tmp_path):
    pixels = random_pixels(channels, dtype)
    path = tmp_path / 'é 中文' / f'a b{suffix}'
    write_photo(path, pixels)
    np.testing.assert_array_equal(read_photo(path).pixels, pixels)
    assert read_photo(path).pixels.dtype == pixels.dtype


@pytest.mark.parametrize('channels', [1, 2, 3, 4])
def test_webp_holds_every_pixel_and_bmp_what_it_can(channels, tmp_path):
    pixels = random_pixels(channels, 'uint8')
    write_photo(tmp_path / 'a.webp', pixels)
    expected = pixels if channels > 2 else np.concatenate([pixels[..., :1]] * 3 + [pixels[..., 1:]], 2)
    np.testing.assert_array_equal(read_photo(tmp_path / 'a.webp').pixels, expected)
    if channels in (1, 3):
        write_photo(tmp_path / 'a.bmp', pixels)
        np.testing.assert_array_equal(read_photo(tmp_path / 'a.bmp').pixels, pixels)


@pytest.mark.parametrize(
    ('name', 'channels', 'dtype', 'reason'),
    [
        ('a.jpg', 4, 'uint8', 'does not hold an alpha channel; allowed: .png, .tif, .tiff'),
        ('a.webp', 3, 'uint16', 'does not hold 16 bits per channel; allowed: .png, .tif, .tiff'),
        ('a.gif', 3, 'uint8', '.gif is not one of .png'),
        ('a', 3, 'uint8', 'no suffix is not one of .png'),
    ],
)
def test_a_format_that_would_lose_something_is_refused(name, channels, dtype, reason, tmp_path):
    with pytest.raises(ImageError, match=reason):
        write_photo(tmp_path / name, random_pixels(channels, dtype))


def test_palette_images_become_colours_with_alpha_where_they_have_it():
    palette = Image.new('P', (20, 16), 1)
    palette.putpalette([255, 0, 0, 10, 20, 30])
    np.testing.assert_array_equal(decode_photo(pillow_bytes(palette, 'PNG'), 'a').pixels[3, 4], [10, 20, 30])
    content = pillow_bytes(palette, 'PNG', transparency=1)
    np.testing.assert_array_equal(decode_photo(content, 'a').pixels[3, 4], [10, 20, 30, 0])


@pytest.mark.parametrize('kind', ['8 bit JPEG', '8 bit PNG', '16 bit PNG', '8 bit TIFF', '16 bit TIFF'])
@pytest.mark.parametrize('orientation', range(1, 9))
def test_exif_orientation_is_applied(kind, orientation):
    # A dark image with its bright quarter at the top left, as it is looked at, stored as the orientation says.
    looked_at = np.full((16, 32), 1, np.uint8)
    looked_at[:8, :16] = 200
    stored = {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: np.transpose,
        6: np.rot90,  # stored turned to the left, so that it is to be turned to the right
        7: lambda a: np.rot90(a, 2).T,
        8: lambda a: np.rot90(a, -1),
    }[orientation](looked_at)
    exif = Image.Exif()
    exif[0x0112] = orientation
    bits, kind = int(kind.split()[0]), kind.split()[-1]
    colours = np.ascontiguousarray(np.stack([stored] * 3, 2))
    if bits == 8:
        content = pillow_bytes(Image.fromarray(colours), kind, exif=exif)
    elif kind == 'TIFF':
        buffer = io.BytesIO()
        tag = (274, 'H', 1, orientation, True)
        tifffile.imwrite(buffer, colours * np.uint16(257), photometric='rgb', extratags=[tag], metadata=None)
        content = buffer.getvalue()
    else:
        content = encode_png(colours * np.uint16(257))
        tag = exif.tobytes().removeprefix(b'Exif\0\0')
        chunk = struct.pack('>I', len(tag)) + b'eXIf' + tag + struct.pack('>I', zlib.crc32(b'eXIf' + tag))
        content = content[:33] + chunk + content[33:]
    found = decode_photo(content, 'a').pixels
    assert found.shape[:2] == (16, 32)
    expected = looked_at.astype(int) * (257 if bits == 16 else 1)
    np.testing.assert_allclose(found[..., 0].astype(int), expected, atol=4 if kind == 'JPEG' else 0)


@pytest.mark.parametrize('dtype', ['uint8', 'uint16'])
@pytest.mark.parametrize('suffix', ['.png', '.tif', '.webp', '.jpg'])
def test_colour_profiles_are_kept(suffix, dtype, tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()
    if dtype == 'uint16' and suffix in ('.webp', '.jpg'):
        pytest.skip('8 bits only')
    write_photo(tmp_path / f'a{suffix}', random_pixels(3, dtype), profile)
    assert read_photo(tmp_path / f'a{suffix}').icc_profile == profile


@pytest.mark.parametrize('mode', ['CMYK', '1', 'LAB'])
def test_other_modes_are_converted(mode):
    image = Image.new(mode, (20, 16))
    kind = 'JPEG' if mode == 'CMYK' else 'TIFF'
    assert decode_photo(pillow_bytes(image, kind), 'a').pixels.shape == (16, 20, 1 if mode == '1' else 3)


def test_floating_point_pixels_are_refused():
    with pytest.raises(ImageError, match='32 bits per channel; allowed: 8 or 16'):
        decode_photo(pillow_bytes(Image.new('F', (20, 16)), 'TIFF'), 'a.tif')


@pytest.mark.parametrize('quality', [30, 60, 75, 90, 95])
def test_the_quality_of_a_jpeg_is_told(quality):
    image = Image.fromarray(random_pixels(3, 'uint8'))
    assert abs(decode_photo(pillow_bytes(image, 'JPEG', quality=quality), 'a').jpeg_quality - quality) <= 1
    assert decode_photo(pillow_bytes(image, 'PNG'), 'a').jpeg_quality is None


def test_decompression_bombs_are_refused_before_they_unfold(tmp_path):
    bomb = tmp_path / 'bomb.png'
    bomb.write_bytes(pillow_bytes(Image.new('1', (40_000, 10_000)), 'PNG'))  # 0.4 gigapixels in 50 kB
    start = time.perf_counter()
    with pytest.raises(ImageError, match='40000x10000 pixels are more than the 100000000 allowed; --max-pixels'):
        read_photo(bomb)
    assert time.perf_counter() - start < 1
    assert photo_size(bomb, 400_000_000) == (10_000, 40_000)
    with pytest.raises(ImageError, match='18x23 pixels are more than the 413 allowed'):
        decode_photo(encode_png(random_pixels(1, 'uint8', 23, 18)), 'a', 413)


def test_missing_files_and_texts_are_told_in_one_line(tmp_path):
    with pytest.raises(ImageError, match='No such file'):
        read_photo(tmp_path / 'nothing.png')
    with pytest.raises(ImageError, match='not a readable image; formats: PNG'):
        decode_photo(b'no image', 'a.png')


def originals() -> list[bytes]:
    exif = Image.Exif()
    exif[0x0112] = 6
    colours = Image.fromarray(random_pixels(3, 'uint8'))
    tiffs = io.BytesIO()
    tifffile.imwrite(tiffs, random_pixels(3, 'uint16'), photometric='rgb', compression='zlib')
    return [
        encode_png(random_pixels(2, 'uint16')),
        encode_png(random_pixels(3, 'uint8'), b'a profile'),
        pillow_bytes(colours.quantize(16), 'PNG'),
        pillow_bytes(colours, 'JPEG', exif=exif),
        pillow_bytes(colours, 'JPEG', progressive=True),
        pillow_bytes(colours, 'TIFF', compression='tiff_lzw'),
        tiffs.getvalue(),
        pillow_bytes(colours, 'WEBP', exif=exif),
        pillow_bytes(colours, 'BMP'),
    ]


def mutate(content: bytes, rng: np.random.Generator) -> bytes:
    """Change some bytes, most of them near the head, cut the file off, or repeat a part of it."""
    array = bytearray(content)
    reach = len(array) if rng.random() < 0.5 else min(len(array), 64)
    for _ in range(rng.integers(1, 9)):
        array[rng.integers(reach)] = rng.choice([0, 1, 127, 128, 255, rng.integers(256)])
    start, stop = sorted(rng.integers(0, len(array), 2))
    kind = rng.random()
    if kind < 0.2:
        del array[start:]
    elif kind < 0.3:
        array[start:start] = array[start:stop]
    return bytes(array)


def test_mutated_files_are_images_or_image_errors(capfd):
    rng = np.random.default_rng(0)
    files = originals()
    num_read = 0
    start = time.perf_counter()
    for index in range(2700):
        try:
            pixels = decode_photo(mutate(files[index % len(files)], rng), 'a', 1_000_000).pixels
        except ImageError as error:
            assert '\n' not in str(error)
            continue
        num_read += 1
        assert pixels.ndim == 3 and pixels.shape[2] in (1, 2, 3, 4) and pixels.dtype in (np.uint8, np.uint16)
    assert 100 < num_read < 2600  # the mutations are neither harmless nor all deadly
    assert time.perf_counter() - start < 60
    assert 'Traceback' not in capfd.readouterr().err
