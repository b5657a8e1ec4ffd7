"""``dkp`` parses every command line before anything heavy is imported, and knows the option files of the package."""

import subprocess
import sys
from pathlib import Path

import pytest

import dkp_command
import dkp_plugin
from dkp_plugin.host import arguments, command
from dkp_plugin.host.errors import OptionError
from dkp_plugin.host.option_files import find_option_file
from dkp_plugin.host.shipped_options import find_shipped, options_folder
from dkp_plugin.physics.degradation import SCALES
from dkp_plugin.physics.kernels import CONVENTIONS

ROOT = Path(__file__).parents[1]


def test_its_copies_agree_with_the_package():
    assert arguments.SCALES == SCALES
    assert set(arguments.CONVENTIONS) <= set(CONVENTIONS)
    assert dkp_command.EXIT_USER_ERROR == command.EXIT_USER_ERROR
    assert dkp_command.EXIT_INTERRUPTED == command.EXIT_INTERRUPTED
    assert set(dkp_command.ORDER) == {*dkp_command.COMMANDS, *dkp_command.OTHERS}


@pytest.mark.parametrize(
    ('words', 'status', 'stream', 'text'),
    [
        ('--help', 0, 'stdout', 'lmdb, unpaired'),
        ('--version', 0, 'stdout', dkp_plugin.__version__),
        ('', 2, 'stderr', 'required: COMMAND'),
        ('tset', 2, 'stderr', "invalid choice: 'tset'"),
        ('data', 2, 'stderr', 'required: COMMAND'),
        ('data lmbd', 2, 'stderr', "invalid choice: 'lmbd'"),
        *((f'{name} --help', 0, 'stdout', f'usage: dkp {name}') for name in dkp_command.ORDER),
        ('test', 2, 'stderr', 'dkp test: error: the following arguments are required: -opt'),
        ('restore a.png --scale 5', 2, 'stderr', 'dkp restore: error: argument --scale: invalid choice: 5'),
        ('compare --out x --pictures -1', 2, 'stderr', '-1 is not allowed: 0 or more'),
        ('options', 0, 'stdout', 'DiffDKP_gaussian_x4'),
        ('options nothing', 2, 'stderr', 'error: nothing: not one of '),
    ],
)
def test_nothing_heavy_is_imported_before_the_command_line_is_right(words, status, stream, text):
    code = (
        'import atexit, sys, dkp_command\n'
        'heavy = {"torch", "basicsr", "numpy", "cv2", "dkp_plugin"}\n'
        'atexit.register(lambda: print(sorted(heavy & sys.modules.keys()), file=sys.stderr))\n'
        'sys.exit(dkp_command.main(sys.argv[1:]))\n'
    )
    done = subprocess.run([sys.executable, '-c', code, *words.split()], capture_output=True, text=True)
    assert done.returncode == status
    assert text in getattr(done, stream)
    assert done.stderr.splitlines()[-1] == '[]'


def test_a_broken_package_is_one_line(tmp_path):
    (tmp_path / 'torch.py').write_text("raise ImportError('torch lies in pieces')")
    code = (
        f'import sys; sys.path.insert(0, {str(tmp_path)!r}); import dkp_command\n'
        'sys.exit(dkp_command.main(["data", "lmdb", "a", "b"]))'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == 'error: torch lies in pieces (dkp-doctor finds out what is broken)\n'


def test_an_option_file_is_printed_as_it_is(capsys):
    assert dkp_command.main(['options', 'DiffDKP_gaussian_x4']) == 0
    assert capsys.readouterr().out == (ROOT / 'options/test/DiffDKP_gaussian_x4.yml').read_text(encoding='utf-8')


def test_the_test_pipeline_starts_from_a_name(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert dkp_command.main(['test', '-opt', 'DiffDKP_gaussian_x4', '--force_yml', 'scale=7']) == 2
    assert '--force_yml scale=7: scale: 7 is not allowed' in capsys.readouterr().err
    assert dkp_command.main(['train', '-opt', 'train_FKP_x9']) == 2
    assert 'error: train_FKP_x9: no such file, and no option file of the package, did you mean train_FKP_x' in (
        capsys.readouterr().err
    )


def test_names_lead_to_files_here_first_and_then_to_those_of_the_package(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shipped = options_folder() / 'test/DiffDKP_gaussian_x4.yml'
    for name in ('DiffDKP_gaussian_x4', 'DiffDKP_gaussian_x4.yml', 'options/test/DiffDKP_gaussian_x4.yml'):
        assert find_option_file(name, 'test') == shipped
    for name in ('elsewhere/DiffDKP_gaussian_x4.yml', 'missing.yml'):
        assert find_option_file(name, 'test') == Path(name)  # whoever reads it reports that it is missing
    with pytest.raises(OptionError, match='did you mean DiffDKP_gaussian_x4'):
        find_option_file('DiffDKP_gausian_x4', 'test')
    (tmp_path / 'DiffDKP_gaussian_x4.yml').touch()
    assert find_option_file('DiffDKP_gaussian_x4.yml', 'test') == Path('DiffDKP_gaussian_x4.yml')
    assert find_shipped('DiffDKP_gaussian_x*', 'test') == [
        options_folder() / f'test/DiffDKP_gaussian_x{scale}.yml' for scale in (2, 3, 4)
    ]
