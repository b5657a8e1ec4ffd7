"""The work of ``dkp compare``, whose command line is in ``host/arguments.py``."""

import glob
import sys
from argparse import Namespace
from pathlib import Path

from dkp_plugin.evaluation.comparison.compare import compare
from dkp_plugin.evaluation.comparison.suites import Suite, option_files, read_suite
from dkp_plugin.host.command import run_command
from dkp_plugin.host.errors import OptionError
from dkp_plugin.host.shipped_options import find_shipped


def run(arguments: Namespace) -> int:
    """Compare option files; return the exit status."""

    def work() -> int:
        files = [file for pattern in arguments.files for file in find_files(pattern)]
        suite = read_suite(arguments.suite) if arguments.suite else Suite()
        for note in suite.notes:
            print(note, file=sys.stderr)
        files = option_files(suite, files, arguments.out / 'options')
        if not files:
            raise OptionError('give option files or --suite')
        failures = compare(
            files,
            arguments.out,
            arguments.seeds,
            arguments.pictures,
            only=arguments.only,
            quoted=suite.quoted,
            notes=suite.notes,
        )
        for line in failures:
            print(f'failed: {line}', file=sys.stderr)
        print(arguments.out / 'report.html')
        return 1 if failures else 0

    return run_command(work, 'finished results are kept, rerun the same command to resume')


def find_files(pattern: str) -> list[Path]:
    """Option files that a pattern matches here, else in the package; else the pattern, which fails in its turn."""
    here = [Path(path) for path in sorted(glob.glob(pattern))]
    return here or find_shipped(pattern, 'test') or [Path(pattern)]
