"""Compare option files in one report; run those without complete results and reuse the results of the others.

    python scripts/compare.py options/test/Diff*_gaussian_x4.yml --only Set5 --out comparison
    python scripts/compare.py --suite paper-x4 --out comparison --seeds 0 1 2

Writes report.html, report.md, report.json and report.csv. Results are read from and written to results/<name>. All
option files are checked before the first run. Data sets whose folders are missing are skipped. The variants of a suite
become option files in DIR/options. Option files of BasicSR's own models, such as SRModel, are also supported.
Exit status: 0; 1 if runs or images failed (the report shows the others); 2 after an error, or if the option files use
different measurement protocols; 130 after Ctrl-C; rerun the same command to resume.
"""

import argparse
import glob
import sys
from collections.abc import Sequence
from pathlib import Path

from dkp_plugin.evaluation.comparison.compare import compare
from dkp_plugin.evaluation.comparison.suites import Suite, option_files, read_suite
from dkp_plugin.host.command import run_command


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('files', nargs='*', metavar='FILE', help='option files of tests, or patterns of them')
    parser.add_argument('--out', type=Path, required=True, metavar='DIR', help='folder of the report')
    parser.add_argument('--suite', help='add the option files of options/suites/SUITE.yml and their variants')
    parser.add_argument('--only', nargs='+', default=[], metavar='NAME', help='compare only on these data sets')
    parser.add_argument('--seeds', type=int, nargs='+', default=[], help='run each file once with each of these seeds')
    parser.add_argument('--pictures', type=int, default=5, help='images of each data set in the report; default 5')
    arguments = parser.parse_args(argv)
    if arguments.pictures < 0:
        parser.error(f'--pictures: {arguments.pictures} is not allowed: 0 or more')

    def work() -> int:
        files = [Path(file) for pattern in arguments.files for file in sorted(glob.glob(pattern)) or [pattern]]
        suite = read_suite(arguments.suite) if arguments.suite else Suite()
        for note in suite.notes:
            print(note, file=sys.stderr)
        files = option_files(suite, files, arguments.out / 'options')
        if not files:
            parser.error('give option files or --suite')
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


if __name__ == '__main__':
    sys.exit(main())
