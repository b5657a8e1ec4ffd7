"""The command lines of ``dkp``, except for ``restore`` and ``doctor``; the module needs the standard library alone."""

import argparse
from argparse import ArgumentParser
from pathlib import Path

FORCED = '--force_yml'
SCALES = (1, 2, 3, 4, 8)  # copies of what the package defines; a test compares them
CONVENTIONS = ('aligned', 'released')


def _make_parser(prog: str | None, description: str) -> ArgumentParser:
    return ArgumentParser(prog, description=description, formatter_class=argparse.RawDescriptionHelpFormatter)


def make_test_parser(prog: str | None = None) -> ArgumentParser:
    """The command line of BasicSR's test pipeline.

    Args:
        prog: Name of the command in its messages; None: the program's.
    """
    return _make_pipeline_parser(prog, "Run BasicSR's test pipeline; results go to results/NAME.")


def make_train_parser(prog: str | None = None) -> ArgumentParser:
    """The command line of BasicSR's train pipeline; see :func:`make_test_parser`."""
    return _make_pipeline_parser(prog, "Run BasicSR's train pipeline; results go to experiments/NAME.")


def _make_pipeline_parser(prog: str | None, description: str) -> ArgumentParser:
    parser = _make_parser(prog, description)
    parser.add_argument('-opt', required=True, metavar='FILE', help='option file, or the name of one of the package')
    parser.add_argument(
        '--launcher', choices=('none', 'pytorch', 'slurm'), default='none', help='launcher of the processes'
    )
    parser.add_argument('--auto_resume', action='store_true', help='resume a training from its last checkpoint')
    parser.add_argument('--debug', action='store_true', help='short intervals, results under the name debug_<name>')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument('--only', nargs='+', default=[], metavar='NAME', help='use only the data sets with these names')
    parser.add_argument(FORCED, nargs='+', default=[], metavar='KEY:SUB=VALUE', help='override options of the file')
    return parser


COMPARE = """\
Compare option files in one report; run those without complete results and reuse the results of the others.

    dkp compare 'options/test/Diff*_gaussian_x4.yml' --only Set5 --out comparison
    dkp compare --suite paper-x4 --out comparison --seeds 0 1 2

Writes report.html, report.md, report.json and report.csv. Results are read from and written to results/<name>. All
option files are checked before the first run. Data sets whose folders are missing are skipped. The variants of a suite
become option files in DIR/options. Option files of BasicSR's own models, such as SRModel, are also supported.
Exit status: 0; 1 if runs or images failed (the report shows the others); 2 after an error, or if the option files use
different measurement protocols; 130 after Ctrl-C; rerun the same command to resume.
"""


def make_compare_parser(prog: str | None = None) -> ArgumentParser:
    """The command line of a comparison; see :func:`make_test_parser`."""
    parser = _make_parser(prog, COMPARE)
    parser.add_argument('files', nargs='*', metavar='FILE', help='option files of tests, or patterns of them')
    parser.add_argument('--out', type=Path, required=True, metavar='DIR', help='folder of the report')
    parser.add_argument('--suite', help='add the option files of options/suites/SUITE.yml and their variants')
    parser.add_argument('--only', nargs='+', default=[], metavar='NAME', help='compare only on these data sets')
    parser.add_argument('--seeds', type=int, nargs='+', default=[], help='run each file once with each of these seeds')
    parser.add_argument('--pictures', type=_natural, default=5, help='images of each data set in the report; default 5')
    return parser


def _natural(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f'{text} is not allowed: 0 or more')
    return int(text)


def make_options_parser(prog: str | None = None) -> ArgumentParser:
    """The command line that lists and prints option files; see :func:`make_test_parser`."""
    parser = _make_parser(prog, 'List the option files of the package, or print one: dkp options NAME > my.yml')
    parser.add_argument('name', nargs='?', metavar='NAME', help='an option file of the package')
    return parser


BENCHMARKS = """\
Arrange Set5, Set14, BSD100, Urban100 and RealSRSet from their usual archives in the layout of the option files.

    dkp data benchmarks ~/Downloads/benchmark.tar ~/Downloads/Set5.zip SelfExSR/data --out datasets

writes datasets/Set5/HR/baby.png and so on. Sources are folders, zip files and tar files with files such as
Set5/baby.png, Set5/{HR,GT,original,GTmod12}/baby.png or Set5/image_SRF_4/img_001_SRF_4_HR.png. If there are several
copies of an image, the recorded pixels are preferred, then the largest copy. Existing files are never overwritten.
Pixels are recorded for only the first 20 images of Urban100 and for 10 images of RealSRSet; for the others, only the
names are checked.

Exit status: 0 if the sets found are complete and match the recorded pixels; 1 if not; 2 after an error.
"""


def make_benchmarks_parser(prog: str | None = None) -> ArgumentParser:
    """The command line that arranges benchmarks; see :func:`make_test_parser`."""
    parser = _make_parser(prog, BENCHMARKS)
    parser.add_argument('sources', type=Path, nargs='+', metavar='SOURCE', help='folder, zip file or tar file')
    parser.add_argument('--out', type=Path, default=Path('datasets'), help='folder of all sets; default datasets')
    parser.add_argument('--mod12', action='store_true', help='crop HR images at the top left to multiples of 12')
    return parser


BLUR = """\
Generate LR images, their kernels and a manifest from a folder of HR images, or regenerate and compare them.

    dkp data blur datasets/Set5/HR --out datasets/Set5/motion_x4 --scale 4 --family motion
    dkp data blur datasets/Set5/HR --out datasets/Set5/motion_x4 --verify

Existing files are never overwritten. Exit status: 0; 1 if --verify finds differences; 2 after an error.
"""


def make_blur_parser(prog: str | None = None) -> ArgumentParser:
    """The command line that makes LR images and kernels; see :func:`make_test_parser`."""
    parser = _make_parser(prog, BLUR)
    parser.add_argument('hr_folder', type=Path, metavar='HR_FOLDER')
    parser.add_argument('--out', type=Path, required=True, metavar='DIR', help='folder of the data set')
    parser.add_argument('--verify', action='store_true', help='regenerate the data set from its manifest and compare')
    recipe = parser.add_argument_group('recipe', argument_default=argparse.SUPPRESS)
    recipe.add_argument('--scale', type=int, help='1, 2, 3, 4 or 8; default 4')
    recipe.add_argument(
        '--family',
        help='gaussian (default), motion, line, levin (kernels in datasets/kernels/levin), or a folder of .mat, .npy '
        'or gray .png kernels; with --verify: where that folder is now',
    )
    recipe.add_argument('--convention', help='aligned (default) or released: position of the kernel centre')
    recipe.add_argument('--kernel-size', type=int, help='odd; default 11, 15, 19, 21 for scale 2, 3, 4, 8')
    recipe.add_argument('--variance-range', type=float, nargs=2, metavar=('LOW', 'HIGH'), help='variances of gaussian')
    recipe.add_argument(
        '--length-range', type=float, nargs=2, metavar=('LOW', 'HIGH'), help='lengths of motion and line'
    )
    recipe.add_argument('--seed', type=int, help='seed of kernels and noise, combined with the image name; default 0')
    recipe.add_argument('--noise', type=float, help='standard deviation of the noise in 8-bit levels; default 0')
    recipe.add_argument('--jpeg', type=int, dest='jpeg_quality', help='quality, 1 to 100; default: no compression')
    return parser


CROPS = """\
Make a small benchmark from a large one: centre crops of the HR images, degraded by the kernels of the set.

    dkp data crops datasets/Set5 gaussian_x4 --convention released --out datasets/Set5_crop128

reads HR/ and gaussian_x4/kernels/ and writes HR/, gaussian_x4/LR/ and gaussian_x4/kernels/. The HR crops are degraded
again with periodic borders, because crops of the LR images would contain pixels from outside. Existing files are never
overwritten. Exit status: 0; 2 after an error.
"""


def make_crops_parser(prog: str | None = None) -> ArgumentParser:
    """The command line that makes a small benchmark; see :func:`make_test_parser`."""
    parser = _make_parser(prog, CROPS)
    parser.add_argument('source', type=Path, metavar='BENCHMARK', help='folder with HR and BLURRED/kernels')
    parser.add_argument('blurred', metavar='BLURRED', help='such as gaussian_x4')
    parser.add_argument('--out', type=Path, required=True, metavar='DIR', help='folder of the new benchmark')
    parser.add_argument('--size', type=int, default=128, help='side of the crops in HR pixels; default 128')
    parser.add_argument('--scale', type=int, default=4, choices=SCALES, help='default 4')
    parser.add_argument(
        '--convention', default='aligned', choices=CONVENTIONS, help='convention of the kernels; default aligned'
    )
    return parser


LMDB = """\
Copy a folder of images or kernel files to an lmdb in BasicSR's layout.

    dkp data lmdb datasets/Set5/HR datasets/Set5/HR.lmdb
    dkp data lmdb datasets/Set5/gaussian_x4/kernels datasets/Set5/gaussian_x4/kernels.lmdb

An option file then reads it with ``dataroot_gt: datasets/Set5/HR.lmdb`` and ``io_backend: {type: lmdb}``.
"""


def make_lmdb_parser(prog: str | None = None) -> ArgumentParser:
    """The command line that makes an lmdb; see :func:`make_test_parser`."""
    parser = _make_parser(prog, LMDB)
    parser.add_argument('input', type=Path, metavar='INPUT_FOLDER', help='images, or .mat or .npy kernel files')
    parser.add_argument('output', type=Path, metavar='OUTPUT.lmdb')
    parser.add_argument('--overwrite', action='store_true', help='replace an existing lmdb')
    return parser


UNPAIRED = """\
Make a data set for unpaired training from a folder of photographs: LR images of one half, exemplars of the other.

    dkp data unpaired datasets/BSDS400 --convention released --out datasets/unpaired_BSDS400
    dkp data unpaired datasets/BSDS400 --convention released --kernel one --out datasets/unpaired_one_kernel

The folder then holds:

    LR/          the LR images of the first half, by the order of the names
    exemplars/   the second half, unchanged
    truth/       HR images and kernels of the first half, and manifest.json: for scoring alone, no training opens it

Existing files are never overwritten. Exit status: 0; 2 after an error.
"""


def make_unpaired_parser(prog: str | None = None) -> ArgumentParser:
    """The command line that makes data for unpaired training; see :func:`make_test_parser`."""
    parser = _make_parser(prog, UNPAIRED)
    parser.add_argument('photos', type=Path, metavar='PHOTOS', help='folder of sharp photographs')
    parser.add_argument('--out', type=Path, required=True, metavar='DIR', help='folder of the data set')
    parser.add_argument('--kernel', choices=('each', 'one'), default='each', help='one: all LR images share one kernel')
    parser.add_argument('--scale', type=int, default=4, help='2, 3, 4 or 8; default 4')
    parser.add_argument('--family', default='gaussian', help='gaussian (default), motion, line, or a folder of kernels')
    parser.add_argument('--convention', default='aligned', help='aligned (default) or released')
    parser.add_argument('--variance-range', type=float, nargs=2, metavar=('LOW', 'HIGH'), help='variances of gaussian')
    parser.add_argument('--noise', type=float, default=0.0, help='standard deviation in 8-bit levels; default 0')
    parser.add_argument('--seed', type=int, default=0, help='seed of kernels and noise, combined with the image name')
    return parser
