import pytest
import torch
import torch.nn.functional as F

from dkp_plugin.archs.usrnet_arch import ResUNet, USRNetwork
from dkp_plugin.physics.degradation import degrade


def tiny(num_iter=2):
    """A network with random weights, small enough for float64."""
    torch.manual_seed(0)
    return USRNetwork(num_iter, (2, 3, 4, 5), num_blocks=1, num_units=4).double().requires_grad_(False)


def test_released_weights_load_and_tell_their_size(shared_data):
    weights = torch.load(shared_data / 'weights' / 'usrnet_tiny.pth', weights_only=True)
    net = USRNetwork.from_weights(weights)
    assert sum(parameter.numel() for parameter in net.parameters()) == 590332  # counted in the file
    assert net.h.mlp[4].out_channels == 2 * 6
    assert net.state_dict().keys() == USRNetwork().state_dict().keys()  # the default is USRNet-tiny


def test_size_is_read_off_any_weights():
    weights = tiny(num_iter=3).state_dict()
    net = USRNetwork.from_weights(weights)
    assert {name: value.shape for name, value in net.state_dict().items()} == {
        name: value.shape for name, value in weights.items()
    }


def test_hyper_parameters_by_hand():
    net = tiny(num_iter=1).h
    layers = [net.mlp[index] for index in (0, 2, 4)]
    h = torch.tensor([0.1, 4.0], dtype=torch.float64)
    for index, layer in enumerate(layers):
        h = layer.weight[:, :, 0, 0] @ h + layer.bias
        h = h.clamp_min(0) if index < 2 else torch.log1p(h.exp()) + 1e-6
    result = net(torch.full((1, 1, 1, 1), 0.1, dtype=torch.float64), 4)
    torch.testing.assert_close(result.flatten(), h, rtol=1e-12, atol=0)


def test_resunet_without_residuals_adds_its_scales_by_hand():
    """One channel per scale, residual branches 0: each scale sees means of 2x2 pixels, and all scales are added up."""
    net = ResUNet((1, 1, 1, 1), num_blocks=1)
    for name, parameter in net.named_parameters():
        value = 0.0 if '.res.' in name else 0.25 if name.startswith('m_down') else 1.0
        parameter.data.fill_(value)
    for layer, taps in ((net.m_head, (0.0, 1.0, 0.0, 0.0)), (net.m_tail, (1.0, 1.0, 1.0))):  # green in, gray out
        layer.weight.data.zero_()
        layer.weight.data[..., 1, 1] = torch.tensor(taps).view_as(layer.weight[..., 1, 1])
    x = torch.rand(1, 3, 8, 16, generator=torch.Generator().manual_seed(1))
    green = x[:, 1:2]
    means = [F.interpolate(F.avg_pool2d(green, 2**level), scale_factor=2.0**level) for level in range(4)]
    # The body's input, a plain copy of the coarsest scale, is one of the skips.
    expected = means[0] + means[1] + means[2] + 2 * means[3]
    torch.testing.assert_close(net(x, torch.zeros(1, 1, 1, 1)), expected.expand(-1, 3, -1, -1), rtol=1e-5, atol=1e-6)


def test_resunet_sees_the_noise_level_and_takes_any_size():
    net = tiny().p
    x = torch.rand(1, 3, 13, 18, dtype=torch.float64)
    low, high = (net(x, torch.full((1, 1, 1, 1), level, dtype=torch.float64)) for level in (0.1, 0.5))
    assert low.shape == x.shape and (low - high).abs().max() > 1e-6
    padded = F.pad(x, (0, 6, 0, 3), mode='replicate')
    assert torch.equal(net(padded, torch.full((1, 1, 1, 1), 0.1, dtype=torch.float64))[..., :13, :18], low)


def test_one_iteration_is_a_dense_least_squares_problem_and_one_pass():
    """The data step is solved with the dense matrix of the blur, which ``degrade`` gives column by column."""
    net, scale, sigma = tiny(num_iter=1), 2, 0.05
    generator = torch.Generator().manual_seed(2)
    y = torch.rand(1, 3, 4, 4, generator=generator, dtype=torch.float64)
    kernel = torch.rand(1, 1, 5, 5, generator=generator, dtype=torch.float64)
    kernel /= kernel.sum()
    pixels = torch.eye(64, dtype=torch.float64).view(64, 1, 8, 8)
    matrix = degrade(pixels, kernel, scale).flatten(1).T  # (16, 64)
    weight, noise_level = net.h(torch.full((1, 1, 1, 1), sigma, dtype=torch.float64), scale).flatten()
    z = y.repeat_interleave(2, -1).repeat_interleave(2, -2).view(3, 64)
    normal = matrix.T @ matrix + weight * torch.eye(64, dtype=torch.float64)
    x = torch.linalg.solve(normal, (y.view(3, 16) @ matrix + weight * z).T).T.view(1, 3, 8, 8)
    expected = net.p(x, noise_level.view(1, 1, 1, 1))
    torch.testing.assert_close(net(y, kernel, scale, sigma), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize('missing', ['h.mlp.4.weight', 'p.m_up2.0.weight'])
def test_weights_of_another_network_are_refused(missing):
    weights = dict(tiny().state_dict())
    del weights[missing]
    with pytest.raises(KeyError, match=missing):
        USRNetwork.from_weights(weights)
