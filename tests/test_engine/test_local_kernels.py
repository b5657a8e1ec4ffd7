"""Kernels of the parts of an image: the cells, the neighbours of unsure ones, the blend of the results."""

import math

import pytest
import skimage.data
import torch
from basicsr.utils.registry import ARCH_REGISTRY

from dkp_plugin.engine.local_kernels import CONTEXT, Grid, blend_regions, fill_unsure
from dkp_plugin.engine.restoration import Restoration
from dkp_plugin.estimators.base import KernelEstimator
from dkp_plugin.estimators.fixed_kernel_estimator import FixedKernel
from dkp_plugin.host.errors import OptionError
from dkp_plugin.photos.presets import Choices, make_options
from dkp_plugin.physics.degradation import Degradation, round_to_levels
from dkp_plugin.physics.kernel_families import build_family


@pytest.mark.parametrize(('size', 'shape'), [((40, 140), (1, 1)), ((50, 150), (1, 2)), ((400, 230), (4, 2))])
def test_cells_have_64_to_144_pixels(size, shape):
    grid = Grid(size)
    assert grid.shape == shape and len(grid) == math.prod(shape) == len(grid.cells()) == len(grid.regions())
    seen = torch.zeros(size)
    for place in grid.cells():
        seen[place] += 1
    assert seen.min() == 1  # every pixel is in a cell


@pytest.mark.parametrize('size', [(50, 150), (400, 230)])
@pytest.mark.parametrize('scale', [1, 4])
def test_windows_sum_to_one_and_stay_within_the_regions(size, scale):
    grid = Grid(size)
    windows = torch.stack(grid.windows(scale))
    torch.testing.assert_close(windows.sum(0), torch.ones(scale * size[0], scale * size[1]))
    for window, (rows, columns) in zip(windows, grid.regions(), strict=True):
        outside = window.clone()
        outside[tuple(slice(scale * part.start, scale * part.stop) for part in (rows, columns))] = 0
        assert outside.max() < 1e-6
        rows_used = (window.amax(1) > 1e-6).nonzero()[[0, -1]].squeeze(1)
        for edge, end, limit in ((rows_used[0], rows.start, 0), (rows_used[1] + 1, rows.stop, size[0])):
            assert end == limit or abs(edge - scale * end) >= scale * CONTEXT - 1


def test_regions_that_agree_are_joined_without_a_trace(rng):
    image = torch.rand(1, 3, 50, 320, generator=rng)
    enlarge = lambda index, part: part.repeat_interleave(2, 2).repeat_interleave(2, 3)  # noqa: E731
    torch.testing.assert_close(blend_regions(enlarge, image, 1, Grid((50, 320)), 2), enlarge(0, image))
    shrink = lambda index, part: part[..., ::2, ::2]  # noqa: E731
    torch.testing.assert_close(blend_regions(shrink, image, 2, Grid((25, 160)), 1), shrink(0, image))


def test_unsure_cells_take_the_mean_of_their_neighbours():
    values = torch.tensor([[1.0, 9.0, 5.0], [9.0, 9.0, 9.0], [9.0, 9.0, 9.0]])
    is_sure = torch.tensor([[True, False, True], [False, False, False], [False, False, False]])
    filled = fill_unsure(values.view(3, 3, 1, 1), is_sure)[..., 0, 0]
    # Row by row from the sure ones: (1 + 5) / 2 between them; below, each has what is known above it.
    expected = torch.tensor([[1.0, 3.0, 5.0], [1.0, 3.0, 5.0], [2.0, 3.0, 4.0]])
    torch.testing.assert_close(filled, expected)


@ARCH_REGISTRY.register()
class ByBrightness(KernelEstimator):
    """A single pixel where the image is bright, slightly blurred where it is dark; unsure where it is gray."""

    def reset(self, lq, degradation, generator):
        self.brightness = lq.mean().item()
        self.kernel = lq.new_zeros(1, 1, degradation.kernel_size, degradation.kernel_size)
        centre, blur = degradation.kernel_size // 2, 0.05 * (self.brightness < 0.5)
        self.kernel[..., centre - 1 : centre + 2, centre - 1 : centre + 2] = blur
        self.kernel[..., centre, centre] = 1 - 8 * blur  # so little that errors do not spread

    def forward(self):
        return self.kernel

    def expected_psnr(self):
        return 20.0 if 0.4 < self.brightness < 0.6 else 60 + self.brightness

    def step(self, x):
        return {}


def make(**blocks):
    opt = {'name': 'x', 'model_type': 'BlindSRModel', 'scale': 1, 'num_gpu': 0, 'manual_seed': 0, 'datasets': {}}
    opt |= {'network_k': {'type': 'ByBrightness'}, 'network_g': {'type': 'ClosedForm'}, 'local_kernels': True}
    return Restoration(opt | blocks, 'cpu')


def test_every_part_is_restored_with_its_kernel(rng):
    lq = 0.1 * torch.rand(1, 3, 60, 300, generator=rng)
    lq[..., 200:] += 0.9  # dark, partly bright, bright; the second cell is not sure
    lq[..., 100:200] += 0.45
    result = make()(lq, 'a')
    assert result.field.is_sure == [[True, False, True]] and result.field.kernels.shape[:2] == (1, 3)
    torch.testing.assert_close(result.field.kernels[0, 1], result.field.kernels[0, ::2].mean(0))
    torch.testing.assert_close(result.kernel[0, 0], result.field.kernels[0, 2])  # the surest
    for part, kernel in ((slice(0, 40), result.field.kernels[0, 0]), (slice(-40, None), result.field.kernels[0, 2])):
        alone = make(local_kernels=False)
        alone.estimator = FixedKernel.of(kernel[None, None])
        torch.testing.assert_close(result.x[..., part], alone(lq, 'a').x[..., part], rtol=0, atol=2e-3)
    assert result.confidence.lr_psnr > 40


def test_a_small_image_has_one_kernel(rng):
    result = make()(torch.rand(1, 3, 60, 70, generator=rng), 'a')
    assert result.field is None


def test_a_fixed_kernel_is_refused():
    with pytest.raises(OptionError, match=r'^local_kernels: not possible with FixedKernel'):
        make(network_k={'type': 'FixedKernel'})


def psnr(x, gt):
    return -10 * (x.clamp(0, 1) - gt)[..., 8:-8, 8:-8].square().mean().log10().item()


def test_two_halves_of_different_blur():
    """Against one kernel for both; with the true kernels in each half, 1.3 dB are gained."""
    plain = Degradation(4, 19)
    family = build_family('gaussian', 4, 19, plain.centre, variance_range=(0.5, 10.0))
    sharp, soft = family.render(torch.tensor([[0.02, 0.1, 0.3], [0.9, 0.5, 0.7]])).split(1)
    gt = torch.from_numpy(skimage.data.coffee()[100:316].copy()).permute(2, 0, 1).unsqueeze(0) / 255
    gt = torch.cat([gt[..., :300], gt[..., 200:]], 3)[..., : 4 * 172]
    halves = [plain.A(gt, kernel) for kernel in (sharp, soft)]
    lq = round_to_levels(torch.cat([halves[0][..., :86], halves[1][..., 86:]], 3))
    lq, gt = lq[..., 6:-6, 6:-6], gt[..., 24:-24, 24:-24]
    one, local = (
        Restoration(make_options(Choices(method='fast-dkp', kernel='gaussian', local_kernels=is_local)), 'cpu')(lq, 'a')
        for is_local in (False, True)
    )
    assert local.field.kernels.shape[:2] == (1, 2) and one.field is None
    assert psnr(local.x, gt) > psnr(one.x, gt) + 0.5
