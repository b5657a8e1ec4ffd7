"""The tables of a comparison: means with their spread over seeds, and the metrics of each image."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from dkp_plugin.evaluation.comparison.baseline import bicubic_result
from dkp_plugin.evaluation.comparison.complexity import Complexity
from dkp_plugin.evaluation.comparison.published import published_figures, published_note
from dkp_plugin.evaluation.comparison.results import Result
from dkp_plugin.evaluation.comparison.runs import DataSet

SECONDS, MEMORY = 'seconds', 'peak_memory_mib'
ORACLE_NOTE = 'oracle: given the true kernel; an upper bound, not a method'


@dataclass(frozen=True)
class Figure:
    """A mean over the images and over the seeds.

    Args:
        mean: Mean over the seeds of the means over the images.
        spread: Sample standard deviation over the seeds of the means over the images; None for one seed.
    """

    mean: float
    spread: float | None = None


@dataclass
class Row:
    """The results of a method on a data set.

    Args:
        method: ``name`` in the option file.
        parts: Types of estimator and restorer, and of the final restorer.
        is_oracle: Whether it uses the true kernels.
        num_images: Number of images with a result from every seed, over which the means are taken.
        seeds: Seeds with results.
        figures: Means by metric, in the order of the option file, then seconds and peak memory.
        complexity: Parameters and FLOPs.
        best: Metrics in which no other method of the table, apart from oracles, is better.
    """

    method: str
    parts: str
    is_oracle: bool
    num_images: int
    seeds: list[int]
    figures: dict[str, Figure]
    complexity: Complexity = field(default_factory=Complexity)
    best: frozenset[str] = frozenset()


@dataclass
class Table:
    """The methods on one data set.

    Args:
        data_set: The data set, as the first of the runs opened it.
        results: The runs on it, each with its name of the data set.
        rows: One for each method.
        published: Quoted figures, by method; see :func:`~dkp_plugin.evaluation.comparison.published.published_figures`.
        published_for: What they belong to, a data set or a table of the paper.
    """

    data_set: DataSet
    results: list[tuple[Result, str]]
    rows: list[Row]
    published: dict[str, dict[str, float | None]]
    published_for: str = ''

    @property
    def published_note(self) -> str:
        """Note for the quoted figures."""
        return published_note(self.published_for)

    @property
    def columns(self) -> list[str]:
        """The metrics that any row has, seconds and memory last."""
        return ordered_columns(figure for row in self.rows for figure in row.figures)


def ordered_columns(names: Iterable[str]) -> list[str]:
    """Names without repetition, seconds and memory last."""
    names = list(dict.fromkeys(names))
    return [name for name in names if name not in (SECONDS, MEMORY)] + [
        name for name in (SECONDS, MEMORY) if name in names
    ]


def make_tables(results: Sequence[Result], quoted: str | None = None) -> list[Table]:
    """Group results on the same data, in the order of the runs; the last row is bicubic enlargement.

    Args:
        results: Results of each run.
        quoted: Data set or table of the paper whose figures stand beside the measured ones; None: each data set's own.
    """
    groups: dict[str, tuple[DataSet, list[tuple[Result, str]]]] = {}
    for result in results:
        for data_set in result.data_sets:
            if result.records.get(data_set.name):
                groups.setdefault(data_set.label, (data_set, []))[1].append((result, data_set.name))
    tables = []
    for label, (data_set, members) in groups.items():
        metrics = {name: options for result, _ in members for name, options in result.run.metrics.items()}
        conventions = [other.convention for result, _ in members for other in result.data_sets if other.label == label]
        convention = next(filter(None, conventions), 'aligned')
        bicubic = bicubic_result(replace(data_set, convention=convention), metrics)
        members.append((bicubic, data_set.name))
        by_method: dict[str, list[tuple[Result, str]]] = {}
        for result, name in members:
            by_method.setdefault(result.run.method, []).append((result, name))
        rows = [make_row(method, seeds) for method, seeds in by_method.items()]
        mark_best(rows, len(data_set.images), lower_is_better(results))
        published = published_figures(quoted or data_set.name, data_set.family, data_set.scale)
        tables.append(Table(data_set, members, rows, published, quoted or data_set.name))
    return tables


def make_row(method: str, members: Sequence[tuple[Result, str]]) -> Row:
    """Summarise the seeds of a method on a data set.

    Args:
        method: Its name.
        members: The run of each seed, with its name of the data set.
    """
    common = set.intersection(*(set(result.records[name]) for result, name in members))
    per_seed = [[result.records[name][image] for image in sorted(common)] for result, name in members]
    options = members[0][0].run.options
    columns = ordered_columns([*members[0][0].run.metrics, SECONDS, MEMORY])
    figures = {}
    for column in columns:
        means = [mean_figure(records, column, members[0][0].run.metrics) for records in per_seed]
        means = [mean for mean in means if mean is not None]
        if means:
            has_spread = len(means) > 1 and all(map(math.isfinite, means))
            figures[column] = Figure(statistics.fmean(means), statistics.stdev(means) if has_spread else None)
    return Row(
        method=method,
        parts=describe_parts(options),
        is_oracle=any(record.get('oracle') for records in per_seed for record in records),
        num_images=len(common),
        seeds=[seed for result, _ in members if (seed := result.run.options.get('manual_seed')) is not None],
        figures=figures,
    )


def read_figure(record: Mapping[str, Any], key: str, metrics: Mapping[str, Mapping[str, Any]]) -> float | None:
    """A value of a record; None if it is missing.

    The PSNR of a result that equals the ground truth, such as the oracle's kernel, is infinite; JSON stores it as null.
    """
    is_psnr = str(metrics.get(key, {}).get('type')).endswith('psnr')
    return math.inf if is_psnr and key in record and record[key] is None else record.get(key)


def mean_figure(records: Sequence[Mapping[str, Any]], key: str, metrics: Mapping[str, Any]) -> float | None:
    """Mean over the records with a finite value; infinite if all values are infinite."""
    values = [value for record in records if (value := read_figure(record, key, metrics)) is not None]
    finite = [value for value in values if math.isfinite(value)]
    # The peak is cumulative over the process, so the maximum is the overall peak.
    return (max if key == MEMORY else statistics.fmean)(finite or values) if values else None


def describe_parts(options: Mapping[str, Any]) -> str:
    """Name the types of the estimator, the restorer and the final restorer, if they exist."""
    parts = ' + '.join(str(options[key].get('type')) for key in ('network_k', 'network_g') if key in options)
    final = (options.get('restorer') or {}).get('final')
    return parts if final is None else f'{parts}, {final.get("type") if isinstance(final, Mapping) else final}'


def lower_is_better(results: Iterable[Result]) -> set[str]:
    """Metrics for which lower values are better: those with ``better: lower``, and NIQE."""
    return {
        name
        for result in results
        for name, options in result.run.metrics.items()
        if options.get('better', 'lower' if options.get('type') == 'calculate_niqe' else 'higher') == 'lower'
    }


def mark_best(rows: Sequence[Row], num_images: int, lower: set[str]) -> None:
    """Mark the best figures among methods that restored every image; oracles do not compete.

    Args:
        rows: Rows of one data set; this function sets ``best``.
        num_images: Number of images of the data set.
        lower: Metrics for which lower values are better.
    """
    competing = [row for row in rows if not row.is_oracle and row.num_images == num_images]
    if len(competing) < 2:
        return
    for row in competing:
        best = set()
        for name in row.figures.keys() - {SECONDS, MEMORY}:
            means = [other.figures[name].mean for other in competing if name in other.figures]
            if len(means) > 1 and row.figures[name].mean == (min if name in lower else max)(means):
                best.add(name)
        row.best = frozenset(best)


def image_rows(tables: Sequence[Table]) -> list[dict[str, Any]]:
    """One row for each image and run: data set, method, seed, oracle, image, and the figures of its record."""
    rows = []
    for table in tables:
        for result, name in table.results:
            for image, record in result.records[name].items():
                metrics = result.run.metrics
                figures = {
                    key: read_figure(record, key, metrics) for key in ordered_columns([*metrics, SECONDS, MEMORY])
                }
                rows.append(
                    {
                        'data_set': table.data_set.label,
                        'method': result.run.method,
                        'seed': result.run.options.get('manual_seed'),
                        'oracle': bool(record.get('oracle')),
                        'image': image,
                        **figures,
                    }
                )
    return rows
