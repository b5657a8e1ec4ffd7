import torch

from dkp_plugin.models.photo_synthesis import PhotoSynthesis, PhotoTrain, draw_kernels
from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.physics.kernel_families import build_family


def test_estimates_are_kernels_of_the_same_family(rng):
    family = build_family('auto', 4, 19, 10.5, shares={'gaussian': 1.0, 'disc': 1.0})
    kernels, estimates = draw_kernels(family, 1000, 0.05, rng)
    error = (kernels - estimates).square().mean((1, 2, 3))
    is_exact = error < 1e-14
    assert 0.45 < is_exact.float().mean() < 0.65  # some errors are next to nothing
    wrong = -10 * error[~is_exact].log10()
    assert 50 < wrong.median() < 85 and wrong.min() > 30


def test_lr_crops_follow_the_forward_model(rng):
    block = {'optim_g': {}, 'scheduler': {}, 'total_iter': 1, 'ema_decay': 0.5, 'pixel_opt': {}}
    options = PhotoTrain(families={'gaussian': 1.0}, clean_share=1.0, **block)
    degradation = Degradation(2, 11)
    gt = 0.25 + 0.5 * torch.rand(4, 3, 32, 32, generator=rng)
    lq, noise, kernels, estimates = PhotoSynthesis(options, degradation)(gt, rng)
    assert noise is None and lq.shape == (4, 3, 16, 16) and estimates.shape == kernels.shape == (4, 1, 11, 11)
    blurred = torch.stack(
        [
            degradation.A(image[None].double(), kernel[None].double())[0]
            for image, kernel in zip(gt, kernels, strict=True)
        ]
    )
    assert (255 * (lq - blurred)).abs().max() < 0.5 + 1e-3  # rounded to 8 bits
    torch.testing.assert_close(255 * lq, (255 * lq).round(), rtol=0, atol=1e-4)
