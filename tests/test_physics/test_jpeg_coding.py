"""Tables and qualities against Pillow's encoder; turning against turned images."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from dkp_plugin.physics.jpeg_coding import LUMA_TABLE, JpegCoding, quality_of_table, standard_tables


def test_the_standard_table_is_quality_50_and_its_half_75():
    annex_k = sum(LUMA_TABLE, ())
    assert quality_of_table(annex_k) == 50
    assert quality_of_table([round(entry / 2) for entry in annex_k]) == 75
    assert quality_of_table([2 * entry for entry in annex_k]) == 25
    assert quality_of_table([1] * 64) in (99, 100)


@pytest.mark.parametrize('quality', [1, 30, 49, 50, 75, 92, 100])
def test_tables_are_those_of_the_encoder(quality):
    buffer = io.BytesIO()
    Image.new('RGB', (64, 64)).save(buffer, 'JPEG', quality=quality)
    with Image.open(buffer) as opened:
        tables = opened.quantization
    luma, blue, red = standard_tables(quality).int()
    assert luma.flatten().tolist() == list(tables[0])
    assert blue.flatten().tolist() == red.flatten().tolist() == list(tables[1])
    assert JpegCoding.standard(quality).tables == tuple(tuple(tables[index]) for index in (0, 1, 1))


def test_data_loaders_can_batch_it():
    jpeg = JpegCoding((tuple(range(64)), tuple(range(64, 128)), (5,) * 64), (1, 2), (3, 11))
    assert JpegCoding.from_tensor(jpeg.to_tensor()) == jpeg
    assert JpegCoding.from_tensor(torch.stack([jpeg.to_tensor()])[0]) == jpeg


@pytest.mark.parametrize('orientation', range(1, 9))
def test_turned_images_keep_their_blocks(orientation):
    """Turn an image whose values name the block, and look where the first whole block is."""
    height, width, factors = 40, 52, (1, 2)  # blocks of 8 rows and 16 columns, counting chroma
    rows, columns = np.indices((height, width))
    blocks = Image.fromarray((rows // 8 * 8 + columns // 16).astype(np.uint8))
    blocks.getexif()[0x0112] = orientation
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    blocks.save(buffer, 'PNG', exif=exif)
    from PIL import ImageOps

    turned = np.array(ImageOps.exif_transpose(Image.open(buffer)))
    steep = tuple(range(1, 65))
    jpeg = JpegCoding((steep,) * 3, factors).turned(orientation, (height, width))
    is_transposed = orientation >= 5
    assert jpeg.chroma_factors == (factors[::-1] if is_transposed else factors)
    expected = np.arange(1, 65).reshape(8, 8)
    np.testing.assert_array_equal(np.array(jpeg.tables[0]).reshape(8, 8), expected.T if is_transposed else expected)
    for axis, start in enumerate(jpeg.origin):
        line = turned[:, -1 if jpeg.origin[1] else 0] if axis == 0 else turned[-1 if jpeg.origin[0] else 0]
        edges = np.flatnonzero(np.diff(line.astype(int))) + 1
        side = 8 * jpeg.chroma_factors[axis]
        assert all((edge - start) % side == 0 for edge in edges) and len(edges) >= 2
    assert all(start < 8 * factor for start, factor in zip(jpeg.origin, jpeg.chroma_factors, strict=True))
