import pytest
import torch
import torch.nn.functional as F

from dkp_plugin.archs.layers import PointwiseConv2d


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
