"""Compare option files: run what is missing, then write one report."""

from collections.abc import Callable, Sequence
from pathlib import Path

from dkp_plugin.evaluation.comparison.complexity import measure_complexity
from dkp_plugin.evaluation.comparison.report import check_template_engine, failures, write_report
from dkp_plugin.evaluation.comparison.runs import Run, check_same_protocol, obtain, read_runs, run_test
from dkp_plugin.evaluation.comparison.table import make_tables


def compare(
    files: Sequence[Path],
    out: Path,
    seeds: Sequence[int] = (),
    num_pictures: int = 5,
    start: Callable[[Run], str | None] = run_test,
) -> list[str]:
    """Compare option files.

    Args:
        files: The option files.
        out: Folder of the report.
        seeds: Each file runs once with each; none: once, with its own.
        num_pictures: Images of each data set that the report shows.
        start: Makes the results of a run; returns None or why it failed.

    Returns:
        What failed, one line each; the report is made of the others.

    Raises:
        UserError: for files that cannot be compared, before any of them runs, and for old results that were measured
            by another protocol.
        OSError: if the folder cannot be written.
    """
    runs = read_runs(files, seeds)
    check_same_protocol(runs)
    check_template_engine()
    out.mkdir(parents=True, exist_ok=True)
    results = [obtain(run, start) for run in runs]
    tables = make_tables(results)
    methods = {result.run.method: result.run.options for result in results if result.data_sets}
    complexities = {method: measure_complexity(options) for method, options in methods.items()}
    for table in tables:
        for row in table.rows:
            row.complexity = complexities[row.method]
    write_report(out, results, tables, num_pictures)
    return failures(results)
