"""The misfit of results made by hand."""

import pytest
import torch

from dkp_plugin.engine.misfit import measure_misfit
from dkp_plugin.physics.degradation import Degradation

DELTA = torch.zeros(1, 1, 11, 11)
DELTA[..., 5, 5] = 1


def keep(image, noise):
    return image


@pytest.mark.parametrize('scale', [1, 2, 4])
def test_a_result_that_the_prior_keeps_has_none(scale, rng):
    x = torch.rand(1, 3, 40 * scale, 48 * scale, generator=rng)
    degradation = Degradation(scale, 11)
    assert measure_misfit(x, degradation.A(x, DELTA), DELTA, degradation, keep) == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize('noise', [0, 2, 8])
def test_it_is_what_the_prior_takes_away_beyond_white_noise(noise, rng):
    columns = torch.arange(192) % 2
    x = (0.5 + 24 / 255 * (columns - 0.5)).expand(1, 3, 192, 192).clone()  # steps of 24 to the right, none down
    degradation = Degradation(1, 11, noise=noise / 255)
    lq = x + noise / 255 * torch.randn(x.shape, generator=rng)
    assert measure_misfit(x, lq, DELTA, degradation, keep) < 0.015 * noise + 1e-4

    def darken_a_part(image, sigma):  # by 6 out of 255
        image = image.clone()
        image[..., 66:126, 66:126] -= 6 / 255
        return image

    share = 60**2 / (192 - 2 * degradation.reach) ** 2
    expected = (36 * share - 0.04) ** 0.5 / 24
    if noise == 0:
        assert measure_misfit(x, lq, DELTA, degradation, darken_a_part) == pytest.approx(expected, rel=0.02)
    else:
        assert measure_misfit(x, lq, DELTA, degradation, darken_a_part) > 0.5 * expected


def test_small_images_have_none():
    assert measure_misfit(torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 16, 16), DELTA, Degradation(1, 15), keep) is None
