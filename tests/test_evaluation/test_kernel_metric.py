import numpy as np
import pytest
from basicsr.metrics import calculate_metric
from basicsr.utils.registry import METRIC_REGISTRY

from dkp_plugin.evaluation.kernel_metric import calculate_kernel_ncc, calculate_kernel_psnr, calculate_lr_psnr


def impulse(size, row, column):
    kernel = np.zeros((size, size))
    kernel[row, column] = 1
    return kernel


@pytest.fixture
def kernel():
    kernel = np.random.default_rng(0).random((5, 5))
    return kernel / kernel.sum()


def test_kernel_psnr_by_hand():
    # Nine pixels, one of which is off by 0.3 and one by -0.3: mse 0.02, 20 log10(1 / sqrt(0.02)).
    other = impulse(3, 1, 1) - 0.3 * impulse(3, 1, 1) + 0.3 * impulse(3, 0, 2)
    assert calculate_kernel_psnr(other, impulse(3, 1, 1)) == pytest.approx(16.989700043360187)
    assert calculate_kernel_psnr(other.astype(np.float32), impulse(3, 1, 1)) == pytest.approx(16.9897)


def test_kernel_psnr_of_equal_kernels_is_infinite(kernel):
    assert calculate_kernel_psnr(kernel, kernel) == np.inf
    assert calculate_kernel_psnr(kernel, np.pad(kernel, 3)) == np.inf


def test_kernel_psnr_pads_the_smaller_kernel():
    # On the grid of 5x5 pixels two differ by 1: mse 2 / 25.
    for pair in [(impulse(3, 1, 1), impulse(5, 2, 3)), (impulse(5, 2, 3), impulse(3, 1, 1))]:
        assert calculate_kernel_psnr(*pair) == pytest.approx(10 * np.log10(12.5))


@pytest.mark.parametrize('shift', [(0, 0), (2, -1), (-3, 3)])
def test_ncc_of_a_shifted_kernel_is_1(shift, kernel):
    moved = np.roll(np.pad(kernel, 3), shift, axis=(0, 1))
    assert calculate_kernel_ncc(moved, kernel) == pytest.approx(1)
    assert calculate_kernel_ncc(kernel, moved) == pytest.approx(1)


def test_ncc_by_hand():
    # A row of three pixels on one of two: the best overlap is 2 x 1/3 x 1/2, the norms are 1/sqrt(3) and 1/sqrt(2).
    three = (impulse(3, 1, 0) + impulse(3, 1, 1) + impulse(3, 1, 2)) / 3
    two = (impulse(5, 4, 0) + impulse(5, 4, 1)) / 2
    assert calculate_kernel_ncc(three, two) == pytest.approx(np.sqrt(2 / 3))
    # On a column only one pixel meets.
    assert calculate_kernel_ncc(three, two.T) == pytest.approx(1 / np.sqrt(6))


@pytest.mark.parametrize('channels', [1, 3])
@pytest.mark.parametrize('scale', [2, 3])
def test_lr_psnr_by_numpy(scale, channels, kernel):
    generator = np.random.default_rng(1)
    img = generator.integers(0, 256, (4 * scale, 5 * scale, channels), dtype=np.uint8)
    lq = generator.integers(0, 256, (4, 5, channels), dtype=np.uint8)
    if channels == 1:
        img, lq = img[..., 0], lq[..., 0]
    blurred = sum(
        weight * np.roll(img.astype(float), (2 - row, 2 - column), axis=(0, 1))
        for (row, column), weight in np.ndenumerate(kernel)
    )
    expected = 20 * np.log10(255 / np.sqrt(np.mean((blurred[::scale, ::scale] - lq) ** 2)))
    assert calculate_lr_psnr(img, lq, kernel, scale) == pytest.approx(expected)


def test_lr_psnr_of_an_exact_explanation_is_infinite():
    img = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    assert calculate_lr_psnr(img, img[::2, ::2], impulse(3, 1, 1), 2) == np.inf


@pytest.mark.parametrize('name', ['calculate_kernel_psnr', 'calculate_kernel_ncc', 'calculate_lr_psnr'])
def test_metrics_are_called_by_basicsr_with_whatever_keys_the_option_file_has(name, kernel):
    img = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    data = {'img': img, 'img2': img, 'lq': img[::2, ::2], 'kernel': kernel, 'kernel_gt': kernel[::-1], 'scale': 2}
    options = {'type': name, 'better': 'higher', 'crop_border': 4}
    assert name in METRIC_REGISTRY
    assert calculate_metric(data, options) == METRIC_REGISTRY.get(name)(**data)
    assert options['type'] == name
