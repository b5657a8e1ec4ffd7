"""TIFF files: read their structure, decode gray and RGB of 8 or 16 bits in any arrangement, encode them.

Pillow decodes the other kinds (fewer bits, palettes, CMYK, YCbCr, LAB, JPEG), but reduces colours of 16 bits to 8.

An array of pixels is (h, w, C) with C = 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha; uint8 or uint16.
"""

import io
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from PIL import TiffImagePlugin

from dkp_plugin.io.metadata import Metadata

SIGNATURES = (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+')  # of classic files and of BigTIFF
MAX_PAGES, MAX_PADDING = 1000, 1 << 26
MAX_SIZE = 2**32 - 1  # bytes of a classic file
STRIP_SIZE = 1 << 20

TYPES = {1: 'u1', 3: 'u2', 4: 'u4', 5: 'u4', 6: 'i1', 7: 'u1', 8: 'i2', 9: 'i4', 13: 'u4', 16: 'u8'}
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, CMYK = 0, 1, 2, 5
ADOBE_DEFLATE = 8
DEFLATE = (ADOBE_DEFLATE, 32946)
LOSSLESS = (1, 5, *DEFLATE, 32773, 34925, 50000)  # none, LZW, Deflate, PackBits, LZMA, Zstandard
ASSOCIATED, UNASSOCIATED = 1, 2  # alpha, premultiplied or not


class Tag(IntEnum):
    """Tags by the names of the TIFF specification."""

    SUBFILE = 254
    WIDTH = 256
    HEIGHT = 257
    BITS = 258
    COMPRESSION = 259
    PHOTOMETRIC = 262
    FILL_ORDER = 266
    STRIP_OFFSETS = 273
    SAMPLES = 277
    ROWS_PER_STRIP = 278
    STRIP_COUNTS = 279
    X_RESOLUTION = 282
    Y_RESOLUTION = 283
    PLANAR = 284
    RESOLUTION_UNIT = 296
    PREDICTOR = 317
    TILE_WIDTH = 322
    TILE_HEIGHT = 323
    TILE_OFFSETS = 324
    TILE_COUNTS = 325
    EXTRA_SAMPLES = 338
    SAMPLE_FORMAT = 339
    ICC_PROFILE = 34675


@dataclass(frozen=True)
class Page:
    """A picture of a TIFF file: the numbers of its tags.

    Attributes:
        tags: By number; only those of :data:`TYPES`, only those that lie within the file.
    """

    tags: dict[int, np.ndarray]

    def get(self, tag: int, default: int = 0) -> int:
        """The first number of a tag."""
        values = self.tags.get(tag)
        return default if values is None or not len(values) else int(values[0])

    @property
    def size(self) -> tuple[int, int]:
        """Height and width as stored."""
        return self.get(Tag.HEIGHT), self.get(Tag.WIDTH)

    @property
    def bits(self) -> int:
        """The largest number of bits of a channel."""
        return int(max(self.tags.get(Tag.BITS, (1,))))

    @property
    def dpi(self) -> tuple[float, float] | None:
        """Pixels per inch, to the right and down."""
        factor = {2: 1, 3: 2.54}.get(self.get(Tag.RESOLUTION_UNIT, 2))
        sides = [self.tags.get(tag, ()) for tag in (Tag.X_RESOLUTION, Tag.Y_RESOLUTION)]
        if factor is None or any(len(side) != 2 or side[1] == 0 for side in sides):
            return None
        return tuple(factor * int(side[0]) / int(side[1]) for side in sides)

    @property
    def is_cmyk(self) -> bool:
        """Whether its colours are inks."""
        return self.get(Tag.PHOTOMETRIC) == CMYK

    def is_plain(self) -> bool:
        """Whether :func:`decode_page` decodes it, rather than Pillow."""
        bits = self.tags.get(Tag.BITS, np.ones(1, int))
        return (
            self.get(Tag.PHOTOMETRIC) in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB)
            and set(map(int, bits)) <= {16 if self.bits == 16 else 8}
            and set(map(int, self.tags.get(Tag.SAMPLE_FORMAT, (1,)))) <= {1, 4}  # unsigned, not said
            and self.get(Tag.COMPRESSION, 1) in LOSSLESS
            and self.get(Tag.FILL_ORDER, 1) == 1
            and self.get(Tag.PREDICTOR, 1) in (1, 2)
            and (
                {Tag.STRIP_OFFSETS, Tag.STRIP_COUNTS} <= self.tags.keys()
                or {Tag.TILE_OFFSETS, Tag.TILE_COUNTS} <= self.tags.keys()
            )
        )


def read_pages(content: bytes) -> list[Page]:
    """Read the structure of a file.

    Args:
        content: It starts with one of :data:`SIGNATURES`.

    Returns:
        Its pages without thumbnails and masks; the first page always exists.

    Raises:
        ValueError: if there is no page.
    """
    order = '<' if content[:2] == b'II' else '>'
    is_big = content[2:4] in (b'+\0', b'\0+')
    offset = int.from_bytes(content[8:16] if is_big else content[4:8], 'little' if order == '<' else 'big')
    pages: list[Page] = []
    seen: set[int] = set()
    while 0 < offset < len(content) and offset not in seen and len(seen) < MAX_PAGES:
        seen.add(offset)
        try:
            page, offset = _read_directory(content, offset, order, is_big)
        except (struct.error, IndexError):  # the file ends within it
            break
        if not pages or not page.get(Tag.SUBFILE) & 0b101:
            pages.append(page)
    if not pages:
        raise ValueError('it holds no picture')
    return pages


def _read_directory(content: bytes, offset: int, order: str, is_big: bool) -> tuple[Page, int]:
    """A page and the offset of the next one."""
    head, entry, pointer = ('Q', 'HHQ', 'Q') if is_big else ('H', 'HHI', 'I')
    inline, size = struct.calcsize(order + pointer), struct.calcsize(order + entry + pointer)
    (count,) = struct.unpack_from(order + head, content, offset)
    start, tags = offset + struct.calcsize(order + head), {}
    for place in range(start, min(start + count * size, len(content) - size + 1), size):
        tag, kind, number = struct.unpack_from(order + entry, content, place)
        if kind not in TYPES:
            continue
        dtype, number = np.dtype(order + TYPES[kind]), number * (2 if kind == 5 else 1)  # type 5: two numbers each
        where = place + size - inline
        if number * dtype.itemsize > inline:
            (where,) = struct.unpack_from(order + pointer, content, where)
        if where + number * dtype.itemsize <= len(content):
            tags[tag] = np.frombuffer(content, dtype, number, where)
    (following,) = struct.unpack_from(order + pointer, content, start + count * size)
    return Page(tags), following


def decode_page(content: bytes, page: Page) -> np.ndarray:
    """Decode a page that is plain; see :meth:`Page.is_plain`.

    Args:
        content: The file.
        page: One of its pages.

    Returns:
        (h, w, C) uint8 or uint16 as stored, before any turning. Min-is-white is inverted, premultiplied colours are
        divided by their alpha, further channels are dropped.

    Raises:
        Exception: of many kinds, for a damaged file.
    """
    samples = page.get(Tag.SAMPLES, 1)
    num_colours = 3 if page.get(Tag.PHOTOMETRIC) == RGB else 1
    if samples < num_colours or len(page.tags.get(Tag.BITS, ())) not in (1, samples):
        raise ValueError(f'{samples} channels are too few or disagree with their bits')
    is_planar = page.get(Tag.PLANAR, 1) == 2 and samples > 1
    num_planes = samples if is_planar else 1
    channels = [_decode_plane(content, page, plane, num_planes, samples // num_planes) for plane in range(num_planes)]
    pixels = np.concatenate(channels, 2)
    colour, top = pixels[..., :num_colours], np.iinfo(pixels.dtype).max
    if page.get(Tag.PHOTOMETRIC) == WHITE_IS_ZERO:
        colour = top - colour
    extra = [int(kind) for kind in page.tags.get(Tag.EXTRA_SAMPLES, ())]
    if not extra and samples == num_colours + 1:
        extra = [UNASSOCIATED]  # as others take a fourth channel of which nothing is said
    place = next((index for index, kind in enumerate(extra) if kind in (ASSOCIATED, UNASSOCIATED)), None)
    if place is None or num_colours + place >= samples:
        return np.ascontiguousarray(colour)
    alpha = pixels[..., num_colours + place, None]
    if extra[place] == ASSOCIATED:
        colour = _divide_by_alpha(colour, alpha)
    return np.concatenate([colour, alpha], 2)


def _divide_by_alpha(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    top = np.iinfo(colour.dtype).max
    straight = colour.astype(np.float64) * top / np.maximum(alpha, 1)
    return np.where(alpha > 0, straight.round().clip(0, top), 0).astype(colour.dtype)


def _decode_plane(content: bytes, page: Page, plane: int, num_planes: int, channels: int) -> np.ndarray:
    """Decode the strips or tiles of a plane and put them together: (h, w, channels)."""
    height, width = page.size
    is_tiled = Tag.TILE_OFFSETS in page.tags
    rows, columns = min(page.get(Tag.ROWS_PER_STRIP, height), height), width
    places, sizes = Tag.STRIP_OFFSETS, Tag.STRIP_COUNTS
    if is_tiled:
        rows, columns = page.get(Tag.TILE_HEIGHT), page.get(Tag.TILE_WIDTH)
        places, sizes = Tag.TILE_OFFSETS, Tag.TILE_COUNTS
    if rows < 1 or columns < 1:
        raise ValueError(f'strips or tiles of {columns}x{rows} pixels')
    down, across = -(-height // rows), -(-width // columns)
    offsets, counts = page.tags[places].tolist(), page.tags[sizes].tolist()
    if not len(offsets) == len(counts) == num_planes * down * across:
        raise ValueError(f'{len(offsets)} strips or tiles in place of {num_planes * down * across}')
    dtype = np.dtype(np.uint16 if page.bits == 16 else np.uint8)
    row_size, num_rows = columns * channels * dtype.itemsize, down * across * rows if is_tiled else height
    if num_rows * row_size > 2 * height * width * channels * dtype.itemsize + MAX_PADDING:
        raise ValueError(f'tiles of {columns}x{rows} pixels')
    mine = range(plane * down * across, (plane + 1) * down * across)
    segments = [content[offsets[index] : offsets[index] + counts[index]] for index in mine]
    data = _decompress(segments, page.get(Tag.COMPRESSION, 1), row_size, rows, num_rows)
    stored = dtype.newbyteorder('<' if content[:2] == b'II' else '>')
    pixels = data.reshape(-1).view(stored).astype(dtype).reshape(num_rows, columns, channels)
    if page.get(Tag.PREDICTOR, 1) == 2:
        pixels = np.cumsum(pixels, axis=1, dtype=dtype)  # modulo the number of levels, as it is meant
    if not is_tiled:
        return pixels
    tiles = pixels.reshape(down, across, rows, columns, channels).swapaxes(1, 2)
    return tiles.reshape(down * rows, across * columns, channels)[:height, :width]


def _decompress(segments: Sequence[bytes], compression: int, row_size: int, rows: int, num_rows: int) -> np.ndarray:
    """Decompress strips or tiles to bytes, (num_rows, row_size)."""
    if compression not in (1, *DEFLATE):
        return _decompress_by_pillow(segments, compression, row_size, rows, num_rows)
    sizes = [row_size * min(rows, num_rows - top) for top in range(0, num_rows, rows)]
    parts = [
        _inflate(segment, size) if compression in DEFLATE else segment[:size]
        for segment, size in zip(segments, sizes, strict=True)
    ]
    if any(len(part) < size for part, size in zip(parts, sizes, strict=True)):
        raise ValueError('its pixels are cut off')
    return np.frombuffer(b''.join(parts), np.uint8).reshape(num_rows, row_size)


def _inflate(segment: bytes, size: int) -> bytes:
    """Decompress no more than ``size`` bytes, and check the checksum behind them."""
    decoder = zlib.decompressobj()
    data = decoder.decompress(segment, size)
    decoder.decompress(decoder.unconsumed_tail, 1)
    return data


def _decompress_by_pillow(
    segments: Sequence[bytes], compression: int, row_size: int, rows: int, num_rows: int
) -> np.ndarray:
    """As :func:`_decompress`, by giving Pillow a file of the same segments which claims to be gray with 8 bits."""
    tags = {
        Tag.WIDTH: row_size,
        Tag.HEIGHT: num_rows,
        Tag.BITS: 8,
        Tag.COMPRESSION: compression,
        Tag.PHOTOMETRIC: BLACK_IS_ZERO,
        Tag.SAMPLES: 1,
        Tag.ROWS_PER_STRIP: rows,
    }
    content = _assemble(b'II*\0\0\0\0\0', segments, {tag: (4, [value]) for tag, value in tags.items()})
    with TiffImagePlugin.TiffImageFile(io.BytesIO(content), '') as image:
        return np.asarray(image)


def encode_tiff(pixels: np.ndarray, icc_profile: bytes | None = None, metadata: Metadata | None = None) -> bytes:
    """Encode a TIFF file, without loss; Pillow has no colours of 16 bits, and other writers no EXIF data.

    Args:
        pixels: (h, w, C) uint8 or uint16; see the module.
        icc_profile: ICC profile of its colours.
        metadata: What else the file says.

    Raises:
        ValueError: for more than 4 GiB.
    """
    height, width, channels = pixels.shape
    exif = (metadata or Metadata()).full_exif()
    start = exif.tobytes().removeprefix(b'Exif\0\0') if len(exif) else b'II*\0\0\0\0\0'
    order = '<' if start[:2] == b'II' else '>'
    rows = min(height, max(1, STRIP_SIZE // (width * channels * pixels.dtype.itemsize)))
    stored = np.ascontiguousarray(pixels).astype(pixels.dtype.newbyteorder(order))
    strips = [zlib.compress(stored[top : top + rows].tobytes()) for top in range(0, height, rows)]
    tags = {
        Tag.WIDTH: (4, [width]),
        Tag.HEIGHT: (4, [height]),
        Tag.BITS: (3, [8 * pixels.dtype.itemsize] * channels),
        Tag.COMPRESSION: (3, [ADOBE_DEFLATE]),
        Tag.PHOTOMETRIC: (3, [RGB if channels > 2 else BLACK_IS_ZERO]),
        Tag.SAMPLES: (3, [channels]),
        Tag.ROWS_PER_STRIP: (4, [rows]),
        Tag.PLANAR: (3, [1]),
        **({Tag.EXTRA_SAMPLES: (3, [UNASSOCIATED])} if channels in (2, 4) else {}),
        **({Tag.ICC_PROFILE: (7, list(icc_profile))} if icc_profile else {}),
    }
    return _assemble(start, strips, tags)


def _assemble(start: bytes, strips: Sequence[bytes], tags: dict[int, tuple[int, Sequence[int]]]) -> bytes:
    """Put a classic file together.

    Args:
        start: A TIFF structure without strips, such as EXIF data, or no more than a header. It stays where it is, so
            that what its directory points to is still there; its directory is replaced by a longer one at the end.
        strips: Compressed.
        tags: By number, type and values of further entries.

    Raises:
        ValueError: for more than 4 GiB.
    """
    order = '<' if start[:2] == b'II' else '>'
    file, entries = bytearray(start), {}
    if old := struct.unpack_from(f'{order}I', start, 4)[0]:
        (count,) = struct.unpack_from(f'{order}H', start, old)
        copies = [start[place : place + 12] for place in range(old + 2, old + 2 + 12 * count, 12)]
        entries = {struct.unpack_from(f'{order}H', copy)[0]: copy for copy in copies}
    offsets = [_append(file, strip) for strip in strips]
    tags = tags | {Tag.STRIP_OFFSETS: (4, offsets), Tag.STRIP_COUNTS: (4, [len(strip) for strip in strips])}
    for tag, (kind, values) in tags.items():
        data = np.array(values, np.dtype(order + TYPES[kind])).tobytes()
        if len(data) > 4:
            data = struct.pack(f'{order}I', _append(file, data))
        entries[tag] = struct.pack(f'{order}HHI', tag, kind, len(values)) + data.ljust(4, b'\0')
    directory = b''.join([struct.pack(f'{order}H', len(entries)), *(entries[tag] for tag in sorted(entries)), bytes(4)])
    struct.pack_into(f'{order}I', file, 4, _append(file, directory))
    return bytes(file)


def _append(file: bytearray, data: bytes) -> int:
    """Append data at an even place; return it."""
    file += bytes(len(file) % 2)
    if len(file) + len(data) > MAX_SIZE:
        raise ValueError(f'more than the {MAX_SIZE} bytes of a TIFF file')
    file += data
    return len(file) - len(data)
