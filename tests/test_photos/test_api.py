"""Photographs in, photographs out: of any kind, where bicubic enlargement would put them, whole or in tiles."""

import re
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
import torch.nn.functional as F
from PIL import Image
from skimage.registration import phase_cross_correlation

import dkp_plugin
from dkp_plugin.engine.observer import Observer
from dkp_plugin.host.errors import ImageError, KernelError, UserError
from dkp_plugin.io.kernel_files import write_kernel
from dkp_plugin.io.photo_files import write_photo
from dkp_plugin.io.pixels import from_tensor, to_tensor
from dkp_plugin.photos.api import PhotoRestorer
from dkp_plugin.photos.presets import Choices, make_options
from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.physics.jpeg_coding import JpegCoding
from dkp_plugin.physics.kernel_families import build_family


def cheap(scale: int = 2, tile: int | str = 'auto', **blocks) -> PhotoRestorer:
    """A restoration that takes milliseconds."""
    opt = make_options(Choices(scale=scale, preset='fast')) | {
        'network_k': {'type': 'FixedKernel', 'source': 'bicubic'}
    }
    return PhotoRestorer(opt | {'network_g': {'type': 'ClosedForm'}} | blocks, 'cpu', tile)


def small_photo(side: int = 32, scale: int = 4) -> np.ndarray:
    """A photograph of low resolution, on the grid of area averaging."""
    crop = skimage.data.astronaut()[: side * scale, 100 : 100 + side * scale]
    blocks = crop.reshape(side, scale, side, scale, 3).mean((1, 3))
    return blocks.round().astype(np.uint8)


@pytest.mark.usefixtures('with_tiny_prior')
def test_the_example_of_the_documentation_runs(tmp_path, monkeypatch):
    text = (Path(__file__).parents[2] / 'docs/api.md').read_text(encoding='utf-8')
    monkeypatch.chdir(tmp_path)
    write_photo(Path('photo.png'), small_photo(16))
    names = {}
    for block in re.findall(r'```python\n(.*?)```', text, re.DOTALL):
        exec(block, names)
    assert names['result'].image.shape == (32, 32, 3) and names['result'].image.dtype == np.uint8
    kernel = names['result'].kernel
    assert kernel.shape[0] == kernel.shape[1] >= 11 and abs(kernel.sum() - 1) < 1e-5
    assert [result.image.shape for result in names['results']] == [(40, 60, 3), (32, 60, 3)]


@pytest.fixture
def cheap_methods(monkeypatch):
    """``dkp_plugin.restore`` with a method that takes milliseconds."""
    opt = make_options(Choices(scale=2, preset='fast')) | {
        'network_k': {'type': 'FixedKernel'},
        'network_g': {'type': 'ClosedForm'},
    }
    monkeypatch.setattr('dkp_plugin.photos.api.make_options', lambda choices: dict(opt))


def test_tensors_and_images_of_pillow(cheap_methods):
    pixels = small_photo(16)
    expected = dkp_plugin.restore(pixels, scale=2).image
    tensor = torch.from_numpy(pixels / np.float32(255)).permute(2, 0, 1)
    np.testing.assert_array_equal(dkp_plugin.restore(Image.fromarray(pixels), scale=2).image, expected)
    for image in (tensor, tensor[None], tensor.double()):
        np.testing.assert_allclose(255 * dkp_plugin.restore(image, scale=2).image, expected, atol=0.51)
    palette = Image.fromarray(pixels).convert('P')
    assert dkp_plugin.restore(palette, scale=2).image.shape == (32, 32, 3)
    assert dkp_plugin.restore(tensor[:1], scale=2).image.shape == (32, 32, 1)


@pytest.mark.parametrize(
    ('image', 'message'),
    [
        ([[0.5] * 20] * 20, "image: <class 'list'> is not allowed; allowed: a file, an array"),
        (torch.zeros(2, 3, 20, 20), r'image: a tensor of torch.float32 and shape \(2, 3, 20, 20\) is not allowed'),
        (torch.zeros(3, 20, 20, dtype=torch.int64), 'image: a tensor of torch.int64'),
        (None, "image: <class 'NoneType'> is not allowed"),
    ],
)
def test_other_objects_are_refused(cheap_methods, image, message):
    with pytest.raises(ImageError, match=message):
        dkp_plugin.restore(image, scale=2)


@pytest.mark.parametrize('scale', [1, 2, 4])
def test_strength_blends_enlargement_and_result(scale):
    pixels = small_photo(24)
    opt = make_options(Choices(scale=scale, preset='fast')) | {
        'network_k': {'type': 'FixedKernel', 'source': 'bicubic'}
    }
    opt |= {'network_g': {'type': 'ClosedForm'}}
    none, half, full = (PhotoRestorer(opt, 'cpu', strength=strength)(pixels).image for strength in (0, 0.5, 1))
    bicubic = np.asarray(Image.fromarray(pixels).resize((24 * scale,) * 2, Image.Resampling.BICUBIC)).astype(int)
    inner = (slice(4 * scale, -4 * scale),) * 2  # Pillow treats the border in another way
    np.testing.assert_allclose(none[inner], bicubic[inner], atol=1)
    np.testing.assert_allclose(half, (none.astype(float) + full) / 2, atol=1)
    assert np.abs(none.astype(int) - full).max() > 10 or scale == 1  # where the kernel is a single pixel


@pytest.mark.parametrize('strength', [-0.1, 1.1, float('nan'), '1'])
def test_other_strengths_are_refused(cheap_methods, strength):
    with pytest.raises(UserError, match=r'strength: .* is not allowed; allowed: auto, or 0 to 1'):
        dkp_plugin.restore(small_photo(16), scale=2, strength=strength)


def test_automatic_strength_is_that_of_the_verdict(monkeypatch):
    pixels = small_photo(24)
    opt = make_options(Choices(scale=2, preset='fast')) | {'network_k': {'type': 'FixedKernel', 'source': 'bicubic'}}
    opt |= {'network_g': {'type': 'ClosedForm'}}
    full, expected = (PhotoRestorer(opt, 'cpu', strength=strength)(pixels) for strength in (1, 0.25))
    automatic = PhotoRestorer(opt, 'cpu', strength='auto')
    np.testing.assert_array_equal(automatic(pixels).image, full.image)  # no misfit is known, all is well
    monkeypatch.setattr('dkp_plugin.engine.restoration.measure_misfit', lambda *_: 0.2)
    monkeypatch.setattr(type(automatic.restoration.restorer), 'shows_misfit', True)
    result = automatic(pixels)
    np.testing.assert_array_equal(result.image, expected.image)
    assert result.strength == 0.25 and result.confidence.is_low


def test_strength_leaves_alpha_alone():
    pixels = np.dstack([small_photo(16), np.tile(np.arange(0, 256, 16, np.uint8), (16, 1))])
    opt = make_options(Choices(scale=2, preset='fast')) | {'network_k': {'type': 'FixedKernel', 'source': 'bicubic'}}
    opt |= {'network_g': {'type': 'ClosedForm'}}
    none, full = (PhotoRestorer(opt, 'cpu', strength=strength)(pixels).image for strength in (0, 1))
    np.testing.assert_array_equal(none[..., 3], full[..., 3])


def test_a_kernel_may_be_an_array(cheap_methods):
    kernel = np.outer(np.hanning(9), np.hanning(9))
    kernel /= kernel.sum()
    np.testing.assert_allclose(dkp_plugin.restore(small_photo(16), scale=2, kernel=kernel).kernel, kernel, atol=1e-7)
    for wrong, message in ((2 * kernel, 'kernel: the kernel has sum 2 '), (kernel[:, 1:], 'not an odd square')):
        with pytest.raises(KernelError, match=message):
            dkp_plugin.restore(small_photo(16), scale=2, kernel=wrong)


@pytest.fixture
def double_by_default():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def test_modes_of_the_caller_do_not_matter(request):
    opt = {'network_g': {'type': 'DIP', 'num_feat': 4, 'num_skip': 2, 'num_scales': 2, 'non_local_scales': [2]}}
    opt |= {'network_k': {'type': 'DKP', 'num_units': 10, 'warmup_iters': 2}, 'alternation': {'num_iter': 3}}
    expected = cheap(**opt)(small_photo(16)).image
    photo = small_photo(16)
    for mode in (torch.inference_mode, torch.no_grad):
        with mode():
            np.testing.assert_array_equal(cheap(**opt)(photo).image, expected)
    request.getfixturevalue('double_by_default')
    np.testing.assert_array_equal(cheap(**opt)(photo).image, expected)
    assert torch.get_default_dtype() == torch.float64


@pytest.mark.parametrize('dtype', ['uint8', 'uint16', 'float32', 'float64'])
@pytest.mark.parametrize('shape', [(16, 19), (17, 16, 1), (16, 19, 2), (21, 16, 3), (16, 17, 4)])
def test_every_array_comes_back_as_it_was_and_larger(shape, dtype):
    top = 1.0 if dtype.startswith('float') else np.iinfo(dtype).max
    pixels = np.full(shape, 0.005 * top).astype(dtype)  # so dark that guessing by values would take 16 bits for 8
    result = cheap(3)(pixels)
    assert result.image.shape == (3 * shape[0], 3 * shape[1], *shape[2:]) and result.image.dtype == pixels.dtype
    # A blur of sum 1 leaves a flat picture as it is, and so does its inverse.
    np.testing.assert_allclose(result.image.astype(float), float(pixels.flat[0]), atol=max(1e-4 * top, 1e-6))


@pytest.mark.parametrize('scale', [2, 3, 4, 8])
def test_the_result_lies_where_bicubic_enlargement_would_put_it(scale):
    pixels = small_photo()
    result = cheap(scale)(pixels).image.mean(2)
    enlarged = F.interpolate(torch.from_numpy(pixels.mean(2))[None, None], scale_factor=scale, mode='bicubic')
    shift, _, _ = phase_cross_correlation(enlarged[0, 0].numpy(), result, upsample_factor=50)
    assert np.abs(shift).max() < 0.1


def test_diff_dkp_lies_there_too_and_is_closer_to_the_truth(rng):
    degradation = Degradation(2, 11)
    truth = to_tensor(skimage.data.astronaut()[:, :, 1:2].copy())
    kernel = build_family('gaussian', 2, 11, degradation.centre).render(torch.tensor([[0.5, 0.3, 0.2]]))
    pixels = from_tensor(degradation.A(truth, kernel)[..., 8:72, 80:144], np.dtype('uint8'))
    truth = truth[0, 0, 16:144, 160:288].numpy() * 255
    enlarged = F.interpolate(to_tensor(pixels), scale_factor=2, mode='bicubic')[0, 0].numpy() * 255
    result = dkp_plugin.restore(pixels, scale=2, method='diff-dkp', preset='fast').image[..., 0].astype(float)
    shift, _, _ = phase_cross_correlation(enlarged, result, upsample_factor=50)
    assert np.abs(shift).max() < 0.15
    errors = [np.square(image - truth).mean() for image in (result, enlarged)]
    assert errors[0] < 0.7 * errors[1], errors


@pytest.mark.usefixtures('with_tiny_prior')
def test_the_seed_decides():
    first, again, other = (
        dkp_plugin.restore(small_photo(16), 2, 'diff-dkp', preset='fast', strength=1, seed=seed).image
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_hidden_colours_do_not_matter_and_do_not_bleed():
    rng = np.random.default_rng(0)
    alpha = np.zeros((24, 24, 1), np.uint8)
    alpha[6:18, 6:18] = 255
    results = []
    for _ in range(2):
        colours = rng.integers(0, 256, (24, 24, 3), np.uint8)
        colours[6:18, 6:18] = [200, 100, 50]
        results.append(cheap()(np.concatenate([colours, alpha], 2)).image)
    np.testing.assert_array_equal(*results)
    np.testing.assert_allclose(results[0][..., :3].astype(int), np.broadcast_to([200, 100, 50], (48, 48, 3)), atol=1)
    assert results[0][24, 24, 3] == 255 and results[0][2, 2, 3] == 0


def test_a_kernel_file_is_taken_for_the_blur(tmp_path, rng):
    family = build_family('gaussian', 2, 11, Degradation(2, 11).centre)
    kernel = family.render(family.sample(1, rng))
    write_kernel(tmp_path / 'k.mat', kernel, 'aligned', 2)
    opt = make_options(Choices(scale=2, preset='fast', kernel=str(tmp_path / 'k.mat'))) | {
        'network_g': {'type': 'ClosedForm'}
    }
    result = PhotoRestorer(opt, 'cpu')(small_photo(16))
    np.testing.assert_allclose(result.kernel, kernel[0, 0].double(), atol=1e-7)
    with pytest.raises(KernelError, match=r'missing\.mat'):
        dkp_plugin.restore(small_photo(16), kernel=tmp_path / 'missing.mat')


@pytest.mark.parametrize(
    ('image', 'arguments', 'message'),
    [
        (np.zeros((15, 40), np.uint8), {}, 'image: 40x15 pixels are too few; allowed: at least 16x16'),
        (np.zeros((20, 20, 5), np.uint8), {}, r'shape \(20, 20, 5\)'),
        (np.zeros((20, 20), np.int64), {}, 'an array of int64'),
        (np.full((20, 20), 2.0), {}, 'values from 2 to 2; allowed: 0 to 1'),
        (np.full((20, 20), np.nan), {}, 'values from nan to nan'),
        ('nothing.png', {}, 'nothing.png: No such file'),
        (np.zeros((20, 20)), {'scale': 5}, 'scale: 5 is not allowed: input should be 1, 2, 3, 4 or 8'),
        (np.zeros((20, 20)), {'method': 'dip'}, "method: 'dip' is not allowed: input should be 'auto'"),
        (np.zeros((20, 20)), {'noise': -1}, 'noise: -1 is not allowed'),
        (
            np.zeros((20, 20)),
            {'device': 'cuda:99'},
            'device: cuda:99 is not available on this machine; allowed: auto, cpu',
        ),
        (np.zeros((20, 20)), {'tile': 10}, 'tile: 10 is not allowed; allowed: auto, or a number of at least 128'),
        (
            np.zeros((20, 20)),
            {'kernel': 'box'},
            'kernel: box is not possible with fast-dkp; allowed: auto, gaussian',
        ),
        (np.zeros((20, 20)), {'method': 'bsrdm', 'kernel': 'motion'}, 'allowed: gaussian, or a file .mat or .npy'),
    ],
)
def test_mistakes_are_reported_in_one_line(image, arguments, message):
    with pytest.raises(UserError, match=message) as caught:
        dkp_plugin.restore(image, **arguments)
    assert '\n' not in str(caught.value)


def test_tiles_of_a_prior_agree_with_the_whole():
    """The stated bound: beside the seams no more than elsewhere, and on average below one level of 255."""
    pixels = small_photo(88, 4)
    opt = make_options(Choices(scale=2, preset='fast', noise=0)) | {
        'network_k': {'type': 'FixedKernel', 'source': 'bicubic'}
    }
    opt |= {'network_g': {'type': 'Diffusion', 'num_steps': 3, 'num_final_steps': 2}}
    whole = PhotoRestorer(opt, 'cpu', 1024)(pixels).image.astype(float)
    tiled = PhotoRestorer(opt, 'cpu', 128)(pixels).image.astype(float)
    difference = np.abs(tiled - whole).mean(2)
    assert difference.mean() < 1
    columns = difference.mean(0)
    assert columns.max() < 4 * np.median(columns) + 1


@pytest.mark.parametrize('tile', [128, 131])
def test_tiles_of_other_restorers_agree_with_the_whole(tile):
    pixels = small_photo(100, 4)
    whole, tiled = cheap()(pixels).image.astype(int), cheap(tile=tile)(pixels).image.astype(int)
    assert np.abs(tiled - whole).max() <= 1  # the closed form reaches no further than the overlap


def test_noise_and_compression_are_accounted_for(rng):
    pixels = small_photo()
    noisy = pixels + 10 * torch.randn(pixels.shape, generator=rng).numpy()
    found, observer = [], Observer()
    observer.inspected = found.append
    opt = make_options(Choices(scale=2, preset='fast')) | {'network_g': {'type': 'ClosedForm'}}
    opt |= {'network_k': {'type': 'FixedKernel', 'source': 'bicubic'}}
    result = PhotoRestorer(opt, 'cpu')(noisy.clip(0, 255).round().astype(np.uint8), observer=observer)
    assert result.noise == pytest.approx(10, rel=0.3)
    assert found == [result.inspection] and found[0].doubts[0].startswith('strong noise, ')
    compressed = PhotoRestorer(opt, 'cpu')(pixels, jpeg=JpegCoding.standard(50))
    assert compressed.inspection.doubts == ['JPEG compression, quality about 50']
    assert compressed.noise > 2
