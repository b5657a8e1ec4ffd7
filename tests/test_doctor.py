"""The doctor names what is broken and the command that mends it, whatever cannot be imported."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
import dkp_doctor  # noqa: E402


@pytest.mark.parametrize(
    ('finding', 'status', 'fix'),
    [
        (dkp_doctor.check_python((3, 13)), 'BROKEN', 'use Python 3.10 to 3.12'),
        (dkp_doctor.check_python((3, 11)), 'ok', ''),
        (dkp_doctor.check_pair('2.15.0', '0.29.2', '2.15.0'), 'ok', ''),
        (dkp_doctor.check_pair('2.1.0', '0.16.2+cu121', '2.1.0'), 'ok', ''),
        (dkp_doctor.check_pair('2.4.1+cu118', '0.19.1', '2.4.1'), 'ok', ''),
        (dkp_doctor.check_pair('2.4.1', '0.19.1', None), 'ok', ''),
        (dkp_doctor.check_pair('2.4.1+cpu', '0.17.0', '2.2.0'), 'BROKEN', "pip install 'torch==2.4.1' torchvision"),
        (dkp_doctor.check_basicsr('1.4.2'), 'ok', ''),
        (dkp_doctor.check_basicsr('1.3.5'), 'BROKEN', 'pip install --no-build-isolation --no-deps basicsr==1.4.2'),
        (dkp_doctor.check_basicsr(None), 'BROKEN', 'pip install --no-build-isolation --no-deps basicsr==1.4.2'),
        (dkp_doctor.check_opencv(['opencv-python']), 'ok', ''),
        (
            dkp_doctor.check_opencv(['opencv-python', 'opencv-python-headless']),
            'warning',
            'pip uninstall -y opencv-python-h',
        ),
    ],
)
def test_findings_come_with_their_fix(finding, status, fix):
    assert finding.status == status and finding.fix.startswith(fix) and bool(finding.fix) == bool(fix)


@pytest.mark.parametrize(
    ('requirements', 'version'),
    [
        (['numpy', 'torch (==2.13.0)', 'pillow (!=8.3.*,>=5.3.0)'], '2.13.0'),
        (['torch==2.15.0', 'numpy'], '2.15.0'),
        (['torch==2.1.0+cu121 ; platform_system == "Linux"'], '2.1.0+cu121'),
        (['torch', 'torchdata==0.5'], None),
        (None, None),
    ],
)
def test_what_torchvision_says_of_torch(requirements, version, monkeypatch):
    monkeypatch.setattr(dkp_doctor.metadata, 'requires', lambda name: requirements)
    assert dkp_doctor.torch_for_torchvision() == version


def test_needed_packages_are_those_of_setup_py():
    text = (ROOT / 'setup.py').read_text()
    required = set(re.findall(r"'([\w-]+)", re.search(r'install_requires=\[(.*?)\],\n', text, re.DOTALL).group(1)))
    assert set(dkp_doctor.NEEDED) | {'torch', 'torchvision', 'setuptools'} == required


def test_methods_are_listed(capsys):
    assert dkp_doctor.main(['--methods']) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:2] == ['name', 'kind']
    assert {line.split()[0] for line in lines[1:]} >= {'DKP', 'FKP', 'Diffusion', 'DIP'}


@pytest.mark.parametrize('streams', ['2>&-', '>&- 2>&-'])
def test_closed_streams_are_no_error(streams):
    command = f'{sys.executable} {ROOT / "dkp_doctor.py"} --methods {streams}'
    assert subprocess.run(command, shell=True, stdout=subprocess.DEVNULL).returncode == 0


def test_it_works_where_neither_torch_nor_the_package_can_be_imported(tmp_path):
    for name in ('torch', 'torchvision'):
        (tmp_path / f'{name}.py').write_text(f"raise ImportError('{name} lies in pieces')")
    environment = os.environ | {'PYTHONPATH': os.pathsep.join([str(tmp_path), str(ROOT)])}
    process = subprocess.run(
        [sys.executable, str(ROOT / 'dkp_doctor.py')], env=environment, capture_output=True, text=True
    )
    assert process.returncode == 1 and process.stderr == ''
    lines = process.stdout.splitlines()
    index = lines.index('BROKEN  torch: ImportError: torch lies in pieces')
    assert lines[index + 1] == '          fix: pip install torch torchvision'
    assert any(line.startswith('BROKEN  dkp_plugin: ') for line in lines)
    assert lines[-1] == '3 broken; mend the first one first'
