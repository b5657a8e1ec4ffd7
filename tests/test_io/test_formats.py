"""Files are recognised by their content; unsupported ones are named with advice."""

import io
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image, UnidentifiedImageError

from dkp_plugin.io.formats import HINTS, IMAGE_SUFFIXES, SUFFIXES, describe_unreadable, open_image


@pytest.mark.parametrize('name', ['PNG', 'JPEG', 'TIFF', 'WEBP', 'BMP', 'GIF', 'DIB'])
def test_a_file_is_recognised_by_its_content(name):
    buffer = io.BytesIO()
    Image.new('RGB', (7, 5), (10, 20, 30)).save(buffer, name)
    buffer.seek(0)
    image = open_image(buffer)
    assert image.format == name and image.size == (7, 5)


def test_formats_of_pillow_that_are_not_ours_are_not_opened():
    buffer = io.BytesIO()
    Image.new('RGB', (7, 5)).save(buffer, 'PPM')
    for content in (buffer.getvalue(), b'no image'):
        with pytest.raises(UnidentifiedImageError):
            open_image(io.BytesIO(content))


def test_opening_knows_no_limit_of_pixels(monkeypatch):
    """Pillow's own limit is one for the whole process and would end in a warning, which is an error here."""
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 10)

    def chunk(kind, data):
        return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))

    head = b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', 30_000, 20_000, 8, 0, 0, 0, 0))
    image = open_image(io.BytesIO(head + chunk(b'IDAT', zlib.compress(b'')) + chunk(b'IEND', b'')))
    assert image.size == (30_000, 20_000)


def test_no_suffix_is_both_read_and_not_read():
    assert not HINTS.keys() & set(IMAGE_SUFFIXES)
    assert len(set(IMAGE_SUFFIXES)) == len(IMAGE_SUFFIXES) == sum(map(len, SUFFIXES.values()))
    assert all(suffix == suffix.lower() and suffix.startswith('.') for suffix in (*HINTS, *IMAGE_SUFFIXES))


def test_images_that_are_not_read_are_named_by_what_to_do():
    paths = [Path('x', name) for name in ('a.png', 'b.SVG', 'c.exr', 'd.pdf', 'notes.txt', 'e')]
    expected = 'not read: b.SVG, d.pdf (export as PNG or TIFF); c.exr (convert to PNG or TIFF)'
    assert describe_unreadable(paths) == expected
    assert describe_unreadable(paths[:1]) == describe_unreadable([]) == ''


def test_long_lists_are_cut_off():
    names = [Path(f'{index}.svg') for index in range(5)]
    assert describe_unreadable(names) == 'not read: 0.svg, 1.svg, 2.svg, 3.svg, 4.svg (export as PNG or TIFF)'
    names += [Path('5.svg'), Path('6.svg')]
    assert describe_unreadable(names).startswith('not read: 0.svg, 1.svg, 2.svg, 3.svg, 4.svg and 2 more (')
