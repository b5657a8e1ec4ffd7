import math

import pytest
import torch

from dkp_plugin.estimators import kernelgan_estimator
from dkp_plugin.estimators.base import KernelEstimator
from dkp_plugin.estimators.kernelgan_estimator import KernelGAN, apply_twice, regularisers
from dkp_plugin.host.errors import OptionError, UserError
from dkp_plugin.host.schema import build_network
from dkp_plugin.physics.degradation import Degradation, degrade
from dkp_plugin.physics.kernels import centre_of_mass, cubic_kernel


def test_regularisers_of_two_points_by_hand():
    kernel = torch.zeros(1, 1, 13, 13, dtype=torch.float64)
    kernel[..., 6, 6], kernel[..., 6, 12] = 0.36, 0.04
    penalties = regularisers(kernel, 6.5)
    assert penalties['sum_to_1'].item() == pytest.approx(0.6)
    assert penalties['boundaries'].item() == pytest.approx(0.36 * math.exp(-6) + 0.04)
    assert penalties['sparse'].item() == pytest.approx((0.6 + 0.2 + 167 * 1e-4) / 169, rel=1e-6)
    assert penalties['centre'].item() == pytest.approx(math.hypot(0.5, 6.6 - 6.5))  # (0.36 * 6 + 0.04 * 12) / 0.4 = 6.6


def test_with_the_papers_weights_a_kernel_of_sum_1_is_better_than_none():
    weights = KernelGAN().weights
    kernels = {'bicubic': cubic_kernel(2, 13, 6.5), 'almost nothing': 1e-3 * cubic_kernel(2, 13, 6.5)}
    costs = {
        name: sum(weights[key] * value.item() for key, value in regularisers(kernel, 6.5).items())
        for name, kernel in kernels.items()
    }
    assert costs['bicubic'] < costs['almost nothing']


def test_x4_is_x2_applied_twice(rng):
    """The periodic border and anchors in the middle make the identity exact everywhere."""
    kernel = torch.rand(1, 1, 5, 5, generator=rng, dtype=torch.float64)
    x = torch.rand(1, 3, 32, 36, generator=rng, dtype=torch.float64)
    twice = apply_twice(kernel)
    assert twice.shape == (1, 1, 13, 13)
    torch.testing.assert_close(degrade(x, twice, 4), degrade(degrade(x, kernel, 2), kernel, 2))


@pytest.mark.parametrize('convention', ['aligned', 'released'])
@pytest.mark.parametrize('scale', [2, 4])
def test_kernel_lies_where_the_convention_has_it(scale, convention, monkeypatch, rng):
    """Of a blob that the game might end with, at KernelGAN's centre 6.5 for x2, the grid cuts off next to nothing."""
    index = torch.arange(13) - 6.5
    blob = torch.exp(-0.5 * (index**2 + index[:, None] ** 2))[None, None]
    monkeypatch.setattr(KernelGAN, '_train', lambda *_: blob - 1e-4)  # of any sum, and somewhere negative
    degradation = Degradation(scale, 4 * scale + 3, convention)
    estimator = KernelGAN()
    estimator.reset(torch.rand(1, 3, 30, 30, generator=rng), degradation, rng)
    kernel = estimator()
    assert kernel.shape[-1] == degradation.kernel_size and kernel.min() >= 0
    assert kernel.sum().item() == pytest.approx(1, abs=1e-5)
    torch.testing.assert_close(
        centre_of_mass(kernel), torch.full((1, 2), degradation.centre, dtype=kernel.dtype), rtol=0, atol=0.02
    )


def test_the_game_starts_from_the_bicubic_kernel(rng):
    degradation = Degradation(2, 11)
    estimator = KernelGAN()
    estimator.num_iter = 0
    estimator.reset(torch.rand(1, 3, 40, 40, generator=rng), degradation, rng)
    bicubic = cubic_kernel(2, 11, degradation.centre).clamp_min(0)
    assert (estimator() - bicubic / bicubic.sum()).abs().max() < 1e-3
    assert estimator.step(torch.zeros(1, 3, 80, 80)) == {}


def test_the_game_moves_the_kernel_and_keeps_its_sum(photo, rng):
    start = cubic_kernel(2, 13, 6.5)
    kernel = KernelGAN(num_iter=30, num_feat=16, crop_size=40)._train(photo, rng)
    assert kernel.shape == (1, 1, 13, 13) and not kernel.requires_grad
    assert kernel.sum().item() == pytest.approx(1, abs=0.05)
    assert (kernel - start).abs().max() > 1e-2


def test_small_images_are_continued_periodically():
    image = torch.arange(12.0).view(1, 1, 3, 4)
    continued = kernelgan_estimator._continued(image, 5)
    assert continued.shape == (1, 1, 6, 8)
    assert torch.equal(continued[..., 3:, 4:], image) and torch.equal(continued[..., :3, :4], image)


def test_random_crops_reach_every_corner(rng):
    image = torch.arange(20.0).view(1, 1, 4, 5)
    crops = [kernelgan_estimator._random_crop(image, 3, rng) for _ in range(100)]
    assert {crop[0, 0, 0, 0].item() for crop in crops} == {0, 1, 2, 5, 6, 7}
    assert all(crop.shape == (1, 1, 3, 3) for crop in crops)


def test_mistakes_are_named(rng):
    with pytest.raises(OptionError, match='network_k: crop_size: 26 is smaller than 27'):
        build_network({'type': 'KernelGAN', 'crop_size': 26}, 'network_k', KernelEstimator)
    with pytest.raises(UserError, match='scale: 3 is not possible with KernelGAN; allowed: 2, 4'):
        KernelGAN().reset(torch.rand(1, 3, 30, 30), Degradation(3, 15), rng)
