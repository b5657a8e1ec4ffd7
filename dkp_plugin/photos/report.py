"""A self-contained page about restored photographs: before and after, kernel, losses, confidence and settings."""

import base64
import hashlib
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from dkp_plugin.evaluation.pages import CURVE_HEIGHT, CURVE_WIDTH, data_uri, make_curves, png_uri, render_page
from dkp_plugin.host.errors import UserError
from dkp_plugin.host.version import __version__
from dkp_plugin.io.files import write_bytes
from dkp_plugin.io.images import field_picture, kernel_picture
from dkp_plugin.io.photo_files import Photo, read_photo

MAX_PICTURES = 50  # photographs shown in full; the table lists all of them
MAX_SIDE = 1600  # longest side of a picture in pixels
TEMPLATE_FILE = Path(__file__).with_name('report.html.j2')
# Moves the edge between before and after; the page's security policy allows no other script.
SCRIPT = (
    "for (const slider of document.querySelectorAll('.compare input'))"
    "slider.oninput = () => slider.parentElement.style.setProperty('--edge', slider.value + '%');"
)


def write_report(path: Path, records: Sequence[Mapping[str, Any]], options: Mapping[str, Any]) -> None:
    """Write the page.

    Args:
        path: The HTML file.
        records: Records of the images; an empty record means that the image is unfinished.
        options: The options of the run.
    """
    finished = [record for record in records if record]
    names = short_names([record['input'] for record in finished])
    content = {
        'images': [(record, names[record['input']], _pictures(record)) for record in finished[:MAX_PICTURES]],
        'records': [(record, names[record['input']]) for record in finished],
        'outputs_of': lambda record: ', '.join(os.path.relpath(output, path.parent) for output in record['outputs']),
        'num_missing': len(records) - len(finished),
        'settings': yaml.safe_dump({key: value for key, value in options.items() if value}, sort_keys=False),
        'version': __version__,
        'curve_size': (CURVE_WIDTH, CURVE_HEIGHT),
        'script': SCRIPT,
        'script_hash': base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode(),
    }
    write_bytes(path, render_page(TEMPLATE_FILE, content))


def short_names(paths: Sequence[str]) -> dict[str, str]:
    """Paths without the folder that all of them share, so that a page says nothing about the machine it was made on.

    Returns:
        The short names by path; several paths of one name keep the folders that tell them apart.
    """
    folders = {path: os.path.dirname(os.path.abspath(path)) for path in paths}
    try:
        shared = os.path.commonpath(folders.values()) if folders else ''
    except ValueError:  # on several drives
        return {path: os.path.basename(path) for path in paths}
    return {path: os.path.relpath(os.path.abspath(path), shared) for path in paths}


def _pictures(record: Mapping[str, Any]) -> dict[str, Any]:
    """Pictures of an image; without before and after if the files no longer exist."""
    size = (record['width'], record['height'])
    try:
        before, after = (_uri(read_photo(Path(file), 2**40), size) for file in (record['input'], record['outputs'][0]))
    except UserError:
        before = after = None
    kernel = png_uri(kernel_picture(np.array(record['kernel'])))
    field = None
    if 'field' in record:
        field = png_uri(field_picture(np.array(record['field']['kernels']), np.array(record['field']['is_sure'])))
    return {'before': before, 'after': after, 'kernel': kernel, 'field': field, 'curves': make_curves(record['curve'])}


def _uri(photo: Photo, size: tuple[int, int]) -> str:
    """Encode a photograph, resized bicubically to (width, height), or less if that exceeds ``MAX_SIDE``."""
    pixels = photo.pixels if photo.pixels.dtype == np.uint8 else (photo.pixels >> 8).astype(np.uint8)
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    shrink = min(1, MAX_SIDE / max(size))
    image = image.convert('RGBA' if image.mode in ('LA', 'RGBA') else 'RGB')
    image = image.resize([max(1, round(shrink * side)) for side in size], Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    image.save(buffer, 'WEBP', quality=90, icc_profile=photo.icc_profile if photo.pixels.shape[2] > 2 else None)
    return data_uri(buffer.getvalue(), 'image/webp')
