"""TIFF files: their structure, what they hold, and what other readers make of ours."""

import io
import struct

import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image
from test_io.image_makers import by_tifffile, levels, tiff

from dkp_plugin.io.metadata import Metadata
from dkp_plugin.io.tiff import Page, Tag, decode_page, encode_tiff, read_pages


def page(**tags):
    """A page of a few tags; values are numbers or lists of them."""
    return Page({Tag[name.upper()]: np.atleast_1d(value) for name, value in tags.items()})


def decode(content):
    return decode_page(content, read_pages(content)[0])


@pytest.mark.parametrize('dtype', ['uint8', 'uint16'])
@pytest.mark.parametrize('channels', [1, 2, 3, 4])
def test_tifffile_reads_what_is_written(channels, dtype):
    pixels = levels(8 * np.dtype(dtype).itemsize, channels)
    content = encode_tiff(pixels, b'a profile')
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        (found,) = file.pages
        np.testing.assert_array_equal(found.asarray().reshape(pixels.shape), pixels)
        assert found.tags['InterColorProfile'].value == b'a profile'
        assert [int(kind) for kind in found.extrasamples] == ([2] if channels in (2, 4) else [])
        assert found.photometric.name == ('RGB' if channels > 2 else 'MINISBLACK')


def test_large_pictures_have_several_strips():
    pixels = np.arange(700 * 1000 * 3, dtype=np.uint32).astype(np.uint8).reshape(700, 1000, 3)  # 2.1 MB
    with tifffile.TiffFile(io.BytesIO(encode_tiff(pixels))) as file:
        assert len(file.pages[0].dataoffsets) == 3
        np.testing.assert_array_equal(file.pages[0].asarray(), pixels)


@pytest.mark.parametrize('dtype', ['uint8', 'uint16'])
def test_exif_data_of_either_byte_order_are_kept(dtype):
    for order in '<>':
        exif = Image.Exif()
        exif.endian = order
        exif[ExifTags.Base.Make] = 'A maker of cameras'
        exif[ExifTags.IFD.Exif] = {ExifTags.Base.ExposureTime: 0.25}
        data = exif.tobytes().removeprefix(b'Exif\0\0')
        pixels = levels(8 * np.dtype(dtype).itemsize, 3)
        content = encode_tiff(pixels, metadata=Metadata(exif=data, dpi=(300, 150)))
        np.testing.assert_array_equal(tifffile.imread(io.BytesIO(content)), pixels)
        (found,) = read_pages(content)
        assert found.dpi == (300, 150)
        with tifffile.TiffFile(io.BytesIO(content)) as file:
            assert file.pages[0].tags['Make'].value == 'A maker of cameras'
            assert file.pages[0].tags['ExifTag'].value['ExposureTime'] == 0.25


@pytest.mark.parametrize('big', [False, True])
@pytest.mark.parametrize('order', '<>')
def test_pages_but_for_thumbnails_and_masks(order, big):
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer, bigtiff=big, byteorder=order) as file:
        for side, kind in ((20, 0), (5, 1), (10, 4), (30, 2)):  # a picture, a thumbnail, a mask, a page of a document
            dtype = bool if kind == 4 else np.uint8
            file.write(np.zeros((side, side + 1), dtype), subfiletype=kind, metadata=None)
    assert [found.size for found in read_pages(buffer.getvalue())] == [(20, 21), (30, 31)]


def test_a_chain_of_pages_that_bites_its_tail_ends():
    content = bytearray(tiff(levels(8, 1), 8, 1))
    (place,) = struct.unpack_from('<I', content, 4)
    (count,) = struct.unpack_from('<H', content, place)
    struct.pack_into('<I', content, place + 2 + 12 * count, place)
    assert len(read_pages(bytes(content))) == 1


@pytest.mark.parametrize('content', [b'II*\0', b'II*\0\x08\0\0\0', b'II*\0\xff\xff\0\0', b'MM\0+\0\x08\0\0'])
def test_files_without_a_page_are_refused(content):
    with pytest.raises(ValueError, match='it holds no picture'):
        read_pages(content)


@pytest.mark.parametrize(
    ('tags', 'dpi'),
    [
        ({'x_resolution': [300, 1], 'y_resolution': [600, 4]}, (300, 150)),  # inches unless another unit is named
        ({'x_resolution': [100, 1], 'y_resolution': [50, 1], 'resolution_unit': 3}, (254, 127)),  # centimetres
        ({'x_resolution': [1, 1], 'y_resolution': [1, 1], 'resolution_unit': 1}, None),  # a ratio without a unit
        ({'x_resolution': [300, 0], 'y_resolution': [300, 1]}, None),
        ({'x_resolution': [300, 1]}, None),
        ({}, None),
    ],
)
def test_resolution(tags, dpi):
    assert page(**tags).dpi == (None if dpi is None else pytest.approx(dpi))


PLAIN = {'photometric': 2, 'bits': [8, 8, 8], 'strip_offsets': 8, 'strip_counts': 9}


@pytest.mark.parametrize(
    ('changes', 'is_plain'),
    [
        ({}, True),
        ({'bits': [16, 16, 16], 'compression': 8, 'predictor': 2}, True),
        ({'photometric': 0, 'bits': 8, 'sample_format': 1}, True),
        ({'bits': [8, 16, 8]}, False),
        ({'bits': 4}, False),
        ({'photometric': 5}, False),  # CMYK
        ({'compression': 7}, False),  # JPEG
        ({'sample_format': 3}, False),  # floating point
        ({'fill_order': 2}, False),
        ({'predictor': 3}, False),
    ],
)
def test_what_is_not_left_to_pillow(changes, is_plain):
    assert page(**PLAIN | changes).is_plain() == is_plain


def test_pixels_without_a_place_are_not_plain():
    assert not page(photometric=2, bits=[8, 8, 8]).is_plain()
    assert page(photometric=2, bits=[8, 8, 8], tile_offsets=8, tile_counts=9).is_plain()


@pytest.mark.parametrize('order', '<>')
@pytest.mark.parametrize('options', [{}, {'tile': (16, 16)}, {'rowsperstrip': 3}, {'predictor': 2}])
@pytest.mark.parametrize('planar', ['contig', 'separate'])
def test_arrangements_of_the_pixels(options, planar, order):
    pixels = levels(16, 3)
    stored = pixels if planar == 'contig' else pixels.transpose(2, 0, 1)
    compression = 'zlib' if 'predictor' in options else None
    options = {'photometric': 'rgb', 'planarconfig': planar, 'compression': compression, **options}
    content = by_tifffile(np.ascontiguousarray(stored), byteorder=order, **options)
    np.testing.assert_array_equal(decode(content), pixels)


def test_min_is_white_is_inverted_and_further_channels_are_dropped():
    assert decode(tiff(np.array([[[0], [255]]], np.uint8), 8, 0))[0].tolist() == [[255], [0]]
    pixels = np.array([[[1, 2, 3, 4, 5]]], np.uint8)
    assert decode(tiff(pixels, 8, 2, extra=[0, 0]))[0].tolist() == [[1, 2, 3]]
    assert decode(tiff(pixels, 8, 2, extra=[0, 2]))[0].tolist() == [[1, 2, 3, 5]]


def test_premultiplied_colours_are_divided_by_hand():
    pixels = np.array([[[51, 0, 102, 102], [7, 7, 7, 0], [200, 0, 0, 100]]], np.uint8)
    # 51 and 102 of 102 are 127.5 and 255 of 255; what is hidden is black; more than all is all.
    expected = [[128, 0, 255, 102], [0, 0, 0, 0], [255, 0, 0, 100]]
    assert decode(tiff(pixels, 8, 2, extra=[1]))[0].tolist() == expected


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({Tag.SAMPLES: [2]}, '2 channels are too few'),
        ({Tag.ROWS_PER_STRIP: [1]}, '1 strips or tiles in place of 13'),
        ({Tag.TILE_OFFSETS: [8], Tag.TILE_COUNTS: [9], Tag.TILE_WIDTH: [0]}, 'strips or tiles of 0x0 pixels'),
        (
            {Tag.TILE_OFFSETS: [8], Tag.TILE_COUNTS: [9], Tag.TILE_WIDTH: [2**16], Tag.TILE_HEIGHT: [2**16]},
            'tiles of 65536x65536 pixels',
        ),
    ],
)
def test_structures_that_contradict_themselves_are_refused(changes, message):
    content = tiff(levels(8, 3), 8, 2)
    (found,) = read_pages(content)
    with pytest.raises(ValueError, match=message):
        decode_page(content, Page(found.tags | {tag: np.array(value) for tag, value in changes.items()}))
