import pytest
import torch

from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.restorers.dip_restorer import DIP, hyper_laplacian

TINY = {'num_feat': 8, 'num_skip': 2, 'num_scales': 2, 'non_local_scales': (2,)}


def test_hyper_laplacian_by_hand():
    x = torch.zeros(1, 1, 2, 3, dtype=torch.float64)
    x[..., 1, 2] = 0.5  # one of 3 vertical and one of 4 horizontal differences
    assert hyper_laplacian(x).item() == pytest.approx(0.5**0.67 * (1 / 3 + 1 / 4), abs=0.005)


def test_hyper_laplacian_has_a_finite_slope_where_the_image_is_flat():
    x = torch.full((1, 1, 4, 4), 0.5, requires_grad=True)
    hyper_laplacian(x).backward()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize('ssim_iters', [0, 1000])
def test_image_comes_to_explain_the_lr_image(ssim_iters, photo):
    degradation = Degradation(2, 5)
    kernel = torch.full((1, 1, 5, 5), 1 / 25)
    lq = degradation.A(photo[..., :64, :64], kernel)
    restorer = DIP(**TINY, ssim_iters=ssim_iters, precision='float32')
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
