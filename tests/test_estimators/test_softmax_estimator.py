import torch

from dkp_plugin.estimators.softmax_estimator import Softmax
from dkp_plugin.physics.degradation import Degradation


def test_starts_uniform_and_needs_no_random_numbers(rng):
    degradation = Degradation(scale=2, kernel_size=5)
    estimator, state = Softmax(), rng.get_state()
    estimator.reset(torch.zeros(1, 3, 12, 12), degradation, rng)
    assert (estimator() - 1 / 25).abs().max() < 1e-7
    assert torch.equal(rng.get_state(), state)


def test_given_the_true_image_the_kernel_is_found(rng):
    degradation = Degradation(scale=2, kernel_size=7)
    x = torch.rand(1, 3, 40, 40, generator=rng)
    kernel = torch.zeros(1, 1, 7, 7)
    kernel[..., 2:5, 3] = 1 / 3
    estimator = Softmax(lr=0.05, ssim_iters=0)
    estimator.reset(degradation.A(x, kernel), degradation, rng)
    first = estimator.step(x)['l_k_residual']
    for _ in range(300):
        last = estimator.step(x)['l_k_residual']
    assert last < 2e-3 * first
    assert (estimator() - kernel).abs().max() < 0.02


def test_the_first_step_is_that_of_adam_by_hand(rng):
    """Adam's first step is lr times the sign of the gradient, here worked out from the derivative of the softmax."""
    degradation = Degradation(scale=2, kernel_size=3)
    x, lq = torch.rand(1, 1, 12, 12, generator=rng), torch.rand(1, 1, 6, 6, generator=rng)
    estimator = Softmax(lr=0.1, ssim_iters=0)
    estimator.reset(lq, degradation, rng)
    kernel = estimator().double().requires_grad_()
    (degradation.A(x.double(), kernel) - lq.double()).square().mean().backward()
    slope = kernel.grad.flatten() / 9 - kernel.grad.sum() / 81
    estimator.step(x)
    assert (estimator().flatten() - torch.softmax(-0.1 * slope.sign(), 0)).abs().max() < 1e-5
