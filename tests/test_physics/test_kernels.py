import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from scipy.ndimage import correlate

from dkp_plugin.physics.degradation import SCALES, degrade
from dkp_plugin.physics.kernel_families import build_family
from dkp_plugin.physics.kernels import (
    CONVENTIONS,
    centre_of_mass,
    check_kernel_size,
    convert_convention,
    crop_kernel,
    cubic_kernel,
    default_kernel_size,
    fit_to_grid,
    kernel_centre,
    normalise,
    rasterise,
)


@pytest.mark.parametrize(('scale', 'size'), [(2, 11), (3, 15), (4, 19), (8, 21)])
def test_default_sizes_are_those_of_the_papers(scale, size):
    assert default_kernel_size(scale) == size


@pytest.mark.parametrize('size', [1, 4, -3, 11.0, '11'])
def test_even_small_and_fractional_sizes_are_refused(size):
    with pytest.raises(ValueError, match=f'kernel_size: {size!r} is not an odd number of at least 3'):
        check_kernel_size(size)


@pytest.mark.parametrize(
    ('size', 'scale', 'convention', 'centre'),
    [
        (11, 2, 'aligned', 5.5),
        (19, 4, 'aligned', 10.5),
        (21, 8, 'aligned', 13.5),
        (11, 2, 'released', 4.5),  # (K - s) / 2
        (15, 3, 'released', 6),
        (19, 4, 'released', 7.5),
        (21, 8, 'released', 6.5),
        (13, 2, 'kernelgan', 6.5),  # k // 2 + (s - k % 2) / 2
        (33, 4, 'kernelgan', 17.5),
        (12, 2, 'kernelgan', 7),
        (16, 4, 'kernelgan', 10),
    ],
)
def test_centre_of_each_convention(size, scale, convention, centre):
    assert kernel_centre(size, scale, convention) == centre


def test_normalise_and_centre_of_mass_by_hand():
    kernel = torch.zeros(2, 1, 3, 3)
    kernel[0, 0, 0, 2], kernel[0, 0, 1, 2] = 1, 3
    kernel[1, 0, 2, 0] = 5
    assert normalise(kernel)[0, 0, :, 2].tolist() == [0.25, 0.75, 0]
    assert centre_of_mass(normalise(kernel)).tolist() == [[0.75, 2], [2, 0]]


def test_rasterise_spreads_points_by_bilinear_weights():
    kernel = rasterise(torch.tensor([[[1.25, 0.0], [2.0, 1.5]]], dtype=torch.float64), 3)[0, 0]
    expected = torch.tensor([[0, 0, 0], [0.75, 0, 0], [0.25, 0.5, 0.5]], dtype=torch.float64) / 2
    torch.testing.assert_close(kernel, expected)


@pytest.mark.parametrize('scale', SCALES)
@pytest.mark.parametrize(('source', 'target', 'sign'), [('released', 'aligned', 1), ('aligned', 'released', -1)])
def test_released_and_aligned_lie_whole_pixels_apart_and_convert_without_loss(scale, source, target, sign, rng):
    kernels = normalise(torch.rand(2, 1, 11, 11, generator=rng))
    converted, is_lossless = convert_convention(kernels, scale, source, target)
    margin, shift = scale - 1, sign * (scale - 1)
    assert is_lossless
    assert converted.shape[-1] == 11 + 2 * margin
    inside = slice(margin + shift, margin + shift + 11)
    assert converted[..., inside, inside].equal(kernels)
    assert converted.sum() == pytest.approx(2)

    back, is_lossless = convert_convention(converted, scale, target, source)
    assert is_lossless
    assert crop_kernel(back, 11).allclose(kernels, rtol=1e-6)
    assert back[..., 2 * margin : 2 * margin + 11, 2 * margin : 2 * margin + 11].equal(kernels)


@pytest.mark.parametrize('scale', SCALES)
def test_odd_kernelgan_kernels_are_aligned_kernels(scale, rng):
    kernel = normalise(torch.rand(1, 1, 13, 13, generator=rng))
    for source, target in (('kernelgan', 'aligned'), ('aligned', 'kernelgan')):
        converted, is_lossless = convert_convention(kernel, scale, source, target)
        assert is_lossless and converted.equal(kernel)


@pytest.mark.parametrize('scale', SCALES)
@pytest.mark.parametrize(('size', 'source'), [*((13, convention) for convention in CONVENTIONS), (12, 'kernelgan')])
@pytest.mark.parametrize('target', CONVENTIONS)
def test_centre_of_mass_lands_where_the_target_convention_says(scale, size, source, target):
    kernel = torch.zeros(1, 1, size, size, dtype=torch.float64)
    centre = kernel_centre(size, scale, source)
    low, high = math.floor(centre), math.ceil(centre)
    kernel[..., [low, low, high, high], [low, high, low, high]] = 0.25  # may name one pixel several times
    converted, is_lossless = convert_convention(normalise(kernel), scale, source, target)
    expected = kernel_centre(converted.shape[-1], scale, target)
    assert converted.shape[-1] % 2 == 1
    assert centre_of_mass(converted)[0].tolist() == pytest.approx([expected] * 2, abs=1e-12)
    assert is_lossless == (size % 2 == 1)


@pytest.mark.parametrize('scale', SCALES)
def test_even_kernelgan_kernel_moves_by_half_a_pixel(scale, rng):
    kernel = normalise(torch.rand(1, 1, 6, 6, generator=rng, dtype=torch.float64))
    converted, is_lossless = convert_convention(kernel, scale, 'kernelgan', 'aligned')
    quarter = kernel[0, 0] / 4  # linear interpolation by half a pixel is the mean of four neighbours
    expected = sum(np.pad(quarter, ((row, 1 - row), (column, 1 - column))) for row in (0, 1) for column in (0, 1))
    assert not is_lossless
    assert converted.shape[-1] == 9
    np.testing.assert_allclose(converted[0, 0, :7, :7], expected, rtol=0, atol=1e-15)
    assert converted[0, 0, 7:].abs().max() == converted[0, 0, :, 7:].abs().max() == 0


@pytest.mark.parametrize('size', [5, 6])
def test_kernelgan_degrades_as_scipy_correlates(size, rng):
    x, kernel = (torch.rand(side, side, generator=rng, dtype=torch.float64) for side in (12, size))
    odd = torch.nn.functional.pad(kernel, (0, 1, 0, 1)) if size % 2 == 0 else kernel
    expected = correlate(x.numpy(), kernel.numpy(), mode='wrap')[::2, ::2]
    np.testing.assert_allclose(degrade(x[None, None], odd[None, None], 2)[0, 0], expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize('scale', SCALES)
@pytest.mark.parametrize(('source', 'target', 'sign'), [('released', 'aligned', 1), ('aligned', 'released', -1)])
def test_converted_kernel_gives_the_lr_image_of_the_shifted_photograph(scale, source, target, sign, photo, rng):
    size = default_kernel_size(scale)
    family = build_family('motion', scale, size, kernel_centre(size, scale, source))
    kernel = family.render(family.sample(1, rng))
    converted, _ = convert_convention(kernel, scale, source, target)
    # A kernel that lies further down and to the right reads pixels further down and to the right.
    moved = np.roll(photo.numpy(), (-sign * (scale - 1),) * 2, axis=(-2, -1))
    expected = degrade(torch.from_numpy(moved), kernel, scale)
    torch.testing.assert_close(degrade(photo, converted, scale), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize('scale', SCALES)
@pytest.mark.parametrize('library', ['torch', 'PIL'])
def test_cubic_kernel_is_the_bicubic_downsampling_of_others(library, scale, rng):
    """Away from the border, which the model continues periodically; a grid of 6 s + 1 pixels cuts nothing off."""
    size = 6 * scale + 1
    kernel = cubic_kernel(scale, size, kernel_centre(size, scale, 'aligned'))
    x = torch.rand(1, 1, 12 * scale, 13 * scale, generator=rng)
    if library == 'torch':
        expected = F.interpolate(x, (12, 13), mode='bicubic', antialias=True)
    else:
        small = Image.fromarray(x[0, 0].numpy()).resize((13, 12), Image.Resampling.BICUBIC)
        expected = torch.from_numpy(np.array(small))[None, None]
    inner = (..., slice(2, -2), slice(2, -2))
    torch.testing.assert_close(degrade(x, kernel, scale)[inner], expected[inner], rtol=0, atol=1e-5)


def test_cubic_kernel_by_hand():
    """At s = 2 and half a pixel off the middle, t = 1/4, 3/4, 5/4, 7/4 to both sides."""
    row = [-3, -9, 29, 111, 111, 29, -9, -3]
    expected = np.outer(row, row) / sum(row) ** 2
    kernel = cubic_kernel(2, 9, 4.5)[0, 0]
    np.testing.assert_allclose(kernel[1:, 1:], expected, rtol=0, atol=1e-7)
    assert kernel[0].abs().max() == kernel[:, 0].abs().max() == 0


def test_cubic_kernel_that_is_cut_off_still_has_sum_one():
    assert cubic_kernel(4, 11, 6.5).sum().item() == pytest.approx(1)


def test_crop_kernel_keeps_the_middle_and_the_sum():
    kernel = torch.arange(25.0).view(1, 1, 5, 5) / 300
    middle = torch.tensor([[6.0, 7, 8], [11, 12, 13], [16, 17, 18]]) / 108
    torch.testing.assert_close(crop_kernel(kernel, 3)[0, 0], middle)
    larger = crop_kernel(kernel, 9)
    torch.testing.assert_close(larger[..., 2:-2, 2:-2], kernel)
    assert larger.shape[-1] == 9 and larger.sum() == pytest.approx(1)


def test_kernel_that_fits_keeps_its_values():
    kernel = torch.tensor([[0, 2, 0], [2, 4, 2], [0, 2, 0]], dtype=torch.float64)  # its centre of mass is a pixel
    fitted = fit_to_grid(torch.nn.functional.pad(kernel, (0, 9, 4, 0)), 9, 6.0)
    expected = torch.zeros(1, 1, 9, 9, dtype=torch.float64)
    expected[0, 0, 5:8, 5:8] = kernel / 12
    torch.testing.assert_close(fitted, expected)


def test_shift_by_a_part_of_a_pixel_is_bilinear():
    fitted = fit_to_grid(torch.ones(1, 1, dtype=torch.float64), 5, 2.25)
    expected = torch.zeros(1, 1, 5, 5, dtype=torch.float64)
    expected[0, 0, 2:4, 2:4] = torch.tensor([[9, 3], [3, 1]]) / 16
    torch.testing.assert_close(fitted, expected)


@pytest.mark.parametrize(('shape', 'centre'), [((40, 40), 9.0), ((12, 31), 10.5), ((70, 5), 7.5), ((9, 8), 10.5)])
def test_mass_and_centre_are_kept_and_large_kernels_shrink(shape, centre, rng):
    kernel = torch.rand(*shape, generator=rng, dtype=torch.float64)
    fitted = fit_to_grid(kernel, 19, centre)
    assert fitted.shape == (1, 1, 19, 19) and fitted.min() >= 0
    torch.testing.assert_close(fitted.sum(), torch.tensor(1.0, dtype=torch.float64))
    torch.testing.assert_close(centre_of_mass(fitted)[0], torch.tensor([centre, centre], dtype=torch.float64))


def test_shrinking_keeps_the_proportions():
    line = torch.zeros(101, 101, dtype=torch.float64)
    line[50, :] = 1  # uniform motion of 101 pixels; room for 9 on both sides of the middle
    fitted = fit_to_grid(line, 19, 9.0)[0, 0]
    assert fitted[9].sum() == pytest.approx(1)
    # 101 points, evenly from 0 to 18: each pixel gets 100 / 18 of them; those at the ends, where one half is missing,
    # get the points within one pixel, 0, 0.18, ..., 0.9, with weights 1 - 0.18 n: 6 - 0.18 * 15 = 3.3.
    assert fitted[9, 1:-1].numpy() * 101 == pytest.approx(100 / 18, abs=0.05)
    assert fitted[9, [0, -1]].numpy() * 101 == pytest.approx(3.3)


def test_a_trace_far_off_does_not_shrink_a_kernel():
    kernel = torch.zeros(61, 61, dtype=torch.float64)
    kernel[30, 30] = 1
    kernel[0, 0] = 1e-4
    assert fit_to_grid(kernel, 11, 5.0)[0, 0, 5, 5] == 1
