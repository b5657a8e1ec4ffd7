import itertools

import pytest
import torch

from dkp_plugin.archs.image_prior import ImagePrior
from dkp_plugin.archs.tiled_prior import TiledPrior, blending_window, tile_starts


class Pointwise(ImagePrior):
    """A denoiser that looks at single pixels, so that tiles cannot matter; it remembers the sizes that it saw."""

    def __init__(self):
        super().__init__()
        self.sizes = []

    def denoise(self, x, sigma, dtype, label):
        self.sizes.append(tuple(x.shape[-2:]))
        return x.square() * sigma.view(-1, 1, 1, 1)


@pytest.mark.parametrize(
    ('length', 'tile', 'overlap'), [(5, 8, 2), (8, 8, 2), (9, 8, 2), (14, 8, 2), (15, 8, 2), (100, 16, 5)]
)
def test_tiles_cover_the_image_and_overlap(length, tile, overlap):
    starts = tile_starts(length, tile, overlap)
    covered = {pixel for start in starts for pixel in range(start, start + tile)}
    assert covered >= set(range(length))
    if length > tile:
        assert starts[0] == 0 and starts[-1] + tile == length
        assert max(b - a for a, b in itertools.pairwise(starts)) <= tile - overlap


def test_tiles_of_a_pointwise_denoiser_leave_no_seam(rng):
    x = torch.rand(2, 3, 37, 20, generator=rng)
    sigma = torch.tensor([0.5, 2.0])
    net = Pointwise()
    tiled = TiledPrior(net, tile=16, overlap=4).denoise(x, sigma)
    assert torch.allclose(tiled, x.square() * sigma.view(2, 1, 1, 1), atol=1e-6)
    assert set(net.sizes) == {(16, 16)}


def test_a_small_image_is_one_tile(rng):
    net = Pointwise()
    TiledPrior(net, 256).denoise(torch.rand(1, 3, 40, 60, generator=rng), torch.ones(1))
    assert net.sizes == [(40, 60)]


def test_windows_rise_from_the_ends_to_the_middle():
    expected = [0.1464466, 0.5, 0.8535534, 1.0, 0.8535534, 0.5, 0.1464466]  # sin^2(pi i / 8)
    torch.testing.assert_close(blending_window(7), torch.tensor(expected))
