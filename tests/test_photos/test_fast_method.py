"""Fast DKP, the default method, with the weights of the package at each of its scales."""

import numpy as np
import pytest
import skimage.data
import torch

import dkp_plugin
from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.physics.kernel_families import GaussianFamily
from dkp_plugin.physics.kernels import default_kernel_size
from dkp_plugin.restorers.one_pass_restorer import OnePass


def psnr(found, true):
    inner = slice(8, -8), slice(8, -8)
    return -10 * np.log10(np.mean((found[inner] / 255.0 - true[inner] / 255.0) ** 2))


def blurred_and_enlarged(hr, scale):
    """The LR image of a Gaussian of variance s^2 / 3, and its bicubic enlargement, 8 bits each."""
    degradation = Degradation(scale, default_kernel_size(scale))
    variance = scale**2 / 3
    family = GaussianFamily(scale, degradation.kernel_size, degradation.centre, (variance, variance))
    x = torch.from_numpy(hr.copy()).permute(2, 0, 1)[None] / 255
    y = degradation.A(x, family.render(torch.full((1, 3), 0.5)))
    images = y[0], degradation.enlarge(y)[0]
    return [(255 * image).round().clamp(0, 255).byte().permute(1, 2, 0).numpy() for image in images]


@pytest.mark.parametrize('preset', ['fast', 'balanced'])
@pytest.mark.parametrize('scale', OnePass.scales)
def test_it_beats_bicubic_enlargement_at_every_scale(scale, preset):
    hr = skimage.data.astronaut()[8:128, 160:280]
    lq, bicubic = blurred_and_enlarged(hr, scale)
    result = dkp_plugin.restore(lq, scale=scale, preset=preset, noise=0)
    assert result.image.shape == hr.shape and result.strength == 1
    assert psnr(result.image, hr) > psnr(bicubic, hr) + 1
