import pytest
import torch

from dkp_plugin.archs.unpaired_arch import GIVEN, OWN, UnpairedSR
from dkp_plugin.archs.unpaired_parts import RefinementStage
from dkp_plugin.physics.coding_noise import NoiseModel, rgb_to_ycc
from dkp_plugin.physics.degradation import Degradation, degrade
from dkp_plugin.physics.error_spectrum import power_law
from dkp_plugin.physics.kernel_families import GaussianFamily

TINY = {'num_feat': 4, 'num_block': 1, 'num_block_refine': 1, 'num_feat_kernel': 4, 'num_block_kernel': 1}


def no_levels(height, width):
    return torch.zeros(1, 0, height, width).double()


def tiny(convention='aligned', scale=2, randomise=True, **options):
    """Always the same network; unless it is fresh, no layer of it is zero."""
    generator = torch.Generator().manual_seed(0)
    net = UnpairedSR(scale, convention, **(TINY | options))
    for name, parameter in net.named_parameters():
        if randomise and not name.endswith(('exponents', 'log_weights', 'log_precisions')):
            parameter.data = 0.07 * torch.randn(parameter.shape, generator=generator)
    return net.eval().requires_grad_(False)


def gaussians(num, degradation, rng):
    family = GaussianFamily(degradation.scale, degradation.kernel_size, degradation.centre)
    return family.render(family.sample(num, rng).double())


@pytest.mark.parametrize('exponents', [(1.5, 1.0), (0.0, 2.0)])
def test_the_variational_image_is_the_minimiser(rng, exponents):
    stage = RefinementStage(2, 4, 1, 4, num_levels=0, variational=True).double()
    stage.exponents.data = torch.tensor(exponents).double()
    degradation = Degradation(2, 11)
    kernel = gaussians(1, degradation, rng)
    lq, prior = torch.rand(1, 3, 9, 8, generator=rng).double(), torch.rand(1, 3, 18, 16, generator=rng).double()
    x_bar, _, _ = stage(lq, kernel, prior, torch.zeros(1, 4, 9, 8).double(), 0.7, no_levels(9, 8), None)

    spectrum = power_law(torch.fft.fftfreq(18), torch.fft.fftfreq(16), stage.exponents[:1].detach())[0]
    x = x_bar.detach().requires_grad_()
    distance = (torch.fft.fft2(x - prior, norm='ortho').abs().square() / spectrum).sum()
    objective = (degrade(x, kernel, 2) - lq).square().sum() + torch.tensor(-6.0 + 0.7).double().exp() * distance
    (gradient,) = torch.autograd.grad(objective, x)
    assert gradient.abs().max() < 1e-6


def test_without_doubt_the_image_explains_the_lr_image(rng):
    """At weight 0 the data term alone is left."""
    stage = RefinementStage(2, 4, 1, 4, num_levels=0, variational=True).double()
    kernel = gaussians(1, Degradation(2, 11), rng)
    lq, prior = torch.rand(1, 3, 8, 8, generator=rng).double(), torch.rand(1, 3, 16, 16, generator=rng).double()
    x_bar, _, _ = stage(lq, kernel, prior, torch.zeros(1, 4, 8, 8).double(), -30.0, no_levels(8, 8), None)
    torch.testing.assert_close(degrade(x_bar, kernel, 2), lq, rtol=0, atol=1e-6)


@pytest.mark.parametrize(('scale', 'height', 'width'), [(2, 13, 16), (4, 12, 11)])
def test_one_file_of_weights_serves_both_conventions(rng, scale, height, width):
    """A released image is the aligned one rolled by -(s - 1) pixels, with a kernel shifted by as much."""
    aligned = tiny('aligned', scale)
    released = UnpairedSR.from_weights(aligned.state_dict(), 'released').requires_grad_(False)
    lq = torch.rand(2, 3, height, width, generator=rng)
    kernel = torch.zeros(2, 1, aligned.degradation.kernel_size, aligned.degradation.kernel_size)
    middle = kernel.shape[-1] // 2
    kernel[0, 0, middle + 1, middle] = 0.75
    kernel[0, 0, middle, middle + 2] = 0.25
    kernel[1, 0, middle, middle] = 1
    moved = kernel.roll((1 - scale,) * 2, (-2, -1))
    for first, second in ((aligned.restore(lq, kernel), released.restore(lq, moved)), (aligned.look(lq), None)):
        if second is None:
            first, second = aligned.restore(lq), released.restore(lq)
        for stage in ('intermediate', 'variational', 'result'):
            rolled = getattr(first, stage).roll((1 - scale,) * 2, (-2, -1))
            torch.testing.assert_close(getattr(second, stage), rolled, rtol=0, atol=1e-5)


def test_kernels_of_both_conventions_fit_the_grid_inside(rng):
    for convention in ('aligned', 'released'):
        net = tiny(convention, 4)
        kernels = gaussians(3, net.degradation, rng).float()
        inside = net.kernel_inside(kernels)
        assert inside.shape[-1] == net.n.kernel_size
        torch.testing.assert_close(net.kernel_outside(inside), kernels)


def test_a_fresh_network_is_the_closed_form_of_the_bicubic_image(rng):
    net = tiny('released', randomise=False)
    lq, kernel = torch.rand(1, 3, 12, 12, generator=rng), gaussians(1, net.degradation, rng).float()
    restored = net.restore(lq, kernel)
    bicubic = net.degradation.enlarge(lq)
    torch.testing.assert_close(restored.intermediate, bicubic)
    frequencies = torch.fft.fftfreq(24)
    spectra = power_law(frequencies, frequencies, torch.tensor([1.5, 1.0]))
    x_bar = net.degradation.data_step(bicubic, lq, kernel, torch.tensor(-6.0).exp(), spectra[0])
    x_hat = net.degradation.data_step(x_bar, lq, kernel, torch.tensor(-5.0).exp(), spectra[1])
    torch.testing.assert_close(restored.variational, x_bar, rtol=0, atol=1e-5)
    torch.testing.assert_close(restored.result, x_hat, rtol=0, atol=1e-5)


def test_without_the_variational_model_a_kernel_changes_nothing(rng):
    net = tiny(variational=False)
    lq, kernels = torch.rand(1, 3, 12, 12, generator=rng), gaussians(2, net.degradation, rng).float()
    first, second = (net.restore(lq, kernel[None]) for kernel in kernels)
    assert torch.equal(first.variational, first.intermediate) and torch.equal(first.result, second.result)
    assert not torch.equal(first.result, first.intermediate)


def test_the_intermediate_image_knows_no_kernel(rng):
    net = tiny()
    lq, kernels = torch.rand(1, 3, 12, 12, generator=rng), gaussians(2, net.degradation, rng).float()
    first, second = (net.restore(lq, kernel[None]) for kernel in kernels)
    assert torch.equal(first.intermediate, second.intermediate) and torch.equal(
        first.intermediate, net.intermediate(lq)
    )
    assert not torch.equal(first.variational, second.variational)


def test_gradients_stay_in_their_part(rng):
    """Of the image losses none reaches S, and none reaches N but its weight head."""
    net = tiny().requires_grad_(True)
    look = net.look(torch.rand(1, 3, 12, 12, generator=rng))
    with torch.no_grad():
        kernel = look.log_kernel.exp()
    _, x_hat, _ = net.refine_inside(
        look.lq, kernel, look.intermediate.detach(), look.features, look.log_weights[:, OWN]
    )
    x_hat.sum().backward()
    touched = {name for name, parameter in net.named_parameters() if parameter.grad is not None}
    assert {name for name in touched if not name.startswith('r.')} == {'n.weight.weight', 'n.weight.bias'}


def test_own_and_given_kernels_have_weights_of_their_own(rng):
    net = tiny()
    lq = torch.rand(1, 3, 12, 12, generator=rng)
    own = net.restore(lq)
    given = net.finish(net.look(lq), own.kernel)
    assert not torch.allclose(own.variational, given.variational, atol=1e-4)
    net.n.weight.weight[OWN], net.n.weight.bias[OWN] = net.n.weight.weight[GIVEN], net.n.weight.bias[GIVEN]
    inside = net.kernel_outside(net.look(lq).log_kernel.exp())
    torch.testing.assert_close(net.restore(lq).kernel, inside)


@pytest.mark.parametrize(
    'options',
    [{}, {'num_stage': 2, 'variational': False}, {'num_block': 3, 'num_feat_kernel': 6}, {'takes_noise': True}],
)
def test_a_network_is_built_from_its_weights(rng, options):
    net = tiny(scale=3, **options)
    again = UnpairedSR.from_weights(net.state_dict())
    lq = torch.rand(1, 3, 11, 10, generator=rng)
    torch.testing.assert_close(again(lq), net(lq), rtol=0, atol=1e-5)


def test_sizes_and_channels(rng):
    net = tiny()
    assert net(torch.rand(2, 1, 9, 11, generator=rng)).shape == (2, 1, 18, 22)
    restored = net.restore(torch.rand(2, 3, 9, 11, generator=rng))
    assert restored.kernel.shape == (2, 1, 11, 11) and restored.result.shape == (2, 3, 18, 22)
    torch.testing.assert_close(restored.kernel.sum((1, 2, 3)), torch.ones(2))


def test_the_network_moves_with_a_periodic_image(rng):
    """It is periodic like the forward model: a rolled LR image gives the rolled result."""
    net = tiny()
    lq, kernel = torch.rand(1, 3, 12, 12, generator=rng), gaussians(1, net.degradation, rng).float()
    rolled = net(lq.roll((2, 4), (-2, -1)), kernel)
    torch.testing.assert_close(rolled, net(lq, kernel).roll((4, 8), (-2, -1)), rtol=0, atol=1e-5)


def test_the_data_term_is_weighed_by_the_spectrum_of_the_noise(rng):
    stage = RefinementStage(2, 4, 1, 4, num_levels=3, variational=True).double()
    stage.exponents.data = torch.zeros(2).double()  # white errors of the images: V = W = 1
    kernel = gaussians(1, Degradation(2, 11), rng)
    lq, prior = torch.rand(1, 3, 8, 8, generator=rng).double(), torch.rand(1, 3, 16, 16, generator=rng).double()
    spectrum = 1e-3 * torch.rand(1, 3, 8, 8, generator=rng).double()
    spectrum = (spectrum + spectrum.flip(-2, -1).roll((1, 1), (-2, -1))) / 2  # of a real signal
    noise = NoiseModel(torch.zeros(1, 3), spectrum)
    levels = torch.zeros(1, 3, 8, 8).double()
    x_bar, _, _ = stage(lq, kernel, prior, torch.zeros(1, 4, 8, 8).double(), -30.0, levels, noise)

    x = x_bar.detach().requires_grad_()
    residual = torch.fft.fft2(rgb_to_ycc(degrade(x, kernel, 2) - lq), norm='ortho').abs().square()
    objective = (residual / spectrum).sum() + torch.tensor(6.0).double().exp() * rgb_to_ycc(x - prior).square().sum()
    (gradient,) = torch.autograd.grad(objective, x)
    assert gradient.abs().max() < 1e-6 * (residual / spectrum).sum()


def test_noise_reaches_networks_that_take_it_and_no_others(rng):
    lq, kernel = torch.rand(1, 3, 12, 12, generator=rng), torch.full((1, 1, 11, 11), 1 / 121)
    noise = NoiseModel.of((12, 12), [0.1], [None])
    for takes_noise in (False, True):
        net = tiny(takes_noise=takes_noise)
        clean, noisy = net.restore(lq, kernel), net.restore(lq, kernel, noise=noise)
        for stage in ('intermediate', 'variational', 'result'):
            assert torch.equal(getattr(clean, stage), getattr(noisy, stage)) is not takes_noise
        assert torch.equal(net.estimate_kernel(lq), net.estimate_kernel(lq, noise=noise)) is not takes_noise


def test_another_scale_is_refused():
    with pytest.raises(ValueError, match='for scale 2, not 4'):
        tiny().adopt(Degradation(4, 19))


def test_weights_of_another_size_are_refused_and_data_steps_are_a_choice():
    for options, message in (
        ({'scale': 3, 'kernel_size': 11}, 'for 3, not 2'),
        ({'kernel_size': 9}, 'for 9, not 11'),
    ):
        with pytest.raises(RuntimeError, match=message):
            tiny().load_state_dict(tiny(**options).state_dict(), strict=False)
    net = tiny(variational=False)
    net.load_state_dict(tiny().state_dict())
    assert not net.variational and not UnpairedSR.from_weights(net.state_dict()).r[0].variational
