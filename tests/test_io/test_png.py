"""PNG files as the standard has them, checked by the readers of two libraries."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from test_io.image_makers import levels, png, read_by_opencv

from dkp_plugin.io.metadata import Metadata
from dkp_plugin.io.png import decode_png, encode_png

MODES = {1: 'L', 2: 'LA', 3: 'RGB', 4: 'RGBA'}


def chunks(content):
    """Kind and data of each chunk; asserts that the checksums are right."""
    found, place = [], 8
    while place < len(content):
        (size,) = struct.unpack_from('>I', content, place)
        kind, data = content[place + 4 : place + 8], content[place + 8 : place + 8 + size]
        assert struct.unpack_from('>I', content, place + 8 + size) == (zlib.crc32(kind + data),)
        found.append((kind.decode(), data))
        place += 12 + size
    return found


@pytest.mark.parametrize('channels', MODES)
def test_pillow_reads_8_bits(channels):
    pixels = levels(8, channels)
    with Image.open(io.BytesIO(encode_png(pixels))) as image:
        assert image.mode == MODES[channels]
        np.testing.assert_array_equal(np.asarray(image).reshape(pixels.shape), pixels)


@pytest.mark.parametrize('channels', [1, 3, 4])  # OpenCV has no gray with alpha
def test_opencv_reads_16_bits(channels):
    pixels = levels(16, channels)
    np.testing.assert_array_equal(read_by_opencv(encode_png(pixels)), pixels)


def test_chunks_stand_in_the_order_of_the_standard():
    metadata = Metadata(b'II*\0\x08\0\0\0\0\0\0\0\0\0', (254, 127), 0.45455, (0.3, 0.4, 0.5, 0.6, 0.1, 0.2, 0.7, 0.8))
    found = chunks(encode_png(levels(8, 3), b'a profile', metadata))
    assert [kind for kind, _ in found] == ['IHDR', 'gAMA', 'cHRM', 'pHYs', 'eXIf', 'iCCP', 'IDAT', 'IEND']
    data = dict(found)
    assert data['gAMA'] == struct.pack('>I', 45455)
    assert data['cHRM'] == struct.pack('>8I', 30000, 40000, 50000, 60000, 10000, 20000, 70000, 80000)
    assert data['pHYs'] == struct.pack('>IIB', 10000, 5000, 1)  # an inch is 0.0254 m
    assert data['eXIf'] == metadata.exif
    name, profile = data['iCCP'].split(b'\0', 1)
    assert name == b'ICC profile' and profile[:1] == b'\0' and zlib.decompress(profile[1:]) == b'a profile'


def test_rows_are_filtered_by_hand():
    """Paeth's filter: the first row takes the left neighbour, the first column the one above."""
    found = dict(chunks(encode_png(np.array([[10, 12], [11, 20]], np.uint8)[..., None])))
    # The neighbours of 20 are 11 to the left, 12 above, 10 in the corner; 11 + 12 - 10 = 13 is nearest to 12.
    assert zlib.decompress(found['IDAT']) == bytes([4, 10, 2, 4, 1, 8])


def test_compression_changes_the_size_alone():
    pixels = np.zeros((50, 50, 3), np.uint8)
    fast, small = encode_png(pixels, compression=0), encode_png(pixels, compression=9)
    assert len(fast) > 7500 > 500 > len(small)
    np.testing.assert_array_equal(read_by_opencv(fast), read_by_opencv(small))


@pytest.mark.parametrize('bits', [8, 16])
@pytest.mark.parametrize(('colour_type', 'channels'), [(0, 1), (4, 2), (2, 3), (6, 4)])
def test_decoded_pixels_are_those_of_the_file(bits, colour_type, channels):
    pixels = levels(bits, channels)
    content = png(pixels, bits, colour_type)
    with Image.open(io.BytesIO(content)) as image:
        found = decode_png(content, image)
    assert found.dtype == pixels.dtype
    np.testing.assert_array_equal(found, pixels)


@pytest.mark.parametrize(('colour_type', 'channels'), [(0, 1), (2, 3)])
def test_a_transparent_colour_of_16_bits_becomes_alpha(colour_type, channels):
    """All its 16 bits count: what differs in the low byte alone stays visible."""
    pixels = np.full((2, 2, channels), 0x1234, np.uint16)
    pixels[1, 0, -1] = 0x1235
    content = png(pixels, 16, colour_type, tRNS=struct.pack(f'>{channels}H', *[0x1234] * channels))
    with Image.open(io.BytesIO(content)) as image:
        found = decode_png(content, image)
    np.testing.assert_array_equal(found[..., :-1], pixels)
    assert found[..., -1].tolist() == [[0, 0], [65535, 0]]
