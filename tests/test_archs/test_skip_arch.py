import torch

from dkp_plugin.archs.skip_arch import NonLocalBlock, SkipNet

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
    non_local = (128 * 192 + 192) + (64 * 128 + 128)
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


def test_bf16_input_computes_in_bf16_and_answers_in_float32():
    torch.manual_seed(0)
    net, x = SkipNet(**TINY), torch.rand(1, 3, 32, 32)
    seen = []
    net.body.up_conv.register_forward_hook(lambda *args: seen.append(args[-1].dtype))
    low = net(x.bfloat16())
    assert seen == [torch.bfloat16] and low.dtype == torch.float32
    assert (low - net(x)).abs().mean() < 0.01
