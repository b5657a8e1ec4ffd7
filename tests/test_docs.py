"""The documents say what the code does."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import skimage.data
import yaml
from make_options_reference import TARGET, describe_type, reference, split_docstring

import dkp_plugin
from dkp_plugin.evaluation.kernel_metric import calculate_kernel_ncc, calculate_kernel_psnr
from dkp_plugin.io.images import write_image
from dkp_plugin.physics.kernels import CONVENTIONS, default_kernel_size, kernel_centre

ROOT = Path(__file__).parents[1]
DOCS = [*sorted((ROOT / 'docs').glob('*.md')), ROOT / 'CONTRIBUTING.md', ROOT / 'CHANGELOG.md']


def test_options_reference_is_up_to_date():
    assert TARGET.read_text(encoding='utf-8') == reference(), 'run scripts/make_options_reference.py'


def keys_under(heading, text):
    """The first column of the tables under a heading, to the next heading."""
    section = re.search(rf'^##+ {re.escape(heading)}\n(.*?)(?=^##|\Z)', text, re.MULTILINE | re.DOTALL).group(1)
    return set(re.findall(r'^\| `(\w+)`', section, re.MULTILINE))


@pytest.mark.parametrize('path', sorted((ROOT / 'options/test').glob('*.yml')), ids=lambda path: path.stem)
def test_every_key_of_the_option_files_is_in_the_reference(path):
    text = (ROOT / 'docs/options.md').read_text(encoding='utf-8')
    options = yaml.safe_load(path.read_text(encoding='utf-8'))
    assert options.keys() <= keys_under('Top level', text)
    for block in ('degradation', 'alternation', 'early_stopping', 'restorer', 'path', 'val'):
        basicsr = set() if 'network_k' in options else {'param_key_g'}  # a key of its own models
        assert (options.get(block) or {}).keys() - basicsr <= keys_under(block, text)
    for block in options.keys() & {'network_k', 'network_g'}:  # a file for BasicSR's SRModel has no estimator
        assert options[block].keys() - {'type'} <= keys_under(options[block]['type'], text)
    for dataset in options['datasets'].values():
        assert dataset.keys() <= keys_under('BlindSRDataset', text)


@pytest.mark.parametrize(
    ('annotation', 'text'),
    [
        (int | None, 'integer, or `~`'),
        (tuple[float, float], '2 of: number'),
        (tuple[int, ...], 'list of: integer'),
        (dict[str, int], 'block'),
    ],
)
def test_types_in_words(annotation, text):
    assert describe_type(annotation) == text


def test_docstrings_become_markdown():
    body, arguments = split_docstring("""Do ``this`` by :func:`~a.b.that`.

    More.

    Args:
        x: One
            long word.
        y: None: nothing.

    Raises:
        ValueError: never.
    """)
    assert body == 'Do `this` by `that`.\n\nMore.'
    assert arguments == {'x': 'One long word.', 'y': '`~`: nothing.'}


@pytest.mark.parametrize('path', DOCS, ids=lambda path: path.name)
def test_links_lead_to_files(path):
    for target in re.findall(r'\]\(([^)#]+)[^)]*\)', path.read_text(encoding='utf-8')):
        assert target.startswith('https://') or (path.parent / target).exists(), target


def test_hooks_have_the_tested_version_of_ruff():
    (pin,) = re.findall(r'^(ruff==\S+)', (ROOT / 'constraints.txt').read_text(), re.MULTILINE)
    assert set(re.findall(r'ruff==[\d.]+', (ROOT / '.pre-commit-config.yaml').read_text())) == {pin}


def rows_of(path, columns):
    """The rows of a document's tables that have so many columns, without their heads."""
    lines = re.findall(r'^\|(.*)\|$', (ROOT / path).read_text(encoding='utf-8'), re.MULTILINE)
    rows = [[cell.strip() for cell in line.split('|')] for line in lines]
    return [row for row in rows if len(row) == columns and re.fullmatch(r'[\w .]*\d', row[0])]


def test_centres_in_the_conventions():
    rows = rows_of('docs/conventions.md', columns=5)
    assert [int(scale) for scale, *_ in rows] == [1, 2, 3, 4, 8]
    for scale, size, *centres in rows:
        assert int(size) == default_kernel_size(int(scale))
        expected = [kernel_centre(int(size), int(scale), convention) for convention in CONVENTIONS]
        assert [float(centre) for centre in centres] == expected


def gaussian(variance):
    offset = np.arange(19) - 7.5
    profile = np.exp(-(offset**2) / (2 * variance))
    return np.outer(profile, profile) / profile.sum() ** 2


def test_kernel_figures_in_the_conventions():
    rows = rows_of('docs/conventions.md', columns=2)
    assert len(rows) == 3
    for label, psnr in rows:
        variance = float(label.removeprefix('variance '))
        assert calculate_kernel_psnr(gaussian(variance), gaussian(5)) == pytest.approx(float(psnr), abs=0.05)
    pixel, uniform = np.zeros((19, 19)), np.full((19, 19), 1 / 19**2)
    pixel[9, 9] = 1
    assert calculate_kernel_psnr(pixel, uniform) == pytest.approx(25.6, abs=0.05)
    moved = np.roll(gaussian(2), (3, 3), (0, 1))
    assert calculate_kernel_ncc(gaussian(2), moved) == pytest.approx(1, abs=1e-3)
    assert calculate_kernel_psnr(gaussian(2), moved) < 45


@pytest.mark.parametrize('path', sorted((ROOT / 'options/test').glob('*.yml')), ids=lambda path: path.stem)
def test_protocol_in_the_conventions(path):
    options = yaml.safe_load(path.read_text(encoding='utf-8'))
    for name, metric in options['val'].get('metrics', {}).items():
        if name in ('psnr', 'ssim'):
            assert metric['crop_border'] == options['scale'] and metric['test_y_channel'] is True


def files_of_tutorial():
    """The code blocks of the tutorial that begin with the name of a file."""
    text = (ROOT / 'docs/tutorial.md').read_text(encoding='utf-8')
    blocks = re.findall(r'^```\w+\n# ([\w/]+\.\w+)\n(.*?)^```', text, re.MULTILINE | re.DOTALL)
    return dict(blocks), re.findall(r'^(python .*)$', text, re.MULTILINE)


@pytest.fixture
def photos(tmp_path):
    for index in range(2):
        write_image(tmp_path / f'photos/{index}.png', skimage.data.astronaut()[40 * index :][:48, 200:240, ::-1].copy())


def run(commands, folder, *paths):
    """Run command lines that begin with ``python -m`` or ``python FILE`` one after the other in a process of its own.

    Most of the time of such a command is spent on importing torch and BasicSR, so that the commands share a process.
    """
    code = (
        'import json, runpy, sys\n'
        'for argv in json.loads(sys.argv[1]):\n'
        '    sys.argv = argv[1:] if argv[0] == "-m" else argv\n'
        '    try:\n'
        '        (runpy.run_module if argv[0] == "-m" else runpy.run_path)(sys.argv[0], run_name="__main__")\n'
        '    except SystemExit as error:\n'
        '        assert not error.code, (argv, error.code)\n'
    )
    environment = os.environ | {'PYTHONPATH': os.pathsep.join(map(str, (*paths, ROOT))), 'OMP_NUM_THREADS': '1'}
    arguments = [sys.executable, '-c', code, json.dumps([shlex.split(command)[1:] for command in commands])]
    done = subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]


def means(folder, name):
    return json.loads((folder / f'results/{name}/metrics/photos.json').read_text())['means']


def test_tutorial_inside_the_package(photos, tmp_path):
    package = Path(dkp_plugin.__file__).parent
    shutil.copytree(package, tmp_path / 'dkp_plugin', ignore=shutil.ignore_patterns('weights', '__pycache__'))
    (tmp_path / 'dkp_plugin/archs/weights').symlink_to(package / 'archs/weights')
    files, commands = files_of_tutorial()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    first, second = (command for command in commands if '-m dkp_plugin.test' in command)
    run([first, f'{second} alternation:num_iter=1 network_g:step_size=1e-9'], tmp_path)
    # Thirty steps bring the image nearer to the truth and to the LR image than the enlarged LR image is.
    result, start = means(tmp_path, 'isotropic'), means(tmp_path, 'isotropic_40')
    assert result['psnr'] > start['psnr']
    assert result['lr_psnr'] > start['lr_psnr'] + 3
    kernel = scipy.io.loadmat(tmp_path / 'results/isotropic/kernels/photos/0.mat')['Kernel']
    assert kernel.shape == (11, 11) and kernel.sum() == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(kernel, kernel.T, atol=1e-9)  # round


@pytest.fixture
def outside(tmp_path):
    """The files of the tutorial in a folder of their own, with the line that imports them."""
    files, commands = files_of_tutorial()
    for name, text in files.items():
        (tmp_path / Path(name).name).write_text(text)
    (line,) = re.findall(r'^custom_imports: .*\n', (ROOT / 'docs/tutorial.md').read_text('utf-8'), re.MULTILINE)
    with (tmp_path / 'isotropic.yml').open('a') as file:
        file.write(line)
    return next(command for command in commands if '-m dkp_plugin.test' in command)


def test_tutorial_outside_the_package(photos, outside, tmp_path, start_process):
    """The modules are found in the current folder, and a wrong argument is refused."""
    _, *arguments = shlex.split(outside)[1:]
    process = start_process(*arguments, folder=tmp_path)
    assert process.wait() == 0, process.read()
    assert means(tmp_path, 'isotropic').keys() == {'psnr', 'kernel_psnr', 'lr_psnr', 'seconds'}

    path = tmp_path / 'isotropic.yml'
    path.write_text(path.read_text().replace('num_widths: 20', 'num_widths: 0'))
    process = start_process(*arguments, folder=tmp_path)
    assert process.wait() == 2
    (line,) = process.read().splitlines()
    assert re.fullmatch(r'error: isotropic\.yml:\d+: network_k: num_widths: 0 is not allowed: .*', line)


def test_tutorial_as_a_package(photos, outside, tmp_path):
    source, installed = tmp_path / 'source', tmp_path / 'installed'
    source.mkdir()
    for name in ('isotropic_estimator.py', 'landweber_restorer.py', 'pyproject.toml'):
        (tmp_path / name).rename(source / name)
    path = tmp_path / 'isotropic.yml'
    path.write_text(re.sub('^custom_imports.*$', '', path.read_text(), flags=re.MULTILINE))
    install = ['pip', 'install', '--no-index', '--no-deps', '--no-build-isolation', '-q', '--target', installed, source]
    subprocess.run([sys.executable, '-m', *install], check=True, capture_output=True, timeout=300)
    shutil.rmtree(source)
    compare = f'python {ROOT}/scripts/compare.py isotropic.yml --out comparison'  # it starts ``dkp_plugin.test``
    run([compare, 'python -m dkp_restore photos/0.png --opt isotropic.yml'], tmp_path, installed)
    assert means(tmp_path, 'isotropic').keys() == {'psnr', 'kernel_psnr', 'lr_psnr', 'seconds'}
    assert (tmp_path / 'comparison/report.html').is_file()
    assert (tmp_path / 'restored/0.png').is_file()
