"""Make image files of every kind: by hand, from the words of the formats' standards, or by a library."""

import io
import struct
import zlib

import cv2
import numpy as np
import tifffile
from PIL import Image

HEIGHT, WIDTH = 13, 22  # of random levels
ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


def levels(bits: int, channels: int) -> np.ndarray:
    """Random levels of so many bits."""
    rng = np.random.default_rng(bits + 100 * channels)
    return rng.integers(0, 2**bits, (HEIGHT, WIDTH, channels)).astype(np.uint16 if bits > 8 else np.uint8)


def spread(values: np.ndarray, bits: int) -> np.ndarray:
    """Levels of fewer than 8 bits as levels of 8."""
    return values * (255 // (2**bits - 1)) if bits < 8 else values


def packed(values: np.ndarray, bits: int, order: str = '>') -> list[bytes]:
    """Rows of samples as bytes, the first sample in the highest bits."""
    rows = values.reshape(values.shape[0], -1)
    if bits == 16:
        return [row.astype(f'{order}u2').tobytes() for row in rows]
    digits = (rows[..., None] >> np.arange(bits)[::-1] & 1).astype(np.uint8).reshape(len(rows), -1)
    return [np.packbits(row).tobytes() for row in digits]


def png(values, bits, colour_type, interlaced=False, **chunks) -> bytes:
    """A PNG file without filters; further chunks by name."""

    def chunk(kind, data):
        return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))

    height, width = values.shape[:2]
    passes = [values[top::down, left::right] for top, left, down, right in ADAM7] if interlaced else [values]
    rows = b''.join(b'\0' + row for part in passes if part.size for row in packed(part, bits))
    header = struct.pack('>IIBBBBB', width, height, bits, colour_type, 0, 0, interlaced)
    parts = [(b'IHDR', header), *((k.encode(), v) for k, v in chunks.items()), (b'IDAT', zlib.compress(rows))]
    return b'\x89PNG\r\n\x1a\n' + b''.join(chunk(*part) for part in [*parts, (b'IEND', b'')])


def tiff(values, bits, photometric, order='<', **tags) -> bytes:
    """An uncompressed TIFF file of one strip; further tags by name, numbers as SHORT."""
    numbers = {'orientation': 274, 'extra': 338, 'format': 339, 'colours': 320, 'fill': 266}
    height, width, channels = values.shape
    data = b''.join(packed(values, bits, order))
    entries = {256: [width], 257: [height], 258: [bits] * channels, 259: [1], 262: [photometric], 277: [channels]}
    entries |= {278: [height], **{numbers[name]: list(value) for name, value in tags.items()}}
    place = 8 + len(data) + len(data) % 2
    beside, table = b'', []
    after = place + 2 + 12 * (len(entries) + 2) + 4
    for tag, found in sorted((entries | {273: [8], 279: [len(data)]}).items()):
        kind = 'I' if tag in (273, 279) else 'H'
        content = struct.pack(f'{order}{len(found)}{kind}', *found)
        if len(content) > 4:
            content, beside = struct.pack(f'{order}I', after + len(beside)), beside + content
        table.append(struct.pack(f'{order}HHI', tag, 4 if kind == 'I' else 3, len(found)) + content.ljust(4, b'\0'))
    head = (b'II*\0' if order == '<' else b'MM\0*') + struct.pack(f'{order}I', place)
    directory = struct.pack(f'{order}H', len(table)) + b''.join(table) + bytes(4)
    return head + data + bytes(len(data) % 2) + directory + beside


def bmp(values, bits, palette=None, os2=False, top_down=False) -> bytes:
    """An uncompressed BMP file; palettes are RGB, (n, 3), colours of 24 and 32 bits RGB and RGB with a free byte."""
    height, width = values.shape[:2]
    if bits == 16:  # 5 bits for each colour
        rows = [(row[:, 0] << 10 | row[:, 1] << 5 | row[:, 2]).astype('<u2').tobytes() for row in values.astype(int)]
    elif bits >= 24:
        rows = [np.pad(row[:, ::-1], ((0, 0), (0, bits // 8 - 3))).tobytes() for row in values]
    else:
        rows = packed(values, bits)
    rows = [row + bytes(-len(row) % 4) for row in (rows if top_down else rows[::-1])]
    signed = -height if top_down else height
    info = (
        struct.pack('<IHHHH', 12, width, height, 1, bits)
        if os2
        else struct.pack('<IiiHHIIiiII', 40, width, signed, 1, bits, 0, 0, 0, 0, 0, 0)
    )
    table = b'' if palette is None else np.pad(palette[:, ::-1], ((0, 0), (0, 0 if os2 else 1))).tobytes()
    data, start = b''.join(rows), 14 + len(info) + len(table)
    return b'BM' + struct.pack('<IHHI', start + len(data), 0, 0, start) + info + table + data


def by_pillow(image: Image.Image, kind: str, **options) -> bytes:
    """A file as Pillow writes it."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def by_tifffile(pixels, **options) -> bytes:
    """A file as tifffile writes it."""
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, metadata=None, **options)
    return buffer.getvalue()


def by_opencv(pixels, suffix, *parameters) -> bytes:
    """A file as OpenCV writes it."""
    order = {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[pixels.shape[2]]
    return cv2.imencode(suffix, np.ascontiguousarray(pixels[..., order]), parameters)[1].tobytes()


def read_by_opencv(content: bytes) -> np.ndarray:
    """Pixels as OpenCV reads them, RGB."""
    pixels = np.atleast_3d(cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED))
    return pixels[..., {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[pixels.shape[2]]]


def smooth(channels: int = 3) -> np.ndarray:
    """A picture that survives lossy formats, 8 bits."""
    y, x = np.mgrid[:48, :64]
    planes = [120 + 60 * np.sin(x / 9 + shift) + 50 * np.cos(y / 7 - shift) for shift in range(channels)]
    return np.stack(planes, 2).astype(np.uint8)


def with_alpha(colour: np.ndarray, is_visible: np.ndarray) -> np.ndarray:
    """Colour with an alpha channel of two levels."""
    top = np.iinfo(colour.dtype).max
    return np.concatenate([colour, np.where(is_visible, top, 0).astype(colour.dtype)[..., None]], 2)


def srgb_of_lab(lab: np.ndarray) -> np.ndarray:
    """CIE L*a*b* under D50, as in ICC profiles, to sRGB of 8 bits, by the formulas of both standards."""
    to_linear = [  # from XYZ under D50, adapted to D65 by Bradford's matrix
        [3.1338561, -1.6168667, -0.4906146],
        [-0.9787684, 1.9161415, 0.0334540],
        [0.0719453, -0.2289914, 1.4052427],
    ]
    y = (lab[..., 0] + 16) / 116
    f = np.stack([y + lab[..., 1] / 500, y, y - lab[..., 2] / 200], -1)
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * (0.9642, 1, 0.8249)
    linear = (xyz @ np.transpose(to_linear)).clip(0, 1)
    curved = np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)
    return np.rint(255 * curved).astype(np.uint8)


def cmyk_profile(corners: np.ndarray) -> bytes:
    """An ICC profile of version 2 that maps each of the 16 mixtures of full inks to a colour.

    Args:
        corners: (16, 3) uint8: L of 255 for 100, a and b shifted by 128; the last ink changes fastest.
    """
    ramp = bytes(range(256))
    identity = struct.pack('>9i', *(65536 if index % 4 == 0 else 0 for index in range(9)))
    table = b'mft1' + bytes(4) + bytes([4, 3, 2, 0]) + identity + 4 * ramp + corners.tobytes() + 3 * ramp
    white = b'XYZ ' + bytes(4) + struct.pack('>3i', 63190, 65536, 54061)
    text = b'text' + bytes(4) + b'none\0'
    name = b'desc' + bytes(4) + struct.pack('>I', 5) + b'inks\0' + bytes(78)
    tags, place, directory = b'', 128 + 4 + 4 * 12, b''
    for kind, data in ((b'A2B0', table), (b'wtpt', white), (b'cprt', text), (b'desc', name)):
        data += bytes(-len(data) % 4)
        directory += kind + struct.pack('>II', place + len(tags), len(data))
        tags += data
    head = bytes(4) + struct.pack('>I', 0x02400000) + b'prtrCMYKLab ' + bytes(12) + b'acsp' + bytes(28)
    head += struct.pack('>3i', 63190, 65536, 54061) + bytes(48)
    body = head + struct.pack('>I', 4) + directory + tags
    return struct.pack('>I', len(body) + 4) + body


def with_exif_prefix(webp: bytes) -> bytes:
    """A WebP file whose EXIF data start as they do in JPEG."""
    parts, place = [], 12
    while place < len(webp):
        kind, size = webp[place : place + 4], int.from_bytes(webp[place + 4 : place + 8], 'little')
        data = webp[place + 8 : place + 8 + size]
        if kind == b'EXIF':
            assert not data.startswith(b'Exif')
            data = b'Exif\0\0' + data
        parts.append(kind + struct.pack('<I', len(data)) + data + bytes(len(data) % 2))
        place += 8 + size + size % 2
    body = b'WEBP' + b''.join(parts)
    return b'RIFF' + struct.pack('<I', len(body)) + body


def turned_back(looked_at: np.ndarray, orientation: int) -> np.ndarray:
    """How a picture is stored so that the orientation makes it what it is, by the words of the EXIF standard."""
    # The standard says which side of the picture row 0 and column 0 of the stored array are.
    return np.ascontiguousarray(
        {
            1: lambda a: a,
            2: np.fliplr,
            3: lambda a: np.rot90(a, 2),
            4: np.flipud,
            5: lambda a: a.swapaxes(0, 1),
            6: np.rot90,
            7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
            8: lambda a: np.rot90(a, -1),
        }[orientation](looked_at)
    )
