"""Kernels that reach the border of their grid are sought again on a larger one."""

import pytest
import torch
from basicsr.utils.registry import ARCH_REGISTRY

from dkp_plugin.engine.checkpoints import Checkpoints
from dkp_plugin.engine.observer import Observer
from dkp_plugin.engine.restoration import Restoration
from dkp_plugin.estimators.base import KernelEstimator
from dkp_plugin.physics.kernels import border_weight


class Box(KernelEstimator):
    """A square of a given side, as far as the grid holds it."""

    def __init__(self, side: int, adapts_size: bool = True) -> None:
        super().__init__()
        self.side, self.adapts_size = side, adapts_size

    def reset(self, lq, degradation, generator):
        size = degradation.kernel_size
        rest = max((size - self.side) // 2, 0)
        self.kernel = lq.new_zeros(1, 1, size, size)
        self.kernel[..., rest : size - rest, rest : size - rest] = 1 / (size - 2 * rest) ** 2

    def forward(self):
        return self.kernel

    def step(self, x):
        return {}


@pytest.fixture(autouse=True)
def _box_is_registered(monkeypatch):
    """For these tests only: other tests list all methods."""
    monkeypatch.setitem(ARCH_REGISTRY._obj_map, 'Box', Box)


def make(side, adapts_size=True, **blocks):
    opt = {'name': 'x', 'model_type': 'BlindSRModel', 'scale': 2, 'num_gpu': 0, 'manual_seed': 0, 'datasets': {}}
    opt |= {'network_k': {'type': 'Box', 'side': side, 'adapts_size': adapts_size}, 'network_g': {'type': 'Bicubic'}}
    return Restoration(opt | blocks, 'cpu')


def restore(restoration, width=36, height=40, **options):
    """The kernel size of the result, the warnings, and the steps with their totals."""
    lq = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))
    observer, messages, steps = Observer(), [], []
    observer.warned, observer.stepped = messages.append, lambda done, total: steps.append((done, total))
    result = restoration(lq, 'a', observer=observer, **options)
    scale = restoration.degradation.scale
    assert result.x.shape == (1, 3, scale * height, scale * width)
    return result.kernel.shape[-1], messages, steps


def line(size):
    return f'a: the kernel reaches the border of {size}x{size} pixels; trying {size + 4}x{size + 4}'


@pytest.mark.parametrize(
    ('side', 'size', 'messages'),
    [(9, 11, []), (11, 15, [line(11)]), (15, 19, [line(11), line(15)]), (50, 19, [line(11), line(15)])],
)
def test_the_grid_grows_until_it_holds_the_kernel(side, size, messages):
    found, said, steps = restore(make(side))  # 11x11 at scale 2, at most twice as much
    assert (found, said) == (size, messages)
    done, totals = zip(*steps, strict=True)
    assert list(done) == sorted(done) and done[-1] == totals[-1] == 1 + len(messages)


@pytest.mark.parametrize('degradation', [{'kernel_size': 11}, {'convention': 'released'}])
def test_benchmarks_and_sizes_that_are_set_keep_theirs(degradation):
    assert restore(make(11, degradation=degradation))[:2] == (11, [])


def test_kernels_that_are_noisy_at_their_border_keep_their_size():
    assert restore(make(11, adapts_size=False))[:2] == (11, [])


def test_small_images_keep_a_size_that_fits():
    border = {'border': 'periodic'}
    assert restore(make(50, degradation=border), height=16, width=16)[0] == 19
    assert restore(make(50, scale=1), height=16, width=16)[0] == 27  # 29 would reach 17 pixels


def test_parts_of_an_image_have_one_size():
    assert restore(make(11, local_kernels=True), width=150)[:2] == (15, [line(11)])


def test_an_interrupted_image_resumes_at_its_size(tmp_path):
    final = {'restorer': {'final': 'ClosedForm'}}
    assert restore(make(15, **final), checkpoints=Checkpoints(tmp_path, 'identity', 1))[0] == 19
    assert restore(make(15, **final), checkpoints=Checkpoints(tmp_path, 'identity', 1))[0] == 19


def test_border_weight_of_a_uniform_kernel():
    torch.testing.assert_close(border_weight(torch.full((2, 1, 5, 5), 1 / 25)), torch.tensor([16 / 25] * 2))
