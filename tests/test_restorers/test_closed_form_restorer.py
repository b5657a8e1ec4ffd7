import pytest
import torch
from basicsr.metrics import calculate_psnr

from dkp_plugin.evaluation.evaluate import to_uint8_bgr
from dkp_plugin.host.errors import OptionError
from dkp_plugin.host.schema import build_network
from dkp_plugin.io.images import decode_image
from dkp_plugin.io.kernel_files import read_kernel
from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.restorers.base import Restorer
from dkp_plugin.restorers.closed_form_restorer import ClosedForm


def test_the_gradient_vanishes_at_the_result(rng):
    degradation, alpha = Degradation(2, 5), 0.1
    lq = 0.4 + 0.2 * torch.rand(1, 3, 8, 9, generator=rng, dtype=torch.float64)  # stays clear of 0 and 1
    kernel = torch.rand(1, 1, 5, 5, generator=rng, dtype=torch.float64)
    kernel /= kernel.sum()
    restorer = ClosedForm(alpha)
    restorer.reset(lq, degradation, rng)
    z = restorer()
    restorer.step(kernel)
    x = restorer()
    gradient = degradation.A_adjoint(degradation.A(x, kernel) - lq, kernel) + alpha * (x - z)
    assert gradient.abs().max() < 1e-12 and x.min() > 0 and x.max() < 1


def test_a_large_alpha_keeps_the_bicubic_image_and_a_small_one_explains_the_lr_image(photo, rng):
    degradation = Degradation(4, 5)
    kernel = torch.full((1, 1, 5, 5), 0.5 / 24)
    kernel[..., 2, 2] = 0.5
    lq = degradation.A(0.3 + 0.4 * photo, kernel)  # far from 0 and 1, where the result is cut off
    losses = []
    for alpha in (1e6, 1e-6):
        restorer = ClosedForm(alpha)
        restorer.reset(lq, degradation, rng)
        before = restorer().clone()
        losses.append(restorer.step(kernel)['l_x_data'].item())
        if alpha == 1e6:
            assert (restorer() - before).abs().max() < 1e-5
    assert losses[1] < 1e-3 * losses[0]


def test_of_alpha_0_there_is_no_minimum():
    with pytest.raises(OptionError, match='network_g: alpha: 0 is not allowed'):
        build_network({'type': 'ClosedForm', 'alpha': 0}, 'network_g', Restorer)


@pytest.mark.parametrize(
    ('name', 'psnr'), [('baby', 31.67), ('bird', 28.25), ('butterfly', 21.51), ('head', 31.09), ('woman', 26.41)]
)
def test_psnr_y_on_set5_with_the_true_kernel(name, psnr, shared_data):
    """The figures were measured by another program."""
    folder = shared_data / 'benchmarks' / 'Set5'
    lq, gt = (
        decode_image((folder / subfolder / f'{name}.png').read_bytes(), name)[None]
        for subfolder in ('gaussian_x4/LR', 'HR')
    )
    kernel = read_kernel(folder / 'gaussian_x4' / 'kernels' / f'{name}.mat', 'released')
    restorer = ClosedForm()
    restorer.reset(lq, Degradation(4, 19, 'released'), torch.Generator())
    restorer.step(kernel)
    result = calculate_psnr(to_uint8_bgr(restorer()), to_uint8_bgr(gt), crop_border=4, test_y_channel=True)
    assert result == pytest.approx(psnr, abs=0.02)
