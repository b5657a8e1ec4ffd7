"""``dkp-restore``: restore photographs whose blur is unknown.

The module stands beside the package and parses the command line before it imports it: torch and BasicSR take seconds,
and ``--help`` or a typing error needs neither.
"""

import argparse
import importlib.util
import re
import sys
from collections.abc import Sequence
from pathlib import Path

# Copies of what the package defines, for a package that is not imported yet; a test compares them.
METHODS = ('auto', 'diff-dkp', 'dip-dkp', 'dip-fkp', 'double-dip', 'bsrdm', 'fast-dkp', 'unpaired', 'kernelgan-zssr')
PRESETS = ('fast', 'balanced', 'best', 'paper')
SCALES = (1, 2, 3, 4, 8)
CONVENTIONS = ('aligned', 'released')
MAX_PIXELS = 100_000_000

KEPT = 'finished results are kept, rerun the same command to resume'
EXIT_USER_ERROR, EXIT_INTERRUPTED = 2, 130
EPILOG = """\
A second run skips what is finished. Under torchrun or srun the images are shared among the processes.
Exit status: 0; 1 if images failed, the others are done; 2 after a mistake; 130, 143 after Ctrl-C, SIGTERM.
"""


def make_parser(prog: str = 'dkp-restore') -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog, description='restore photographs whose blur is unknown', epilog=EPILOG, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    add = parser.add_argument
    add('inputs', nargs='+', metavar='INPUT', help='image, folder, or pattern of them')
    add(
        '-o', '--output', type=Path, default=Path('restored'), metavar='OUT',
        help='folder; or, for one image, a file; default: restored',
    )  # fmt: skip
    add('--scale', type=int, choices=SCALES, help='default: 4; 1: the same size, deblurred')
    add('--method', choices=METHODS, help='default: auto, fast-dkp at scales 2 to 4 and diff-dkp at 1 and 8')
    add(
        '--kernel', metavar='auto|gaussian|disc|line|motion|free|FILE',
        help='family of the blur, or a kernel file; default: auto, by method',
    )  # fmt: skip
    add(
        '--weights',
        metavar='FILE',
        help='trained weights of the method, with fast-dkp of the one-pass network; default: those of the package',
    )
    add('--noise', metavar='auto|SIGMA', help='standard deviation of the noise, of 255; default: auto')
    add('--preset', choices=PRESETS, help='default: balanced; best: fast-dkp, unpaired; paper: others')
    add('--device', default='auto', metavar='auto|cpu|cuda:N|mps', help='default: auto')
    add(
        '-j', '--jobs', type=_count, default=1, metavar='N',
        help='restore N images at once, each in a process of one thread; default: 1',
    )  # fmt: skip
    add('--seed', type=int, help='of all random numbers; default: 0')
    add('--tile', metavar='auto|N', help='side of the tiles of large images, in pixels of the result; default: auto')
    add(
        '--strength', type=_share, default='auto', metavar='auto|0..1',
        help='0: plain enlargement; 1: all of the result; default: auto, less than 1 for sharpened photographs',
    )  # fmt: skip
    add(
        '--mask', type=Path, metavar='FILE',
        help='image of the same size: white parts are restored, black ones enlarged, gray ones blended',
    )  # fmt: skip
    add(
        '--local-kernels', action='store_true', default=None,
        help='a kernel for every part of the image, for blur that varies',
    )  # fmt: skip
    add('--convention', choices=CONVENTIONS, help='default: aligned; released: benchmark images')
    add(
        '--opt',
        type=Path,
        metavar='FILE',
        help='option file, or one of the package, in place of method, kernel, preset, weights',
    )
    add('--max-pixels', type=int, default=MAX_PIXELS, metavar='N', help=f'refuse larger images; default: {MAX_PIXELS}')
    add('--overwrite', action='store_true', help='replace files that dkp-restore did not write, too')
    add('--strip-metadata', action='store_true', help='leave EXIF and resolution out of the results')
    add('--save-kernel', action='store_true', help='also write the kernels, as .mat and .png')
    add('--report', action='store_true', help='write report.html with all images, kernels and curves')
    add('--quiet', action='store_true', help='print failures only')
    add('--json', action='store_true', help='one line of JSON for each image on standard output, nothing else there')
    add('--version', action='version', version=read_version())
    return parser


def _share(text: str) -> float | str:
    if text == 'auto':
        return text
    try:
        share = float(text)
    except ValueError:
        share = -1
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f'{text} is not allowed; allowed: auto, or 0 to 1')
    return share


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f'{text} is not allowed; allowed: a number of at least 1')
    return int(text)


def read_version() -> str:
    """The version of the package, without importing it; ``unknown`` where there is none."""
    package = importlib.util.find_spec('dkp_plugin')
    if package is None or package.origin is None:
        return 'unknown'
    text = Path(package.origin).with_name('host').joinpath('version.py').read_text(encoding='utf-8')
    return re.search(r"^__version__ = '([^']+)'$", text, re.MULTILINE).group(1)


def main(argv: Sequence[str] | None = None, prog: str = 'dkp-restore') -> int:
    """Run the command line; return the exit status."""
    arguments = make_parser(prog).parse_args(argv)
    try:
        from dkp_plugin.host.command import run_command
        from dkp_plugin.host.interruption import stopping_gently
        from dkp_plugin.photos.command import run
    except ImportError as error:
        print(f'error: {error} (dkp-doctor finds out what is broken)', file=sys.stderr)
        return EXIT_USER_ERROR
    except KeyboardInterrupt:
        print(f'interrupted; {KEPT}', file=sys.stderr)
        return EXIT_INTERRUPTED

    def work() -> int:
        with stopping_gently(KEPT):
            return run(arguments)

    return run_command(work, KEPT)


if __name__ == '__main__':
    sys.exit(main())
