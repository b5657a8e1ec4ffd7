import pytest
import torch
import torch.nn.functional as F

from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.restorers.bicubic_restorer import Bicubic


def restored(lq, scale, convention):
    restorer = Bicubic()
    restorer.reset(lq, Degradation(scale, 11, convention), torch.Generator())
    return restorer()


@pytest.mark.parametrize('scale', [2, 3, 4])
def test_on_the_aligned_grid_it_is_the_bicubic_interpolation_of_torch(scale):
    lq = torch.rand(1, 3, 12, 14, generator=torch.Generator().manual_seed(0))
    # With antialias torch has the cubic of -0.5, as MATLAB and Pillow; without, that of -0.75, as OpenCV.
    expected = F.interpolate(lq, scale_factor=scale, mode='bicubic', antialias=True).clamp(0, 1)
    inside = (..., slice(2 * scale, -2 * scale), slice(2 * scale, -2 * scale))  # borders: periodic here
    torch.testing.assert_close(restored(lq, scale, 'aligned')[inside], expected[inside], atol=1e-5, rtol=0)


def test_on_the_released_grid_a_ramp_lies_scale_minus_1_pixels_further():
    # LR pixel i of the convention `released` lies at HR position s i - (s - 1) / 2, s - 1 before the aligned grid.
    ramp = torch.linspace(0, 1, 20).expand(1, 1, 20, 20)
    aligned, released = (restored(ramp, 4, convention) for convention in ('aligned', 'released'))
    torch.testing.assert_close(released[..., 20:40, 20:40], aligned[..., 23:43, 23:43], atol=1e-5, rtol=0)
