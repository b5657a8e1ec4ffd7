"""What a JPEG file says of its compression."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from dkp_plugin.io.formats import open_image
from dkp_plugin.io.metadata import ORIENTATION
from dkp_plugin.physics.jpeg_coding import JpegCoding, quality_of_table


def jpeg_coding(image: Image.Image, orientation: int = 1) -> JpegCoding | None:
    """The compression of a file that Pillow has opened; None if it is no JPEG.

    Args:
        image: As Pillow has opened it.
        orientation: As in EXIF, 1 to 8: how the pixels are turned after decoding.
    """
    tables, layers = getattr(image, 'quantization', None), getattr(image, 'layer', None)
    if not tables or not layers:
        return None
    first = next(iter(tables.values()))
    luma, *chroma = (tuple(max(step, 1) for step in tables.get(layer[3], first)) for layer in layers)
    if len(layers) != 3:  # gray, whose chroma is zero; or CMYK, which is treated like gray
        usual = JpegCoding.standard(quality_of_table(luma))
        coding = JpegCoding((luma, *usual.tables[1:]))
    else:
        coding = JpegCoding((luma, *chroma), _chroma_factors(layers))
    return coding.turned(orientation, (image.height, image.width))


def _chroma_factors(layers: Sequence[tuple[int, ...]]) -> tuple[int, int]:
    """How many rows and columns share one value of chroma; layers hold (id, columns, rows, table) per channel."""
    (_, columns, rows, _), *others = layers
    return max(1, rows // max(layer[2] for layer in others)), max(1, columns // max(layer[1] for layer in others))


def read_jpeg_coding(path: Path) -> JpegCoding | None:
    """:func:`jpeg_coding` of a file that is turned as its EXIF data say; None for a file that is no JPEG."""
    try:
        with path.open('rb') as file, open_image(file) as image:
            return jpeg_coding(image, image.getexif().get(ORIENTATION, 1))
    except Exception:  # no image, or none that can be read: whoever reads its pixels reports that
        return None
