import numpy as np
import pytest
import torch
import torch.nn.functional as F
from skimage.metrics import structural_similarity

from dkp_plugin.physics.data_loss import data_loss


@pytest.fixture
def pair(photo, rng):
    """An LR image and an estimate that is a little brighter, flatter and noisy."""
    lq = photo[..., :24, :30].double()
    return 0.05 + 0.9 * lq + 0.03 * torch.randn(lq.shape, generator=rng, dtype=torch.float64), lq


def ssim_map(first, second):
    """SSIM of images (C, H, W) at every pixel by scikit-image; its window of 11x11 pixels must lie inside."""
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
    return similarity[:, 5:-5, 5:-5]


@pytest.mark.parametrize('channels', [1, 3])
def test_ssim_loss_by_scikit_image(channels, pair):
    y, lq = (image[:, :channels] for image in pair)
    assert data_loss(y, lq, use_ssim=True).item() == pytest.approx(1 - ssim_map(y[0], lq[0]).mean(), rel=1e-6)


@pytest.mark.parametrize('size', [(24, 30), (7, 12)])  # the window does not fit into the latter
def test_ssim_loss_of_the_whole_frame_by_scikit_image(size, pair):
    y, lq = (image[..., : size[0], : size[1]] for image in pair)
    similarity = ssim_map(*(F.pad(image[0], [5] * 4) for image in (y, lq)))
    assert similarity.shape[1:] == size
    assert data_loss(y, lq, use_ssim=True, ssim_padding='zeros').item() == pytest.approx(
        1 - similarity.mean(), rel=1e-6
    )


def test_only_the_whole_frame_sees_the_corner(pair):
    """The window weighs a corner by exp(-5^2 / 2 1.5^2)^2 at the nearest pixel where it lies inside the image."""
    slopes = {}
    for ssim_padding in ('none', 'zeros'):
        y = pair[0].clone().requires_grad_()
        data_loss(y, pair[1], use_ssim=True, ssim_padding=ssim_padding).backward()
        slopes[ssim_padding] = y.grad[..., 0, 0].abs().mean() / y.grad.abs().mean()
    assert slopes['none'] < 1e-4 and slopes['zeros'] > 1e-2


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


@pytest.mark.parametrize(('use_ssim', 'ssim_padding'), [(False, 'none'), (True, 'none'), (True, 'zeros')])
def test_loss_is_differentiable(use_ssim, ssim_padding, pair):
    y, lq = (image[:, :1, :12, :13].clone() for image in pair)
    assert torch.autograd.gradcheck(lambda y: data_loss(y, lq, use_ssim, ssim_padding), y.requires_grad_())
