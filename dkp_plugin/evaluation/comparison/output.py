"""Write a comparison as HTML, Markdown, JSON and CSV."""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dkp_plugin.evaluation.comparison.charts import HEIGHT, WIDTH, make_charts, read_progress
from dkp_plugin.evaluation.comparison.complexity import FLOPS_NOTE, Complexity
from dkp_plugin.evaluation.comparison.pictures import gallery
from dkp_plugin.evaluation.comparison.results import Result
from dkp_plugin.evaluation.comparison.table import (
    MEMORY,
    ORACLE_NOTE,
    SECONDS,
    Figure,
    Row,
    Table,
    image_rows,
    ordered_columns,
)
from dkp_plugin.evaluation.pages import CURVE_HEIGHT, CURVE_WIDTH, render_page
from dkp_plugin.evaluation.records import protocol
from dkp_plugin.io.files import write_bytes, write_json

HEADINGS = {SECONDS: 'seconds', MEMORY: 'peak MiB', 'kernel_psnr': 'kernel PSNR', 'kernel_ncc': 'kernel NCC'}
HEADINGS |= {'psnr': 'PSNR', 'ssim': 'SSIM', 'lr_psnr': 'LR PSNR'}
TEMPLATE_FILE = Path(__file__).with_name('comparison.html.j2')


def heading(column: str) -> str:
    """Heading of a column."""
    return HEADINGS.get(column, column)


def format_number(column: str, value: float | None) -> str:
    """Format a value with the digits of its metric; a dash if missing, ``exact`` for an infinite PSNR."""
    if value is None:
        return '–'
    if math.isinf(value):
        return 'exact'
    digits = {SECONDS: 1, MEMORY: 0}.get(column, 4 if 'ssim' in column or 'ncc' in column else 2)
    return f'{value:.{digits}f}'


def format_figure(column: str, figure: Figure | None) -> str:
    """Format a mean and, for several seeds, its spread."""
    if figure is None:
        return '–'
    text = format_number(column, figure.mean)
    return text if figure.spread is None else f'{text} ± {format_number(column, figure.spread)}'


def format_complexity(complexity: Complexity) -> tuple[str, str]:
    """Format parameters in millions and FLOPs in billions."""
    counts = (complexity.num_parameters, 1e6, 'M'), (complexity.flops, 1e9, 'G')
    return tuple('–' if count is None else f'{count / unit:.2f} {name}' for count, unit, name in counts)


def describe_protocol(results: Sequence[Result]) -> str:
    """Describe the measurement protocol in one sentence."""
    merged = _merged_protocol(results)
    metrics = '; '.join(
        f'{heading(name)}: channel {metric["channel"]}, border {metric["border"]}'
        for name, metric in merged['metrics'].items()
        if not metric['type'].startswith('calculate_kernel')
    )
    return f'results rounded to {merged["rounding"]}; HR images cut {merged["gt_crop"]}; {metrics}'


def _merged_protocol(results: Sequence[Result]) -> dict[str, Any]:
    """The common protocol of all runs, with the metrics of all of them."""
    return protocol({name: metric for result in results for name, metric in result.run.metrics.items()})


def write_comparison(
    out: Path, results: Sequence[Result], tables: Sequence[Table], num_pictures: int, notes: Sequence[str] = ()
) -> None:
    """Write ``report.html``, ``report.md``, ``report.json`` and ``report.csv``, each atomically.

    Args:
        out: Output folder; created if missing.
        results: Results of each run.
        tables: Tables of the same results.
        num_pictures: Number of images shown for each data set.
        notes: Sentences for the report.
    """
    write_json(out / 'report.json', report_content(results, tables) | {'notes': list(notes)})
    write_bytes(out / 'report.csv', render_csv(tables).encode(errors='backslashreplace'))
    write_bytes(out / 'report.md', render_markdown(results, tables, notes).encode(errors='backslashreplace'))
    write_bytes(out / 'report.html', render_html(results, tables, num_pictures, notes))


def failures(results: Sequence[Result]) -> list[str]:
    """Failures, one line each."""
    return [' '.join(line.split()) for result in results for line in result.failures]


def report_content(results: Sequence[Result], tables: Sequence[Table]) -> dict[str, Any]:
    """Content of ``report.json``: tables, progress, rows of images, protocol, versions, failures."""
    return {
        'protocol': _merged_protocol(results),
        'tables': [
            {
                'data_set': table.data_set.label,
                'num_images': len(table.data_set.images),
                'rows': [_row_content(row) for row in table.rows],
                'progress': read_progress(table),
                'published': {'note': table.published_note, 'figures': table.published} if table.published else None,
            }
            for table in tables
        ],
        'images': image_rows(tables),
        'runs': [
            {'name': result.run.name, 'option_file': str(result.run.file), 'versions': result.versions}
            for result in results
        ],
        'failures': failures(results),
    }


def _row_content(row: Row) -> dict[str, Any]:
    return {
        'method': row.method,
        'parts': row.parts,
        'oracle': row.is_oracle,
        'num_images': row.num_images,
        'seeds': row.seeds,
        'num_parameters': row.complexity.num_parameters,
        'flops_per_step': row.complexity.flops,
        'means': {name: figure.mean for name, figure in row.figures.items()},
        'spread_over_seeds': {name: figure.spread for name, figure in row.figures.items()},
    }


def render_csv(tables: Sequence[Table]) -> str:
    """One line for each image and run; missing values are empty fields."""
    rows = image_rows(tables)
    buffer = io.StringIO()
    first = ('data_set', 'method', 'seed', 'oracle', 'image')
    columns = ordered_columns(key for row in rows for key in row if key not in first)
    writer = csv.DictWriter(buffer, [*first, *columns], restval='', lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def render_markdown(results: Sequence[Result], tables: Sequence[Table], notes: Sequence[str] = ()) -> str:
    """The tables of means, then those of images."""
    lines = ['# Comparison', '', f'Protocol: {describe_protocol(results)}.']
    lines += ['', *(f'- failed: {_escape(line)}' for line in failures(results)), *(f'- {_escape(n)}' for n in notes)]
    for table in tables:
        lines += ['', f'## {_escape(table.data_set.label)}', '', *_means_in_markdown(table)]
        lines += ['', '### Images', '', *_images_in_markdown(table)]
    return '\n'.join(lines) + '\n'


def _means_in_markdown(table: Table) -> list[str]:
    columns, total = table.columns, len(table.data_set.images)
    head = ['method', 'estimator + restorer', 'images', 'seeds', *map(heading, columns), 'parameters', 'FLOPs']
    rows = []
    for row in table.rows:
        figures = [
            f'**{text}**' if column in row.best else text
            for column in columns
            for text in [format_figure(column, row.figures.get(column))]
        ]
        name = f'{row.method} (oracle)' if row.is_oracle else row.method
        seeds = ', '.join(map(str, row.seeds))
        rows.append([name, row.parts, f'{row.num_images}/{total}', seeds, *figures, *format_complexity(row.complexity)])
    for method, quoted in table.published.items():
        figures = [format_number(column, quoted.get(column)) for column in columns]
        rows.append([f'{method} (quoted)', '', '', '', *figures, '', ''])
    lines = [*_markdown_table(head, rows), '', f'- {FLOPS_NOTE}']
    if any(row.is_oracle for row in table.rows):
        lines += ['', f'- {ORACLE_NOTE}']
    if table.published:
        lines += ['', f'- {table.published_note}']
    return lines


def _images_in_markdown(table: Table) -> list[str]:
    columns = table.columns
    rows = [
        [
            row['image'],
            row['method'] + (' (oracle)' if row['oracle'] else ''),
            _text(row['seed']),
        ]
        + [format_number(column, row.get(column)) for column in columns]
        for row in sorted(image_rows([table]), key=lambda row: table.data_set.images.index(row['image']))
    ]
    return _markdown_table(['image', 'method', 'seed', *map(heading, columns)], rows)


def _text(value: Any) -> str:
    return '' if value is None else str(value)


def _markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ['---'] * len(head), *rows]
    return [f'| {" | ".join(map(_escape, line))} |' for line in lines]


def _escape(text: str) -> str:
    """Escape a name for Markdown and HTML."""
    return text.replace('\\', '\\\\').replace('|', '\\|').replace('<', '&lt;').replace('\n', ' ')


def render_html(
    results: Sequence[Result], tables: Sequence[Table], num_pictures: int, notes: Sequence[str] = ()
) -> bytes:
    """The report as one self-contained page."""
    images = [
        sorted(image_rows([table]), key=lambda row, table=table: table.data_set.images.index(row['image']))
        for table in tables
    ]
    content = {
        'protocol': describe_protocol(results),
        'failures': failures(results),
        'sections': [
            (table, rows, make_charts(table), gallery(table, num_pictures))
            for table, rows in zip(tables, images, strict=True)
        ],
        'shown': ('psnr', 'ssim', 'kernel_psnr'),
        'oracle_note': ORACLE_NOTE,
        'flops_note': FLOPS_NOTE,
        'notes': notes,
        'versions': sorted({f'{name} {version}' for result in results for name, version in result.versions.items()}),
        'curve_size': (CURVE_WIDTH, CURVE_HEIGHT),
        'chart_size': (WIDTH, HEIGHT),
    }
    functions = (heading, format_number, format_figure, format_complexity)
    return render_page(TEMPLATE_FILE, content | {function.__name__: function for function in functions})
