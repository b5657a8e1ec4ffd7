import numpy as np
import pytest
import torch

from dkp_plugin.physics.data_loss import data_loss
from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.restorers.dip_restorer import DIP, hyper_laplacian

TINY = {'num_feat': 8, 'num_skip': 2, 'num_scales': 2, 'non_local_scales': (2,)}


def test_hyper_laplacian_in_two_directions_by_hand():
    x = torch.zeros(1, 1, 2, 3, dtype=torch.float64)
    x[..., 1, 2] = 0.5  # one of 3 vertical and one of 4 horizontal differences
    assert hyper_laplacian(x, directions=2).item() == pytest.approx(0.5**0.67 * (1 / 3 + 1 / 4), abs=0.005)


def test_hyper_laplacian_in_four_directions_by_hand():
    """Differences in 2 x 2 pixels, mirrored at the border: 3 of 4 pixels see the bright one above, 1 not, and so on."""
    x = torch.tensor([[[[0.5, 0.0], [0.0, 0.0]]]], dtype=torch.float64)
    # The pixel above is for the first row the one below it, and likewise on the left.
    pairs = {
        'above': [(0.5, 0.0), (0.0, 0.0), (0.0, 0.5), (0.0, 0.0)],
        'above left': [(0.5, 0.0), (0.0, 0.0), (0.0, 0.0), (0.0, 0.5)],
        'left': [(0.5, 0.0), (0.0, 0.5), (0.0, 0.0), (0.0, 0.0)],
        'below left': [(0.5, 0.0), (0.0, 0.0), (0.0, 0.0), (0.0, 0.5)],
    }
    expected = sum((abs(a - b) + 1e-8) ** 0.67 / 4 for pair in pairs.values() for a, b in pair)
    assert hyper_laplacian(x, directions=4).item() == pytest.approx(expected, rel=1e-12)


def test_prior_weight_is_that_of_the_released_program(rng):
    """The program: 1e-3 * 0.2 times the sum over all HR values and directions, divided by the number of LR values."""
    x = torch.rand(1, 3, 40, 32, generator=rng, dtype=torch.float64)
    restorer = DIP(**TINY)
    restorer.reset(torch.rand(1, 3, 10, 8), Degradation(4, 19), torch.Generator().manual_seed(0))
    rows, columns = ([1, *range(side), side - 2] for side in x.shape[-2:])
    mirrored = x[0].numpy()[:, rows][:, :, columns]
    total = 0.0
    for up, left in ((1, 0), (1, 1), (0, 1), (-1, 1)):
        neighbour = mirrored[:, 1 - up : 41 - up, 1 - left : 33 - left]
        total += ((np.abs(x[0].numpy() - neighbour) + 1e-8) ** 0.67).sum()
    expected = 1e-3 * 0.2 * total / (3 * 10 * 8)
    assert restorer.weight * hyper_laplacian(x, restorer.prior_directions).item() == pytest.approx(expected)


@pytest.mark.parametrize('directions', [2, 4])
def test_hyper_laplacian_has_a_finite_slope_where_the_image_is_flat(directions):
    x = torch.full((1, 1, 4, 4), 0.5, requires_grad=True)
    hyper_laplacian(x, directions).backward()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize('ssim_padding', ['none', 'zeros'])
def test_data_loss_has_the_padding_that_is_set(ssim_padding, photo):
    degradation, kernel = Degradation(2, 5), torch.full((1, 1, 5, 5), 1 / 25)
    restorer = DIP(**TINY, ssim_iters=1, ssim_padding=ssim_padding, precision='float32')
    restorer.reset(photo[..., :32, :32], degradation, torch.Generator().manual_seed(0))
    y = degradation.A(restorer(), kernel)
    losses = [restorer.step(kernel)['l_x_data'].item(), restorer.step(kernel)['l_x_data'].item()]
    assert losses[0] == pytest.approx(data_loss(y, restorer.lq, True, ssim_padding).item(), rel=1e-5)
    assert losses[1] < 0.5 * losses[0]  # the mean square, no longer SSIM


@pytest.mark.parametrize(
    ('ssim_iters', 'options'),
    [
        (0, {}),
        (1000, {}),
        (1000, {'ssim_padding': 'none', 'non_local': 'softmax', 'prior_weight': 2e-4, 'prior_directions': 2}),
    ],
)
def test_image_comes_to_explain_the_lr_image(ssim_iters, options, photo):
    degradation = Degradation(2, 5)
    kernel = torch.full((1, 1, 5, 5), 1 / 25)
    lq = degradation.A(photo[..., :64, :64], kernel)
    restorer = DIP(**TINY, **options, ssim_iters=ssim_iters, precision='float32')
    restorer.reset(lq, degradation, torch.Generator().manual_seed(0))
    first = restorer.step(kernel)['l_x_data']
    for _ in range(150):
        last = restorer.step(kernel)['l_x_data']
    assert last < 0.15 * first


def test_forward_and_step_share_one_pass_of_the_network():
    restorer = DIP(**TINY)
    restorer.reset(torch.rand(1, 3, 16, 16), Degradation(2, 5), torch.Generator().manual_seed(0))
    passes = []
    restorer.net.register_forward_hook(lambda *_: passes.append(1))
    for _ in range(3):
        restorer()
        restorer.step(torch.full((1, 1, 5, 5), 1 / 25))
    assert len(passes) == 3


def test_small_images_get_a_network_input_of_two_strides():
    restorer = DIP(num_feat=4, num_skip=2, num_scales=5, non_local_scales=())
    restorer.reset(torch.rand(1, 3, 16, 16), Degradation(2, 5), torch.Generator().manual_seed(0))
    assert restorer.noise.shape == (1, 3, 64, 64) and restorer().shape == (1, 3, 32, 32)


def test_unknown_precision_is_refused():
    with pytest.raises(ValueError, match="precision: 'fp16' is not one of auto, float32, bf16"):
        DIP(precision='fp16')
