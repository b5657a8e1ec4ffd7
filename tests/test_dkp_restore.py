"""The command line of dkp-restore is parsed before torch and BasicSR are imported."""

import subprocess
import sys
from pathlib import Path

import pytest

import dkp_plugin
import dkp_restore
from dkp_plugin.host import command
from dkp_plugin.io.photo_files import MAX_PIXELS
from dkp_plugin.photos import presets
from dkp_plugin.physics.degradation import SCALES


def test_its_copies_agree_with_the_package():
    assert presets.METHOD_NAMES == dkp_restore.METHODS
    assert dkp_restore.PRESETS == presets.PRESETS
    assert dkp_restore.SCALES == SCALES
    assert dkp_restore.MAX_PIXELS == MAX_PIXELS
    conventions = presets.Choices.model_fields['convention'].annotation.__args__
    assert conventions == dkp_restore.CONVENTIONS
    assert dkp_restore.EXIT_USER_ERROR == command.EXIT_USER_ERROR
    assert dkp_restore.EXIT_INTERRUPTED == command.EXIT_INTERRUPTED
    assert dkp_restore.read_version() == dkp_plugin.__version__


@pytest.mark.parametrize(
    ('arguments', 'status', 'stream', 'text'),
    [
        (['--help'], 0, 'stdout', '--strip-metadata'),
        (['--version'], 0, 'stdout', dkp_plugin.__version__),
        (['a.png', '--methud', 'dip-dkp'], 2, 'stderr', 'unrecognized arguments: --methud'),
        (
            ['a.png', '--strength', '1.5'],
            2,
            'stderr',
            '--strength: 1.5 is not allowed; allowed: auto, or 0 to 1',
        ),
        (['a.png', '--strength', 'nan'], 2, 'stderr', 'argument --strength: nan is not allowed'),
        (['a.png', '--scale', '5'], 2, 'stderr', 'argument --scale: invalid choice: 5'),
        (['a.png', '-j', '0'], 2, 'stderr', 'argument -j/--jobs: 0 is not allowed; allowed: a number of at least 1'),
        (['a.png', '-j', 'all'], 2, 'stderr', 'argument -j/--jobs: all is not allowed'),
        ([], 2, 'stderr', 'the following arguments are required: INPUT'),
    ],
)
def test_nothing_heavy_is_imported_before_the_command_line_is_right(arguments, status, stream, text):
    code = (
        'import atexit, sys, dkp_restore\n'
        'heavy = {"torch", "basicsr", "numpy", "cv2", "dkp_plugin"}\n'
        'atexit.register(lambda: print(sorted(heavy & sys.modules.keys()), file=sys.stderr))\n'
        'sys.exit(dkp_restore.main(sys.argv[1:]))\n'
    )
    done = subprocess.run([sys.executable, '-c', code, *arguments], capture_output=True, text=True)
    assert done.returncode == status
    assert text in getattr(done, stream)
    assert done.stderr.splitlines()[-1] == '[]'


def test_defaults():
    arguments = dkp_restore.make_parser().parse_args(['a.png'])
    assert arguments.output == Path('restored')
    assert arguments.overwrite is arguments.strip_metadata is False


def test_a_broken_package_is_one_line(tmp_path):
    (tmp_path / 'torch.py').write_text("raise ImportError('torch lies in pieces')")
    code = (
        f'import sys; sys.path.insert(0, {str(tmp_path)!r}); import dkp_restore; sys.exit(dkp_restore.main(["a.png"]))'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == 'error: torch lies in pieces (dkp-doctor finds out what is broken)\n'
