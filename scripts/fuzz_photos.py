"""Change image files at random and read them: each is read or refused in one line, without a traceback or a hang.

    python scripts/fuzz_photos.py --count 10000

A file that takes longer than --timeout ends the program with the place in the code where it hangs. Exit status: 0; 1 if
a file raised anything but an ImageError.
"""

import argparse
import faulthandler
import io
import struct
import sys
import time
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, features

from dkp_plugin.host.errors import ImageError
from dkp_plugin.io.images import decode_image
from dkp_plugin.io.metadata import Metadata
from dkp_plugin.io.photo_files import decode_photo
from dkp_plugin.io.png import encode_png
from dkp_plugin.io.tiff import encode_tiff

MAX_PIXELS = 1_000_000


def make_originals() -> list[bytes]:
    """Small sound files of every format and decoder."""
    rng = np.random.default_rng(0)
    pixels = {count: rng.integers(0, 256, (18, 23, count), np.uint8) for count in (1, 2, 3, 4)}
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, 'maker'
    exif[0x8769], exif[0x8825] = {0x9003: '2026:01:02 03:04:05'}, {1: 'N', 2: (1.0, 2.0, 3.0)}
    metadata = Metadata(exif.tobytes()[6:], (300.0, 300.0), 0.45, (0.31, 0.33, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06))
    colours, gray = Image.fromarray(pixels[3]), Image.fromarray(pixels[1][..., 0])
    palette, inks = colours.quantize(16), Image.fromarray(pixels[4], 'CMYK')
    mirrored = colours.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    several = {'save_all': True, 'append_images': [mirrored]}
    deep = {count: array.astype(np.uint16) * 257 for count, array in pixels.items()}
    kinds = [
        (colours, 'JPEG', {'exif': exif}),
        (colours, 'JPEG', {'progressive': True}),
        (inks, 'JPEG', {}),
        (palette, 'PNG', {'transparency': 3}),
        (gray.convert('1'), 'PNG', {}),
        (colours, 'PNG', several),
        (colours, 'TIFF', {'compression': 'tiff_lzw'}),
        (colours, 'TIFF', {'compression': 'jpeg'}),
        (palette, 'TIFF', {'compression': 'packbits'}),
        (gray.convert('1'), 'TIFF', {'compression': 'group4'}),
        (inks, 'TIFF', {}),
        (colours.convert('LAB'), 'TIFF', {}),
        (colours, 'TIFF', several),
        (Image.fromarray(pixels[4]), 'WEBP', {'exif': exif}),
        (colours, 'WEBP', several),
        (colours, 'BMP', {}),
        (palette, 'BMP', {}),
        (palette, 'GIF', {}),
        (colours, 'GIF', several),
        (colours, 'MPO', several),
        *([(colours, 'AVIF', {})] if features.check('avif') else []),
    ]
    return [
        *(encode_png(deep[count], b'a profile', metadata) for count in deep),
        *(encode_tiff(deep[count], b'a profile', metadata) for count in deep),
        encode_png(pixels[3]),
        encode_tiff(pixels[4]),
        *(_by_pillow(image, kind, **options) for image, kind, options in kinds),
    ]


def _by_pillow(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def mutate(content: bytes, rng: np.random.Generator) -> bytes:
    """Change some bytes, half of the time near the head; cut the file off, or repeat a part of it.

    Half of the PNG files get sound checksums, since the decoder would look no further.
    """
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
    return _with_checksums(bytes(array)) if rng.random() < 0.5 else bytes(array)


def _with_checksums(content: bytes) -> bytes:
    """A PNG file whose chunks have the checksums of what they hold now; others as they are."""
    array, start = bytearray(content), 8
    while content.startswith(b'\x89PNG') and start + 12 <= len(array):
        stop = start + 8 + int.from_bytes(array[start : start + 4], 'big')
        if stop + 4 > len(array):
            break
        struct.pack_into('>I', array, stop, zlib.crc32(array[start + 4 : stop]))
        start = stop + 4
    return bytes(array)


@dataclass
class Outcome:
    """What became of the files: how many were read and refused, the slowest in seconds, and what else was raised."""

    num_read: int = 0
    num_refused: int = 0
    slowest: float = 0.0
    failures: tuple[str, ...] = ()


def fuzz(count: int, seed: int = 0, timeout: float = 30) -> Outcome:
    """Read mutated files.

    Args:
        count: How many.
        seed: Of the mutations.
        timeout: Seconds after which a file counts as one that hangs; it ends the process.
    """
    originals, rng, outcome = make_originals(), np.random.default_rng(seed), Outcome()
    for index in range(count):
        content = mutate(originals[index % len(originals)], rng)
        start = time.perf_counter()
        faulthandler.dump_traceback_later(timeout, exit=True, file=sys.__stderr__)
        try:
            pixels = decode_photo(content, 'file', MAX_PIXELS).pixels
            assert pixels.ndim == 3 and pixels.shape[2] in (1, 2, 3, 4) and pixels.dtype in (np.uint8, np.uint16)
            image = decode_image(content, 'file')
            assert image.shape[1:] == pixels.shape[:2] and 0 <= image.min() <= image.max() <= 1
            outcome.num_read += 1
        except ImageError as error:
            outcome.num_refused += 1
            if '\n' in str(error):
                outcome.failures += (f'file {index}: more than one line: {error}',)
        except Exception as error:
            outcome.failures += (f'file {index}: {type(error).__name__}: {error}',)
        finally:
            faulthandler.cancel_dump_traceback_later()
        outcome.slowest = max(outcome.slowest, time.perf_counter() - start)
    return outcome


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--count', type=int, default=10_000, help='default: 10000')
    parser.add_argument('--seed', type=int, default=0, help='of the mutations; default: 0')
    parser.add_argument('--timeout', type=float, default=30, help='seconds for a file; default: 30')
    arguments = parser.parse_args(argv)
    warnings.filterwarnings('ignore', module='PIL')  # on what Pillow has repaired
    start = time.perf_counter()
    outcome = fuzz(arguments.count, arguments.seed, arguments.timeout)
    for failure in outcome.failures:
        print(failure)
    print(
        f'{arguments.count} files in {time.perf_counter() - start:.0f} s: {outcome.num_read} read, '
        f'{outcome.num_refused} refused, {len(outcome.failures)} failed; the slowest took {outcome.slowest:.2f} s'
    )
    return int(bool(outcome.failures))


if __name__ == '__main__':
    sys.exit(main())
