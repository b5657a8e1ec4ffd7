"""The verdict follows from numbers that can be worked out by hand."""

import pytest
import torch

from dkp_plugin.engine.confidence import LOW_KERNEL_PSNR, MISFITTING, SHARPENED, inspect, judge
from dkp_plugin.physics.degradation import SCALES


def test_the_result_need_not_explain_the_noise():
    lq = torch.full((1, 1, 64, 64), 0.5)
    y = lq + 0.02  # 34.0 dB
    doubtful, fine = judge(y, lq, None, 0.0, 4), judge(y, lq, None, 0.02, 4)
    assert doubtful.lr_psnr == pytest.approx(33.98, abs=0.01) and fine.lr_psnr == doubtful.lr_psnr
    (doubt,) = doubtful.doubts
    assert doubt == 'the result does not explain the photograph, PSNR only 34.0 dB; try a crop' and doubtful.is_low
    assert not fine.is_low


def test_a_flat_photograph_raises_no_doubts_but_a_small_one_does():
    assert inspect(torch.full((1, 3, 64, 64), 0.5)).doubts == []
    assert inspect(torch.full((1, 3, 64, 20), 0.5)).doubts == ['few pixels, 20x64']


@pytest.mark.parametrize('scale', SCALES)
def test_each_scale_has_its_limit_of_the_kernel(scale):
    lq = torch.full((1, 1, 64, 64), 0.5)
    assert not judge(lq, lq, LOW_KERNEL_PSNR[scale] + 0.1, 0.0, scale).is_low
    (doubt,) = judge(lq, lq, LOW_KERNEL_PSNR[scale] - 0.1, 0.0, scale).doubts
    assert doubt.startswith('the blur is uncertain, expected kernel PSNR only ')


@pytest.mark.parametrize(
    ('misfit', 'halos', 'strength', 'doubts'),
    [
        (None, 0.9, 1, []),  # halos alone say too little
        (0.02, 0.9, 1, []),
        (0.03, 0.0, 0.5, [MISFITTING]),
        (0.03, 0.3, 0.25, [SHARPENED]),
        (0.4, 0.0, 0.125, [MISFITTING]),
    ],
)
def test_a_high_misfit_makes_the_result_cautious(misfit, halos, strength, doubts):
    lq = torch.full((1, 1, 64, 64), 0.5)
    confidence = judge(lq, lq, None, 0.0, 4, misfit, halos)
    assert confidence.strength == pytest.approx(strength) and confidence.doubts == doubts


@pytest.mark.parametrize(
    ('halos', 'scale', 'strength', 'num_doubts'), [(0.0, 2, 1, 1), (0.3, 2, 0.25, 2), (0.3, 3, 0.25, 2), (0.3, 4, 1, 1)]
)
def test_an_uncertain_kernel_with_halos_makes_results_of_small_scales_cautious(halos, scale, strength, num_doubts):
    lq = torch.full((1, 1, 64, 64), 0.5)
    confidence = judge(lq, lq, 40.0, 0.0, scale, 0.0, halos)
    assert confidence.strength == strength and len(confidence.doubts) == num_doubts
    assert (confidence.doubts[0] == SHARPENED) == (strength < 1)
    assert judge(lq, lq, 40.0, 0.0, scale, None, halos).strength == 1  # of other methods nothing is known
