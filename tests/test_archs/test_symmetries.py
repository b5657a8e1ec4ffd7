import torch

from dkp_plugin.archs.symmetries import transform, transform_back


def test_transforms_are_the_eight_symmetries_and_invertible(rng):
    x = torch.rand(2, 3, 4, 5, generator=rng)
    assert all(torch.equal(transform_back(transform(x, index), index), x) for index in range(8))
    square = torch.arange(4.0).view(1, 1, 2, 2)
    assert len({tuple(transform(square, index).flatten().tolist()) for index in range(8)}) == 8
