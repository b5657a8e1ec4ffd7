"""Encode PNG files of any mode, and decode what Pillow cannot: 16 bits, and transparent colours.

An array of pixels is (h, w, C) with C = 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha; uint8 or uint16.
"""

import struct
import zlib
from collections.abc import Iterator

import cv2
import numpy as np
from PIL import Image

from dkp_plugin.io.metadata import Metadata

SIGNATURE = b'\x89PNG\r\n\x1a\n'
CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}  # by colour type; type 3 is a palette
COMPRESSION = 6
INCHES_PER_METRE = 1 / 0.0254


def encode_png(
    pixels: np.ndarray,
    icc_profile: bytes | None = None,
    metadata: Metadata | None = None,
    compression: int = COMPRESSION,
) -> bytes:
    """Encode a PNG file; neither Pillow nor OpenCV has 16 bits together with gray and alpha or a profile.

    Args:
        pixels: (h, w, C) uint8 or uint16; see the module.
        icc_profile: ICC profile of its colours.
        metadata: What else the file says.
        compression: zlib's level, 0 (fast) to 9 (small).
    """
    height, width, channels = pixels.shape
    depth = 8 * pixels.dtype.itemsize
    colour_type = next(kind for kind, count in CHANNELS.items() if count == channels)
    samples = np.ascontiguousarray(pixels).astype(pixels.dtype.newbyteorder('>')).view(np.uint8).reshape(height, -1)
    return b''.join(
        [
            SIGNATURE,
            _chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, depth, colour_type, 0, 0, 0)),
            *_metadata_chunks(metadata or Metadata()),
            *([_chunk(b'iCCP', b'ICC profile\0\0' + zlib.compress(icc_profile))] if icc_profile else []),
            _chunk(b'IDAT', zlib.compress(_filter_rows(samples, channels * depth // 8), compression)),
            _chunk(b'IEND', b''),
        ]
    )


def _metadata_chunks(metadata: Metadata) -> Iterator[bytes]:
    if metadata.gamma:
        yield _chunk(b'gAMA', struct.pack('>I', round(1e5 * metadata.gamma)))
    if metadata.chromaticity:
        yield _chunk(b'cHRM', struct.pack('>8I', *(round(1e5 * value) for value in metadata.chromaticity)))
    if metadata.dpi:
        yield _chunk(b'pHYs', struct.pack('>IIB', *(round(side * INCHES_PER_METRE) for side in metadata.dpi), 1))
    if metadata.exif:
        yield _chunk(b'eXIf', metadata.exif)


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


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Kind, data and the whole of each chunk, as far as they are complete."""
    start = len(SIGNATURE)
    while (stop := start + 12 + int.from_bytes(content[start : start + 4], 'big')) <= len(content):
        yield content[start + 4 : start + 8], content[start + 8 : stop - 4], content[start:stop]
        start = stop


def decode_png(content: bytes, image: Image.Image) -> np.ndarray:
    """Decode a PNG file of gray or RGB.

    Args:
        content: The file.
        image: The same, as Pillow has opened it; not a palette.

    Returns:
        (h, w, C) uint8 or uint16; see the module. A colour that the chunk tRNS calls transparent becomes alpha.

    Raises:
        Exception: of many kinds, for a damaged file.
    """
    chunks = {kind: data for kind, data, _ in _chunks(content)}
    bits, colour_type = chunks[b'IHDR'][8:10]
    image.load()  # also for the decoder below, which fills the missing part of a truncated file with zeros
    if bits == 16:
        pixels = _decode_16_bits(content, image, CHANNELS[colour_type])
    else:
        pixels = np.asarray(image.convert('L') if image.mode == '1' else image)
        pixels = pixels.reshape(*pixels.shape[:2], -1)
    colour = np.frombuffer(chunks.get(b'tRNS', b''), '>u2')
    if colour.size != pixels.shape[2] or colour_type not in (0, 2):
        return pixels
    levels = colour.astype(np.int64) * (1 if bits >= 8 else 255 // (2**bits - 1))
    top = np.iinfo(pixels.dtype).max
    alpha = np.where((pixels == levels).all(2, keepdims=True), 0, top).astype(pixels.dtype)
    return np.concatenate([pixels, alpha], 2)


def _decode_16_bits(content: bytes, image: Image.Image, channels: int) -> np.ndarray:
    """Decode by OpenCV, which keeps 16 bits, but believes any length that a damaged chunk claims."""
    essential = (whole for kind, _, whole in _chunks(content) if kind in (b'IHDR', b'IDAT', b'IEND'))
    buffer = np.frombuffer(SIGNATURE + b''.join(essential), np.uint8)
    pixels = np.atleast_3d(cv2.imdecode(buffer, cv2.IMREAD_UNCHANGED))
    order = {1: [0], 2: [0, 3], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[channels]  # of OpenCV's BGR
    if pixels.dtype != np.uint16 or pixels.shape[:2] != (image.height, image.width):
        raise ValueError('its 16 bits per channel cannot be decoded')
    return pixels[..., order]
