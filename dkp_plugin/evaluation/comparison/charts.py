"""Charts of metrics over iterations and seconds, for runs that recorded them (``val: curve_freq``)."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dkp_plugin.evaluation.comparison.table import Table

Row = Mapping[str, float]
WIDTH, HEIGHT = 320, 180  # of the plot inside a chart, in pixels
COLUMNS = ('psnr', 'kernel_psnr')  # metrics to draw, if the option files have them
NUM_TICKS = 5


@dataclass(frozen=True)
class Line:
    """A method in a chart.

    Args:
        method: Its name.
        index: Index of the method in the table, counted from 0; it sets the colour of the line in every chart.
        points: ``x,y`` pairs for an SVG polyline in a box of ``WIDTH`` x ``HEIGHT``.
    """

    method: str
    index: int
    points: str


@dataclass(frozen=True)
class Chart:
    """A metric over iterations or seconds.

    Args:
        column: The metric.
        against: ``iteration`` or ``seconds``.
        lines: One line for each method with recorded values.
        x_ticks, y_ticks: Label and position of the ticks; positions from the left and the top of the box.
    """

    column: str
    against: str
    lines: Sequence[Line]
    x_ticks: Sequence[tuple[str, float]]
    y_ticks: Sequence[tuple[str, float]]


def mean_rows(images: Sequence[Sequence[Row]]) -> list[dict[str, float]]:
    """Average the rows of several images.

    Args:
        images: The rows of each image: ``iteration``, ``seconds`` and metrics, None for values that are not finite.

    Returns:
        A row for each iteration that all images share, with the means of the values that all of them have.
    """
    by_iteration = [{row['iteration']: row for row in rows} for rows in images]
    common = set.intersection(*map(set, by_iteration)) if by_iteration else set()
    means = []
    for iteration in sorted(common):
        rows = [rows[iteration] for rows in by_iteration]
        names = [name for name in rows[0] if all(row.get(name) is not None for row in rows)]
        means.append({name: math.fsum(row[name] for row in rows) / len(rows) for name in names})
    return means


def read_progress(table: Table) -> dict[str, list[dict[str, float]]]:
    """Means over the images and seeds of each method with recorded progress, by method name."""
    images: dict[str, list[Sequence[Row]]] = {}
    for result, name in table.results:
        for image in result.records[name]:
            rows = _read_rows(result.run.folder / 'progress' / name / f'{image}.json')
            if rows:
                images.setdefault(result.run.method, []).append(rows)
    return {method: mean_rows(rows) for method, rows in images.items()}


def _read_rows(path: Path) -> Sequence[Row]:
    try:
        rows = json.loads(path.read_text(encoding='utf-8'))
        return [row for row in rows if {'iteration', 'seconds'} <= row.keys()]
    except (OSError, ValueError, TypeError, AttributeError):  # not recorded, deleted or truncated
        return []


def ticks(low: float, high: float) -> list[float]:
    """Round numbers in [low, high], about ``NUM_TICKS`` of them, 1, 2 or 5 times a power of ten apart."""
    span = (high - low) or 1.0
    power = 10.0 ** math.floor(math.log10(span / NUM_TICKS))
    step = next(factor * power for factor in (1, 2, 5, 10) if span / (factor * power) <= NUM_TICKS)
    return [n * step for n in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def make_charts(table: Table) -> list[Chart]:
    """Draw every available metric of ``COLUMNS`` over iterations and over seconds."""
    progress = read_progress(table)
    order = {row.method: index for index, row in enumerate(table.rows)}
    charts = []
    for column in COLUMNS:
        for against in ('iteration', 'seconds'):
            series = {
                method: [(row[against], row[column]) for row in rows if column in row]
                for method, rows in progress.items()
            }
            series = {method: points for method, points in series.items() if points}
            if series:
                charts.append(_make_chart(column, against, series, order))
    return charts


def _make_chart(
    column: str, against: str, series: Mapping[str, Sequence[tuple[float, float]]], order: Mapping[str, int]
) -> Chart:
    xs, ys = zip(*(point for points in series.values() for point in points), strict=True)
    right, (bottom, top) = max(xs) or 1.0, (min(ys), max(ys))
    height = (top - bottom) or 1.0

    def x_place(x: float) -> float:
        return round(x / right * WIDTH, 1)

    def y_place(y: float) -> float:
        return round((top - y) / height * HEIGHT, 1)

    lines = [
        Line(method, order[method], ' '.join(f'{x_place(x)},{y_place(y)}' for x, y in points))
        for method, points in series.items()
    ]
    x_ticks = [(f'{x:g}', x_place(x)) for x in ticks(0, right)]
    y_ticks = [(f'{y:g}', y_place(y)) for y in ticks(bottom, top)]
    return Chart(column, against, lines, x_ticks, y_ticks)
