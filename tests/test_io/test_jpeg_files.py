"""Tables and chroma of files that Pillow wrote."""

import io

import numpy as np
import pytest
import skimage.data
from PIL import Image

from dkp_plugin.io.jpeg_files import read_jpeg_coding
from dkp_plugin.io.photo_files import decode_photo
from dkp_plugin.physics.jpeg_coding import JpegCoding

LUMA, CHROMA = list(range(2, 66)), [3 * step for step in range(1, 65)]
PHOTO = Image.fromarray(skimage.data.astronaut()[:50, :70])


def encode(image=PHOTO, orientation=1, **options):
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    image.save(buffer, 'JPEG', exif=exif, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(('subsampling', 'factors'), [('4:4:4', (1, 1)), ('4:2:2', (1, 2)), ('4:2:0', (2, 2))])
def test_custom_tables_and_chroma(tmp_path, subsampling, factors):
    content = encode(qtables=[LUMA, CHROMA], subsampling=subsampling)
    expected = JpegCoding((tuple(LUMA), tuple(CHROMA), tuple(CHROMA)), factors)
    assert decode_photo(content, 'a.jpg').jpeg == expected
    (tmp_path / 'a.jpg').write_bytes(content)
    assert read_jpeg_coding(tmp_path / 'a.jpg') == expected


def test_one_table_for_all_channels():
    assert decode_photo(encode(qtables=[LUMA]), 'a.jpg').jpeg.tables == (tuple(LUMA),) * 3


def test_a_turned_file(tmp_path):
    content = encode(orientation=6, qtables=[LUMA, CHROMA], subsampling='4:2:2')
    jpeg = decode_photo(content, 'a.jpg').jpeg
    assert jpeg.tables[0] == tuple(np.array(LUMA).reshape(8, 8).T.flatten().tolist())
    assert jpeg.chroma_factors == (2, 1) and jpeg.origin == (0, 50 % 8)
    (tmp_path / 'a.jpg').write_bytes(content)
    assert read_jpeg_coding(tmp_path / 'a.jpg') == jpeg


@pytest.mark.parametrize('mode', ['L', 'CMYK'])
def test_other_modes_have_a_luma_table(mode):
    jpeg = decode_photo(encode(PHOTO.convert(mode), qtables=[LUMA]), 'a.jpg').jpeg
    assert jpeg.tables[0] == tuple(LUMA) and jpeg.chroma_factors == (2, 2)


def test_other_files_have_none(tmp_path):
    PHOTO.save(tmp_path / 'a.png')
    (tmp_path / 'b.jpg').write_bytes(b'no image')
    assert read_jpeg_coding(tmp_path / 'a.png') is None
    assert read_jpeg_coding(tmp_path / 'b.jpg') is None
    assert read_jpeg_coding(tmp_path / 'c.jpg') is None
