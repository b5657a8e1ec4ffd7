"""Photographs of every mode; no file, however damaged, may end in anything but an ImageError."""

import io
import struct
import time
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

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
    with pytest.raises(ImageError, match='32 bits per channel; allowed: 8 or 16, unsigned'):
        decode_photo(pillow_bytes(Image.new('F', (20, 16)), 'TIFF'), 'a.tif')


@pytest.mark.parametrize('quality', [30, 60, 75, 90, 95])
def test_the_quality_of_a_jpeg_is_reported(quality):
    image = Image.fromarray(random_pixels(3, 'uint8'))
    assert abs(decode_photo(pillow_bytes(image, 'JPEG', quality=quality), 'a').jpeg.quality - quality) <= 1
    assert decode_photo(pillow_bytes(image, 'PNG'), 'a').jpeg is None


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


def test_missing_files_and_texts_are_reported_in_one_line(tmp_path):
    with pytest.raises(ImageError, match='No such file'):
        read_photo(tmp_path / 'nothing.png')
    with pytest.raises(ImageError, match='not a readable image; formats: PNG'):
        decode_photo(b'no image', 'a.png')


def test_kinds_that_are_not_read_are_reported_with_what_to_do():
    for name, hint in (('a.svg', 'export as PNG or TIFF'), ('b.CR2', 'develop the raw file and export it as TIFF')):
        with pytest.raises(ImageError) as error:
            decode_photo(b'no image', name)
        assert str(error.value) == f'{name}: not a readable image; {hint}'


@pytest.mark.parametrize('kind', ['GIF', 'PNG', 'WEBP', 'MPO', 'TIFF'])
def test_what_holds_several_pictures_says_so(kind):
    first, second = (Image.fromarray(random_pixels(3, 'uint8') // 2 + shift) for shift in (0, 90))
    note = 'holds more than one picture, only the first is read'
    content = pillow_bytes(first, kind, save_all=True, append_images=[second])
    assert decode_photo(content, 'a').notes == (note,)
    assert decode_photo(pillow_bytes(first, 'JPEG' if kind == 'MPO' else kind), 'a').notes == ()


def test_thumbnails_and_masks_of_a_tiff_are_no_pictures():
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        writer.write(random_pixels(3, 'uint16'), photometric='rgb', metadata=None)
        writer.write(random_pixels(3, 'uint8', 6, 8), photometric='rgb', metadata=None, subfiletype=1)
        writer.write(random_pixels(1, 'uint8')[..., 0] > 99, photometric='mask', metadata=None, subfiletype=4)
    assert decode_photo(buffer.getvalue(), 'a').notes == ()


def test_cmyk_without_a_profile_says_that_it_is_not_exact():
    content = pillow_bytes(Image.new('CMYK', (20, 16), (10, 20, 30, 40)), 'TIFF')
    assert decode_photo(content, 'a').notes == ('its colours are CMYK without a usable profile, so they are not exact',)


def test_profiles_of_other_colours_are_not_kept(tmp_path):
    profile = bytes(16) + b'CMYKLab ' + bytes(104)
    content = pillow_bytes(Image.new('CMYK', (20, 16)), 'TIFF', icc_profile=profile)
    assert decode_photo(content, 'a').icc_profile is None
    gray = bytes(16) + b'GRAYXYZ ' + bytes(104)
    for channels, kept in ((1, gray), (2, gray), (3, None), (4, None)):
        write_photo(tmp_path / 'a.png', random_pixels(channels, 'uint8'), gray)
        assert read_photo(tmp_path / 'a.png').icc_profile == kept
    write_photo(tmp_path / 'a.webp', random_pixels(1, 'uint8'), gray)  # which becomes RGB
    assert read_photo(tmp_path / 'a.webp').icc_profile is None


def test_threads_have_limits_of_their_own_and_leave_nothing_behind(tmp_path):
    pixels = random_pixels(3, 'uint8', 40, 50)
    for suffix in ('.png', '.jpg', '.tif', '.webp', '.bmp'):
        write_photo(tmp_path / f'a{suffix}', pixels)
    paths, limit, filters = sorted(tmp_path.iterdir()), Image.MAX_IMAGE_PIXELS, list(warnings.filters)

    def read(index: int) -> bool:
        path, is_allowed = paths[index % len(paths)], index % 3 > 0
        try:
            read_photo(path, 2000 if is_allowed else 1999)
            photo_size(path, 2000 if is_allowed else 1999)
        except ImageError as error:
            assert '50x40 pixels are more than the 1999 allowed' in str(error)
            return not is_allowed
        return is_allowed

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(300)))
    assert Image.MAX_IMAGE_PIXELS is limit is not None and warnings.filters == filters


def test_more_pixels_than_pillow_allows_are_read_when_they_are_asked_for(monkeypatch):
    content = encode_png(random_pixels(3, 'uint8', 40, 50))
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 100)  # beyond twice as many Image.open refuses
    with pytest.raises(Image.DecompressionBombError):
        Image.open(io.BytesIO(content))
    assert decode_photo(content, 'a').pixels.shape == (40, 50, 3)


def test_heic_is_read_where_pillow_heif_is_installed():
    pillow_heif = pytest.importorskip('pillow_heif')
    y, x = np.mgrid[:48, :64]
    pixels = np.stack([120 + 60 * np.sin(x / 9), 120 + 60 * np.cos(y / 7), 100 + x], 2).astype(np.uint8)
    buffer = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(pixels)).save(buffer, quality=95, chroma=444)
    found = decode_photo(buffer.getvalue(), 'a.heic').pixels
    assert found.shape == (48, 64, 3) and np.abs(found.astype(int) - pixels).mean() < 2
