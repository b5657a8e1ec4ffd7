import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from dkp_plugin.physics.data_loss import data_loss


@pytest.fixture
def pair(photo, rng):
    """An LR image and an estimate that is a little brighter, flatter and noisy."""
    lq = photo[..., :24, :30].double()
    return 0.05 + 0.9 * lq + 0.03 * torch.randn(lq.shape, generator=rng, dtype=torch.float64), lq


def ssim(first, second):
    """Mean SSIM of images (C, H, W) where the window of 11x11 pixels lies inside, by scikit-image."""
    _, similarity = structural_similarity(
        first.numpy(),
        second.numpy(),
        channel_axis=0,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=1,
        full=True,
    )
    return similarity[:, 5:-5, 5:-5].mean()


@pytest.mark.parametrize('channels', [1, 3])
def test_ssim_loss_by_scikit_image(channels, pair):
    y, lq = (image[:, :channels] for image in pair)
    assert data_loss(y, lq, use_ssim=True).item() == pytest.approx(1 - ssim(y[0], lq[0]), rel=1e-6)


@pytest.mark.parametrize('use_ssim', [False, True])
def test_loss_is_the_mean_over_the_batch(use_ssim, pair):
    y, lq = torch.cat([pair[0], pair[1]]), torch.cat([pair[1], pair[1]])
    expected = data_loss(*pair, use_ssim) / 2  # the second estimate is exact
    torch.testing.assert_close(data_loss(y, lq, use_ssim), expected)


def test_mse_by_numpy(pair):
    y, lq = (image.numpy() for image in pair)
    assert data_loss(*pair, use_ssim=False).item() == pytest.approx(np.mean((y - lq) ** 2), rel=1e-12)


@pytest.mark.parametrize(('side', 'is_ssim'), [(10, False), (11, True)])
def test_images_smaller_than_the_window_get_the_squared_error(side, is_ssim, pair):
    y, lq = (image[..., :side, :] for image in pair)
    assert data_loss(y, lq, use_ssim=True).equal(data_loss(y, lq, use_ssim=False)) != is_ssim


@pytest.mark.parametrize('use_ssim', [False, True])
def test_loss_is_differentiable(use_ssim, pair):
    y, lq = (image[:, :1, :12, :13].clone() for image in pair)
    assert torch.autograd.gradcheck(lambda y: data_loss(y, lq, use_ssim), y.requires_grad_())
