import pytest
import torch

from dkp_plugin.archs.symmetries import NUM_SYMMETRIES, transform, transform_back, transform_kernel
from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.physics.kernel_families import build_family
from dkp_plugin.physics.kernels import crop_kernel


def test_transforms_are_the_eight_symmetries_and_invertible(rng):
    x = torch.rand(2, 3, 4, 5, generator=rng)
    assert all(torch.equal(transform_back(transform(x, index), index), x) for index in range(NUM_SYMMETRIES))
    square = torch.arange(4.0).view(1, 1, 2, 2)
    assert len({tuple(transform(square, index).flatten().tolist()) for index in range(NUM_SYMMETRIES)}) == 8


def test_a_quarter_turn_and_a_mirror_by_hand():
    square = torch.tensor([[[[1.0, 2], [3, 4]]]])
    assert transform(square, 1).tolist() == [[[[2, 4], [1, 3]]]]
    assert transform(square, 4).tolist() == [[[[2, 1], [4, 3]]]]
    assert transform(square, 5).tolist() == [[[[4, 2], [3, 1]]]]


@pytest.mark.parametrize('scale', [1, 2, 3, 4])
@pytest.mark.parametrize('index', range(NUM_SYMMETRIES))
def test_the_transformed_kernel_blurs_the_transformed_image(scale, index, rng):
    """A(T x, T k) = T A(x, k)."""
    degradation = Degradation(scale, 11)
    family = build_family('line', scale, 11, degradation.centre)
    kernel = crop_kernel(family.render(family.sample(1, rng)), 11 + 2 * (scale - 1))
    x = torch.rand(1, 3, 24, 36, generator=rng)
    turned = Degradation(scale, kernel.shape[-1]).A(transform(x, index), transform_kernel(kernel, index, scale))
    torch.testing.assert_close(turned, transform(degradation.A(x, kernel), index))
