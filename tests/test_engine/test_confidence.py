"""The verdict follows from numbers that can be worked out by hand."""

import pytest
import torch

from dkp_plugin.engine.confidence import inspect, judge


def test_the_result_need_not_explain_the_noise():
    lq = torch.full((1, 1, 64, 64), 0.5)
    y = lq + 0.02  # 34.0 dB
    doubtful, fine = judge(y, lq, None, 0.0), judge(y, lq, None, 0.02)
    assert doubtful.lr_psnr == pytest.approx(33.98, abs=0.01) and fine.lr_psnr == doubtful.lr_psnr
    assert doubtful.doubts == ['degraded result differs from the input, PSNR only 34.0 dB'] and doubtful.is_low
    assert not fine.is_low
    assert judge(lq, lq, 40.0, 0.0).doubts == ['uncertain kernel, expected PSNR only 40.0 dB']


def test_a_flat_photograph_raises_no_doubts_but_a_small_one_does():
    assert inspect(torch.full((1, 3, 64, 64), 0.5)).doubts == []
    assert inspect(torch.full((1, 3, 64, 20), 0.5)).doubts == ['few pixels, 20x64']
