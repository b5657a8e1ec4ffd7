"""Self-contained HTML pages: the template engine, embedded images, and loss curves as SVG."""

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
    """Check that Jinja2 is installed, before a long run rather than after it.

    Raises:
        UserError: if Jinja2 is not installed.
    """
    try:
        import jinja2  # noqa: F401
    except ImportError:
        raise UserError("report.html needs the package jinja2: pip install 'dkp-plugin[report]'") from None


def render_page(template: Path, content: Mapping[str, Any]) -> bytes:
    """Render a page. All text is escaped; a name that the template uses but ``content`` lacks is an error.

    Args:
        template: A Jinja2 template.
        content: Values and functions, by their names in the template.

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
    """Encode the content of a file as a data URI; an example of a media type is ``image/png``."""
    return f'data:{media_type};base64,{base64.b64encode(content).decode()}'


def png_uri(image: np.ndarray) -> str:
    """Encode a uint8 image (H, W) or (H, W, 3), BGR, as a PNG in a data URI."""
    return data_uri(cv2.imencode('.png', image)[1].tobytes(), 'image/png')


@dataclass(frozen=True)
class Curve:
    """A loss over the iterations as points of an SVG polyline.

    Args:
        name: Name of the loss.
        points: ``x,y`` pairs in a box of ``CURVE_WIDTH`` x ``CURVE_HEIGHT``, with the largest value at the top. The
            width covers all iterations, including those without this loss.
        first, last: First and last value.
        num_iter: Last iteration with a value.
        is_logarithmic: Whether the vertical axis is logarithmic, which it is if all values are positive.
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
        rows: Each with ``iteration`` and losses; a row may lack losses, and null marks values that are not finite.
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
