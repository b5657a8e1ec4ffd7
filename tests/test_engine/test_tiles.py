"""Where tiles lie, and which part of an image is most informative."""

import pytest
import torch

from dkp_plugin.engine.tiles import even_tile, most_informative_place, tile_places


def test_the_part_with_the_edges_is_chosen(rng):
    image = torch.zeros(1, 3, 80, 120)
    image[..., 40:60, 90:110] = torch.rand(1, 3, 20, 20, generator=rng)
    crop = image[(..., *most_informative_place(image, 32))]
    assert crop.shape == (1, 3, 32, 32)
    assert crop.sum() == pytest.approx(image.sum().item(), rel=1e-5)  # all of the texture is in it
    assert most_informative_place(image, 200) == (slice(0, 80), slice(0, 120))
    assert image[(..., *most_informative_place(image, 100))].shape == (1, 3, 80, 100)


def test_tiles_cover_everything_and_overlap():
    covered = torch.zeros(100, 37)
    for place in tile_places((100, 37), 128, 4):
        covered[place] += 1
        assert covered[place].shape == (32, 32)
    assert covered.min() == 1 and covered.max() >= 4


def test_tiles_are_no_larger_than_their_number_asks_for():
    assert even_tile((1264, 1672), 1024) == 868  # two tiles that share 64 pixels: 2 * 868 - 64 = 1672
    assert even_tile((1264, 500), 1024) == 664
    assert even_tile((2000, 2000), 1032) == 1032
