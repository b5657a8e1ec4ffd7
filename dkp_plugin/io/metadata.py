"""What a photograph's file says beside its pixels, as far as it stays true for the restored picture."""

import math
from dataclasses import dataclass
from typing import Any

from PIL import ExifTags, Image
from PIL.TiffImagePlugin import IFDRational

MAX_EXIF = 60_000  # bytes; a JPEG file holds 65,527
ORIENTATION = ExifTags.Base.Orientation
_DESCRIPTION = (  # of the main directory; all else there is about the pixels as they are stored
    *('ImageDescription', 'Make', 'Model', 'Software', 'DateTime', 'Artist', 'Copyright', 'HostComputer', 'Rating'),
    *('XPTitle', 'XPComment', 'XPAuthor', 'XPKeywords', 'XPSubject'),
)
KEPT = frozenset(ExifTags.Base[name] for name in _DESCRIPTION)
# The size, a directory that few programs read, and a camera's own notes, which point to places in the old file. The
# gamma is kept apart.
_NOT_KEPT = ('ExifImageWidth', 'ExifImageHeight', 'ExifInteroperabilityOffset', 'MakerNote', 'Gamma')
DROPPED = frozenset(ExifTags.Base[name] for name in _NOT_KEPT)
DIGITS = 5  # decimals of gamma and chromaticity, as in PNG


@dataclass(frozen=True)
class Metadata:
    """What is kept of a file in the result made from it.

    Attributes:
        exif: EXIF data of time, place, camera and author, a TIFF structure; without orientation, size and thumbnail.
        dpi: Pixels per inch, to the right and down.
        gamma: Exponent of PNG's chunk gAMA; the tag Gamma of EXIF data is its inverse.
        chromaticity: Of PNG's chunk cHRM: x and y of white, red, green and blue; in EXIF data and TIFF files the tags
            WhitePoint and PrimaryChromaticities.
    """

    exif: bytes | None = None
    dpi: tuple[float, float] | None = None
    gamma: float | None = None
    chromaticity: tuple[float, ...] | None = None

    def full_exif(self) -> Image.Exif:
        """EXIF data with resolution, gamma and chromaticity, for formats that keep them nowhere else."""
        exif = Image.Exif()
        if self.exif:
            exif.load(self.exif)
        if self.dpi:
            exif[ExifTags.Base.XResolution], exif[ExifTags.Base.YResolution] = self.dpi
            exif[ExifTags.Base.ResolutionUnit] = 2  # inches
        if self.chromaticity:
            exif[ExifTags.Base.WhitePoint] = self.chromaticity[:2]
            exif[ExifTags.Base.PrimaryChromaticities] = self.chromaticity[2:]
        if self.gamma:
            exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.Gamma] = IFDRational(round(1e6 / self.gamma), 10**6)
        return exif


def read_metadata(exif: Image.Exif, info: dict[str, Any]) -> tuple[Metadata, int, tuple[str, ...]]:
    """Collect what a file says.

    Args:
        exif: Its EXIF data as Pillow reads them.
        info: Further statements as Pillow keeps them: ``dpi``, ``gamma``, ``chromaticity``.

    Returns:
        The metadata, the orientation from 1 to 8, and notes on what was not kept.
    """
    notes = []
    try:
        orientation, kept = exif.get(ORIENTATION, 1), _clean(exif)
        dpi = info.get('dpi') or _dpi(exif)
        gamma, chromaticity = info.get('gamma') or _gamma(exif), info.get('chromaticity') or _chromaticity(exif)
    except Exception:  # damaged data raise errors of many kinds
        orientation, kept, dpi, gamma, chromaticity = 1, None, *map(info.get, ('dpi', 'gamma', 'chromaticity'))
        notes.append('its EXIF data are damaged and not kept')
    if kept and len(kept) > MAX_EXIF:
        kept = None
        notes.append(f'its EXIF data are longer than {MAX_EXIF} bytes and not kept')
    metadata = Metadata(kept, _positive(dpi, 2), *(_positive((gamma,), 1) or (None,)), _positive(chromaticity, 8))
    return metadata, orientation if orientation in range(1, 9) else 1, tuple(notes)


def _clean(exif: Image.Exif) -> bytes | None:
    """EXIF data without what the restored picture makes untrue."""
    kept = Image.Exif()
    for tag in KEPT & exif.keys():
        kept[tag] = exif[tag]
    for directory in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
        entries = {tag: value for tag, value in exif.get_ifd(directory).items() if tag not in DROPPED}
        if entries:
            kept[directory] = entries
    return kept.tobytes().removeprefix(b'Exif\0\0') if len(kept) else None


def _dpi(exif: Image.Exif) -> tuple[float, float] | None:
    sides = [exif.get(tag) for tag in (ExifTags.Base.XResolution, ExifTags.Base.YResolution)]
    factor = {2: 1, 3: 2.54}.get(exif.get(ExifTags.Base.ResolutionUnit, 2))
    return None if None in sides or factor is None else tuple(float(side) * factor for side in sides)


def _gamma(exif: Image.Exif) -> float | None:
    gamma = exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.Gamma)
    return None if not gamma else round(1 / float(gamma), DIGITS)


def _chromaticity(exif: Image.Exif) -> tuple[float, ...] | None:
    tags = [exif.get(tag) for tag in (ExifTags.Base.WhitePoint, ExifTags.Base.PrimaryChromaticities)]
    return None if None in tags else tuple(round(float(value), DIGITS) for values in tags for value in values)


def _positive(values: Any, count: int) -> tuple[float, ...] | None:
    """Numbers of a file, unless they are nonsense."""
    try:
        numbers = tuple(float(value) for value in values)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    is_sound = len(numbers) == count and all(math.isfinite(number) and 0 < number < 1e5 for number in numbers)
    return numbers if is_sound else None
