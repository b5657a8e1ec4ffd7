import pytest
import torch

from dkp_plugin.archs.kernel_fcn_arch import KernelFCN


@pytest.mark.parametrize(('num_layers', 'num_units'), [(1, 10), (3, 7)])
def test_output_is_a_kernel(num_layers, num_units):
    net = KernelFCN(5, num_in=6, num_units=num_units, num_layers=num_layers)
    kernel = net(torch.rand(2, 6))
    assert kernel.shape == (2, 1, 5, 5) and kernel.min() >= 0
    torch.testing.assert_close(kernel.sum((1, 2, 3)), torch.ones(2))
    expected = 6 * num_units + num_units + (num_layers - 1) * (num_units**2 + num_units) + num_units * 25 + 25
    assert sum(parameter.numel() for parameter in net.parameters()) == expected
