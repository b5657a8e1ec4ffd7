import pytest
import torch
import torch.nn.functional as F

from dkp_plugin.archs.layers import Conv2d, PointwiseConv2d


@pytest.mark.parametrize('bias', [False, True])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.float64])
def test_computes_in_the_dtype_of_its_input_and_keeps_its_parameters_in_float32(rng, bias, dtype):
    layer = Conv2d(2, 3, 3, stride=2, padding=1, bias=bias)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, generator=rng)
    x = torch.randn(1, 2, 8, 6, generator=rng).to(dtype)
    y = layer(x)
    y.sum().backward()
    assert y.dtype == dtype
    assert all(parameter.dtype == parameter.grad.dtype == torch.float32 for parameter in layer.parameters())

    def rounded(parameter):
        return None if parameter is None else parameter.detach().to(dtype).double()

    expected = F.conv2d(x.double(), rounded(layer.weight), rounded(layer.bias), stride=2, padding=1)
    # Rounding of the result, about 18 products and sums in float32 or wider
    assert (y.double() - expected).abs().max() <= 2 * torch.finfo(dtype).eps * expected.abs().max() + 1e-5 * (
        dtype != torch.float64
    )


def test_reflection_padding_is_the_plain_layers(rng):
    layer = Conv2d(2, 2, 3, padding=1, padding_mode='reflect')
    x = torch.randn(1, 2, 5, 7, generator=rng)
    expected = F.conv2d(F.pad(x, (1, 1, 1, 1), mode='reflect'), layer.weight, layer.bias)
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize('memory_format', [torch.contiguous_format, torch.channels_last])
def test_pointwise_convolution_is_a_convolution(memory_format):
    torch.manual_seed(0)
    conv = PointwiseConv2d(5, 4).double()
    x = torch.rand(2, 5, 3, 6, dtype=torch.float64).to(memory_format=memory_format)
    torch.testing.assert_close(conv(x), F.conv2d(x, conv.weight, conv.bias))


def test_pointwise_convolution_computes_in_the_dtype_of_its_input_and_keeps_its_layout():
    x = torch.rand(1, 8, 4, 4).to(torch.bfloat16, memory_format=torch.channels_last)
    y = PointwiseConv2d(8, 6)(x)
    assert y.dtype == torch.bfloat16 and y.is_contiguous(memory_format=torch.channels_last)
