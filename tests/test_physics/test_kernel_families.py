"""Families of kernels: centred, reproducible, of the shapes and laws that their parameters promise."""

import itertools
import math

import numpy as np
import pytest
import torch

from dkp_plugin.physics.degradation import SCALES
from dkp_plugin.physics.kernel_families import KERNEL_FAMILIES, GaussianFamily, LineFamily, MotionFamily, build_family
from dkp_plugin.physics.kernels import centre_of_mass, default_kernel_size, kernel_centre

# A Gaussian off the middle of its grid is cut off more on one side; what its three corrections leave of the shift.
CENTRE_TOLERANCE = {'gaussian': 1e-3, 'auto': 0.2}  # auto: with Gaussians wider than the grid at x8


def family_of(name, scale, convention='aligned', **options):
    size = default_kernel_size(scale)
    return build_family(name, scale, size, kernel_centre(size, scale, convention), **options)


def corners(num_params):
    """Corners of the unit cube, with angles between them for families of few coordinates."""
    values = [(0.0, 1.0)] * (num_params - 1) + [(0.0, 0.25, 0.5, 0.75, 1.0)]
    return torch.tensor(list(itertools.product(*values)))


def moments(kernel):
    """Mean (row, column) and covariance of a kernel (K, K) as a probability distribution, by NumPy."""
    weights = kernel.numpy().ravel()
    points = np.indices(kernel.shape).reshape(2, -1).T
    mean = weights @ points
    return mean, (points - mean).T @ (weights[:, None] * (points - mean))


@pytest.mark.parametrize('convention', ['aligned', 'released'])
@pytest.mark.parametrize('scale', SCALES)
@pytest.mark.parametrize('name', KERNEL_FAMILIES)
def test_families_give_centred_kernels(name, scale, convention, rng):
    family = family_of(name, scale, convention)
    params = family.sample(200, rng)
    if name not in ('motion', 'auto'):  # which have too many corners
        params = torch.cat([params, corners(family.num_params)])
    kernels = family.render(params.double())
    assert kernels.shape == (len(params), 1, family.kernel_size, family.kernel_size)
    assert kernels.dtype == torch.float64
    assert kernels.min() >= 0
    torch.testing.assert_close(kernels.sum((1, 2, 3)), torch.ones(len(params), dtype=torch.float64))
    error = (centre_of_mass(kernels) - family.centre).abs().max()
    assert error < CENTRE_TOLERANCE.get(name, 1e-12)


@pytest.mark.parametrize('name', KERNEL_FAMILIES)
def test_the_seed_alone_decides(name):
    family = family_of(name, 4)
    first, again, other = (family.sample(3, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert first.shape == (3, family.num_params)
    assert family.render(first).equal(family.render(again))
    assert all((a - b).abs().max() > 1e-3 for a, b in zip(family.render(first), family.render(other), strict=True))


@pytest.mark.parametrize('centre', [20, 20.5])
@pytest.mark.parametrize('angle', [0, 0.3, 0.5, 0.8])
def test_gaussian_has_the_requested_covariance(angle, centre):
    variances = 2 + 5 * np.array([0.2, 0.9])
    family = GaussianFamily(4, 41, centre, variance_range=(2, 7))
    mean, covariance = moments(family.render(torch.tensor([[0.2, 0.9, angle]], dtype=torch.float64))[0, 0])
    axis, across = (np.array([math.cos(turn), math.sin(turn)]) for turn in (math.pi * angle, math.pi * (angle + 0.5)))
    expected = variances[0] * np.outer(axis, axis) + variances[1] * np.outer(across, across)
    np.testing.assert_allclose(mean, centre, rtol=0, atol=1e-9)
    np.testing.assert_allclose(covariance, expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize(('scale', 'low', 'high'), [(2, 0.35, 5), (3, 0.525, 7.5), (4, 0.7, 10), (8, 1.4, 10)])
def test_default_variances_are_those_of_the_papers_test_kernels(scale, low, high):
    assert GaussianFamily(scale, 11, 5.0).variance_range == pytest.approx((low, high))


@pytest.mark.parametrize(('turn', 'axis'), [(0, 'row'), (0.5, 'column')])
def test_line_along_an_axis_by_hand(turn, axis):
    # Uniform on [-2, 2]: each pixel gets the integral of its bilinear hat, 1 inside and 1/2 at both ends, over 4.
    family = LineFamily(2, 7, 3.0, length_range=(4, 4), num_points=100_001)
    kernel = family.render(torch.tensor([[0.0, turn]], dtype=torch.float64))[0, 0]
    expected = torch.tensor([0, 0.125, 0.25, 0.25, 0.25, 0.125, 0], dtype=torch.float64)
    line = kernel[3] if axis == 'row' else kernel[:, 3]
    torch.testing.assert_close(line, expected, rtol=0, atol=1e-5)
    assert line.sum() == pytest.approx(1)


@pytest.mark.parametrize('turn', [0.1, 0.25, 0.6, 0.9])
def test_line_has_the_requested_length_and_angle(turn):
    # Bilinear weights keep the product moment of rows and columns, L^2 / 12 sin cos, and add up to 1/4 to variances.
    length, angle = 9, math.pi * turn
    family = LineFamily(4, 19, 9.25, length_range=(length, length), num_points=10_001)
    _, covariance = moments(family.render(torch.tensor([[0.5, turn]], dtype=torch.float64))[0, 0])
    expected = length**2 / 12 * np.outer(*[[math.sin(angle), math.cos(angle)]] * 2)
    assert covariance[0, 1] == pytest.approx(expected[0, 1], rel=1e-3)
    assert np.diag(covariance - expected).min() >= 0 and np.diag(covariance - expected).max() <= 0.25


def test_line_that_would_leave_the_grid_is_shortened_about_its_centre():
    family = LineFamily(2, 7, 4.5, length_range=(100, 100), num_points=1001)
    kernel = family.render(torch.tensor([[0.5, 0.0]], dtype=torch.float64))
    assert centre_of_mass(kernel)[0].tolist() == pytest.approx([4.5, 4.5])
    assert (kernel[0, 0].sum(0) > 0).tolist() == [False, False, False, True, True, True, True]


@pytest.mark.parametrize('num_steps', [1, 16, 128])
def test_trajectories_have_constant_speed_and_unit_length(num_steps, rng):
    family = MotionFamily(4, 19, 10.5, num_steps=num_steps)
    paths = family.trajectory(family.sample(50, rng).double())
    assert paths.shape == (50, num_steps + 1)
    speeds = paths.diff(dim=1).abs() * num_steps
    torch.testing.assert_close(speeds, torch.ones_like(speeds))


def test_trajectory_without_shake_pull_and_impulse_is_straight():
    family = MotionFamily(4, 19, 10.5, num_steps=10)
    params = torch.full((1, family.num_params), 0.5, dtype=torch.float64)
    params[0, :4] = torch.tensor([0, 0, 0, 0.125])  # the fourth is the direction, as a share of a turn
    (path,) = family.trajectory(params)
    expected = torch.linspace(0, 1, 11, dtype=torch.float64) * complex(math.sqrt(0.5), math.sqrt(0.5))
    torch.testing.assert_close(path, expected)


def test_trajectory_with_the_shake_alone_is_a_worm_like_chain(rng):
    # The direction diffuses with the variance (10 x 0.005)^2 x 2000 = 5 per unit of length, so the mean squared
    # distance of the ends is 2 (q - 1 + exp(-q)) / q^2 for q = 5 / 2.
    family = MotionFamily(4, 19, 10.5, num_steps=512)
    params = family.sample(2000, rng).double()
    params[:, :3] = torch.tensor([0, 1, 0])
    squares = family.trajectory(params)[:, -1].abs().square()
    error = squares.std() / len(squares) ** 0.5
    assert abs(squares.mean() - 2 * (1.5 + math.exp(-2.5)) / 2.5**2) < 4 * error


def published_trajectories(num, generator, num_steps=2000, length=60, shake=0.005):
    """Random paths of Kupyn et al. 2018 as published, (num_steps, num), divided by their length."""
    pull, impulse, gaussian = (limit * generator.random(num) for limit in (0.7, 0.2, 10))
    step = length / (num_steps - 1)
    velocity = step * np.exp(2j * np.pi * generator.random(num))
    points = np.zeros((num_steps, num), complex)
    for t in range(num_steps - 1):
        is_impulse = generator.random(num) < impulse * shake
        change = is_impulse * 2 * velocity * np.exp(1j * (np.pi + generator.random(num) - 0.5))
        noise = generator.standard_normal(num) + 1j * generator.standard_normal(num)
        velocity = velocity + change + shake * (gaussian * noise - pull * points[t]) * step
        velocity *= step / np.abs(velocity)
        points[t + 1] = points[t] + velocity
    return points / length


def sizes(paths):
    """End-to-end distances and radii of gyration of paths (T, N): (2, N)."""
    gyration = np.sqrt(np.mean(np.abs(paths - paths.mean(0)) ** 2, axis=0))
    return np.stack([np.abs(paths[-1] - paths[0]), gyration])


def assert_same_means(first, second):
    """Means of two samples (2, N) agree within four standard errors."""
    error = np.sqrt(sum(sample.var(1) / sample.shape[1] for sample in (first, second)))
    assert (np.abs(first.mean(1) - second.mean(1)) < 4 * error).all()


def motion_paths(num_steps, num, generator):
    family = MotionFamily(4, 19, 10.5, num_steps=num_steps)
    return family.trajectory(family.sample(num, generator)).T.numpy()


def test_trajectories_follow_the_published_law(rng):
    published = published_trajectories(1500, np.random.default_rng(0))
    assert_same_means(sizes(motion_paths(2000, 1500, rng)), sizes(published))


def test_law_of_trajectories_depends_little_on_the_number_of_steps(rng):
    # With 128 steps, radii of gyration are 4 % smaller than in the limit, with 512 steps 1 %, as 40 000 paths show.
    coarse, fine = sizes(motion_paths(128, 1500, rng)), sizes(motion_paths(512, 1500, rng))
    assert_same_means(coarse, fine)
    np.testing.assert_allclose(coarse.mean(1), fine.mean(1), rtol=0.1)


def test_a_sharp_disc_by_hand():
    """Radius 2 and an edge of one pixel: pixels within 1.5 are full, at 2 half, beyond 2.5 empty."""
    family = build_family('disc', 1, 7, 3.0, radius_range=(2, 2), edge_range=(1, 1))
    kernel = family.render(torch.tensor([[0.3, 0.6]], dtype=torch.float64))[0, 0]
    distance = np.hypot(*np.mgrid[-3:4, -3:4])
    expected = np.clip(2.5 - distance, 0, 1)
    np.testing.assert_allclose(kernel, expected / expected.sum(), atol=1e-12)
    assert kernel[3, 5] / kernel[3, 3] == pytest.approx(0.5) and kernel[3, 6] == 0


def test_a_disc_that_would_leave_the_grid_is_made_smaller():
    family = build_family('disc', 4, 19, 10.5, radius_range=(50, 50))
    kernel = family.render(torch.tensor([[0.5, 0.0]], dtype=torch.float64))[0, 0]
    mean, covariance = moments(kernel)
    np.testing.assert_allclose(mean, 10.5, atol=1e-12)
    assert 6.5 < 2 * math.sqrt(covariance[0, 0]) < 7.5  # a uniform disc has r^2 / 4; 7.5 pixels are left beside it


def test_a_mixture_holds_the_kernels_of_its_families(rng):
    family = family_of('auto', 4, shares={'gaussian': 1, 'line': 2, 'disc': 1}, length_range=(5, 9))
    params = family.sample(4000, rng)
    chosen = family.choose(params)
    counts = torch.bincount(chosen, minlength=3) / len(params)
    np.testing.assert_allclose(counts, [0.25, 0.5, 0.25], atol=0.03)
    some = params[:60].double()
    kernels = family.render(some)
    for index, name in enumerate(['gaussian', 'line', 'disc']):
        options = {'gaussian': {'variance_range': (0.4, 16)}, 'line': {'length_range': (5, 9)}}.get(name, {})
        alone = family_of(name, 4, **options)
        is_of = chosen[:60] == index
        expected = alone.render(some[is_of, 1 : 1 + alone.num_params])
        torch.testing.assert_close(kernels[is_of], expected)


@pytest.mark.parametrize(
    ('name', 'options', 'message'),
    [
        ('box', {}, "kernel_family: 'box' is not one of gaussian, motion, line"),
        ('gaussian', {'variance_range': (0, 1)}, r'variance_range: \[0, 1\] is not a range of positive numbers'),
        ('gaussian', {'variance_range': (2, 1)}, r'variance_range: \[2, 1\] is not a range'),
        ('gaussian', {'variance_range': (1, math.nan)}, 'is not a range'),
        ('line', {'length_range': (-1, 1)}, r'length_range: \[-1, 1\] is not a range of positive numbers'),
        ('motion', {'length_range': (5, 4)}, r'length_range: \[5, 4\] is not a range'),
        ('disc', {'radius_range': (0, 4)}, r'radius_range: \[0, 4\] is not a range'),
        ('auto', {'length_range': (5, 4)}, r'length_range: \[5, 4\] is not a range'),
        ('gaussian', {'length_range': (1, 2)}, 'kernel_family gaussian: .*length_range'),
        ('motion', {'variance_range': (1, 2)}, 'kernel_family motion: .*variance_range'),
    ],
)
def test_unknown_families_and_bad_options_are_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        build_family(name, 2, 11, 5.5, **options)


def test_options_that_are_none_are_left_at_their_default():
    assert build_family('line', 2, 11, 5.5, length_range=None, variance_range=None) == LineFamily(2, 11, 5.5)
