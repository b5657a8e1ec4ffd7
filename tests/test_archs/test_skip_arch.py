import pytest
import torch

from dkp_plugin.archs.initialise import build_initialised
from dkp_plugin.archs.skip_arch import DotProductNonLocalBlock, NonLocalBlock, SkipNet

TINY = {'num_feat': 8, 'num_skip': 2, 'num_scales': 2, 'non_local_scales': (2,)}


def test_output_is_an_image_of_the_input_size():
    net = SkipNet(num_in_ch=3, num_out_ch=1, **TINY)
    image = net(torch.rand(1, 3, 16, 24))
    assert image.shape == (1, 1, 16, 24)
    assert image.min() >= 0 and image.max() <= 1


def test_released_size_has_the_parameters_counted_by_hand():
    def conv(fan_in, fan_out, size):  # with the two parameters per channel of its batch norm
        return fan_in * fan_out * size**2 + fan_out + 2 * fan_out

    per_scale = conv(128, 128, 3) + 2 * 144 + conv(144, 128, 3) + conv(128, 128, 1)  # second down, norm, up, 1x1
    first = conv(3, 16, 1) + conv(3, 128, 3)
    deeper = conv(128, 16, 1) + conv(128, 128, 3)
    non_local = (128 * 192 + 192) + (64 * 128 + 128) + 2 * 128  # embeddings, projection, its batch norm
    expected = 5 * per_scale + first + 4 * deeper + 3 * non_local + (128 * 3 + 3)
    assert sum(parameter.numel() for parameter in SkipNet().parameters()) == expected


def test_non_local_block_is_softmax_attention_with_a_residual():
    torch.manual_seed(0)
    block = NonLocalBlock(4).double()
    x = torch.rand(1, 4, 3, 5, dtype=torch.float64)

    pixels = x[0].reshape(4, 15)
    weight = block.query_key_value.weight[:, :, 0, 0]
    query, key, value = (weight @ pixels + block.query_key_value.bias[:, None]).split(2)
    attention = torch.softmax(query.T @ key / 2**0.5, dim=1)
    attended = value @ attention.T
    expected = pixels + block.project.weight[:, :, 0, 0] @ attended + block.project.bias[:, None]
    torch.testing.assert_close(block(x)[0].reshape(4, 15), expected)


def test_dot_product_block_pair_by_pair():
    """Every pair of a pixel and a pooled pixel by itself, as in Wang et al., equation 6 and figure 2."""
    torch.manual_seed(0)
    block = DotProductNonLocalBlock(4).double()
    norm = block.project[1]
    norm.weight.data.uniform_(1, 2)
    norm.bias.data.uniform_(1, 2)
    x = torch.randn(1, 4, 5, 6, dtype=torch.float64)

    def embed(convolution):
        return torch.einsum('oc,chw->ohw', convolution.weight[:, :, 0, 0], x[0]) + convolution.bias[:, None, None]

    theta, (phi, g) = embed(block.theta), embed(block.phi_g).split(2)
    corners = [(row, column) for row in (0, 2) for column in (0, 2, 4)]  # the last row has no partner
    y = torch.zeros(2, 5, 6, dtype=torch.float64)
    for i, j in ((i, j) for i in range(5) for j in range(6)):
        for a, b in corners:
            phi_ab, g_ab = (image[:, a : a + 2, b : b + 2].amax((1, 2)) for image in (phi, g))
            y[:, i, j] += (theta[:, i, j] @ phi_ab) * g_ab / len(corners)
    w = torch.einsum('oc,chw->ohw', block.project[0].weight[:, :, 0, 0], y) + block.project[0].bias[:, None, None]
    mean, variance = w.mean((1, 2), keepdim=True), w.var((1, 2), keepdim=True, unbiased=False)
    normalised = (w - mean) / (variance + 1e-5).sqrt()
    expected = x[0] + norm.weight[:, None, None] * normalised + norm.bias[:, None, None]
    torch.testing.assert_close(block(x)[0], expected)


@pytest.mark.parametrize('sides', [(2, 2), (7, 4)])
def test_dot_product_block_starts_as_the_identity_and_learns(sides, rng):
    block = build_initialised(lambda: DotProductNonLocalBlock(4), rng, torch.device('cpu'))
    x = torch.rand(1, 4, *sides)
    y = block(x)
    assert y.equal(x)
    (y * torch.rand(x.shape)).sum().backward()
    assert block.project[1].weight.grad.abs().min() > 0


def test_dot_product_blocks_have_the_parameters_counted_by_hand():
    counts = {
        name: sum(parameter.numel() for parameter in SkipNet(non_local=name).parameters())
        for name in ('softmax', 'dot_product')
    }
    assert counts['dot_product'] - counts['softmax'] == 3 * 2 * 128  # the batch normalisation of each block


@pytest.mark.parametrize('non_local', ['softmax', 'dot_product'])
def test_bf16_input_computes_in_bf16_and_answers_in_float32(non_local):
    torch.manual_seed(0)
    net, x = SkipNet(**TINY, non_local=non_local), torch.rand(1, 3, 32, 32)
    seen = []
    net.body.up_conv.register_forward_hook(lambda *args: seen.append(args[-1].dtype))
    low = net(x.bfloat16())
    assert seen == [torch.bfloat16] and low.dtype == torch.float32
    assert (low - net(x)).abs().mean() < 0.01
