from fractions import Fraction

import cv2
import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio

from dkp_plugin.evaluation.evaluate import evaluate, metric_data, to_uint8_bgr

METRICS = {
    'psnr': {'type': 'calculate_psnr', 'crop_border': 2, 'test_y_channel': False, 'better': 'higher'},
    'psnr_y': {'type': 'calculate_psnr', 'crop_border': 2, 'test_y_channel': True},
    'ssim_y': {'type': 'calculate_ssim', 'crop_border': 2, 'test_y_channel': True},
    'kernel_psnr': {'type': 'calculate_kernel_psnr'},
    'ncc': {'type': 'calculate_kernel_ncc', 'better': 'higher'},
    'lr_psnr': {'type': 'calculate_lr_psnr'},
}


@pytest.fixture
def visuals(photo, rng):
    """What a restoration at scale 2 leaves behind; the result is the truth plus noise."""
    kernel = torch.full((1, 1, 3, 3), 1 / 9)
    return {
        'lq': photo[..., ::2, ::2],
        'result': photo + 0.05 * torch.randn(photo.shape, generator=rng),
        'gt': photo,
        'kernel': kernel,
        'kernel_gt': kernel.roll(1, -1) + torch.eye(3) / 30,
    }


def test_images_are_rounded_clipped_and_reordered():
    image = torch.tensor([-0.1, 0.4999 / 255, 0.5001 / 255, 1.2, 0.5, 1]).view(1, 3, 1, 2)
    assert to_uint8_bgr(image).tolist() == [[[128, 1, 0], [255, 255, 0]]]
    assert image.min() == pytest.approx(-0.1)  # the input is left alone
    assert to_uint8_bgr(image[:, :1]).tolist() == [[[0] * 3, [0] * 3]]


def test_the_levels_are_those_of_the_file():
    """Numbers next to half a level: a product in float32 would round some of them to the level above."""
    image = torch.tensor([(level + 0.5) / 255 for level in range(255)]).expand(1, 3, 1, 255)
    exact = [round(Fraction(value) * 255) for value in image[0, 0, 0].tolist()]
    assert to_uint8_bgr(image)[0, :, 0].tolist() == exact
    assert (image[0, 0, 0] * 255).round().tolist() != exact


def test_metric_data_hold_what_is_known(visuals):
    data = metric_data(visuals, 2)
    assert list(data) == ['img', 'img2', 'lq', 'kernel', 'kernel_gt', 'scale']
    assert data['img'].dtype == np.uint8 and data['img'].shape == (96, 96, 3)
    assert data['lq'].shape == (48, 48, 3)
    assert data['kernel'].dtype == np.float64 and data['kernel'].shape == (3, 3)
    del visuals['gt'], visuals['kernel_gt']
    assert list(metric_data(visuals, 2)) == ['img', 'lq', 'kernel', 'scale']


def test_all_metrics_are_calculated_where_the_truth_is_known(visuals):
    values, skipped = evaluate(METRICS, metric_data(visuals, 2))
    assert skipped == {}
    assert list(values) == list(METRICS)
    assert all(type(value) is float and np.isfinite(value) for value in values.values())
    result, gt = ((visuals[key][0].clamp(0, 1) * 255).round().numpy() for key in ('result', 'gt'))
    inside = (slice(None), slice(2, -2), slice(2, -2))
    assert values['psnr'] == pytest.approx(peak_signal_noise_ratio(gt[inside], result[inside], data_range=255))


def test_metrics_without_their_data_are_skipped_and_named(visuals):
    everything, _ = evaluate(METRICS, metric_data(visuals, 2))
    del visuals['gt'], visuals['kernel_gt']
    values, skipped = evaluate(METRICS, metric_data(visuals, 2))
    assert values == {'lr_psnr': everything['lr_psnr']}
    image, kernel = 'no img2', 'no kernel_gt'
    assert skipped == {'psnr': image, 'psnr_y': image, 'ssim_y': image, 'kernel_psnr': kernel, 'ncc': kernel}


def test_a_metric_that_fails_is_skipped_with_what_it_said():
    niqe = {'niqe': {'type': 'calculate_niqe', 'crop_border': 0}}  # works on blocks of 96 pixels
    values, skipped = evaluate(niqe, {'img': np.zeros((40, 40, 3), np.uint8)})
    assert values == {} and 'Error' in skipped['niqe']


def test_data_that_the_option_file_gives_do_not_lack(visuals):
    data = metric_data(visuals, 2)
    scale = data.pop('scale')
    assert evaluate({'a': {'type': 'calculate_lr_psnr'}}, data) == ({}, {'a': 'no scale'})
    values, _ = evaluate({'a': {'type': 'calculate_lr_psnr', 'scale': scale}}, data)
    assert values == evaluate({'a': {'type': 'calculate_lr_psnr'}}, metric_data(visuals, 2))[0]


def test_gray_images_score_like_the_same_images_in_colour(visuals):
    gray = {key: value[:, :1] for key, value in visuals.items()}
    colour = {key: value if 'kernel' in key else value.expand(-1, 3, -1, -1) for key, value in gray.items()}
    values, _ = evaluate(METRICS, metric_data(gray, 2))
    assert values == evaluate(METRICS, metric_data(colour, 2))[0]
    # The Y channel of BT.601 has 219 levels where the image has 255.
    assert values['psnr_y'] == pytest.approx(values['psnr'] + 20 * np.log10(255 / 219), abs=0.02)


@pytest.mark.parametrize(
    ('name', 'psnr'), [('baby', 23.83), ('bird', 21.36), ('butterfly', 16.35), ('head', 25.79), ('woman', 19.50)]
)
def test_psnr_y_of_bicubic_upsampling_on_set5(name, psnr, shared_data):
    folder = shared_data / 'benchmarks' / 'Set5'
    hr, lr = (cv2.imread(str(folder / part / f'{name}.png'))[..., ::-1] for part in ('HR', 'gaussian_x4/LR'))
    upsampled = cv2.resize(lr, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
    images = {'result': upsampled, 'gt': hr[: upsampled.shape[0], : upsampled.shape[1]]}
    images = {key: torch.from_numpy(image / np.float32(255)).permute(2, 0, 1)[None] for key, image in images.items()}
    options = {'type': 'calculate_psnr', 'crop_border': 4, 'test_y_channel': True}
    values, _ = evaluate({'psnr': options}, metric_data(images, 4))
    assert values['psnr'] == pytest.approx(psnr, abs=0.1)


def test_digits_that_depend_on_the_run_are_dropped():
    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    values, _ = evaluate({'a': {'type': 'calculate_psnr', 'crop_border': 0}}, {'img': image, 'img2': image + 1})
    assert values == {'a': 48.130803609}  # 20 log10(255) = 48.13080360867910
