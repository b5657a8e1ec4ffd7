"""Read and write photographs: any mode, 8 or 16 bits, EXIF orientation, colour profiles, metadata.

Everything that reads an image file reads it here: photographs and the images of option files alike.

The shape and dtype of an array of pixels tell its mode: (h, w, C) with C = 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and
alpha; uint8 or uint16. Alpha is not premultiplied.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from dkp_plugin.host.errors import ImageError
from dkp_plugin.io import tiff
from dkp_plugin.io.colours import fitting_profile, to_gray_or_rgb
from dkp_plugin.io.files import write_bytes
from dkp_plugin.io.formats import HINTS, SUFFIXES, open_image
from dkp_plugin.io.jpeg_files import jpeg_coding
from dkp_plugin.io.metadata import Metadata, read_metadata
from dkp_plugin.io.png import decode_png, encode_png
from dkp_plugin.physics.jpeg_coding import JpegCoding

MAX_PIXELS = 100_000_000
LOSSLESS_SUFFIXES = ('.png', '.tif', '.tiff')
WRITTEN_SUFFIXES = (*LOSSLESS_SUFFIXES, '.webp', '.jpg', '.jpeg', '.bmp')
SEVERAL = 'holds more than one picture, only the first is read'


@dataclass(frozen=True)
class Photo:
    """A photograph in its upright orientation.

    Attributes:
        pixels: (h, w, C) uint8 or uint16; see the module.
        icc_profile: ICC profile of its colours, if the file has one that fits the pixels.
        jpeg: How a JPEG file was compressed; None for other files.
        metadata: What the file says beside its pixels.
        notes: What was left out or is inexact, each a phrase about the file.
    """

    pixels: np.ndarray
    icc_profile: bytes | None = None
    jpeg: JpegCoding | None = None
    metadata: Metadata = field(default_factory=Metadata)
    notes: tuple[str, ...] = ()


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
        with path.open('rb') as file, _image_errors(str(path)):
            is_tiff = file.read(4) in tiff.SIGNATURES
            file.seek(0)
            if is_tiff:  # whose head may lie at its end, and Pillow refuses some
                return _check_size(*tiff.read_pages(file.read())[0].size, str(path), max_pixels)
            with open_image(file) as image:
                return _check_size(image.height, image.width, str(path), max_pixels)
    except OSError as error:
        raise ImageError(f'{path}: {error.strerror or error}') from None


def decode_photo(content: bytes, name: str, max_pixels: int = MAX_PIXELS) -> Photo:
    """Decode an image file, the first picture of several.

    Args:
        content: The file's bytes, which may be anything.
        name: The file's name for the error message.
        max_pixels: Larger pictures are refused before they are decoded.

    Returns:
        The photograph, turned as its EXIF data say.

    Raises:
        ImageError: for anything but an image of a format of ``formats.SUFFIXES``, a damaged or truncated one among it.
    """
    with _image_errors(name):
        if content[:4] in tiff.SIGNATURES:
            return _decode_tiff(content, name, max_pixels)
        with open_image(io.BytesIO(content)) as image:
            _check_size(image.height, image.width, name, max_pixels)
            return _decode(content, image)


@contextmanager
def _image_errors(name: str) -> Iterator[None]:
    """Whatever goes wrong inside becomes an ImageError."""
    hint = HINTS.get(Path(name).suffix.lower())
    try:
        yield
    except ImageError:
        raise
    except UnidentifiedImageError:
        formats = f'formats: {", ".join(SUFFIXES)}'
        raise ImageError(f'{name}: not a readable image; {hint or formats}') from None
    except Exception as error:  # a damaged file raises errors of many kinds
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ImageError(f'{name}: not a readable image ({reason[:200]}){f"; {hint}" if hint else ""}') from None


def _check_size(height: int, width: int, name: str, max_pixels: int) -> tuple[int, int]:
    if height < 1 or width < 1:
        raise ImageError(f'{name}: not a readable image ({width}x{height} pixels)')
    if width * height > max_pixels:
        raise ImageError(
            f'{name}: {width}x{height} pixels are more than the {max_pixels} allowed; '
            '--max-pixels (max_pixels) sets the limit'
        )
    return height, width


def _decode(content: bytes, image: Image.Image) -> Photo:
    """Decode what Pillow has opened."""
    has_several = getattr(image, 'is_animated', False)
    try:
        exif = image.getexif()
    except Exception:  # damaged data raise errors of many kinds
        exif = None
    profile = image.info.get('icc_profile')
    if image.format == 'PNG' and image.mode != 'P':
        pixels, notes = decode_png(content, image), ()
    else:
        pixels, notes = to_gray_or_rgb(image, profile)
    info = dict(image.info)
    if getattr(image, 'quantization', None) and not info.get('jfif_unit'):  # then Pillow makes up 72 dpi
        info.pop('dpi', None)
    metadata, orientation, more = read_metadata(exif, info)
    return Photo(
        _turn(pixels, orientation),
        fitting_profile(profile, pixels.shape[2]),
        jpeg_coding(image, orientation),
        metadata,
        (*((SEVERAL,) if has_several else ()), *notes, *more),
    )


def _decode_tiff(content: bytes, name: str, max_pixels: int) -> Photo:
    """Decode a TIFF file, by ``tiff`` as far as possible and else by Pillow."""
    page, *others = tiff.read_pages(content)
    _check_size(*page.size, name, max_pixels)
    exif = Image.Exif()
    try:
        exif.load(content)
    except Exception:  # damaged data raise errors of many kinds
        exif = None
    metadata, orientation, notes = read_metadata(exif, {'dpi': page.dpi})
    profile = page.tags[tiff.Tag.ICC_PROFILE].tobytes() if tiff.Tag.ICC_PROFILE in page.tags else None
    if page.is_plain():
        pixels = _turn(tiff.decode_page(content, page), orientation)
    elif page.bits > 8 and not page.is_cmyk:
        raise ValueError(f'{page.bits} bits per channel; allowed: 8 or 16, unsigned')
    else:
        with open_image(io.BytesIO(content)) as image:
            pixels, more = to_gray_or_rgb(image, profile)  # Pillow has turned it
            notes += more
    return Photo(
        pixels,
        fitting_profile(profile, pixels.shape[2]),
        metadata=metadata,
        notes=(*((SEVERAL,) if others else ()), *notes),
    )


def _turn(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turn an array as the EXIF orientation says, 1 to 8."""
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
    has_alpha, bits = pixels.shape[2] in (2, 4), 8 * pixels.dtype.itemsize
    if suffix not in WRITTEN_SUFFIXES:
        raise ImageError(f'{path}: {suffix or "no suffix"} is not one of {", ".join(WRITTEN_SUFFIXES)}')
    if suffix not in LOSSLESS_SUFFIXES and (bits != 8 or (has_alpha and suffix != '.webp')):
        what = f'{bits} bits per channel' if bits != 8 else 'an alpha channel'
        raise ImageError(f'{path}: {suffix} does not hold {what}; allowed: {", ".join(LOSSLESS_SUFFIXES)}')


def describe_loss(path: Path, icc_profile: bytes | None, metadata: Metadata) -> str:
    """What the format of the path's suffix does not hold, as a phrase about the file; empty if nothing is lost.

    PNG, TIFF, WebP and JPEG hold everything; BMP holds only the resolution.
    """
    if path.suffix.lower() != '.bmp':
        return ''
    parts = {
        'EXIF data': metadata.exif,
        'colour profile': icc_profile,
        'gamma': metadata.gamma,
        'chromaticity': metadata.chromaticity,
    }
    lost = [name for name, part in parts.items() if part]
    return f'{", ".join(lost)} left out, .bmp does not hold this' if lost else ''


def write_photo(
    path: Path, pixels: np.ndarray, icc_profile: bytes | None = None, metadata: Metadata | None = None
) -> None:
    """Write a photograph in the format of the path's suffix, in one move; lossless except for JPEG.

    Args:
        path: The file.
        pixels: (h, w, C) uint8 or uint16; see the module.
        icc_profile: ICC profile of its colours; one that does not fit them is left out.
        metadata: What else the file says, as far as the format holds it; see :func:`describe_loss`.

    Raises:
        ImageError: for a format that does not hold such pixels.
        OSError: if it cannot be written.
    """
    check_format(path, pixels)
    suffix = path.suffix.lower()
    profile, metadata = fitting_profile(icc_profile, pixels.shape[2]), metadata or Metadata()
    try:
        if suffix == '.png':
            content = encode_png(pixels, profile, metadata)
        elif suffix in LOSSLESS_SUFFIXES:
            content = tiff.encode_tiff(pixels, profile, metadata)
        else:
            content = _encode_by_pillow(suffix, pixels, profile, metadata)
    except (OSError, ValueError) as error:  # such as more pixels to a side than the format can count
        raise ImageError(f'{path}: cannot be encoded ({error})') from None
    write_bytes(path, content)


def _encode_by_pillow(suffix: str, pixels: np.ndarray, profile: bytes | None, metadata: Metadata) -> bytes:
    buffer = io.BytesIO()
    image = Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels)
    dpi = {'dpi': metadata.dpi} if metadata.dpi else {}
    exif = metadata.full_exif()
    beside = ({'exif': exif.tobytes()} if len(exif) else {}) | ({'icc_profile': profile} if profile else {})
    if suffix == '.bmp':
        image.save(buffer, 'BMP', **dpi)
    elif suffix == '.webp':
        image = image.convert('RGBA') if image.mode == 'LA' else image
        profile_fits = fitting_profile(profile, 3) is not None  # WebP has no gray
        beside = beside if profile_fits else {key: value for key, value in beside.items() if key != 'icc_profile'}
        image.save(buffer, 'WEBP', lossless=True, exact=True, **beside)
    else:
        dpi = {'dpi': tuple(min(round(side), 65535) for side in metadata.dpi)} if metadata.dpi else {}
        image.save(buffer, 'JPEG', quality=95, subsampling=0, **dpi, **beside)
    return buffer.getvalue()
