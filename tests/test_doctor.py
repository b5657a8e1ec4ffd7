"""The doctor names what is broken and the command that mends it, whatever cannot be imported."""

import os
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
        # Pairs as their release notes have them.
        (dkp_doctor.check_pair('2.1.0', '0.16.2+cu121'), 'ok', ''),
        (dkp_doctor.check_pair('2.4.1+cu118', '0.19.0'), 'ok', ''),
        (dkp_doctor.check_pair('2.4.1', '0.17.0'), 'BROKEN', "pip install 'torchvision==0.19.*'"),
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
    assert lines[-1] == '3 broken, mend the first one first'
