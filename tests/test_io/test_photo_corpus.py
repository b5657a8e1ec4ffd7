"""Every file of the corpus is read as it was meant, by photographs and option files alike, or refused in one line."""

import io

import numpy as np
import pytest
import tifffile
from test_io.corpus import CASES
from test_io.image_makers import read_by_opencv

from dkp_plugin.host.errors import ImageError
from dkp_plugin.io.images import decode_image
from dkp_plugin.io.photo_files import decode_photo, photo_size

READ = [case for case in CASES if case.pixels is not None]


def test_corpus_is_large():
    assert len({case.name for case in CASES}) == len(CASES) >= 200


@pytest.mark.parametrize('case', READ, ids=lambda case: case.name)
def test_file_is_read_as_it_was_meant(case, tmp_path):
    photo = decode_photo(case.content, case.name)
    assert photo.pixels.shape == case.pixels.shape and photo.pixels.dtype == case.pixels.dtype
    np.testing.assert_allclose(photo.pixels.astype(int), case.pixels.astype(int), rtol=0, atol=case.tolerance)
    (tmp_path / 'a').write_bytes(case.content)
    assert sorted(photo_size(tmp_path / 'a')) == sorted(photo.pixels.shape[:2])
    image = decode_image(case.content, case.name).permute(1, 2, 0).numpy()
    if photo.pixels.shape[2] in (1, 3):
        expected = photo.pixels.astype(np.float32) / np.iinfo(photo.pixels.dtype).max
        np.testing.assert_array_equal(image, expected)
    else:  # where nothing is hidden, the colour is that of the file
        is_visible = photo.pixels[..., -1] == np.iinfo(photo.pixels.dtype).max
        colour = photo.pixels[..., :-1].astype(np.float32) / np.iinfo(photo.pixels.dtype).max
        np.testing.assert_array_equal(image[is_visible], colour[is_visible])


@pytest.mark.parametrize('case', [case for case in CASES if case.pixels is None], ids=lambda case: case.name)
def test_file_is_refused_in_one_line(case):
    for decode in (decode_photo, decode_image):
        with pytest.raises(ImageError, match=r'^a file: not a readable image') as error:
            decode(case.content, 'a file')
        assert '\n' not in str(error.value)


# tifffile returns what is stored, and needs imagecodecs for some compressions.
NOT_FOR_TIFFFILE = ('white', 'palette', 'associated', 'orientation', 'CMYK', 'LAB', 'more', 'unknown')
NOT_FOR_TIFFFILE += ('LZW', 'PackBits', 'jpeg', 'group', 'lzw', ' 1 bits', ' 2 bits', ' 4 bits')
# OpenCV has no gray with alpha, garbles planes, lacks LZMA and takes only tiles whose size it expects.
NOT_FOR_OPENCV = ('type 4', 'planar', 'lzma', 'tile', 'transparent')


def cases(beginnings, excluded):
    return [
        case for case in READ if case.name.startswith(beginnings) and not any(word in case.name for word in excluded)
    ]


@pytest.mark.parametrize('case', cases(('tiff',), NOT_FOR_TIFFFILE), ids=lambda case: case.name)
def test_tifffile_reads_the_same(case):
    pixels = tifffile.imread(io.BytesIO(case.content), key=0)
    pixels = pixels.transpose(1, 2, 0) if 'planar' in case.name else pixels
    np.testing.assert_array_equal(pixels.reshape(case.pixels.shape), case.pixels)


OPENCV = ('png type', 'bmp windows', 'webp lossless', 'tiff 3x', 'tiff 1x')


@pytest.mark.parametrize('case', cases(OPENCV, NOT_FOR_OPENCV), ids=lambda case: case.name)
def test_opencv_reads_the_same(case):
    np.testing.assert_array_equal(read_by_opencv(case.content), case.pixels)
