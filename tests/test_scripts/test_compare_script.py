"""The command line of scripts/compare.py; what it does is tested in tests/test_evaluation/test_comparison."""

import numpy as np
import pytest

from dkp_plugin.io.images import write_image


def test_mistakes_are_one_line(run_script, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, _, error = run_script('compare', 'absent.yml', '--out', 'out')
    assert status == 2 and error == 'error: absent.yml: No such file or directory\n'
    status, _, error = run_script('compare', '--suite', 'absent', '--out', 'out')
    assert status == 2 and error.startswith('error: --suite: absent is not one of') and error.count('\n') == 1
    status, _, error = run_script('compare', '--out', 'out')
    assert (status, error) == (2, 'error: give option files or --suite\n')
    with pytest.raises(SystemExit, match='2'):
        run_script('compare', 'absent.yml', '--out', 'out', '--pictures', '-1')


OPTIONS = """\
name: {name}
model_type: BlindSRModel
scale: 2
num_gpu: 0
manual_seed: 0
network_k: {{type: FixedKernel, source: bicubic}}
network_g: {{type: Bicubic}}
datasets: {{test_1: {{name: Tiny, type: BlindSRDataset, dataroot_lq: {folder}}}}}
"""


def test_mistakes_in_any_file_stop_the_comparison_before_the_first_run(run_script, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_image(tmp_path / 'LR/a.png', np.zeros((16, 16, 3), np.uint8))
    (tmp_path / 'x.yml').write_text(OPTIONS.format(name='x', folder='LR'))
    (tmp_path / 'y.yml').write_text(OPTIONS.format(name='y', folder='nowhere'))
    status, _, error = run_script('compare', '*.yml', '--out', 'out')
    assert status == 2 and error == 'error: y.yml:8: datasets: test_1: dataroot_lq: nowhere is not a folder\n'
    assert not (tmp_path / 'out').exists() and not (tmp_path / 'results').exists()


def test_failures_are_a_line_each_and_exit_status_1(run_script, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_image(tmp_path / 'LR/a.png', np.zeros((4, 4, 3), np.uint8))
    (tmp_path / 'x.yml').write_text(OPTIONS.format(name='x', folder='LR'))
    status, output, error = run_script('compare', '*.yml', '--out', 'out', '--only', 'Tiny')
    (line,) = (line for line in error.splitlines() if line.startswith('failed: x: '))
    assert status == 1 and line == 'failed: x: Tiny: a: 4x4 pixels are too few; allowed: at least 16x16'
    assert output.strip().endswith('report.html')
