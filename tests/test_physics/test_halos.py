"""Edges drawn by hand, with and without halos."""

import pytest
import torch

from dkp_plugin.physics.halos import halo_share

RISE = [0.25, 0.25, 0.25, 0.25, 0.4, 0.6, 0.75, 0.75, 0.75, 0.75]  # a step of 0.5


def bars(profile, is_column=False):
    """An image whose every row is: dark, the profile, bright, the profile backwards, dark."""
    row = [profile[0]] * 16 + profile + [profile[-1]] * 16 + profile[::-1] + [profile[0]] * 16
    image = torch.tensor(row).repeat(40, 1).expand(1, 3, -1, -1)
    return image.transpose(2, 3) if is_column else image


def with_halos(low, high):
    return [*RISE[:3], RISE[3] - low, *RISE[4:6], RISE[6] + high, *RISE[7:]]


@pytest.mark.parametrize('is_column', [False, True])
@pytest.mark.parametrize(
    ('low', 'high', 'share'),
    [(0, 0, 0), (0.05, 0.05, 1), (0.02, 0.02, 0), (0.05, 0, 0), (0, 0.05, 0)],  # of 0.5: 10, 4 percent
)
def test_both_sides_must_overshoot(low, high, share, is_column):
    assert halo_share(bars(with_halos(low, high), is_column)) == share


def test_faint_steps_and_texture_say_nothing(rng):
    assert halo_share(0.5 + 0.1 * (bars(with_halos(0.05, 0.05)) - 0.5)) == 0
    assert halo_share(torch.rand(1, 3, 64, 64, generator=rng)) < 0.2


@pytest.mark.parametrize('size', [(16, 16), (17, 200), (3, 3)])
def test_small_images_say_nothing(size, rng):
    assert halo_share(torch.rand(1, 3, *size, generator=rng)) == 0
