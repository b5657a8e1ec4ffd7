"""The engine: stages, tiles, memory, borders, attempts, resuming."""

import io
import logging

import numpy as np
import pytest
import skimage.data
import torch
import torch.nn.functional as F
from basicsr.utils.registry import ARCH_REGISTRY
from PIL import Image

from dkp_plugin.engine import alternation
from dkp_plugin.engine.checkpoints import Checkpoints
from dkp_plugin.engine.observer import Observer
from dkp_plugin.engine.restoration import Restoration
from dkp_plugin.estimators.base import KernelEstimator
from dkp_plugin.estimators.evidence_dkp_estimator import EvidenceDKP
from dkp_plugin.host.errors import DivergenceError, ImageError, OptionError, UserError
from dkp_plugin.physics.coding_noise import estimate_coding_noise
from dkp_plugin.physics.jpeg_coding import JpegCoding
from dkp_plugin.restorers.base import Restorer, Tiling

DIP = {'type': 'DIP', 'num_feat': 4, 'num_skip': 2, 'num_scales': 2, 'non_local_scales': [2], 'precision': 'float32'}
DIFFUSION = {'type': 'Diffusion', 'num_steps': 3, 'num_final_steps': 2, 'precision': 'float32', 'freeze_sigma': 0.1}


@ARCH_REGISTRY.register()
class SizeNotingRestorer(Restorer):
    """Enlarges by repetition, in as many steps as the option file says; notes the sizes and kernels it is given."""

    sizes: list = []  # noqa: RUF012
    kernels: list = []  # noqa: RUF012

    def __init__(self, tiling: str = 'discouraged') -> None:
        super().__init__()
        self.tiling = Tiling(tiling)

    def reset(self, lq, degradation, generator):
        self.sizes.append((*lq.shape[1:], self.tile))
        self.x = F.interpolate(lq, scale_factor=degradation.scale)

    def forward(self):
        return self.x

    def step(self, kernel):
        self.kernels.append(kernel)
        return {'l_x_none': self.x.new_zeros(())}


@pytest.fixture
def noted():
    SizeNotingRestorer.sizes.clear()
    SizeNotingRestorer.kernels.clear()
    return SizeNotingRestorer


def make(tile='auto', **blocks):
    opt = {
        'name': 'x',
        'model_type': 'BlindSRModel',
        'scale': 2,
        'num_gpu': 0,
        'manual_seed': 0,
        'datasets': {},
        'network_k': {'type': 'FixedKernel'},
        'network_g': {'type': 'ClosedForm'},
        'tile': tile,
    }
    return Restoration(opt | blocks, 'cpu')


def noting(tiling='discouraged', **blocks):
    return make(128, network_g={'type': 'SizeNotingRestorer', 'tiling': tiling}, alternation={'num_iter': 3}, **blocks)


def image(height=32, width=24, channels=3):
    return torch.rand(1, channels, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ('convention', 'border', 'margin'),
    # The kernel of 11 pixels reaches 5.5 HR pixels, three LR pixels at scale 2; two more keep off what wraps around.
    [('aligned', 'auto', 5), ('released', 'auto', 0), ('released', 'mirror', 5), ('aligned', 'periodic', 0)],
)
def test_the_border_is_mirrored_where_the_image_is_not_periodic(noted, convention, border, margin):
    lq = image()
    result = noting(degradation={'convention': convention, 'border': border})(lq, 'a')
    assert noted.sizes == [(3, 32 + 2 * margin, 24 + 2 * margin, None)]
    torch.testing.assert_close(result.x, F.interpolate(lq, scale_factor=2), rtol=0, atol=0)


def test_a_gray_image_is_restored_as_three_equal_channels(noted):
    lq = image(channels=1)
    result = noting()(lq, 'a')
    assert noted.sizes[0][0] == 3
    torch.testing.assert_close(result.x, F.interpolate(lq, scale_factor=2))


@pytest.mark.parametrize(
    ('tiling', 'sizes'),
    [  # 100x80 LR pixels make 200x160 HR pixels: three by two tiles of 128 that share 64 pixels at least
        ('discouraged', [(3, 64, 64, None)] * 7),
        ('supported', [(3, 64, 64, None), (3, 100, 80, 112)]),  # as many of 112 do as well: 2 * 112 - 64 = 160
        ('internal', [(3, 64, 64, None), (3, 100, 80, None)]),
    ],
)
def test_a_large_image_is_tiled_as_the_restorer_says(noted, tiling, sizes):
    lq = image(100, 80)
    result = noting(tiling, degradation={'border': 'periodic'})(lq, 'a')
    assert noted.sizes == sizes and result.tile == 128
    torch.testing.assert_close(result.x, F.interpolate(lq, scale_factor=2))


@pytest.mark.parametrize(('height', 'num_tiles'), [(64, 0), (65, 4)])
def test_the_mirrored_border_does_not_count_for_tiles(noted, height, num_tiles):
    """64 LR pixels make 128 HR pixels, the side of a tile, without the border of 5 LR pixels at each side."""
    lq = image(height, 64)
    result = noting()(lq, 'a')
    assert noted.sizes == ([(3, 64, 64, None)] * (1 + num_tiles) if num_tiles else [(3, 74, 74, None)])
    assert result.tile == (128 if num_tiles else None)
    torch.testing.assert_close(result.x, F.interpolate(lq, scale_factor=2))


@pytest.mark.parametrize(
    ('tile', 'sizes', 'used'),
    [  # the kernel of 200x160 HR pixels is sought on 96x96 of them, which are restored whole or in tiles of 128
        (1024, [(3, 48, 48, None), (3, 100, 80, None)], None),
        (128, [(3, 48, 48, None)] + [(3, 64, 64, None)] * 6, 128),
    ],
)
def test_a_part_of_a_large_image_suffices_for_the_kernel(noted, monkeypatch, tile, sizes, used):
    monkeypatch.setattr(EvidenceDKP, 'search_side', 96)
    restoration = make(
        tile,
        network_g={'type': 'SizeNotingRestorer'},
        network_k={'type': 'EvidenceDKP', 'num_samples': 4, 'num_units': 10, 'warmup_iters': 1},
        degradation={'border': 'periodic', 'kernel_size': 11},
        alternation={'num_iter': 2},
    )
    result = restoration(image(100, 80), 'a')
    assert noted.sizes == sizes and result.tile == used
    assert all(torch.equal(kernel, result.kernel) for kernel in noted.kernels[2:])
    noted.sizes.clear()
    restoration(image(48, 40), 'a')
    assert noted.sizes == [(3, 48, 40, None)]


def test_short_memory_means_smaller_tiles_then_one_line(noted, monkeypatch):
    room, reset, messages = 80 * 80, noted.reset, []

    def reset_with_little_memory(self, lq, *arguments):
        if lq.shape[-2] * lq.shape[-1] > room:
            raise torch.OutOfMemoryError('out of memory')
        reset(self, lq, *arguments)

    monkeypatch.setattr(noted, 'reset', reset_with_little_memory)
    observer = Observer()
    observer.warned = messages.append
    restoration = make(1024, network_g={'type': 'SizeNotingRestorer'}, alternation={'num_iter': 1})
    result = restoration(image(150, 130), 'a', observer=observer)  # with its border 160x140, so 320x280 HR pixels
    assert result.tile == 160 and messages == ['a: out of memory; retrying with tiles of 160 pixels']
    room = 0
    with pytest.raises(ImageError, match=r'^a: cpu has too little memory for 300x260 pixels$'):
        restoration(image(130, 150), 'a')


def test_short_memory_in_the_second_stage_does_not_repeat_the_first(noted, monkeypatch):
    searches = []
    original = alternation.alternate

    def alternate(estimator, restorer, lq, *arguments, **keywords):
        if restorer is restoration.restorer:
            searches.append(lq.shape)
        elif lq.shape[-1] > 70:
            raise MemoryError
        return original(estimator, restorer, lq, *arguments, **keywords)

    monkeypatch.setattr('dkp_plugin.engine.image_job.alternate', alternate)
    restoration = make(1024, restorer={'final': 'SizeNotingRestorer', 'num_iter': 1})
    result = restoration(image(100, 124), 'a')
    assert len(searches) == 1 and result.tile == 134  # half of 2 (124 + 2 * 5) pixels


def test_the_final_restorer_is_given_the_kernel_that_was_found(noted):
    restoration = make(
        network_k={'type': 'DKP', 'num_units': 10, 'warmup_iters': 1},
        network_g=DIP,
        alternation={'num_iter': 4},
        restorer={'final': 'SizeNotingRestorer', 'num_iter': 5},
    )
    steps = []
    observer = Observer()
    observer.stepped = lambda done, total: steps.append((done, total))
    result = restoration(image(), 'a', observer=observer)
    assert len(noted.kernels) == 5 and all(torch.equal(kernel, result.kernel) for kernel in noted.kernels)
    assert steps == [(done, 9) for done in range(1, 10)]


def test_a_run_that_diverges_is_repeated_with_other_random_numbers(monkeypatch):
    seeds, original = [], alternation.alternate

    def alternate(estimator, restorer, lq, degradation, generator, *arguments, **keywords):
        seeds.append(generator.initial_seed())
        if len(seeds) <= failures:
            raise DivergenceError('not finite')
        return original(estimator, restorer, lq, degradation, generator, *arguments, **keywords)

    monkeypatch.setattr('dkp_plugin.engine.image_job.alternate', alternate)
    failures = 1
    make()(image(), 'a')
    assert len(set(seeds)) == 2
    seeds.clear()
    failures = 2
    with pytest.raises(DivergenceError, match='a: not finite, in each of 2 attempts'):
        make()(image(), 'a')


class Broken(Exception):
    pass


@pytest.mark.parametrize(
    ('blocks', 'size', 'breaks'),
    [
        (
            {'network_g': DIP, 'alternation': {'num_iter': 6}, 'restorer': {'final': DIP, 'num_iter': 6}},
            (20, 24),
            (2, 8, 11),
        ),
        ({'network_g': DIP, 'alternation': {'num_iter': 4}}, (70, 50), (2, 7, 12)),
        ({'network_g': DIFFUSION}, (70, 50), (2, 5, 7)),
    ],
    ids=['final restorer', 'separate tiles', 'tiles of a prior'],
)
def test_every_stage_resumes_where_it_was_interrupted(blocks, size, breaks, tmp_path):
    blocks = {'network_k': {'type': 'DKP', 'num_units': 10, 'warmup_iters': 1}} | blocks
    restoration, lq = make(128, **blocks), image(*size)
    whole, steps = restoration(lq, 'a'), []

    def checkpoints():
        return Checkpoints(tmp_path / 'state', 'x', freq=1, logger=logging.getLogger('test'))

    class Breaker(Observer):
        def stepped(self, done, total):
            steps.append(done)
            if len(steps) in breaks:  # in the first stage, then twice in the second
                raise Broken

    for _ in range(3):
        with pytest.raises(Broken):
            restoration(lq, 'a', observer=Breaker(), checkpoints=checkpoints())
    result = restoration(lq, 'a', observer=Breaker(), checkpoints=checkpoints())
    assert torch.equal(result.x, whole.x) and torch.equal(result.kernel, whole.kernel)
    assert (result.num_iter, result.best_iter, result.curve) == (whole.num_iter, whole.best_iter, whole.curve)
    # Only the step in which the run broke off is taken twice; a step is saved after the observer has heard of it.
    uninterrupted = []
    observer = Observer()
    observer.stepped = lambda done, total: uninterrupted.append(done)
    restoration(lq, 'a', observer=observer)
    assert len(steps) == len(uninterrupted) + 3


@pytest.mark.parametrize(
    ('lq', 'message'),
    [
        (image(15, 40), 'a: 40x15 pixels are too few; allowed: at least 16x16'),
        (image(16, 40), 'a: 40x16 pixels at scale 2 are fewer than the kernel size 33'),
    ],
)
def test_images_that_are_too_small(lq, message):
    with pytest.raises(ImageError, match=message):
        make(degradation={'kernel_size': 33})(lq, 'a')


@pytest.mark.parametrize('tile', [10, 0, 'whole'])
def test_wrong_tiles(tile):
    with pytest.raises(OptionError, match=r'^tile'):
        make(tile)


def test_noise_is_estimated_where_the_options_say_so():
    noisy = 0.5 + 10 / 255 * torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert 255 * make(degradation={'noise': 'auto'})(noisy, 'a').degradation.noise == pytest.approx(10, rel=0.1)
    assert make(degradation={'noise': 3})(noisy, 'a').degradation.noise == pytest.approx(3 / 255)
    compressed = make(degradation={'noise': 'auto'})(image() * 0 + 0.5, 'a', jpeg=JpegCoding.standard(50))
    assert compressed.inspection.doubts and compressed.degradation.noise > 2 / 255


def jpeg(quality, cut=0):
    """A photograph as it comes back from a JPEG file, cut at the top left."""
    buffer = io.BytesIO()
    Image.fromarray(skimage.data.coffee()[:128, 100:260]).save(buffer, 'JPEG', quality=quality)
    pixels = np.array(Image.open(buffer))[cut:, cut:]
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).unsqueeze(0) / 255


@pytest.mark.parametrize(
    ('block', 'file_quality', 'expected'),
    [
        ({'noise': 'auto'}, 60, 60),
        ({'noise': 0}, 60, 60),
        ({'noise': 'auto'}, None, 60),  # found in the pixels
        ({'jpeg': 40}, 60, 40),
        ({'jpeg': 'off', 'noise': 'auto'}, 60, None),
        ({'jpeg': False}, 60, None),  # how YAML reads off
    ],
)
def test_the_error_of_a_jpeg_is_known_to_the_methods(block, file_quality, expected):
    lq = jpeg(60)
    file = None if file_quality is None else JpegCoding.standard(file_quality)
    degradation = make(degradation=block)(lq, 'a', jpeg=file).degradation
    if expected is None:
        assert degradation.coding is None
    else:
        variances = estimate_coding_noise(lq, JpegCoding.standard(expected)).variances
        torch.testing.assert_close(degradation.coding.variances, variances)
        assert degradation.noise > 2 / 255


def test_the_blocks_of_a_cropped_jpeg_are_found():
    degradation = make(degradation={'noise': 'auto'})(jpeg(60, cut=3), 'a').degradation
    expected = estimate_coding_noise(jpeg(60)[..., 8:, 8:], JpegCoding.standard(60)).variances
    torch.testing.assert_close(degradation.coding.variances, expected)


def test_blocks_without_a_jpeg_count_as_one_where_the_noise_is_estimated():
    noise = 2 / 255 * torch.randn(1, 3, 128, 160, generator=torch.Generator().manual_seed(0))  # hides the lattice
    lq = jpeg(10, cut=3) + noise[..., 3:, 3:]
    estimated, fixed = (make(degradation={'noise': value})(lq, 'a') for value in ('auto', 0))
    assert 'visible JPEG blocks' in estimated.inspection.doubts
    expected = estimate_coding_noise(lq, JpegCoding.standard(50, origin=(5, 5))).variances
    torch.testing.assert_close(estimated.degradation.coding.variances, expected)
    assert fixed.degradation.coding is None


def test_a_kernel_file_is_read_before_any_work(tmp_path):
    with pytest.raises(UserError, match=r'missing\.mat: No such file'):
        make(network_k={'type': 'FixedKernel', 'source': str(tmp_path / 'missing.mat')})


def test_weights_are_read_once(monkeypatch):
    from dkp_plugin.archs import priors

    reads, original = [], priors.read_weights
    monkeypatch.setattr(priors, 'read_weights', lambda path: reads.append(path) or original(path))
    make(network_g=DIFFUSION)
    assert len(reads) == 1


def test_the_estimator_alone_may_be_an_oracle():
    assert make(network_k={'type': 'FixedKernel', 'source': 'gt'}).estimator.needs_truth
    assert not any(network.needs_truth is True for _, network in ARCH_REGISTRY if issubclass(network, KernelEstimator))
