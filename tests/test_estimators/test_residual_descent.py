import pytest
import torch

from dkp_plugin.estimators.residual_descent import ResidualDescent, descend
from dkp_plugin.physics.data_loss import data_loss
from dkp_plugin.physics.degradation import Degradation

DEGRADATION = Degradation(scale=2, kernel_size=5)


class OnePixel(ResidualDescent):
    """The centre pixel shares the kernel with the uniform one; the share is what is optimised."""

    def start(self, generator, device):
        self.share = torch.zeros(1, requires_grad=True)
        return [self.share]

    def kernel(self):
        share, pixel = torch.sigmoid(self.share), torch.zeros(1, 1, 5, 5)
        pixel[..., 2, 2] = 1
        return share * pixel + (1 - share) / 25


@pytest.fixture
def images(rng):
    return torch.rand(1, 3, 48, 40, generator=rng), torch.rand(1, 3, 24, 20, generator=rng)


def test_descend_by_hand():
    weight = torch.tensor([1.0], requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=0.1)
    (100 * weight).sum().backward()  # of a round that is over
    loss = descend(optimizer, weight.square().sum())
    assert weight.item() == pytest.approx(1 - 0.1 * 2)
    assert loss.item() == 1 and not loss.requires_grad and weight.grad is None


@pytest.mark.parametrize('ssim_padding', ['none', 'zeros'])
def test_the_residual_is_ssim_at_first_and_the_mean_square_afterwards(ssim_padding, images, rng):
    x, lq = images
    estimator = OnePixel(lr=1e-9, ssim_iters=2, ssim_padding=ssim_padding)  # the kernel stays where it is
    estimator.reset(lq, DEGRADATION, rng)
    losses = [estimator.step(x)['l_k_residual'] for _ in range(4)]
    y = DEGRADATION.A(x, estimator())
    ssim, square = (data_loss(y, lq, use_ssim, ssim_padding).item() for use_ssim in (True, False))
    assert [loss.item() for loss in losses] == pytest.approx([ssim, ssim, square, square], rel=1e-4)
    assert not any(loss.requires_grad for loss in losses)


def test_a_step_is_one_of_adam_down_the_residual(images, rng):
    """Adam's first step is lr times the sign of the gradient, taken here as a difference in float64."""
    x, lq = images
    estimator = OnePixel(lr=0.25, ssim_iters=0)
    estimator.reset(lq, DEGRADATION, rng)

    def loss(share):
        pixel = torch.zeros(1, 1, 5, 5, dtype=torch.float64)
        pixel[..., 2, 2] = 1
        share = torch.sigmoid(torch.tensor(share, dtype=torch.float64))
        return (DEGRADATION.A(x.double(), share * pixel + (1 - share) / 25) - lq.double()).square().mean().item()

    slope = loss(1e-4) - loss(-1e-4)
    estimator.step(x)
    assert estimator.share.item() == pytest.approx(-0.25 if slope > 0 else 0.25, abs=1e-4)


def test_reset_starts_ssim_and_adam_anew(images, rng):
    x, lq = images
    estimator = OnePixel(lr=0.1, ssim_iters=1)
    walks = []
    for _ in range(2):
        estimator.reset(lq, DEGRADATION, rng)
        walks.append([estimator.step(x)['l_k_residual'].item() for _ in range(3)])
    assert walks[0] == walks[1]


def test_the_kernel_that_is_shown_has_no_graph(images, rng):
    estimator = OnePixel(lr=0.1, ssim_iters=0)
    estimator.reset(images[1], DEGRADATION, rng)
    assert estimator.kernel().requires_grad and not estimator().requires_grad
