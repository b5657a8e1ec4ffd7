import pytest
import torch
from basicsr.utils.registry import ARCH_REGISTRY

from dkp_plugin.archs.compact_prior_arch import CompactPrior
from dkp_plugin.host.schema import build_network

TINY = {'num_feats': (8, 12, 16), 'num_blocks': (1, 1, 2), 'num_emb': 16}


@pytest.fixture
def net(rng):
    """A network without zero layers, whose activations keep their size."""
    net = CompactPrior(**TINY)
    for parameter in net.parameters():
        fan_in = parameter[0].numel() if parameter.dim() > 1 else 16
        parameter.data = fan_in**-0.5 * torch.randn(parameter.shape, generator=rng)
    return net.requires_grad_(False)


@pytest.mark.parametrize('sigma', [0.005, 0.25, 3.0])
def test_new_network_is_the_best_linear_denoiser(sigma, rng):
    """Its last layer is zero, so what is left is the mean of x given x + n for Gaussian x of the data's moments."""
    net = CompactPrior(**TINY, data_mean=0.4, data_std=0.3)
    x = torch.rand(2, 3, 16, 16, generator=rng)
    expected = 0.4 + 0.3**2 / (0.3**2 + sigma**2) * (x - 0.4)
    torch.testing.assert_close(net(x, torch.full((2,), sigma)).detach(), expected)


@pytest.mark.parametrize('sigma', [0.01, 0.1, 1.0])
def test_every_noise_level_starts_with_loss_one(sigma, rng):
    """For data of variance data_std^2; here independent pixels, so that the mean over N of them is 1 +- sqrt(2 / N)."""
    net = CompactPrior(**TINY, data_mean=0.5, data_std=0.2)
    x = 0.5 + 0.2 * torch.randn(4, 3, 64, 64, generator=rng)
    levels = torch.full((4,), sigma)
    denoised = net(x + sigma * torch.randn(x.shape, generator=rng), levels).detach()
    loss = net.loss_weight(levels).view(-1, 1, 1, 1) * (denoised - x).square()
    assert abs(loss.mean().item() - 1) < 4 * (2 / x.numel()) ** 0.5


@pytest.mark.parametrize('sigma', [0.02, 0.25, 2.0])
def test_hidden_layers_see_unit_variance(sigma, net, rng, monkeypatch):
    inputs = []
    monkeypatch.setattr(net, '_unet', lambda x, sigma, dtype: inputs.append(x) or torch.zeros_like(x))
    x = net.data_mean + (net.data_std**2 + sigma**2) ** 0.5 * torch.randn(1, 3, 200, 200, generator=rng)
    net(x, torch.tensor([sigma]))
    assert inputs[0].std().item() == pytest.approx(1, abs=0.01) and abs(inputs[0].mean().item()) < 0.02


@pytest.mark.parametrize('size', [(8, 8), (16, 24), (9, 8), (15, 17), (5, 31)])
def test_any_size(net, size, rng):
    x = torch.rand(2, 3, *size, generator=rng)
    denoised = net(x, torch.tensor([0.1, 1.0]))
    assert denoised.shape == x.shape and denoised.dtype == torch.float32 and denoised.isfinite().all()


def test_sides_that_do_not_fit_are_continued_by_reflection(net, rng):
    x, sigma = torch.rand(1, 3, 13, 16, generator=rng), torch.tensor([0.3])
    continued = torch.cat([x, x[..., 9:12, :].flip(-2)], dim=-2)
    torch.testing.assert_close(net(x, sigma), net(continued, sigma)[..., :13, :], rtol=0, atol=1e-5)


def test_noise_level_matters_and_belongs_to_each_image(net, rng):
    x, sigma = torch.rand(2, 3, 16, 16, generator=rng), torch.tensor([0.05, 0.8])
    together = net(x, sigma)
    alone = torch.cat([net(x[index : index + 1], sigma[index : index + 1]) for index in range(2)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)
    variance = sigma.square() + net.data_std**2
    out = (sigma * net.data_std * variance.rsqrt()).view(-1, 1, 1, 1)
    same = torch.full_like(x, net.data_mean)  # nothing to skip: only what the hidden layers add is left
    own = (net(same, sigma) - net.data_mean) / out
    assert (own[0] - own[1]).abs().max() > 1e-2


def test_bfloat16_is_close_to_float32(net, rng):
    x, sigma = torch.rand(2, 3, 32, 32, generator=rng), torch.tensor([0.1, 0.5])
    single, half = net(x, sigma), net(x, sigma, torch.bfloat16)
    assert half.dtype == torch.float32 and not torch.equal(single, half)
    skip = (net.data_std**2 / (sigma.square() + net.data_std**2)).view(-1, 1, 1, 1)
    own = single - net.data_mean - skip * (x - net.data_mean)  # what the hidden layers add
    assert (half - single).norm() < 0.02 * own.norm()  # 8 bits of mantissa: 2 ** -8 = 0.004 per layer


def test_all_parameters_learn(rng):
    net = CompactPrior(**TINY)
    # Zero layers stop the gradient of what lies before them, until they have moved.
    for layer in (net.last, *(block.conv2 for stage in (*net.encoder, *net.decoder) for block in stage)):
        torch.nn.init.normal_(layer.weight, std=0.1, generator=rng)
    net(torch.rand(2, 3, 16, 16, generator=rng), torch.tensor([0.1, 0.5])).square().sum().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in net.parameters())


def test_denoise_is_forward(net, rng):
    x, sigma = torch.rand(1, 3, 16, 16, generator=rng), torch.tensor([0.2])
    assert torch.equal(net.denoise(x, sigma), net(x, sigma))
    assert torch.equal(net.denoise(x, sigma, torch.bfloat16, label=3), net(x, sigma, torch.bfloat16))


def test_is_built_from_options():
    net = build_network(
        {'type': 'CompactPrior', 'num_feats': [4, 8], 'num_blocks': [1, 1]}, 'network_g', torch.nn.Module
    )
    assert type(net) is ARCH_REGISTRY.get('CompactPrior') and net.stride == 4


def test_lists_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match=r'num_blocks: \[1\] and num_feats: \[4, 8\] differ in length'):
        CompactPrior(num_feats=(4, 8), num_blocks=(1,))
