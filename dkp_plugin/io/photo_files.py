"""Read and write photographs as people have them: any mode, 8 or 16 bits, turned by EXIF, with a colour profile.

An array of pixels says all by its shape and dtype: (h, w, C) with C = 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha;
uint8 or uint16. Alpha is not premultiplied.
"""

import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from dkp_plugin.host.errors import ImageError
from dkp_plugin.io.files import write_bytes
from dkp_plugin.physics.jpeg import quality_from_tables

DECODERS = ('PNG', 'JPEG', 'TIFF', 'WEBP', 'BMP')  # every further one is one more program to attack
MAX_PIXELS = 100_000_000
ORIENTATION_TAG = 0x0112
GRAY_AND_ALPHA = 4  # colour type of PNG
MODES = {  # what a mode of Pillow is converted to
    **dict.fromkeys(('1', 'L'), 'L'),
    **dict.fromkeys(('LA', 'La'), 'LA'),
    **dict.fromkeys(('RGB', 'RGBX', 'CMYK', 'YCbCr', 'LAB', 'HSV', 'P'), 'RGB'),
    **dict.fromkeys(('RGBA', 'RGBa', 'PA'), 'RGBA'),
}
WITH_ALPHA = {'L': 'LA', 'RGB': 'RGBA'}


@dataclass(frozen=True)
class Photo:
    """A photograph as it is looked at.

    Attributes:
        pixels: (h, w, C) uint8 or uint16; see the module.
        icc_profile: ICC profile of its colours, if the file has one.
        jpeg_quality: Of a JPEG file, about what quality it was saved with, 1 to 100.
    """

    pixels: np.ndarray
    icc_profile: bytes | None = None
    jpeg_quality: int | None = None


def read_photo(path: Path, max_pixels: int = MAX_PIXELS) -> Photo:
    """Read a photograph; see :func:`decode_photo`.

    Raises:
        ImageError: also for a file that cannot be opened.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ImageError(f'{path}: {error.strerror}') from None
    return decode_photo(content, str(path), max_pixels)


def photo_size(path: Path, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Height and width of a photograph, before any turning, from the head of its file.

    Raises:
        ImageError: as :func:`read_photo`, as far as the head tells.
    """
    try:
        with path.open('rb') as file, _open(file, str(path), max_pixels) as image:
            return image.height, image.width
    except OSError as error:
        raise ImageError(f'{path}: {error.strerror or error}') from None


def decode_photo(content: bytes, name: str, max_pixels: int = MAX_PIXELS) -> Photo:
    """Decode a PNG, JPEG, TIFF, WebP or BMP file, the first picture of several.

    Args:
        content: The file's bytes, which may be anything.
        name: The file's name for the error message.
        max_pixels: Larger pictures are refused before they are decoded.

    Returns:
        The photograph, turned as its EXIF data say.

    Raises:
        ImageError: for anything else, a damaged or truncated file among it.
    """
    with _open(io.BytesIO(content), name, max_pixels) as image:
        # Pillow and OpenCV turn a TIFF, but nothing else.
        orientation = 1 if image.format == 'TIFF' else image.getexif().get(ORIENTATION_TAG, 1)
        pixels = _decode_16_bits(content, image, name) if _bits(image, content) == 16 else _convert(image, name)
        profile = image.info.get('icc_profile') if image.mode != 'CMYK' else None
        tables = getattr(image, 'quantization', None)
        quality = quality_from_tables(tables) if tables else None
    return Photo(_turn(pixels, orientation), profile or None, quality)


@contextmanager
def _open(file: io.IOBase, name: str, max_pixels: int) -> Iterator[Image.Image]:
    """Open an image with Pillow; whatever goes wrong inside becomes an ImageError."""
    # Pillow has but a global limit, which is checked on opening; ours comes before any pixel is decoded, too.
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # Pillow's, on what it has repaired
            with Image.open(file, formats=DECODERS) as image:
                if image.width * image.height > max_pixels:
                    raise ImageError(
                        f'{name}: {image.width}x{image.height} pixels are more than the {max_pixels} allowed; '
                        '--max-pixels (max_pixels) sets the limit'
                    )
                yield image
    except (ImageError, KeyboardInterrupt):
        raise
    except UnidentifiedImageError:
        raise ImageError(f'{name}: not a readable image; formats: {", ".join(DECODERS)}') from None
    except Exception as error:  # a damaged file raises errors of many kinds
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ImageError(f'{name}: not a readable image ({reason[:200]})') from None
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _bits(image: Image.Image, content: bytes) -> int:
    """Bits per channel, which Pillow does not tell: it reads colours of 16 bits as 8."""
    if image.format == 'PNG':
        return content[24]  # in the header chunk, which comes first
    if image.format == 'TIFF':
        return max(image.tag_v2.get(258, (8,)))
    return 8


def _decode_16_bits(content: bytes, image: Image.Image, name: str) -> np.ndarray:
    """Decode by OpenCV, which keeps 16 bits."""
    mode = image.mode
    if image.format == 'PNG':
        mode = 'LA' if content[25] == GRAY_AND_ALPHA else mode  # which Pillow calls RGBA
        content = _essential_chunks(content)
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    channels = {'LA': [0, 3], 'RGB': [2, 1, 0], 'RGBA': [2, 1, 0, 3]}.get(mode, [0])  # of OpenCV's BGR
    if pixels is None or pixels.dtype != np.uint16 or pixels.size < len(channels) * image.width * image.height:
        raise ImageError(f'{name}: not a readable image (16 bits per channel)')
    return np.atleast_3d(pixels)[..., channels]


def _essential_chunks(content: bytes) -> bytes:
    """A PNG file without all that its pixels do not need: OpenCV believes any length that a damaged chunk claims."""
    parts, start = [content[:8]], 8
    while start < len(content):
        stop = start + 12 + int.from_bytes(content[start : start + 4], 'big')
        if content[start + 4 : start + 8] in (b'IHDR', b'IDAT', b'IEND') and stop <= len(content):
            parts.append(content[start:stop])
        start = stop
    return b''.join(parts)


def _convert(image: Image.Image, name: str) -> np.ndarray:
    if image.mode not in MODES:
        raise ImageError(f'{name}: pixels of mode {image.mode}; allowed: 8 or 16 bits per channel')
    mode = MODES[image.mode]
    if 'transparency' in image.info:
        mode = WITH_ALPHA.get(mode, mode)
    pixels = np.asarray(image if image.mode == mode else image.convert(mode))
    return pixels.reshape(*pixels.shape[:2], -1)


def _turn(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turn an array as the EXIF orientation says, 1 to 8; others are taken for 1."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def check_format(path: Path, pixels: np.ndarray) -> None:
    """Raise an ImageError unless the format of the path's suffix holds such pixels; see the module."""
    suffix = path.suffix.lower()
    holds_all = ('.png', '.tif', '.tiff')
    has_alpha, bits = pixels.shape[2] in (2, 4), 8 * pixels.dtype.itemsize
    if suffix not in (*holds_all, '.webp', '.jpg', '.jpeg', '.bmp'):
        raise ImageError(f'{path}: {suffix or "no suffix"} is not one of .png, .tif, .tiff, .webp, .jpg, .jpeg, .bmp')
    if suffix not in holds_all and (bits != 8 or (has_alpha and suffix != '.webp')):
        what = f'{bits} bits per channel' if bits != 8 else 'an alpha channel'
        raise ImageError(f'{path}: {suffix} does not hold {what}; allowed: {", ".join(holds_all)}')


def write_photo(path: Path, pixels: np.ndarray, icc_profile: bytes | None = None) -> None:
    """Write a photograph in the format of the path's suffix, in one move; without loss but for JPEG.

    Args:
        path: The file.
        pixels: (h, w, C) uint8 or uint16; see the module.
        icc_profile: ICC profile of its colours.

    Raises:
        ImageError: for a format that does not hold such pixels.
        OSError: if it cannot be written.
    """
    check_format(path, pixels)
    suffix = path.suffix.lower()
    if suffix == '.png':
        content = encode_png(pixels, icc_profile)
    elif suffix in ('.tif', '.tiff'):
        content = _encode_tiff(pixels, icc_profile)
    else:
        content = _encode_by_pillow(path, pixels, icc_profile)
    write_bytes(path, content)


def _encode_by_pillow(path: Path, pixels: np.ndarray, icc_profile: bytes | None) -> bytes:
    options = {
        '.webp': {'format': 'WEBP', 'lossless': True, 'exact': True},
        '.bmp': {'format': 'BMP'},
    }.get(path.suffix.lower(), {'format': 'JPEG', 'quality': 95, 'subsampling': 0})
    buffer = io.BytesIO()
    image = Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels)
    if options['format'] == 'WEBP' and image.mode == 'LA':
        image = image.convert('RGBA')
    try:
        image.save(buffer, **options, **({'icc_profile': icc_profile} if icc_profile else {}))
    except (OSError, ValueError) as error:  # such as more pixels to a side than the format can count
        raise ImageError(f'{path}: cannot be encoded ({error})') from None
    return buffer.getvalue()


def _encode_tiff(pixels: np.ndarray, icc_profile: bytes | None) -> bytes:
    import tifffile  # slow to import, seldom needed

    has_alpha = pixels.shape[2] in (2, 4)
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer,
        pixels.squeeze(2) if pixels.shape[2] == 1 else pixels,
        photometric='rgb' if pixels.shape[2] > 2 else 'minisblack',
        planarconfig='contig' if pixels.shape[2] > 1 else None,
        extrasamples=['unassalpha'] if has_alpha else None,
        compression='zlib',
        iccprofile=icc_profile,
        metadata=None,
        software=False,
    )
    return buffer.getvalue()


def encode_png(pixels: np.ndarray, icc_profile: bytes | None = None) -> bytes:
    """Encode a PNG file of any mode; neither Pillow nor OpenCV has 16 bits together with gray and alpha or a profile.

    Args:
        pixels: (h, w, C) uint8 or uint16; see the module.
        icc_profile: ICC profile of its colours.
    """
    height, width, channels = pixels.shape
    depth = 8 * pixels.dtype.itemsize
    colour_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    samples = np.ascontiguousarray(pixels).astype(pixels.dtype.newbyteorder('>')).view(np.uint8).reshape(height, -1)
    parts = [b'\x89PNG\r\n\x1a\n', _chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, depth, colour_type, 0, 0, 0))]
    if icc_profile:
        parts.append(_chunk(b'iCCP', b'ICC profile\0\0' + zlib.compress(icc_profile)))
    parts.append(_chunk(b'IDAT', zlib.compress(_filter_rows(samples, channels * depth // 8), 6)))
    return b''.join([*parts, _chunk(b'IEND', b'')])


def _filter_rows(samples: np.ndarray, step: int) -> bytes:
    """Apply PNG's filter 4 (Paeth) to rows of bytes, (h, n): the difference to the best of three neighbours."""
    padded = np.pad(samples, ((1, 0), (step, 0))).astype(np.int16)
    left, above, corner = padded[1:, :-step], padded[:-1, step:], padded[:-1, :-step]
    to_left, to_above, to_corner = abs(above - corner), abs(left - corner), abs(left + above - 2 * corner)
    nearest = np.where(to_above <= to_corner, above, corner)
    nearest = np.where((to_left <= to_above) & (to_left <= to_corner), left, nearest)
    rows = np.empty((samples.shape[0], samples.shape[1] + 1), np.uint8)
    rows[:, 0] = 4
    rows[:, 1:] = samples - nearest.astype(np.uint8)
    return rows.tobytes()


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack('>I', len(content)) + kind + content + struct.pack('>I', zlib.crc32(kind + content))
