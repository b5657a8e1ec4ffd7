"""Image files of every mode, depth and container, made here, with the pixels that they hold.

What a file holds is known from its making, in this module or by a library other than the one that reads it in the
package (tifffile, OpenCV); it is checked against a second reader where there is one.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import tifffile
from PIL import Image, features
from test_io.image_makers import (
    HEIGHT,
    WIDTH,
    bmp,
    by_opencv,
    by_pillow,
    by_tifffile,
    cmyk_profile,
    levels,
    png,
    read_by_opencv,
    smooth,
    spread,
    srgb_of_lab,
    tiff,
    turned_back,
    with_alpha,
    with_exif_prefix,
)


@dataclass(frozen=True)
class Case:
    """A file and the pixels (h, w, C) that it holds, or None where it is to be refused; how far off they may be."""

    name: str
    content: bytes
    pixels: np.ndarray | None
    tolerance: int = 0


def png_cases() -> Iterator[Case]:
    for colour_type, channels, depths in ((0, 1, (1, 2, 4, 8, 16)), (2, 3, (8, 16)), (4, 2, (8, 16)), (6, 4, (8, 16))):
        for bits in depths:
            values = levels(bits, channels)
            for interlaced in (False, True):
                name = f'png type {colour_type} {bits} bits{" interlaced" * interlaced}'
                yield Case(name, png(values, bits, colour_type, interlaced), spread(values, bits))
                if channels in (1, 3):
                    chosen = values[3, 4]
                    content = png(values, bits, colour_type, interlaced, tRNS=chosen.astype('>u2').tobytes())
                    pixels = with_alpha(spread(values, bits), (values != chosen).any(2))
                    yield Case(f'{name} transparent colour', content, pixels)
    for bits in (1, 2, 4, 8):
        values, palette = levels(bits, 1), np.random.default_rng(bits).integers(0, 256, (2**bits, 4), np.uint8)
        for interlaced in (False, True):
            name = f'png palette {bits} bits{" interlaced" * interlaced}'
            colours = palette[:, :3].tobytes()
            yield Case(name, png(values, bits, 3, interlaced, PLTE=colours), palette[values[..., 0], :3])
            content = png(values, bits, 3, interlaced, PLTE=colours, tRNS=palette[:, 3].tobytes())
            yield Case(f'{name} transparent', content, palette[values[..., 0]])
    content = png(values, 8, 3, PLTE=colours, tRNS=b'\x07\x50')  # the other entries are opaque
    alpha = np.array([7, 80, *[255] * 254], np.uint8)[values]
    yield Case('png palette, transparent in part', content, np.concatenate([palette[values[..., 0], :3], alpha], 2))


def plain_tiff_cases() -> Iterator[Case]:
    for bits in (8, 16):
        for channels in (1, 2, 3, 4):
            pixels = levels(bits, channels)
            options = {'photometric': 'rgb' if channels > 2 else 'minisblack'}
            options |= {'extrasamples': ['unassalpha']} if channels in (2, 4) else {}
            planar = pixels[..., 0] if channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1))
            for order in '<>':
                kinds = [{}, {'compression': 'zlib', 'predictor': True}, {'tile': (16, 16)}, {'rowsperstrip': 5}]
                kinds += [{'bigtiff': True}, {'compression': 'lzma', 'tile': (16, 32)}]
                for kind in kinds:
                    name = f'tiff {channels}x{bits} {order} {" ".join(f"{k}={v}" for k, v in kind.items())}'
                    flat = pixels[..., 0] if channels == 1 else pixels
                    contig = {'planarconfig': 'contig'} if channels > 1 else {}
                    yield Case(name, by_tifffile(flat, byteorder=order, **options, **contig, **kind), pixels)
                    if channels > 1:
                        content = by_tifffile(planar, byteorder=order, planarconfig='separate', **options, **kind)
                        yield Case(f'{name} planar', content, pixels)
            if channels != 2:
                for compression, label in ((5, 'LZW'), (32773, 'PackBits'), (8, 'Deflate')):
                    content = by_opencv(pixels, '.tiff', cv2.IMWRITE_TIFF_COMPRESSION, compression)
                    yield Case(f'tiff {channels}x{bits} {label} by libtiff', content, pixels)


def other_tiff_cases() -> Iterator[Case]:
    for order in '<>':
        for bits in (1, 2, 4, 8, 16):
            values, top = levels(bits, 1), 2**bits - 1
            white = tiff(top - values, bits, 0, order)
            yield Case(f'tiff min-is-white {bits} bits {order}', white, spread(values, bits))
            yield Case(f'tiff min-is-black {bits} bits {order}', tiff(values, bits, 1, order), spread(values, bits))
        for bits in (1, 2, 4, 8):
            palette = np.random.default_rng(bits).integers(0, 256, (2**bits, 3), np.uint16)
            values = levels(bits, 1)
            content = tiff(values, bits, 3, order, colours=(257 * palette.T).ravel().tolist())
            yield Case(f'tiff palette {bits} bits {order}', content, palette[values[..., 0]].astype(np.uint8))
        for bits in (8, 16):
            for channels in (2, 4):
                straight, top = levels(bits, channels), 2**bits - 1
                straight[..., -1] = np.maximum(straight[..., -1], top // 2)
                alpha = straight[..., -1:].astype(float)
                colour = np.rint(straight[..., :-1] * alpha / top)
                values = np.concatenate([colour, alpha], 2).astype(straight.dtype)
                back = np.concatenate([np.rint(colour * top / alpha), alpha], 2).astype(straight.dtype)
                kind = 2 if channels == 4 else 1
                name = f'tiff {channels}x{bits} {order}'
                yield Case(f'{name} associated alpha', tiff(values, bits, kind, order, extra=[1]), back)
                yield Case(f'{name} alpha', tiff(values, bits, kind, order, extra=[2]), values)
                yield Case(f'{name} unknown channel', tiff(values, bits, kind, order, extra=[0]), values[..., :-1])
                two = np.concatenate([values, values[..., :1]], 2)
                yield Case(f'{name} alpha and more', tiff(two, bits, kind, order, extra=[2, 0]), values)
    bilevel = levels(1, 1)
    image = Image.fromarray(bilevel[..., 0] * 255).convert('1')
    for compression in ('group3', 'group4', 'tiff_lzw'):
        yield Case(f'tiff 1 bit {compression}', by_pillow(image, 'TIFF', compression=compression), bilevel * 255)
    colour = smooth()
    for subsampling in (0, 2):
        content = by_pillow(Image.fromarray(colour), 'TIFF', compression='jpeg', quality=95)
        yield Case(f'tiff jpeg {subsampling}', content, colour, 8)
    ink = np.random.default_rng(7).integers(0, 256, (HEIGHT, WIDTH, 4), np.uint8)
    light = (255.0 - ink[..., :3]) * (255.0 - ink[..., 3:]) / 255
    content = by_pillow(Image.fromarray(ink, 'CMYK'), 'TIFF')
    yield Case('tiff CMYK without profile', content, np.rint(light).astype(np.uint8), 1)
    lab = np.stack([levels(8, 1)[..., 0] // 2 + 64, levels(4, 1)[..., 0] - 8, 8 - levels(4, 1)[..., 0]], 2)
    numbers = lab.astype(np.int8).astype(float)  # L as 0 to 255, a and b with a sign
    numbers[..., 0] = lab[..., 0].astype(float) * 100 / 255
    yield Case('tiff LAB', tiff(lab.astype(np.uint8), 8, 8), srgb_of_lab(numbers), 2)
    two = io.BytesIO()
    with tifffile.TiffWriter(two) as writer:
        for value in (levels(8, 3), 255 - levels(8, 3)):
            writer.write(value, photometric='rgb', metadata=None)
    yield Case('tiff two pages', two.getvalue(), levels(8, 3))


def cmyk_cases() -> Iterator[Case]:
    corners = np.random.default_rng(5).integers((60, 110, 110), (200, 146, 146), (16, 3)).astype(np.uint8)
    corners[0], corners[15] = (255, 128, 128), (0, 128, 128)  # no ink is white, all of them are black
    lab = (corners.astype(float) - (0, 128, 128)) * (100 / 255, 1, 1)
    colours = srgb_of_lab(lab)
    which = np.arange(16).repeat(64).reshape(16, 8, 8).swapaxes(0, 1).reshape(8, 128)
    ink = (255 * (which[..., None] >> np.arange(4)[::-1] & 1)).astype(np.uint8)
    image, profile = Image.fromarray(ink, 'CMYK'), cmyk_profile(corners)
    yield Case('tiff CMYK with profile', by_pillow(image, 'TIFF', icc_profile=profile), colours[which], 2)
    content = by_pillow(image, 'JPEG', icc_profile=profile, quality=100, subsampling=0)
    yield Case('jpeg CMYK with profile', content, colours[which], 4)


def bmp_cases() -> Iterator[Case]:
    for os2 in (False, True):
        label = 'os2' if os2 else 'windows'
        for bits in (1, 4, 8):
            values, palette = levels(bits, 1), np.random.default_rng(bits).integers(0, 256, (2**bits, 3), np.uint8)
            yield Case(f'bmp {label} palette {bits}', bmp(values, bits, palette, os2), palette[values[..., 0]])
        yield Case(f'bmp {label} 24', bmp(levels(8, 3), 24, os2=os2), levels(8, 3))
    yield Case('bmp top down', bmp(levels(8, 3), 24, top_down=True), levels(8, 3))
    yield Case('bmp 32', bmp(levels(8, 3), 32), levels(8, 3))
    yield Case('bmp 16', bmp(levels(5, 3), 16), (levels(5, 3).astype(int) * 255 // 31).astype(np.uint8), 1)
    yield Case('dib', bmp(levels(8, 3), 24)[14:], levels(8, 3))
    gray = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, 1)
    yield Case('bmp gray palette', bmp(levels(8, 1), 8, gray), levels(8, 1))


def lossy_cases() -> Iterator[Case]:
    for channels in (1, 3):
        picture = smooth(channels)
        for quality in (20, 75, 95):
            for progressive in (0, 1):
                for factor in (0x111111, 0x211111, 0x221111, 0x411111) if channels == 3 else (0x111111,):
                    options = (cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_PROGRESSIVE, progressive)
                    content = by_opencv(picture, '.jpg', *options, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor)
                    name = f'jpeg {channels} quality {quality} progressive {progressive} factor {factor:x}'
                    yield Case(name, content, read_by_opencv(content))
    ink = np.zeros((16, 16, 4), np.uint8)
    ink[...] = (40, 120, 200, 30)
    content = by_pillow(Image.fromarray(ink, 'CMYK'), 'JPEG', quality=100)
    light = np.rint((255.0 - ink[..., :3]) * (255.0 - ink[..., 3:]) / 255).astype(np.uint8)
    yield Case('jpeg CMYK without profile', content, light, 3)
    for channels in (3, 4):
        picture = np.concatenate([smooth(3), np.full((48, 64, 1), 99, np.uint8)], 2)[..., :channels]
        yield Case(f'webp lossless {channels}', by_opencv(picture, '.webp', cv2.IMWRITE_WEBP_QUALITY, 101), picture)
        content = by_opencv(picture, '.webp', cv2.IMWRITE_WEBP_QUALITY, 80)
        yield Case(f'webp lossy {channels}', content, read_by_opencv(content), 1)
        if features.check('avif'):
            content = by_pillow(Image.fromarray(picture), 'AVIF', quality=95, subsampling='4:4:4')
            yield Case(f'avif {channels}', content, picture, 6)


def gif_cases() -> Iterator[Case]:
    values, palette = levels(4, 1)[..., 0], np.random.default_rng(3).integers(0, 256, (16, 3), np.uint8)
    image = Image.fromarray(values)
    image.putpalette(palette.ravel().tolist())
    yield Case('gif', by_pillow(image, 'GIF', optimize=False), palette[values])
    yield Case('gif interlaced', by_pillow(image, 'GIF', interlace=1), palette[values])
    content = by_pillow(image, 'GIF', transparency=5, optimize=False)
    yield Case('gif transparent', content, with_alpha(palette[values], values != 5))
    other = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    yield Case('gif animated', by_pillow(image, 'GIF', save_all=True, append_images=[other]), palette[values])
    first, second = Image.fromarray(smooth()), Image.fromarray(255 - smooth())
    for kind, options in (('PNG', {}), ('WEBP', {'lossless': True})):
        content = by_pillow(first, kind, save_all=True, append_images=[second], **options)
        yield Case(f'{kind.lower()} animated', content, smooth())
    content = by_pillow(first, 'MPO', save_all=True, append_images=[second], quality=95)
    yield Case('mpo', content, read_by_opencv(content))


def turned_cases() -> Iterator[Case]:
    for orientation in range(1, 9):
        looked_at = smooth()
        stored = turned_back(looked_at, orientation)
        exif = Image.Exif()
        exif[0x0112] = orientation
        for kind, options in (('JPEG', {'quality': 98, 'subsampling': 0}), ('PNG', {}), ('WEBP', {'lossless': True})):
            content = by_pillow(Image.fromarray(stored), kind, exif=exif.tobytes(), **options)
            yield Case(f'{kind.lower()} orientation {orientation}', content, looked_at, 4 if kind == 'JPEG' else 0)
        if orientation > 1:  # some programs write the prefix of JPEG in WebP, too
            content = with_exif_prefix(by_pillow(Image.fromarray(stored), 'WEBP', exif=exif.tobytes(), lossless=True))
            yield Case(f'webp prefix orientation {orientation}', content, looked_at)
            if features.check('avif'):
                content = by_pillow(Image.fromarray(stored), 'AVIF', exif=exif, quality=95, subsampling='4:4:4')
                yield Case(f'avif orientation {orientation}', content, looked_at, 8)
        for bits in (8, 16):
            deep = stored.astype(np.uint16) * 257 if bits == 16 else stored
            expected = looked_at.astype(np.uint16) * 257 if bits == 16 else looked_at
            yield Case(
                f'tiff {bits} orientation {orientation}', tiff(deep, bits, 2, orientation=[orientation]), expected
            )
        if orientation > 1:
            nibbles = tiff(stored[..., :1] >> 4, 4, 1, orientation=[orientation])
            yield Case(f'tiff 4 bits orientation {orientation}', nibbles, (looked_at[..., :1] >> 4) * 17)


def refused_cases() -> Iterator[Case]:
    contents = {
        'empty': b'',
        'text': b'no image',
        'page': b'<html></html>',
        'svg': b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        'ppm': b'P6 1 1 255\n123',
        'tiff float': by_tifffile(np.zeros((9, 9), np.float32)),
        'tiff 32 bits': by_tifffile(np.zeros((9, 9), np.uint32)),
        'tiff signed 16 bits': by_tifffile(np.zeros((9, 9), np.int16)),
        'tiff 12 bits': tiff(levels(4, 3).reshape(HEIGHT, -1, 1), 12, 1),
        'tiff 16 bits palette': tiff(levels(16, 1), 16, 3, colours=[0, 0, 0]),
        'tiff without pixels': tiff(levels(8, 1), 8, 1)[:8],
        'tiff in a loop': b'II*\0\x08\0\0\0\0\0\x08\0\0\0',
        'png without header': b'\x89PNG\r\n\x1a\n',
        'jpeg 2000': by_pillow(Image.fromarray(smooth()), 'JPEG2000') if features.check('jpg_2000') else b'',
        'tga': by_pillow(Image.fromarray(smooth()), 'TGA'),
    }
    yield from (Case(f'refused {name}', content, None) for name, content in contents.items())
    whole = {
        'png 8': png(levels(8, 3), 8, 2),
        'png 16': png(levels(16, 3), 16, 2),
        'tiff 16': by_tifffile(levels(16, 3), photometric='rgb'),
        'jpeg': by_opencv(smooth(), '.jpg'),
        'webp': by_opencv(smooth(), '.webp'),
        'bmp': bmp(levels(8, 3), 24),
    }
    for name, content in whole.items():
        for share in (0.1, 0.6, 0.95):
            if name.startswith('tiff') and share > 0.9:  # tifffile writes the pixels last
                continue
            yield Case(f'truncated {name} {share}', content[: int(share * len(content))], None)


GROUPS = (png_cases, plain_tiff_cases, other_tiff_cases, cmyk_cases, bmp_cases, lossy_cases, gif_cases, turned_cases)
CASES = [case for cases in (*GROUPS, refused_cases) for case in cases()]
