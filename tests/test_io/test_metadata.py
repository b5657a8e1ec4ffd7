"""What a file says beside its pixels stays in the result, as far as it is still true."""

import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image

from dkp_plugin.io.metadata import MAX_EXIF, Metadata, read_metadata
from dkp_plugin.io.photo_files import decode_photo, describe_loss, read_photo, write_photo

PIXELS = np.arange(16 * 20 * 3, dtype=np.uint8).reshape(16, 20, 3)
SRGB = (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)


def camera_exif() -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Make], exif[ExifTags.Base.Model] = 'Maker', 'Größe 1'
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.DateTime] = '2026:01:02 03:04:05'
    exif[ExifTags.Base.ImageWidth] = 20
    exif[ExifTags.IFD.Exif] = {
        ExifTags.Base.DateTimeOriginal: '2026:01:01 00:00:00',
        ExifTags.Base.ExposureTime: 0.004,
        ExifTags.Base.ExifImageWidth: 20,
        ExifTags.Base.ExifImageHeight: 16,
        ExifTags.Base.MakerNote: b'notes' * 100,
    }
    exif[ExifTags.IFD.GPSInfo] = {ExifTags.GPS.GPSLatitudeRef: 'N', ExifTags.GPS.GPSLatitude: (48.0, 8.0, 15.5)}
    return exif


def saved(kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize('target', ['.png', '.tif', '.webp', '.jpg'])
@pytest.mark.parametrize('source', ['JPEG', 'PNG', 'TIFF', 'WEBP'])
def test_exif_data_go_from_any_format_to_any(source, target, tmp_path):
    photo = decode_photo(saved(source, exif=camera_exif().tobytes()), 'a')
    assert photo.pixels.shape == (20, 16, 3) and photo.notes == ()  # the orientation is applied
    path = tmp_path / f'a{target}'
    write_photo(path, photo.pixels.repeat(2, 0).repeat(2, 1), metadata=photo.metadata)
    with Image.open(path) as image:
        assert image.size == (32, 40)
        exif = image.getexif()
        assert ExifTags.Base.Orientation not in exif
        assert exif.get(ExifTags.Base.ImageWidth, 32) == 32  # that of the TIFF file itself
        assert exif[ExifTags.Base.Make] == 'Maker' and exif[ExifTags.Base.DateTime] == '2026:01:02 03:04:05'
        details, place = exif.get_ifd(ExifTags.IFD.Exif), exif.get_ifd(ExifTags.IFD.GPSInfo)
        assert set(details) == {ExifTags.Base.DateTimeOriginal, ExifTags.Base.ExposureTime}
        assert details[ExifTags.Base.DateTimeOriginal] == '2026:01:01 00:00:00'
        assert float(details[ExifTags.Base.ExposureTime]) == pytest.approx(0.004)
        assert place[ExifTags.GPS.GPSLatitudeRef] == 'N'
        assert [float(number) for number in place[ExifTags.GPS.GPSLatitude]] == [48.0, 8.0, 15.5]
    assert read_photo(path).metadata.exif == photo.metadata.exif
    assert read_photo(path).pixels.shape == (40, 32, 3)  # and is not applied again


def test_tifffile_finds_exif_data_and_pixels_of_a_tiff(tmp_path):
    photo = decode_photo(saved('JPEG', exif=camera_exif(), dpi=(240, 240)), 'a')
    deep = photo.pixels.astype(np.uint16) * 257
    write_photo(tmp_path / 'a.tif', deep, b'profile', photo.metadata)
    with tifffile.TiffFile(tmp_path / 'a.tif') as file:
        (page,) = file.pages
        np.testing.assert_array_equal(page.asarray(), deep)
        assert page.tags['Make'].value == 'Maker' and page.tags['XResolution'].value == (240, 1)
        assert page.tags['ExifTag'].value['DateTimeOriginal'] == '2026:01:01 00:00:00'
        assert page.tags['GPSTag'].value['GPSLatitudeRef'] == 'N' and page.tags['InterColorProfile'].value == b'profile'


@pytest.mark.parametrize('target', ['.png', '.tif', '.webp', '.jpg', '.bmp'])
@pytest.mark.parametrize('source', ['JPEG', 'PNG', 'TIFF', 'BMP'])
def test_the_resolution_goes_from_any_format_to_any(source, target, tmp_path):
    photo = decode_photo(saved(source, dpi=(300, 150)), 'a')
    write_photo(tmp_path / f'a{target}', PIXELS, metadata=photo.metadata)
    assert read_photo(tmp_path / f'a{target}').metadata.dpi == pytest.approx((300, 150), abs=0.02)
    with Image.open(tmp_path / f'a{target}') as image:
        if target != '.webp':  # Pillow shows it in the EXIF data alone
            assert image.info['dpi'] == pytest.approx((300, 150), abs=0.02)
        else:
            assert image.getexif()[ExifTags.Base.XResolution] == pytest.approx(300, abs=0.02)


def test_centimetres_become_inches():
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, PIXELS, photometric='rgb', resolution=(100, 50), resolutionunit='CENTIMETER')
    assert decode_photo(buffer.getvalue(), 'a').metadata.dpi == (254.0, 127.0)


def test_gamma_and_chromaticity_of_png_are_kept(tmp_path):
    metadata = Metadata(gamma=0.45455, chromaticity=SRGB)
    write_photo(tmp_path / 'a.png', PIXELS, metadata=metadata)
    with Image.open(tmp_path / 'a.png') as image:
        assert image.info['gamma'] == 0.45455 and image.info['chromaticity'] == SRGB
    assert read_photo(tmp_path / 'a.png').metadata == metadata


@pytest.mark.parametrize('target', ['.png', '.tif', '.webp', '.jpg'])
@pytest.mark.parametrize('source', ['.png', '.tif', '.webp', '.jpg'])
def test_gamma_and_chromaticity_go_from_any_format_to_any(source, target, tmp_path):
    metadata = Metadata(gamma=0.45455, chromaticity=SRGB)
    write_photo(tmp_path / f'a{source}', PIXELS, metadata=metadata)
    write_photo(tmp_path / f'b{target}', PIXELS, metadata=read_photo(tmp_path / f'a{source}').metadata)
    found = read_photo(tmp_path / f'b{target}').metadata
    assert (found.gamma, found.chromaticity, found.exif) == (0.45455, SRGB, None)
    if target != '.png':
        with Image.open(tmp_path / f'b{target}') as image:
            exif = image.getexif()
            gamma = exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.Gamma]
        assert exif[ExifTags.Base.WhitePoint] == pytest.approx(SRGB[:2])
        assert exif[ExifTags.Base.PrimaryChromaticities] == pytest.approx(SRGB[2:])
        assert float(gamma) == pytest.approx(2.2, abs=1e-4)


def test_tifffile_finds_the_chromaticity_of_a_tiff(tmp_path):
    write_photo(tmp_path / 'a.tif', PIXELS, metadata=Metadata(gamma=0.5, chromaticity=SRGB))
    with tifffile.TiffFile(tmp_path / 'a.tif') as file:
        tags = file.pages[0].tags
        white, primaries = (np.reshape(tags[name].value, (-1, 2)) for name in ('WhitePoint', 'PrimaryChromaticities'))
    assert [*(white[:, 0] / white[:, 1]), *(primaries[:, 0] / primaries[:, 1])] == pytest.approx(SRGB)


def test_only_bmp_loses_anything(tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = 'Maker'
    metadata = Metadata(exif.tobytes()[6:], (300, 300), 0.5, SRGB)
    for suffix in ('.png', '.tif', '.webp', '.jpg'):
        assert describe_loss(tmp_path / f'a{suffix}', b'profile', metadata) == ''
    loss = 'EXIF data, colour profile, gamma, chromaticity left out, .bmp does not hold this'
    assert describe_loss(tmp_path / 'a.BMP', b'profile', metadata) == loss
    assert describe_loss(tmp_path / 'a.bmp', None, Metadata(dpi=(300, 300))) == ''


def test_thumbnails_are_dropped():
    # The second directory of EXIF data holds a small JPEG file, which would show the picture before the restoration.
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = 'Maker'
    block = bytearray(exif.tobytes()[6:])
    order = '<' if block[:2] == b'II' else '>'
    (start,) = struct.unpack_from(f'{order}I', block, 4)
    (count,) = struct.unpack_from(f'{order}H', block, start)
    block += bytes(len(block) % 2)
    struct.pack_into(f'{order}I', block, start + 2 + 12 * count, len(block))
    entries = [(0x0201, len(block) + 30), (0x0202, 9)]
    block += struct.pack(f'{order}H', 2) + b''.join(
        struct.pack(f'{order}HHII', tag, 4, 1, value) for tag, value in entries
    )
    block += bytes(4) + b'thumbnail'
    photo = decode_photo(saved('JPEG', exif=b'Exif\0\0' + bytes(block)), 'a')
    assert b'Maker' in photo.metadata.exif and b'thumbnail' not in photo.metadata.exif


def test_nothing_is_kept_of_a_file_that_says_nothing():
    for kind in ('PNG', 'WEBP', 'TIFF'):
        assert decode_photo(saved(kind), 'a').metadata == Metadata()


def test_damaged_exif_data_cost_no_picture():
    chunk = b'eXIf' + b'II*\0\x08\0\0\0\xff\xff' + b'\x0f\x01\x02\0\xff\xff\xff\xff\0\0\0\x7f' * 3
    content = saved('PNG')
    content = (
        content[:33] + struct.pack('>I', len(chunk) - 4) + chunk + struct.pack('>I', zlib.crc32(chunk)) + content[33:]
    )
    with pytest.warns(UserWarning):
        photo = decode_photo(content, 'a')
    np.testing.assert_array_equal(photo.pixels, PIXELS)
    assert photo.metadata.exif is None


def test_exif_data_that_no_jpeg_can_hold_are_left_out_with_a_note():
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = 'a' * MAX_EXIF
    metadata, orientation, notes = read_metadata(exif, {})
    assert metadata.exif is None and orientation == 1
    assert notes == (f'its EXIF data are longer than {MAX_EXIF} bytes and not kept',)


@pytest.mark.parametrize('dpi', [(0, 0), (-1, 5), (float('nan'), 1), (1e9, 1), (1,), 'ab', None])
def test_senseless_resolutions_are_dropped(dpi):
    assert read_metadata(Image.Exif(), {'dpi': dpi})[0] == Metadata()
