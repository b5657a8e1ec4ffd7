"""HTML pages that need no file beside them: the template engine, images as text, and loss curves as lines."""

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dkp_plugin.host.errors import UserError

CURVE_WIDTH, CURVE_HEIGHT = 120, 32  # pixels of a loss curve


def check_template_engine() -> None:
    """Fail before hours of work rather than after.

    Raises:
        UserError: if Jinja2 is not installed.
    """
    try:
        import jinja2  # noqa: F401
    except ImportError:
        raise UserError("report.html needs the package jinja2: pip install 'dkp-plugin[report]'") from None


def render_page(template: Path, content: Mapping[str, Any]) -> bytes:
    """Render a page; every text is escaped, and a name that the template uses and ``content`` lacks is an error.

    Args:
        template: A Jinja2 template.
        content: Values and functions by the names that the template uses.

    Returns:
        The page, UTF-8.
    """
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return (
        environment.from_string(template.read_text(encoding='utf-8')).render(content).encode(errors='backslashreplace')
    )


def data_uri(content: bytes, media_type: str) -> str:
    """Encode a file, such as one of the type ``image/png``, as a data URI."""
    return f'data:{media_type};base64,{base64.b64encode(content).decode()}'


def png_uri(image: np.ndarray) -> str:
    """Encode a uint8 image (H, W) or (H, W, 3), BGR, as a PNG in a data URI."""
    return data_uri(cv2.imencode('.png', image)[1].tobytes(), 'image/png')


@dataclass(frozen=True)
class Curve:
    """A loss against the iterations, ready for an SVG polyline.

    Args:
        name: Name of the loss.
        points: ``x,y`` pairs in a box of ``CURVE_WIDTH`` x ``CURVE_HEIGHT``, the largest value at the top;
            the width is that of all iterations, including those before and after the loss.
        first, last: Values at the ends.
        num_iter: The last iteration that has a value.
        is_logarithmic: Whether the vertical axis is; it is where all values are positive.
    """

    name: str
    points: str
    first: float
    last: float
    num_iter: int
    is_logarithmic: bool


def make_curves(rows: Sequence[Mapping[str, Any]]) -> list[Curve]:
    """Turn the rows of a curve file into curves.

    Args:
        rows: Each with ``iteration`` and losses; not every row has every loss, and null stands for what is not finite.
    """
    last = max((row['iteration'] for row in rows), default=1)
    names = dict.fromkeys(name for row in rows for name in row if name != 'iteration')
    curves = []
    for name in names:
        pairs = [(row['iteration'], row[name]) for row in rows if row.get(name) is not None]
        if len(pairs) < 2:
            continue
        iterations, values = zip(*pairs, strict=True)
        is_logarithmic = min(values) > 0
        heights = [math.log(value) if is_logarithmic else value for value in values]
        points = zip(iterations, _scaled(heights, CURVE_HEIGHT), strict=True)
        text = ' '.join(f'{x / last * CURVE_WIDTH:.1f},{CURVE_HEIGHT - y:.1f}' for x, y in points)
        curves.append(Curve(name, text, values[0], values[-1], iterations[-1], is_logarithmic))
    return curves


def _scaled(values: Sequence[float], length: float) -> list[float]:
    """Map values linearly so that the smallest becomes 0 and the largest ``length``."""
    low, high = min(values), max(values)
    return [(value - low) / (high - low or 1) * length for value in values]
