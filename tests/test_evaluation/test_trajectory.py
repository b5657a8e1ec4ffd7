"""Figures of what a run reached along the way."""

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


def test_images_are_kept_in_8_bits_and_apart_from_what_follows():
    trajectory = Trajectory(freq=0, clock=lambda: 1.5)
    assert not any(trajectory.is_due(n) for n in range(1, 10))
    x = torch.tensor([-0.1, 0.4999 / 255, 0.5001 / 255, 1.2]).view(1, 1, 2, 2).requires_grad_()
    trajectory.keep(3, x, torch.ones(1, 1, 1, 1, dtype=torch.float64))
    x.data.zero_()
    ((iteration, seconds, kept, kernel),) = trajectory.kept
    assert (iteration, seconds) == (3, 1.5)
    assert kept.dtype == torch.uint8 and kept.flatten().tolist() == [0, 0, 1, 255]
    assert kernel.dtype == torch.float32 and not kept.requires_grad
