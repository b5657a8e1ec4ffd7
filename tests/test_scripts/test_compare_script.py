"""The command line of scripts/compare.py; what it does is tested in tests/test_comparison."""

import pytest


def test_mistakes_are_one_line(run_script, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, _, error = run_script('compare', 'absent.yml', '--out', 'out')
    assert status == 2 and error == 'error: absent.yml: No such file or directory\n'
    status, _, error = run_script('compare', '--suite', 'absent', '--out', 'out')
    assert status == 2 and error.startswith('error: --suite: absent is not one of') and error.count('\n') == 1
    with pytest.raises(SystemExit, match='2'):
        run_script('compare', '--out', 'out')
    with pytest.raises(SystemExit, match='2'):
        run_script('compare', 'absent.yml', '--out', 'out', '--pictures', '-1')


def test_failures_are_a_line_each_and_exit_status_1(run_script, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'x.yml').write_text(
        'name: x\nscale: 4\nmanual_seed: 0\nnetwork_k: {type: DKP}\nnetwork_g: {type: DIP}\n'
        'datasets: {test_1: {name: Set5, type: BlindSRDataset, dataroot_lq: nowhere}}\n'
    )
    status, output, error = run_script('compare', '*.yml', '--out', 'out')
    assert status == 1 and error == 'failed: x.yml: dataroot_lq: nowhere is not a folder\n'
    assert output.strip().endswith('report.html')
