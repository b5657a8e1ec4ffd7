import torch

from dkp_plugin.estimators.double_dip_estimator import DoubleDIP
from dkp_plugin.physics.degradation import Degradation


def test_given_the_true_image_the_residual_falls(rng):
    degradation = Degradation(scale=2, kernel_size=7)
    x = torch.rand(1, 3, 40, 40, generator=rng)
    kernel = torch.zeros(1, 1, 7, 7)
    kernel[..., 2:5, 3] = 1 / 3
    lq = degradation.A(x, kernel)
    estimator = DoubleDIP(num_units=50, lr=3e-3, ssim_iters=0)
    estimator.reset(lq, degradation, torch.Generator().manual_seed(0))
    first = estimator.step(x)['l_k_residual']
    for _ in range(300):
        last = estimator.step(x)['l_k_residual']
    assert last < 0.05 * first
    assert (estimator() - kernel).abs().max() < 0.1
