import itertools

import pytest
import torch

from dkp_plugin.archs.image_prior import ImagePrior
from dkp_plugin.archs.tiled_prior import TiledPrior, blending_window, map_tiles, tile_starts


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


def test_a_function_of_positions_is_blended_by_the_windows():
    """Two tiles of 4 pixels on a row of 6, each mapped to a constant; weights sin^2(pi i / 5) by hand."""
    values = iter([torch.zeros(1, 1, 1, 4), torch.ones(1, 1, 1, 4)])
    blended = map_tiles(lambda part: next(values)[..., : part.shape[-2], :], torch.zeros(1, 1, 1, 6), 4, 2)
    inner, outer = 0.9045085, 0.3454915
    expected = [0, 0, outer / (inner + outer), inner / (inner + outer), 1, 1]
    torch.testing.assert_close(blended.flatten(), torch.tensor(expected), rtol=0, atol=1e-6)


def test_windows_rise_from_the_ends_to_the_middle():
    expected = [0.1464466, 0.5, 0.8535534, 1.0, 0.8535534, 0.5, 0.1464466]  # sin^2(pi i / 8)
    torch.testing.assert_close(blending_window(7), torch.tensor(expected))
