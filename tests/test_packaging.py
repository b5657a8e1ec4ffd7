"""The source distribution is whole, the wheel holds what the package needs, and both make the same installation."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml

import dkp_plugin
from dkp_plugin.io.images import write_image

ROOT = Path(__file__).parents[1]
OPTIONS = ROOT / 'options'
CHEAP = """
model_type: BlindSRModel
scale: 2
network_k: {type: FixedKernel, source: delta}
network_g: {type: Diffusion, num_steps: 2, num_final_steps: 1}
"""


def run(*arguments, folder, path=''):
    environment = os.environ | {'PYTHONPATH': str(path), 'OMP_NUM_THREADS': '1'}
    arguments = [sys.executable, *map(str, arguments)]
    done = subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope='module')
def tracked():
    """The files of the repository."""
    done = subprocess.run(['git', 'ls-files', '-z'], cwd=ROOT, capture_output=True, text=True)
    if done.returncode or not (ROOT / '.git').exists():
        pytest.skip('not a git repository')
    return [name for name in done.stdout.split('\0') if name and (ROOT / name).is_file()]


@pytest.fixture(scope='module')
def archives(tracked, tmp_path_factory):
    """The source distribution of the repository, a wheel of the repository, and one of the source distribution."""
    folder = tmp_path_factory.mktemp('build')
    for name in tracked:
        target = folder / 'repository' / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, target)
    build = 'import sys; from setuptools import build_meta; print(getattr(build_meta, sys.argv[1])(sys.argv[2]))'
    run('-c', build, 'build_sdist', folder, folder=folder / 'repository')
    (sdist,) = folder.glob('*.tar.gz')
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter='data')
    wheels = []
    for name, tree in (('first', folder / 'repository'), ('second', folder / sdist.name.removesuffix('.tar.gz'))):
        (folder / name).mkdir()
        run('-c', build, 'build_wheel', folder / name, folder=tree)
        wheels += (folder / name).glob('*.whl')
    return sdist, *wheels


def test_the_source_distribution_is_the_whole_repository(archives, tracked):
    with tarfile.open(archives[0]) as archive:
        names = {name.partition('/')[2] for name in archive.getnames()}
    assert not set(tracked) - names


def test_both_roads_lead_to_the_same_wheel(archives):
    contents = []
    for path in archives[1:]:
        with zipfile.ZipFile(path) as archive:
            contents.append({name: archive.read(name) for name in archive.namelist() if 'RECORD' not in name})
    assert contents[0] == contents[1]
    shipped = {str(path.relative_to(ROOT)) for path in (ROOT / 'dkp_plugin').rglob('*') if path.is_file()}
    shipped = {name for name in shipped if '__pycache__' not in name}
    shipped |= {f'dkp_plugin/options/{path.relative_to(OPTIONS)}' for path in OPTIONS.rglob('*.*')}
    assert shipped | {'dkp_command.py', 'dkp_doctor.py', 'dkp_restore.py'} == {
        name for name in contents[0] if '.dist-info' not in name
    }


def test_the_description_has_no_relative_links(archives):
    with zipfile.ZipFile(archives[1]) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith('/METADATA'))
        text = archive.read(name).decode()
    head, _, description = text.partition('\n\n')
    assert f'Version: {dkp_plugin.__version__}' in head and 'Project-URL: BasicSR, https://' in head
    assert 'scikit-image' not in re.sub(r'Requires-Dist: .*extra == .*', '', head)
    assert description.startswith('# dkp_plugin') and not re.search(r'\]\((?!https?://|#)', description)


def test_the_installed_wheel_restores_a_photograph(archives, photo, tmp_path):
    installed = tmp_path / 'installed'
    run('-m', 'pip', 'install', '-q', '--no-index', '--no-deps', '--target', installed, archives[2], folder=tmp_path)
    assert {path.name for path in (installed / 'bin').iterdir()} >= {'dkp', 'dkp-doctor', 'dkp-restore'}
    where = run(
        '-c',
        "import importlib.util; print(importlib.util.find_spec('dkp_plugin').origin)",
        folder=tmp_path,
        path=installed,
    )
    assert Path(where.strip()).is_relative_to(installed)
    write_image(tmp_path / 'a.png', (photo[0, :, :16, :16] * 255).byte().permute(1, 2, 0).numpy())
    (tmp_path / 'cheap.yml').write_text(CHEAP)
    run(installed / 'bin/dkp-restore', 'a.png', '--opt', 'cheap.yml', '--report', folder=tmp_path, path=installed)
    assert (tmp_path / 'restored/a.png').is_file() and (tmp_path / 'restored/report.html').is_file()

    # An option file of the package by its name, without a copy of the repository.
    dkp = installed / 'bin/dkp'
    assert 'DiffDKP_gaussian_x4' in run(dkp, 'options', folder=tmp_path, path=installed)
    (tmp_path / 'datasets/real').mkdir(parents=True)
    shutil.copy(tmp_path / 'a.png', tmp_path / 'datasets/real')
    quick = '--force_yml', 'num_gpu=0', 'network_g:num_steps=2', 'network_g:num_final_steps=1'
    run(dkp, 'test', '-opt', 'DiffDKP_real_x4', *quick, folder=tmp_path, path=installed)
    assert (tmp_path / 'results/DiffDKP_real_x4/visualization/real/a_DiffDKP_real_x4.png').is_file()


def test_the_citation_has_the_version():
    citation = yaml.safe_load((ROOT / 'CITATION.cff').read_text(encoding='utf-8'))
    assert citation['version'] == dkp_plugin.__version__ and citation['cff-version'] == '1.2.0'
