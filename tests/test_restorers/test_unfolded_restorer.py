from dataclasses import replace

import pytest
import torch

from dkp_plugin.archs.symmetries import NUM_SYMMETRIES, transform, transform_back, transform_kernel
from dkp_plugin.archs.unfolded_arch import UnfoldedPrior
from dkp_plugin.host.errors import UserError
from dkp_plugin.physics.borders import crop_border, mirror_border
from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.physics.kernel_families import build_family
from dkp_plugin.physics.kernels import default_kernel_size
from dkp_plugin.restorers.unfolded_restorer import Unfolded


@pytest.fixture(scope='module')
def net():
    net = UnfoldedPrior(num_step=1, lora_rank=1).requires_grad_(False)
    net.schedule['weights'] -= 6.0  # relies on the LR image
    return net


@pytest.fixture
def lq(rng):
    small = torch.rand(1, 3, 6, 8, generator=rng)
    return torch.nn.functional.interpolate(small, scale_factor=4, mode='bicubic').clamp(0, 1)


def make_kernel(degradation, rng):
    family = build_family('line', degradation.scale, degradation.kernel_size, degradation.centre)
    return family.render(family.sample(1, rng))


def run(net, lq, degradation, kernel, **options):
    restorer = Unfolded(precision='float32', **options)
    restorer.net = net
    restorer.reset(lq, degradation, torch.Generator())
    torch.testing.assert_close(restorer(), degradation.enlarge(lq).clamp(0, 1))
    return restorer, restorer.step(kernel)


def test_it_is_one_pass_of_the_network_with_the_noise_of_the_image(net, lq, rng):
    degradation = Degradation(2, 11, noise=0.05)
    kernel = make_kernel(degradation, rng)
    restorer, _ = run(net, lq, degradation, kernel)
    x = net(lq, kernel, degradation, degradation.noise_model(lq))[-1].clamp(0, 1)
    torch.testing.assert_close(restorer(), x)
    assert (net(lq, kernel, degradation)[-1].clamp(0, 1) - x).abs().max() > 1e-2


@pytest.mark.parametrize('convention', ['aligned', 'released'])
@pytest.mark.parametrize('ensemble', [1, 8])
def test_the_image_explains_the_lr_image_in_either_convention(net, lq, rng, convention, ensemble):
    degradation = Degradation(2, 11, convention)
    kernel = make_kernel(degradation, rng)
    restorer, losses = run(net, lq, degradation, kernel, ensemble=ensemble)
    assert losses['l_x_data'] < 1e-4  # 40 dB
    assert (degradation.A(restorer().roll(1, -1), kernel) - lq).square().mean() > 1e-3


def test_the_ensemble_is_the_mean_of_eight_passes(net, lq, rng):
    degradation = Degradation(2, 11)
    kernel = make_kernel(degradation, rng)
    restorer, _ = run(net, lq, degradation, kernel, ensemble=8)
    total = 0
    for index in range(NUM_SYMMETRIES):
        turned = net(transform(lq, index), transform_kernel(kernel, index, 2), degradation)[-1]
        total = total + transform_back(turned, index) / 8
    torch.testing.assert_close(restorer(), total.clamp(0, 1), rtol=0, atol=1e-5)
    assert (run(net, lq, degradation, kernel)[0]() - restorer()).abs().max() > 1e-4


def test_turned_kernels_keep_what_lies_in_their_first_rows(net, lq):
    """A single weight in the first row moves the image; every orientation moves it back by as much."""
    degradation = Degradation(4, 19)
    kernel = torch.zeros(1, 1, 19, 19)
    kernel[..., 0, 3] = 1
    _, losses = run(net, lq, degradation, kernel, ensemble=8)
    assert losses['l_x_data'] < 1e-4  # with a kernel cut off, the mean explains nothing


def test_the_edge_between_opposite_borders_does_not_ring(rng):
    """A disc and a photograph whose ends differ: without the tapered border, the result is worse than enlargement."""
    skimage = pytest.importorskip('skimage.data')
    gt = torch.from_numpy(skimage.astronaut()[0:240, 60:300].copy()).permute(2, 0, 1)[None].float() / 255
    degradation = Degradation(4, 19)
    family = build_family('disc', 4, 19, degradation.centre)
    kernel = family.render(torch.full((1, family.num_params), 0.9))
    lq = mirror_border(crop_border(degradation.A(gt, kernel), 8), 5)
    gt = crop_border(gt, 32)
    restorer, errors = Unfolded(), []
    restorer.load(None)
    for margin in (0, 5):
        restorer.reset(lq, replace(degradation, margin=margin), torch.Generator())
        enlarged = crop_border(restorer(), 20)
        restorer.step(kernel)
        errors.append((crop_border(restorer(), 20) - gt).square().mean())
    assert 1.3 * errors[1] < min(errors[0], (enlarged - gt).square().mean())


def test_weights_of_the_package_beat_enlargement(rng):
    """A photograph that no training has seen."""
    skimage = pytest.importorskip('skimage.data')
    gt = torch.from_numpy(skimage.chelsea()[60:180, 120:288]).permute(2, 0, 1)[None].float() / 255
    for scale, gain in ((1, 1.5), (2, 1.5), (3, 1.0), (4, 1.0), (8, 0.5)):
        degradation = Degradation(scale, default_kernel_size(scale))
        family = build_family('gaussian', scale, degradation.kernel_size, degradation.centre)
        kernel = family.render(family.sample(1, rng))
        lq = degradation.A(gt, kernel)
        restorer = Unfolded()
        restorer.load(None)
        restorer.reset(lq, degradation, torch.Generator())
        before = (restorer() - gt).square().mean()
        restorer.step(kernel)
        assert 10 * (before / (restorer() - gt).square().mean()).log10() > gain


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r'no\.pth'):
        Unfolded().load(str(tmp_path / 'no.pth'))
