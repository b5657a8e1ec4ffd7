import pytest
import torch
import torch.nn.functional as F

from dkp_plugin.archs.initialise import build_initialised
from dkp_plugin.archs.internal_gan_arch import DeepLinearGenerator, PatchDiscriminator, SpectralConv2d


def build(network, rng):
    return build_initialised(network, rng, torch.device('cpu')).double().requires_grad_(False)


@pytest.mark.parametrize('stride', [1, 2])
def test_generator_is_its_layers_one_after_the_other(rng, stride):
    net = build(lambda: DeepLinearGenerator(num_feat=4), rng)
    x = torch.rand(2, 3, 20, 25, generator=rng, dtype=torch.float64)
    expected = torch.stack([net.layers(channel[:, None])[:, 0] for channel in x])[..., ::stride, ::stride]
    result = net(x, stride)
    torch.testing.assert_close(result, expected, rtol=1e-10, atol=1e-14)
    assert result.shape[-2:] == ((20 - 13) // stride + 1, (25 - 13) // stride + 1)


def test_kernel_of_one_channel_is_the_convolution_of_its_layers(rng):
    """Correlations in a row have the full convolution of their weights as kernel."""
    net = build(lambda: DeepLinearGenerator(num_feat=1), rng)
    kernel = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    for layer in net.layers:
        kernel = F.conv_transpose2d(kernel, layer.weight)
    assert net.kernel_size == 13
    torch.testing.assert_close(net.kernel(), kernel, rtol=1e-10, atol=1e-16)


def test_spectral_convolution_has_norm_1(rng):
    """A weight of known singular values: 5 and 0.5 along two axes turned by orthogonal matrices."""
    layer = SpectralConv2d(8, 6, 1, bias=False).double()
    left, right = (torch.linalg.qr(torch.randn(n, n, generator=rng, dtype=torch.float64))[0] for n in (6, 8))
    values = torch.diag(torch.tensor([5.0, 0.5, 0.4, 0.3, 0.2, 0.1], dtype=torch.float64))
    matrix = left @ values @ right[:6]
    layer.weight.data = matrix[..., None, None]
    x = torch.rand(1, 8, 3, 3, generator=rng, dtype=torch.float64)
    expected = torch.einsum('oi,bihw->bohw', matrix / 5, x)
    torch.testing.assert_close(layer(x), expected, rtol=1e-6, atol=1e-8)


def test_discriminator_looks_at_patches_of_7_pixels(rng):
    net = build(lambda: PatchDiscriminator(3, num_feat=4, num_hidden=2), rng).eval()
    x = torch.rand(1, 3, 16, 18, generator=rng, dtype=torch.float64)
    result = net(x)
    assert result.shape == (1, 1, 10, 12) and result.min() > 0 and result.max() < 1
    x[..., 8, 9] += 1  # seen by the patches that start in rows 2 to 8 and columns 3 to 9
    changed = (net(x) - result).abs() > 0
    assert not changed[..., :2, :].any() and not changed[..., 9:, :].any()
    assert not changed[..., :3].any() and not changed[..., 10:].any() and changed[..., 2:9, 3:10].any()
