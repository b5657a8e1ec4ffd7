"""``val: {curve_freq: n}``: the figures of every n-th iteration."""

import json
import time

import numpy as np
import pytest
import torch

from dkp_plugin.evaluation.trajectory import Trajectory


def test_what_was_kept_is_scored_with_the_metrics_of_the_option_file():
    # The image is wrong by 51 levels everywhere, so that PSNR = 20 log10(255 / 51) = 20 log10(5).
    trajectory = Trajectory(freq=5, clock=time.perf_counter)
    assert [n for n in range(1, 12) if trajectory.is_due(n)] == [5, 10]
    x, kernel = torch.full((1, 3, 8, 8), 0.5), torch.full((1, 1, 3, 3), 1 / 9)
    gt = (x * 255).round() / 255
    trajectory.keep(5, gt + 51 / 255, kernel)
    trajectory.keep(10, gt - 51 / 255, kernel.roll(1, -1))
    delta = torch.zeros(1, 1, 3, 3)
    delta[..., 1, 1] = 1
    metrics = {
        'psnr': {'type': 'calculate_psnr', 'crop_border': 0, 'test_y_channel': False},
        'kernel_psnr': {'type': 'calculate_kernel_psnr'},
    }
    first, second = trajectory.score({'lq': gt[..., ::2, ::2], 'gt': gt, 'kernel_gt': delta}, metrics, scale=2)
    # Of the kernels: (8 (1/9)^2 + (8/9)^2) / 9 = 8/81.
    for row in (first, second):
        assert row['psnr'] == pytest.approx(20 * np.log10(5))
        assert row['kernel_psnr'] == pytest.approx(-10 * np.log10(8 / 81), abs=1e-5)
    assert (first['iteration'], second['iteration']) == (5, 10) and 0 <= first['seconds'] <= second['seconds']


def test_without_a_truth_there_are_no_figures_of_it():
    trajectory = Trajectory(freq=1, clock=time.perf_counter)
    trajectory.keep(1, torch.zeros(1, 3, 8, 8), torch.full((1, 1, 3, 3), 1 / 9))
    metrics = {'kernel_psnr': {'type': 'calculate_kernel_psnr'}, 'lr_psnr': {'type': 'calculate_lr_psnr'}}
    (row,) = trajectory.score({'lq': torch.zeros(1, 3, 4, 4)}, metrics, scale=2)
    assert row.keys() == {'iteration', 'seconds', 'lr_psnr'}


def test_the_last_row_is_the_result_and_the_result_is_what_it_was_without(options, run_test, tmp_path):
    def image():
        return (tmp_path / 'results/tiny/visualization/Tiny/a_tiny.png').read_bytes()

    assert run_test(options) == 0
    without = image()
    assert not (tmp_path / 'results/tiny/progress').exists()
    options['val']['curve_freq'] = 4
    assert run_test(options) == 0
    assert image() == without
    rows = json.loads((tmp_path / 'results/tiny/progress/Tiny/a.json').read_text())
    record = json.loads((tmp_path / 'results/tiny/metrics/Tiny.json').read_text())['images'][0]
    assert [row['iteration'] for row in rows] == [4, 8, 12]
    for name in ('psnr', 'kernel_psnr', 'lr_psnr'):
        assert rows[-1][name] == pytest.approx(record[name])
    assert rows[0]['psnr'] != rows[1]['psnr'] and rows[-1]['seconds'] <= record['seconds']


def test_negative_frequencies_are_refused(options, run_test, capsys):
    options['val']['curve_freq'] = -1
    assert run_test(options) == 2
    assert 'val:curve_freq: -1 is not allowed: input should be greater than or equal to 0' in capsys.readouterr().err
