"""Which image files are read, by content and by suffix, and what to do about the others."""

import importlib.util
import struct
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO

from PIL import (  # the plug-ins register themselves
    BmpImagePlugin,  # noqa: F401
    GifImagePlugin,  # noqa: F401
    Image,
    JpegImagePlugin,  # noqa: F401
    PngImagePlugin,  # noqa: F401
    TiffImagePlugin,  # noqa: F401
    UnidentifiedImageError,
    WebPImagePlugin,  # noqa: F401
    features,
)

HAS_AVIF = 'avif' in features.modules and features.check('avif') is True  # since Pillow 11.3
HAS_HEIF = importlib.util.find_spec('pillow_heif') is not None

SUFFIXES = {  # of each format that is read; every further one is one more program to attack
    'PNG': ('.png',),
    'JPEG': ('.jpg', '.jpeg', '.jpe', '.jfif', '.mpo'),
    'TIFF': ('.tif', '.tiff'),
    'WEBP': ('.webp',),
    'BMP': ('.bmp', '.dib'),
    'GIF': ('.gif',),
    **({'AVIF': ('.avif',)} if HAS_AVIF else {}),
    **({'HEIF': ('.heic', '.heif', '.hif')} if HAS_HEIF else {}),
}
IMAGE_SUFFIXES = tuple(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)

_OTHER_KINDS = (
    ('install pillow-heif', '.heic .heif .hif'),
    ('install a Pillow with AVIF', '.avif'),
    ('develop the raw file and export it as TIFF', '.raw .dng .cr2 .cr3 .crw .nef .nrw .arw .srf .sr2 .raf .orf .rw2'),
    ('develop the raw file and export it as TIFF', '.pef .srw .x3f'),
    ('export as PNG or TIFF', '.svg .svgz .eps .ps .pdf .ai .wmf .emf .psd .psb .xcf .kra .ora'),
    ('convert to PNG or TIFF', '.jxl .jp2 .j2k .jpf .jpx .jxr .wdp .exr .hdr .pic .tga .dds .pcx .ico .cur .ppm .pgm'),
    ('convert to PNG or TIFF', '.pbm .pnm .pam .pfm .qoi .bpg .flif .fits .dcm .sgi .ras .xbm .xpm'),
)
HINTS = {  # by suffix: what to do about an image that is not read
    suffix: hint for hint, suffixes in _OTHER_KINDS for suffix in suffixes.split() if suffix not in IMAGE_SUFFIXES
}


def describe_unreadable(paths: Iterable[Path]) -> str:
    """Name images of kinds that are not read, with what to do about each kind.

    Args:
        paths: Any files; those of other suffixes than :data:`HINTS` are passed over.

    Returns:
        One line such as ``not read: a.heic (install pillow-heif); b.svg, c.pdf (export as PNG or TIFF)``; empty if
        there is no such image.
    """
    names: dict[str, list[str]] = {}
    for path in paths:
        if hint := HINTS.get(path.suffix.lower()):
            names.setdefault(hint, []).append(path.name)
    groups = [f'{_enumerate(group)} ({hint})' for hint, group in names.items()]
    return f'not read: {"; ".join(groups)}' if groups else ''


def _enumerate(names: list[str], limit: int = 5) -> str:
    rest = len(names) - limit
    return ', '.join(names[:limit]) + (f' and {rest} more' if rest > 0 else '')


def open_image(file: IO[bytes]) -> Image.Image:
    """Open an image with Pillow, without decoding its pixels.

    ``Image.open`` checks a limit of pixels that is one for the whole process, so that no thread could have its own.

    Args:
        file: A file of any content.

    Raises:
        OSError: if it is empty.
        UnidentifiedImageError: if it is of no format of :data:`SUFFIXES`.
        Exception: of many kinds, if it is damaged.
    """
    prefix = file.read(16)
    if not prefix:
        raise OSError('the file is empty')
    reason: Exception | None = None
    for factory, accept in _openers():
        try:
            if accept(prefix) is True:  # Pillow returns a text where a format is known but not built in
                file.seek(0)
                return factory(file, '')
        except (SyntaxError, IndexError, TypeError, struct.error) as error:  # how a plug-in says "not mine"
            reason = reason or error
    raise reason or UnidentifiedImageError()


def _openers() -> Iterator[tuple[Callable[..., Image.Image], Callable[[bytes], bool | str]]]:
    """Pillow's classes, by format, with the function that tells their files."""
    for name in ('PNG', 'JPEG', 'TIFF', 'WEBP', 'BMP', 'GIF'):
        yield Image.OPEN[name]
    if HAS_AVIF:
        from PIL import AvifImagePlugin  # noqa: F401

        yield Image.OPEN['AVIF']
    if HAS_HEIF:
        from pillow_heif import HeifImageFile

        yield HeifImageFile, lambda prefix: prefix[4:8] == b'ftyp'
    yield Image.OPEN['DIB']  # accepts almost anything
