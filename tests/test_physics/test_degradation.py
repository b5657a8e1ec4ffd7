import cv2
import numpy as np
import pytest
import scipy.io
import skimage.data
import torch
from scipy.ndimage import gaussian_filter
from skimage.registration import phase_cross_correlation

from dkp_plugin.physics.degradation import (
    SCALES,
    Degradation,
    aliased_power,
    data_step,
    degrade,
    degrade_adjoint,
    kernel_to_otf,
)
from dkp_plugin.physics.kernel_families import GaussianFamily
from dkp_plugin.physics.kernels import CONVENTIONS, default_kernel_size, kernel_centre

BATCHES = [(1, 1), (3, 1), (1, 5), (3, 3)]  # images and kernels
SET5 = ['baby', 'bird', 'butterfly', 'head', 'woman']


def random(rng, *shape):
    return torch.rand(*shape, generator=rng, dtype=torch.float64)


def random_kernels(rng, num, size):
    kernel = random(rng, num, 1, size, size)
    return kernel / kernel.sum((-2, -1), keepdim=True)


def degrade_by_definition(x, kernel, scale):
    """y[i] = sum_m k[m] x[(s i + m - K // 2) mod size], for arrays (H, W) and (K, K)."""
    rows, columns = (scale * np.arange(side // scale) for side in x.shape)
    y = np.zeros((len(rows), len(columns)))
    for (m, n), weight in np.ndenumerate(kernel):
        reach = kernel.shape[0] // 2
        y += weight * x[np.ix_((rows + m - reach) % x.shape[0], (columns + n - reach) % x.shape[1])]
    return y


def dense_operator(kernel, scale, size):
    """The matrix of A for one kernel (1, 1, K, K) on images of the given (H, W)."""
    pixels = torch.eye(size[0] * size[1], dtype=torch.float64).view(-1, 1, *size)
    return degrade(pixels, kernel, scale).flatten(1).T


@pytest.mark.parametrize('scale', SCALES)
@pytest.mark.parametrize(('num_images', 'num_kernels'), BATCHES)
def test_degrade_is_the_written_sum_for_every_broadcast(scale, num_images, num_kernels, rng):
    x = random(rng, num_images, 2, 3 * scale, 4 * scale)
    kernels = random_kernels(rng, num_kernels, 3 if scale == 1 else 5)
    y = degrade(x, kernels, scale)
    assert y.shape == (max(num_images, num_kernels), 2, 3, 4)
    for index, image in enumerate(y):
        for channel in range(2):
            source = x[index % num_images, channel].numpy()
            expected = degrade_by_definition(source, kernels[index % num_kernels, 0].numpy(), scale)
            np.testing.assert_allclose(image[channel].numpy(), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize('scale', SCALES)
@pytest.mark.parametrize(('height', 'width'), [(3, 4), (4, 3), (5, 5), (6, 4)])
@pytest.mark.parametrize(('num_images', 'num_kernels'), BATCHES)
def test_adjointness(scale, height, width, num_images, num_kernels, rng):
    num = max(num_images, num_kernels)
    kernels = random_kernels(rng, num_kernels, 3 if scale == 1 else 5)
    x, y = random(rng, num_images, 2, scale * height, scale * width), random(rng, num_images, 2, height, width)
    forward, backward = degrade(x, kernels, scale), degrade_adjoint(y, kernels, scale)
    assert backward.shape == (num, 2, scale * height, scale * width)
    left, right = (forward * y).sum((1, 2, 3)), (x * backward).sum((1, 2, 3))
    torch.testing.assert_close(left, right, rtol=1e-12, atol=0)


@pytest.mark.parametrize('scale', SCALES)
@pytest.mark.parametrize(('height', 'width'), [(3, 4), (5, 3)])
def test_transfer_function_then_subsampling_equals_degrade(scale, height, width, rng):
    x, kernels = random(rng, 3, 2, scale * height, scale * width), random_kernels(rng, 3, 3 if scale == 1 else 5)
    blurred = torch.fft.ifft2(kernel_to_otf(kernels, x.shape[-2:]) * torch.fft.fft2(x)).real
    torch.testing.assert_close(blurred[..., ::scale, ::scale], degrade(x, kernels, scale), rtol=0, atol=1e-13)


@pytest.mark.parametrize('scale', SCALES)
def test_aliased_power_of_the_transfer_function_holds_the_eigenvalues_of_a_a_adjoint(scale, rng):
    kernel, size = random_kernels(rng, 1, 3 if scale == 1 else 5), (3 * scale, 4 * scale)
    matrix = dense_operator(kernel, scale, size)
    eigenvalues = aliased_power(kernel_to_otf(kernel, size).abs().square(), scale)
    assert eigenvalues.shape == (1, 1, 3, 4)
    torch.testing.assert_close(
        eigenvalues.flatten().sort().values, torch.linalg.eigvalsh(matrix @ matrix.T), rtol=0, atol=1e-14
    )


def test_aliased_power_averages_the_frequencies_that_coincide_after_subsampling():
    spectrum = torch.arange(24.0).view(4, 6)  # scale 2: rows f and f + 2, columns f and f + 3
    expected = [[(0 + 3 + 12 + 15) / 4 + row * 6 + column for column in range(3)] for row in range(2)]
    assert aliased_power(spectrum, 2).tolist() == expected


@pytest.mark.parametrize('scale', SCALES)
@pytest.mark.parametrize(('num_images', 'num_kernels'), BATCHES)
@pytest.mark.parametrize('alpha', [1e-3, 1.0])
def test_data_step_is_where_the_gradient_of_its_objective_vanishes(scale, num_images, num_kernels, alpha, rng):
    z, y = random(rng, num_images, 2, 3 * scale, 4 * scale), random(rng, num_images, 2, 3, 4)
    kernels = random_kernels(rng, num_kernels, 3 if scale == 1 else 5)
    x = data_step(z, y, kernels, scale, alpha).requires_grad_()
    assert x.shape == (max(num_images, num_kernels), *z.shape[1:])
    objective = (degrade(x, kernels, scale) - y).square().sum() + alpha * (x - z).square().sum()
    (gradient,) = torch.autograd.grad(objective, x)
    assert gradient.abs().max() < 1e-12


@pytest.mark.parametrize('scale', [2, 3])
@pytest.mark.parametrize(('num_images', 'num_kernels'), BATCHES)
def test_data_step_solves_the_dense_normal_equations(scale, num_images, num_kernels, rng):
    size, num = (3 * scale, 4 * scale), max(num_images, num_kernels)
    z, y = random(rng, num_images, 1, *size), random(rng, num_images, 1, 3, 4)
    kernels, alpha = random_kernels(rng, num_kernels, 3 if scale == 1 else 5), 0.1 + random(rng, num, 1, 1, 1)
    x = data_step(z, y, kernels, scale, alpha)
    for index in range(num):
        matrix, image = dense_operator(kernels[index % num_kernels][None], scale, size), index % num_images
        normal = matrix.T @ matrix + alpha[index].item() * torch.eye(size[0] * size[1], dtype=torch.float64)
        right = matrix.T @ y[image].flatten() + alpha[index].item() * z[image].flatten()
        torch.testing.assert_close(x[index].flatten(), torch.linalg.solve(normal, right), rtol=0, atol=1e-12)


def random_spectrum(height, width, rng):
    """A positive spectrum that a stationary real field can have: V(f) = V(-f)."""
    return torch.fft.fft2(random(rng, height, width)).abs().square() / (height * width) + 0.01


def dense_inverse_covariance(spectrum):
    """The matrix of the quadratic form sum_f |DFT(x)(f)|^2 / V(f), by its action on single pixels."""
    pixels = torch.eye(spectrum.numel(), dtype=torch.float64).view(-1, *spectrum.shape)
    return torch.fft.ifft2(torch.fft.fft2(pixels) / spectrum).real.flatten(1).T


@pytest.mark.parametrize(('scale', 'height', 'width'), [(2, 3, 4), (2, 5, 3), (3, 4, 3), (4, 3, 5)])
@pytest.mark.parametrize(('num_images', 'num_kernels'), BATCHES)
@pytest.mark.parametrize('alpha', [1e-3, 1.0])
def test_weighted_data_step_is_where_the_gradient_of_its_objective_vanishes(
    scale, height, width, num_images, num_kernels, alpha, rng
):
    size = (scale * height, scale * width)
    z, y = random(rng, num_images, 2, *size), random(rng, num_images, 2, height, width)
    kernels, spectrum = random_kernels(rng, num_kernels, 3 if scale == 1 else 5), random_spectrum(*size, rng)
    x = data_step(z, y, kernels, scale, alpha, spectrum).requires_grad_()
    assert x.shape == (max(num_images, num_kernels), 2, *size)
    distance = (torch.fft.fft2(x - z, norm='ortho').abs().square() / spectrum).sum()
    objective = (degrade(x, kernels, scale) - y).square().sum() + alpha * distance
    (gradient,) = torch.autograd.grad(objective, x)
    assert gradient.abs().max() < 1e-10


@pytest.mark.parametrize('scale', [2, 3])
def test_weighted_data_step_solves_the_dense_normal_equations(scale, rng):
    size, alpha = (3 * scale, 4 * scale), 0.1
    z, y, kernel = random(rng, 1, 1, *size), random(rng, 1, 1, 3, 4), random_kernels(rng, 1, 3 if scale == 1 else 5)
    spectrum = random_spectrum(*size, rng)
    matrix, weight = dense_operator(kernel, scale, size), alpha * dense_inverse_covariance(spectrum)
    expected = torch.linalg.solve(matrix.T @ matrix + weight, matrix.T @ y.flatten() + weight @ z.flatten())
    x = data_step(z, y, kernel, scale, alpha, spectrum)
    torch.testing.assert_close(x.flatten(), expected, rtol=0, atol=1e-12)


def test_weighted_data_step_depends_on_the_ratio_of_weight_and_spectrum_alone(rng):
    z, y, kernel = random(rng, 1, 3, 12, 8), random(rng, 1, 3, 6, 4), random_kernels(rng, 1, 5)
    spectrum = random_spectrum(12, 8, rng)
    torch.testing.assert_close(
        data_step(z, y, kernel, 2, 0.1, spectrum), data_step(z, y, kernel, 2, 0.3, 3 * spectrum), rtol=0, atol=1e-13
    )
    torch.testing.assert_close(
        data_step(z, y, kernel, 2, 0.1, torch.ones(12, 8)), data_step(z, y, kernel, 2, 0.1), rtol=0, atol=1e-13
    )


@pytest.mark.parametrize(('num_images', 'num_kernels'), BATCHES)
def test_degrade_has_the_right_gradients(num_images, num_kernels, rng):
    x = random(rng, num_images, 1, 4, 6).requires_grad_()
    kernels = random_kernels(rng, num_kernels, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, k: degrade(x, k, 2), (x, kernels))


def test_degradation_binds_the_functions_to_its_scale(rng):
    x, y, kernel = random(rng, 1, 3, 12, 12), random(rng, 1, 3, 4, 4), random_kernels(rng, 1, 5)
    degradation = Degradation(3, 5)
    assert degradation.A(x, kernel).equal(degrade(x, kernel, 3))
    assert degradation.A_adjoint(y, kernel).equal(degrade_adjoint(y, kernel, 3))
    assert degradation.data_step(x, y, kernel, 0.1).equal(data_step(x, y, kernel, 3, 0.1))
    spectrum = random_spectrum(12, 12, rng)
    assert degradation.data_step(x, y, kernel, 0.1, spectrum).equal(data_step(x, y, kernel, 3, 0.1, spectrum))


def test_noise_variance_covers_noise_and_the_released_rounding():
    """Cut off to 8 bits, a value errs by 0 to 1 / 255, by (1 / 255)^2 / 3 in the mean square; rounded, by a quarter."""
    rounding = Degradation(2, 11).noise_variance
    assert 1 / 255**2 / 12 < rounding < 1 / 255**2 / 3
    assert Degradation(2, 11, noise=0.1).noise_variance == pytest.approx(0.01 + rounding)


@pytest.mark.parametrize(
    ('images', 'kernels', 'message'),
    [
        ((1, 1, 8, 4), (1, 1, 5, 5), 'kernel size 5 is larger than the image of 8x4 pixels'),
        ((3, 1, 8, 8), (2, 1, 5, 5), 'a batch of 3 images needs 1 or 3 kernels, got 2'),
        ((1, 1, 8, 8), (1, 1, 4, 4), 'kernel size 4 is not odd'),
    ],
)
def test_kernels_that_do_not_fit_are_refused(images, kernels, message):
    with pytest.raises(ValueError, match=message):
        degrade(torch.zeros(images), torch.zeros(kernels), 2)
    with pytest.raises(ValueError, match=message):
        degrade_adjoint(torch.zeros(*images[:2], images[2] // 2, images[3] // 2), torch.zeros(kernels), 2)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'scale': 5}, 'scale: 5 is not one of 1, 2, 3, 4, 8'),
        ({'kernel_size': 10}, 'kernel_size: 10 is not an odd number'),
        ({'kernel_size': 1}, 'kernel_size: 1 is not an odd number of at least 3'),
        ({'kernel_size': 11.0}, r'kernel_size: 11\.0 is not an odd number'),
        ({'convention': 'centred'}, "convention: 'centred' is not one of aligned, released, kernelgan"),
        ({'noise': -0.1}, r'noise: -0\.1 is not in \[0, 1\)'),
        ({'noise': 1}, r'noise: 1 is not in \[0, 1\)'),
        ({'noise': float('nan')}, r'noise: nan is not in \[0, 1\)'),
    ],
)
def test_unknown_facts_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Degradation(**({'scale': 2, 'kernel_size': 11} | arguments))


@pytest.mark.parametrize('convention', ['aligned', 'released'])
@pytest.mark.parametrize('scale', SCALES)
def test_enlargement_brings_a_ramp_back_to_where_it_was_sampled(convention, scale):
    degradation = Degradation(scale, default_kernel_size(scale), convention)
    family = GaussianFamily(scale, degradation.kernel_size, degradation.centre, variance_range=(0.7, 1.0))
    unit = max(scale, 2)  # at scale 1, too, the image must hold the kernel
    rows, columns = torch.meshgrid(torch.arange(12.0 * unit), torch.arange(10.0 * unit), indexing='ij')
    x = (0.3 * rows + 0.7 * columns)[None, None]
    lq = degradation.A(x, family.render(torch.full((1, 3), 0.5)))
    inside = (..., *(slice(5 * scale, -5 * scale + 1),) * 2)  # the ramp is not periodic
    torch.testing.assert_close(degradation.enlarge(lq)[inside], x[inside], rtol=0, atol=2e-3)


@pytest.mark.parametrize('convention', CONVENTIONS)
@pytest.mark.parametrize('scale', SCALES)
def test_degradation_knows_the_centre_of_its_convention(convention, scale):
    size = default_kernel_size(scale)
    sign = -1 if convention == 'released' else 1
    assert Degradation(scale, size, convention).centre == size // 2 + sign * (scale - 1) / 2


def shift_after_bicubic_upsampling(hr, kernel, scale):
    """Shift (rows, columns) in HR pixels of the upsampled LR image against the HR image.

    The model continues images periodically and bicubic upsampling does not, so a border as wide as both filters is cut.
    What is left is windowed, since phase correlation takes images for periodic, too. The HR image is first blurred as
    much as the LR image, by a filter that moves nothing: a common spectrum makes the correlation peak symmetric. The
    window makes shifts come out a few per cent too small.
    """
    lr = degrade(torch.from_numpy(hr)[None, None], kernel, scale)[0, 0].numpy()
    upsampled = cv2.resize(lr, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    blurred = gaussian_filter(hr, np.mean(GaussianFamily(scale, 3, 1.0).variance_range) ** 0.5)
    border = kernel.shape[-1] // 2 + 2 * scale
    images = [image[border:-border, border:-border] for image in (blurred, upsampled)]
    window = np.outer(np.hanning(images[0].shape[0]), np.hanning(images[0].shape[1]))
    images = [(image - image.mean()) * window for image in images]
    return -phase_cross_correlation(*images, upsample_factor=100, normalization=None)[0]


@pytest.mark.parametrize('scale', SCALES)
@pytest.mark.parametrize('is_odd', [False, True])
def test_aligned_keeps_the_bicubic_grid_and_released_is_off_by_scale_minus_1(scale, is_odd, rng):
    lr_size = 512 // scale // 2 * 2 - is_odd
    hr = skimage.data.astronaut()[: lr_size * scale, : lr_size * scale, 1] / 255
    size = default_kernel_size(scale)
    params = torch.rand(3, 3, generator=rng, dtype=torch.float64)
    for convention, expected, tolerance in (('aligned', 0, 0.1), ('released', scale - 1, 0.25)):
        for kernel in GaussianFamily(scale, size, kernel_centre(size, scale, convention)).render(params):
            shift = shift_after_bicubic_upsampling(hr, kernel[None], scale)
            np.testing.assert_allclose(shift, [expected] * 2, rtol=0, atol=tolerance)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('scale', [2, 3, 4])
@pytest.mark.parametrize('name', SET5)
def test_released_reproduces_the_benchmark_up_to_8_bits(scale, name, dtype, shared_data):
    """The generator of the benchmark computed in float32 and cut off, not rounded, to 8 bits.

    Hence images lie within one level of the file, and in float32 nearly all pixels are the same when cut off likewise.
    In float64 more differ, where the exact value is a whole level, as in saturated areas.
    """
    folder = shared_data / 'benchmarks' / 'Set5'
    hr, lr = (cv2.imread(str(folder / part / f'{name}.png')) for part in ('HR', f'gaussian_x{scale}/LR'))
    kernel = torch.from_numpy(scipy.io.loadmat(folder / f'gaussian_x{scale}/kernels/{name}.mat')['Kernel'])[None, None]
    height, width = (side - side % scale for side in hr.shape[:2])
    x = torch.from_numpy(hr[:height, :width] / 255).permute(2, 0, 1)[None]
    y = degrade(x.to(dtype), kernel.to(dtype), scale)[0].permute(1, 2, 0).numpy().astype(np.float64)
    difference = y * 255 - lr
    assert difference.min() > -1e-4 and difference.max() < 1 + 1e-4
    if dtype == torch.float32:
        assert np.mean(np.floor(y.astype(np.float32) * np.float32(255)) == lr) > 0.999
