"""LR images and kernels made from HR images."""

import cv2
import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.ndimage import correlate

from dkp_plugin.data.synthesis import RandomKernelOptions, Synthesis
from dkp_plugin.host.errors import ImageError
from dkp_plugin.host.seeds import image_generator


def build(scale=2, convention='aligned', **options):
    return Synthesis.build(RandomKernelOptions(**options), scale, convention)


def levels(image):
    """An image (3, H, W) in [0, 1] as (H, W, 3) uint8."""
    return (image * 255).round().byte().permute(1, 2, 0).numpy()


def test_lr_image_is_that_of_scipy(photo):
    lq, kernel = build(3, family='motion').degrade(photo[0, :, :48, :51], 'a')
    gt = photo[0, :, :48, :51].double().numpy()
    expected = [correlate(channel, kernel[0].double().numpy(), mode='grid-wrap')[::3, ::3] for channel in gt]
    assert lq.shape == (3, 16, 17) and kernel.shape == (1, 15, 15) and lq.dtype == kernel.dtype == torch.float32
    assert (255 * lq - torch.from_numpy(255 * np.stack(expected))).abs().max() < 0.5001


def test_noise_comes_after_the_same_kernel_and_has_the_size_asked_for():
    flat = torch.full((3, 200, 200), 128 / 255)
    clean, kernel = build().degrade(flat, 'a')
    noisy, same_kernel = build(noise=10).degrade(flat, 'a')
    assert same_kernel.equal(kernel) and clean.unique().mul(255).tolist() == [128]
    noise = (noisy - clean) * 255
    assert abs(noise.mean()) < 0.3 and abs(noise.std() - 10) < 0.3  # 30000 numbers: their errors are 0.06 and 0.04


def test_noise_is_clipped_to_the_levels_of_8_bits():
    lq, _ = build(noise=200).degrade(torch.full((3, 40, 40), 0.5), 'a')
    assert lq.min() == 0 and lq.max() == 1


def test_jpeg_is_that_of_opencv(photo):
    plain, jpeg = (levels(build(jpeg_quality=quality).degrade(photo[0], 'a')[0]) for quality in (None, 20))
    content = cv2.imencode('.jpg', plain[..., ::-1].copy(), [cv2.IMWRITE_JPEG_QUALITY, 20])[1]
    np.testing.assert_array_equal(jpeg, cv2.imdecode(content, cv2.IMREAD_COLOR)[..., ::-1])
    assert np.abs(jpeg.astype(int) - plain).max() > 5


def test_seed_and_name_decide(photo):
    first, again = (build(noise=3, seed=1).degrade(photo[0], 'a') for _ in range(2))
    assert all(one.equal(two) for one, two in zip(first, again, strict=True))
    for other in (build(noise=3, seed=2).degrade(photo[0], 'a'), build(noise=3, seed=1).degrade(photo[0], 'b')):
        assert not other[1].allclose(first[1]) and not other[0].equal(first[0])


def test_kernels_are_not_drawn_from_the_numbers_of_an_estimator():
    """A model with the same seed must not be able to guess the true kernel."""
    made = build(seed=3)
    estimator = made.family.sample(1, image_generator(3, 'a'))
    assert (made.params('a')[0] - estimator).abs().max() > 1e-3


def test_crop_is_at_the_top_left(rng):
    gt = torch.rand(3, 14, 17, generator=rng)
    assert build(4).crop(gt).equal(gt[:, :12, :16])


def test_an_image_smaller_than_the_kernel_is_named():
    with pytest.raises(ImageError, match=r'^x: kernel size 11 is larger than the image of 32x10 pixels'):
        build().degrade(torch.zeros(3, 32, 10), 'x')


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (
            {'family': 'box'},
            "kernel_family: 'box' is not one of gaussian, motion, line, disc, auto, levin, nor a folder",
        ),
        ({'family': 'levin'}, 'kernel_family: levin: datasets/kernels/levin must contain'),
        (
            {'family': '.', 'length_range': (1, 2)},
            r'length_range: \(1.0, 2.0\) is not allowed with a folder of kernels',
        ),
        ({'kernel_size': 8}, 'kernel_size: 8 is not an odd number of at least 3'),
        ({'variance_range': (3, 2)}, r'variance_range: \[3.0, 2.0\] is not a range'),
    ],
)
def test_kernels_that_cannot_be_drawn(options, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        build(**options)


@pytest.mark.parametrize('options', [{'noise': -1}, {'noise': float('inf')}, {'jpeg_quality': 0}, {'famly': 'line'}])
def test_values_that_the_block_does_not_take(options):
    with pytest.raises(ValidationError, match=next(iter(options))):
        RandomKernelOptions(**options)
