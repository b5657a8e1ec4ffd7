"""Compare option files: run what is missing, then write one report."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from dkp_plugin.evaluation.comparison.complexity import Complexity, measure_complexity
from dkp_plugin.evaluation.comparison.output import failures, write_comparison
from dkp_plugin.evaluation.comparison.results import Result, check_same_protocol, obtain, run_test
from dkp_plugin.evaluation.comparison.runs import Run, check_run, read_runs
from dkp_plugin.evaluation.comparison.table import make_tables
from dkp_plugin.evaluation.pages import check_template_engine


def compare(
    files: Sequence[Path],
    out: Path,
    seeds: Sequence[int] = (),
    num_pictures: int = 5,
    start: Callable[[Run], str | None] = run_test,
    only: Sequence[str] = (),
    quoted: str | None = None,
    notes: Sequence[str] = (),
) -> list[str]:
    """Compare option files.

    Args:
        files: The option files.
        out: Folder of the report.
        seeds: Each file runs once with each seed; empty: once, with its own seed.
        num_pictures: Number of images of each data set in the report.
        start: Runs an option file; returns None or the reason of a failure.
        only: Names of the data sets to compare; empty: all available ones.
        quoted: Data set or table of the paper whose figures stand beside the measured ones; None: each data set's own.
        notes: Sentences for the report.

    Returns:
        Failures, one line each; the report contains the other results.

    Raises:
        UserError: if a file cannot be run or compared, before the first run starts, or if existing results use another
            protocol.
        OSError: if the folder cannot be written.
    """
    check_template_engine()
    runs = read_runs(files, seeds, only)
    for line in dict.fromkeys(line for run in runs for line in run.skipped):
        print(line, file=sys.stderr)
    results = [Result(run, check_run(run)) for run in runs]
    check_same_protocol(runs)
    out.mkdir(parents=True, exist_ok=True)
    results = [obtain(result, start) for result in results]
    tables = make_tables(results, quoted)
    methods = {result.run.method: result.run.options for result in results if result.data_sets}
    complexities = {method: measure_complexity(options) for method, options in methods.items()}
    for table in tables:
        for row in table.rows:
            row.complexity = complexities.get(row.method, Complexity())
    write_comparison(out, results, tables, num_pictures, notes)
    return failures(results)
