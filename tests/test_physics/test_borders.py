"""Images are surrounded by their mirror image, and cut out again."""

import math

import numpy as np
import torch

from dkp_plugin.physics.borders import crop_border, mirror_border, taper_border
from dkp_plugin.physics.degradation import Degradation


def test_borders_are_mirrored_as_by_numpy(rng):
    image = torch.rand(1, 2, 5, 7, generator=rng)
    expected = np.pad(image.numpy(), ((0, 0), (0, 0), (3, 3), (3, 3)), mode='symmetric')
    np.testing.assert_array_equal(mirror_border(image, 3), expected)
    torch.testing.assert_close(crop_border(mirror_border(image, 3), 3), image)


def test_a_tapered_border_obeys_the_periodic_model_at_its_ends(rng):
    """A ramp: its ends differ by 1, and the forward model leaves no step between them."""
    degradation = Degradation(2, 11, margin=5)
    kernel = torch.zeros(1, 1, 11, 11)
    kernel[..., 3:10, 3:10] = 1 / 49
    ramp = torch.linspace(0, 1, 40).expand(1, 3, 30, 40)
    lq = mirror_border(ramp, 5)
    tapered = taper_border(lq, kernel, degradation)
    torch.testing.assert_close(crop_border(tapered, 5), ramp)
    step = [(image[..., 15, 0] - image[..., 15, -1]).abs().max() for image in (lq, tapered)]
    assert step[0] > 0.7 and step[1] < 0.6 * step[0]
    model = degradation.A(degradation.enlarge(lq), kernel)
    weight = math.sin(math.pi / 20) ** 2  # of the outermost of five pixels, by hand
    expected = weight * lq[..., 20, 0] + (1 - weight) * model[..., 20, 0]
    torch.testing.assert_close(tapered[..., 20, 0], expected)


def test_periodic_borders_stay_as_they_are(rng):
    lq = torch.rand(1, 3, 12, 14, generator=rng)
    assert taper_border(lq, torch.ones(1, 1, 3, 3) / 9, Degradation(2, 11)) is lq
