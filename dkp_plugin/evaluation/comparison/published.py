"""Values quoted from the paper, for comparison with measured ones."""

import functools
from pathlib import Path
from typing import Any

import yaml

PUBLISHED_FILE = Path(__file__).with_name('published.yml')


@functools.cache
def _content() -> dict[str, Any]:
    return yaml.safe_load(PUBLISHED_FILE.read_text(encoding='utf-8'))


def published_note(name: str) -> str:
    """Note for the quoted values of a data set or of a table of the paper, such as ``table1``."""
    content = _content()
    return f'{content["note"]}; {content["tables"].get(name, f"Table 2, {name}")}'


def published_figures(data_set: str, family: str | None, scale: int) -> dict[str, dict[str, float | None]]:
    """Values from the paper's tables for a data set.

    Args:
        data_set: Name, such as Set5, or a table of the paper: ``table1`` or ``table4``.
        family: Kernel family, gaussian or motion; None if unknown.
        scale: Scale factor; the tables are for scale 4.

    Returns:
        ``psnr`` in dB and ``ssim`` by method, None if illegible; empty without quoted values.
    """
    content = _content()
    if family is None or scale != content['scale']:
        return {}
    return {
        method: dict(zip(('psnr', 'ssim'), figures[data_set], strict=True))
        for method, figures in content.get(family, {}).items()
        if data_set in figures
    }
