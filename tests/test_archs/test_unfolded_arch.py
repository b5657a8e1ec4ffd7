import math

import pytest
import torch

from dkp_plugin.archs.priors import load_prior
from dkp_plugin.archs.unfolded_arch import SIGMAS, LowRank, UnfoldedPrior
from dkp_plugin.physics.coding_noise import CodingNoise, NoiseModel
from dkp_plugin.physics.degradation import SCALES, Degradation
from dkp_plugin.physics.error_spectrum import power_law
from dkp_plugin.physics.kernels import default_kernel_size


@pytest.fixture(scope='module')
def net():
    return UnfoldedPrior(num_step=2, lora_rank=2).requires_grad_(False)


@pytest.fixture
def lq(rng):
    return torch.rand(1, 3, 8, 12, generator=rng)


def make_kernel(kernel_size, rng):
    kernel = torch.rand(1, 1, kernel_size, kernel_size, generator=rng)
    return kernel / kernel.sum()


def slope(z, x, lq, kernel, degradation, weight, exponent):
    """Half the gradient of ||A(z, k) - y||^2 + w ||z - x||^2 in the metric of |f|^p."""
    spectrum = power_law(*(torch.fft.fftfreq(side) for side in z.shape[-2:]), torch.tensor([exponent]))[0]
    prior = torch.fft.ifft2(torch.fft.fft2(z - x) / spectrum).real
    return degradation.A_adjoint(degradation.A(z, kernel) - lq, kernel) + weight * prior


def test_the_result_is_the_minimum_of_the_last_data_step(net, lq, rng):
    degradation, kernel = Degradation(2, 11, 'released'), make_kernel(11, rng)
    _, x, result = net(lq, kernel, degradation)
    assert slope(result, x, lq, kernel, degradation, math.exp(-6), 0.5).abs().max() < 1e-5
    assert slope(x, x, lq, kernel, degradation, math.exp(-6), 0.5).abs().max() > 1e-2


def test_before_the_training_it_denoises_by_the_compact_prior(net, lq, rng):
    degradation, kernel = Degradation(2, 11), make_kernel(11, rng)
    first, second, _ = net(lq, kernel, degradation)
    spectra = power_law(*(torch.fft.fftfreq(side) for side in (16, 24)), torch.tensor([1.5, 1.0]))
    prior, x = load_prior('compact'), degradation.enlarge(lq)
    for image, spectrum, sigma in zip((first, second), spectra, SIGMAS, strict=True):
        z = degradation.data_step(x, lq, kernel, math.exp(-6), spectrum)
        x = prior.denoise(z, torch.tensor([sigma]))
        torch.testing.assert_close(image, x, rtol=0, atol=1e-5)


def test_a_change_of_low_rank_by_hand():
    layer = torch.nn.Conv2d(1, 2, (1, 3))
    change = LowRank(layer.weight, 1)
    torch.testing.assert_close(change(layer)['weight'], layer.weight)
    with torch.no_grad():
        change.reduce.copy_(torch.tensor([[1.0, 2.0, 3.0]]))
        change.expand.copy_(torch.tensor([[1.0], [-2.0]]))
        change.bias.copy_(torch.tensor([0.5, 0.0]))
    moved = change(layer)['weight'] - layer.weight
    torch.testing.assert_close(moved.view(2, 3), torch.tensor([[1.0, 2.0, 3.0], [-2.0, -4.0, -6.0]]))
    torch.testing.assert_close(change(layer)['bias'] - layer.bias, torch.tensor([0.5, 0.0]))


def test_changes_reach_every_convolution_and_nothing_else_is_saved(lq, rng):
    net = UnfoldedPrior(num_step=2, lora_rank=1)
    names = net.state_dict().keys()
    assert {name.split('.')[0] for name in names} == {'changes', 'condition', 'schedule'}
    for change in net.changes.values():
        torch.nn.init.ones_(change.expand)
    noise = NoiseModel.of((8, 12), [0.1], [None])
    net(lq, make_kernel(19, rng), Degradation(4, 19), noise)[-1].square().mean().backward()
    unmoved = [name for name, parameter in net.named_parameters() if not parameter.grad.abs().max() > 0]
    assert unmoved == []


@pytest.mark.parametrize('scale', SCALES)
def test_each_scale_has_a_schedule_of_its_own(net, scale, rng):
    degradation = Degradation(scale, default_kernel_size(scale))
    lq, kernel = torch.rand(1, 3, 24, 16, generator=rng), make_kernel(degradation.kernel_size, rng)
    images = net(lq, kernel, degradation)
    assert [image.shape for image in images] == [(1, 3, scale * 24, scale * 16)] * 3
    other = UnfoldedPrior(num_step=2, lora_rank=2).requires_grad_(False)
    other.load_state_dict(net.state_dict())
    for row, key in ((SCALES.index(scale), 'weights'), ((SCALES.index(scale) + 1) % 5, 'sigmas')):
        other.schedule[key][row] += 3.0
        same = torch.equal(other(lq, kernel, degradation)[-1], images[-1])
        assert same == (key == 'sigmas')
        other.schedule[key][row] -= 3.0


def test_noise_makes_the_data_step_rely_less_on_the_lr_image(net, lq, rng):
    degradation, kernel = Degradation(2, 11), make_kernel(11, rng)

    def disagreement(noise):
        return (degradation.A(net(lq, kernel, degradation, noise)[-1], kernel) - lq).square().mean()

    clean = NoiseModel.of((8, 12), [0.0], [None])
    torch.testing.assert_close(
        net(lq, kernel, degradation, clean)[-1], net(lq, kernel, degradation)[-1], rtol=0, atol=1e-4
    )
    coded = CodingNoise(1e-3 * torch.rand(3, 8, 8, generator=rng))
    noises = [clean, NoiseModel.of((8, 12), [0.02], [None]), NoiseModel.of((8, 12), [0.1], [coded])]
    first, second, third = map(disagreement, noises)
    assert 2 * first < second < third


def test_tiles_change_the_image_little(net, rng):
    degradation, kernel = Degradation(2, 11), make_kernel(11, rng)
    lq = torch.nn.functional.interpolate(torch.rand(1, 3, 6, 10, generator=rng), scale_factor=16, mode='bicubic')
    whole = net(lq, kernel, degradation)[-1]
    torch.testing.assert_close(net(lq, kernel, degradation, tile=400)[-1], whole, rtol=0, atol=1e-5)
    difference = (net(lq, kernel, degradation, tile=160)[-1] - whole).abs()
    assert difference.mean() < 2e-3 and difference.max() > 0
