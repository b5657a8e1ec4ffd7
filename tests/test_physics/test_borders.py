"""Images are surrounded by their mirror image, and cut out again."""

import numpy as np
import torch

from dkp_plugin.physics.borders import crop_border, mirror_border


def test_borders_are_mirrored_as_by_numpy(rng):
    image = torch.rand(1, 2, 5, 7, generator=rng)
    expected = np.pad(image.numpy(), ((0, 0), (0, 0), (3, 3), (3, 3)), mode='symmetric')
    np.testing.assert_array_equal(mirror_border(image, 3), expected)
    torch.testing.assert_close(crop_border(mirror_border(image, 3), 3), image)
