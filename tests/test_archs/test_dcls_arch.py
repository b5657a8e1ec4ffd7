"""DCLS against the names and shapes of the released checkpoints, and its deconvolution against dense matrices."""

import pytest
import torch
import torch.nn.functional as F

from dkp_plugin.archs.dcls_arch import (
    DCLS,
    DeepLinearKernelEstimator,
    DualPathGroup,
    FeatureDeconvolution,
    constrained_least_squares,
)

TINY = {'num_feat': 16, 'num_group': 2, 'num_block': 1, 'num_code': 4}


def conv(name, num_out, num_in, size=3):
    return {f'{name}.weight': (num_out, num_in, size, size), f'{name}.bias': (num_out,)}


def released(scale, dec):
    """The state dict of a released checkpoint, written down from the published program, not from ours.

    Args:
        scale: 2 or 4.
        dec: Channels in, channels out and size of each factor of the kernel.
    """
    shapes = conv('Restorer.conv_first', 64, 3) | conv('Restorer.head1', 16, 64) | conv('Restorer.fusion', 64, 80)
    for index in range(3):
        for part in ('Restorer.feature_block', 'Estimator.body.0'):
            shapes |= conv(f'{part}.{index}.conv1', 64, 64) | conv(f'{part}.{index}.conv2', 64, 64)
    head = 'Restorer.head2'
    shapes |= conv(f'{head}.reduce_feature', 16, 64, 1) | conv(f'{head}.expand_feature', 64, 16, 1)
    shapes |= conv(f'{head}.grad_filter.6', 16, 16, 1)
    for index in (0, 2, 4):
        shapes |= conv(f'{head}.grad_filter.{index}', 16, 16)
    for group in range(5):
        for block in range(10):
            name = f'Restorer.body.{group}.body.{block}'
            for index in (0, 2):
                shapes |= conv(f'{name}.body1.{index}', 64, 64) | conv(f'{name}.body2.{index}', 16, 16)
            shapes |= conv(f'{name}.CA_body1.1', 64, 80)
            for attention, num in ((f'{name}.CA_body1.2', 64), (f'{name}.CA_body2', 16)):
                shapes |= conv(f'{attention}.conv_du.0', num // 4, num, 1)
                shapes |= conv(f'{attention}.conv_du.2', num, num // 4, 1)
    shapes |= conv('Restorer.upscale.0', 256, 64) | conv(f'Restorer.upscale.{4 if scale == 4 else 2}', 3, 64)
    if scale == 4:
        shapes |= conv('Restorer.upscale.2', 256, 64)
    shapes |= conv('Estimator.head.0', 64, 3, 7) | conv('Estimator.tail.4', 256, 64, 1)
    shapes |= conv('Estimator.tail.0', 64, 64) | conv('Estimator.tail.2', 64, 64)
    for index, (num_in, num_out, size) in enumerate(dec):
        num = num_in * num_out * size**2
        shapes |= {f'Estimator.dec.{index}.weight': (num, 256), f'Estimator.dec.{index}.bias': (num,)}
    return shapes


FACTORS = {
    11: ((3, 16, 7), (16, 16, 3), (16, 16, 3), (16, 3, 1)),
    21: ((3, 16, 11), (16, 16, 7), (16, 16, 5), (16, 3, 1)),
    31: ((3, 16, 11), (16, 16, 9), (16, 16, 7), (16, 16, 5), (16, 3, 3)),
}


@pytest.mark.parametrize(
    ('scale', 'kernel_size', 'millions'),
    [(2, 11, None), (4, 21, 13.63), (4, 31, 19.05)],  # published for isotropic and for anisotropic kernels at x4
)
def test_names_shapes_and_parameters_are_those_of_the_released_checkpoints(scale, kernel_size, millions):
    net = DCLS(scale, kernel_size=kernel_size)
    shapes = {name: tuple(value.shape) for name, value in net.state_dict().items()}
    assert shapes == released(scale, FACTORS[kernel_size])
    if millions is not None:
        assert round(sum(parameter.numel() for parameter in net.parameters()) / 1e6, 2) == millions


@pytest.mark.parametrize(('scale', 'kernel_size'), [(2, 11), (3, 21), (4, 31)])
def test_a_network_is_read_off_its_weights(scale, kernel_size):
    net = DCLS(scale, kernel_size=kernel_size, **TINY)
    again = DCLS.from_weights(net.state_dict())
    assert again.scale == scale and again.Estimator.kernel_size == kernel_size
    for name, value in net.state_dict().items():
        assert torch.equal(again.state_dict()[name], value)


def convolution_matrix(kernel, height, width):
    """Dense matrix of the periodic convolution with a kernel anchored at its centre, element by element."""
    size = kernel.shape[-1]
    matrix = torch.zeros(height * width, height * width, dtype=kernel.dtype)
    for row in range(height):
        for column in range(width):
            for i in range(size):
                for j in range(size):
                    source = ((row - i + size // 2) % height) * width + (column - j + size // 2) % width
                    matrix[row * width + column, source] += kernel[i, j]
    return matrix


def test_constrained_least_squares_is_the_dense_solution(rng):
    """Two images with a kernel each and three channels with a filter each, in float64."""
    y, kernel, smoother = (
        torch.rand(size, generator=rng, dtype=torch.float64) for size in ((2, 3, 7, 8), (2, 1, 5, 5), (2, 3, 3, 3))
    )
    kernel /= kernel.sum((-2, -1), keepdim=True)
    x = constrained_least_squares(y, kernel, smoother)
    for image in range(2):
        blur = convolution_matrix(kernel[image, 0], 7, 8)
        for channel in range(3):
            penalty = convolution_matrix(smoother[image, channel], 7, 8)
            normal = blur.T @ blur + penalty.T @ penalty
            expected = torch.linalg.solve(normal, blur.T @ y[image, channel].flatten()).view(7, 8)
            torch.testing.assert_close(x[image, channel], expected, rtol=1e-10, atol=1e-10)


def test_deconvolution_without_penalty_undoes_a_blur(rng):
    x = torch.rand(1, 2, 9, 9, generator=rng, dtype=torch.float64)
    kernel = torch.zeros(1, 1, 3, 3, dtype=torch.float64)
    kernel[0, 0, 1] = torch.tensor([0.1, 0.7, 0.2])
    blurred = F.conv2d(
        F.pad(x, (1, 1, 0, 0), mode='circular'), kernel[:, :, 1:2].flip(-1).expand(2, -1, -1, -1), groups=2
    )
    torch.testing.assert_close(constrained_least_squares(blurred, kernel, torch.zeros(1, 1, 3, 3).double()), x)


def test_feature_deconvolution_by_its_parts(rng):
    """The predicted filters have sum 0, so a constant is kept; the border is replicated, so no seam comes in."""
    layer = FeatureDeconvolution(8, 4).double()
    features = torch.randn(2, 8, 9, 10, generator=rng, dtype=torch.float64)
    kernel = torch.rand(2, 1, 5, 5, generator=rng, dtype=torch.float64)
    kernel /= kernel.sum((-2, -1), keepdim=True)
    reduced = layer.reduce_feature(features)
    filters = layer.smoothers(reduced)
    torch.testing.assert_close(filters.sum((-2, -1)), torch.zeros(2, 2).double())
    padded = F.pad(reduced, (5, 5, 5, 5), mode='replicate')
    deblurred = constrained_least_squares(padded, kernel, filters)[..., 5:14, 5:15]
    torch.testing.assert_close(layer(features, kernel), layer.expand_feature(deblurred))
    constant = features[..., :1, :1].expand_as(features)
    torch.testing.assert_close(layer(constant, kernel), layer.expand_feature(layer.reduce_feature(constant)))


def test_a_group_doubles_what_its_blocks_return(rng):
    """That is what the released program does, and not the skip connection of the paper's figure."""
    group = DualPathGroup(8, 4, 2, 4)
    first, second = torch.randn(1, 8, 5, 6, generator=rng), torch.randn(1, 4, 5, 6, generator=rng)
    expected = first, second
    for block in group.body:
        expected = block(*expected)
    for result, value in zip(group(first, second), expected, strict=True):
        torch.testing.assert_close(result, 2 * value)
    for parameter in group.parameters():
        parameter.data.zero_()  # the blocks become identities
    torch.testing.assert_close(group(first, second), (2 * first, 2 * second))


@pytest.mark.parametrize('kernel_size', [11, 21, 31])
def test_the_kernel_is_the_response_of_the_chain_of_filters(rng, kernel_size):
    """Filtering an image by the chain is correlating it with the kernel, before the kernel is normalised."""
    estimator = DeepLinearKernelEstimator(4, 5, kernel_size).double()
    for layer in estimator.dec:
        layer.weight.data.normal_(generator=rng)
        layer.bias.data.normal_(generator=rng)
    lq = torch.rand(2, 3, 12, 14, generator=rng, dtype=torch.float64)
    kernels = estimator(lq)
    assert kernels.shape == (2, 1, kernel_size, kernel_size)
    torch.testing.assert_close(kernels.sum((1, 2, 3)), torch.ones(2).double())
    x = torch.rand(1, 1, kernel_size + 2, kernel_size + 3, generator=rng, dtype=torch.float64)
    for image, filters in enumerate(zip(*estimator.filters(lq), strict=True)):
        response = x.expand(1, 3, -1, -1)
        for taps in filters:
            response = F.conv2d(response, taps)
        impulse = torch.zeros(1, 3, 2 * kernel_size - 1, 2 * kernel_size - 1).double()
        impulse[..., kernel_size - 1, kernel_size - 1] = 1
        for taps in filters:
            impulse = F.conv2d(impulse, taps)
        total = impulse.mean(1).sum()
        if kernel_size == 11:  # softmax of the chain's kernel instead
            raw = impulse.mean(1, keepdim=True).flip(-2, -1)
            torch.testing.assert_close(kernels[image].flatten(), raw.flatten().softmax(0))
        else:
            torch.testing.assert_close(F.conv2d(x, kernels[image : image + 1]), response.mean(1, keepdim=True) / total)


def test_a_new_network_starts_with_a_broad_positive_kernel(rng):
    kernel = DCLS(**TINY).estimate_kernel(torch.rand(1, 3, 16, 16, generator=rng))
    assert kernel.min() > 0 and kernel.max() < 0.02


def test_any_size_and_an_odd_kernel_size(rng):
    net = DCLS(3, **TINY).eval()
    assert net(torch.rand(2, 3, 16, 19, generator=rng)).shape == (2, 3, 48, 57)
    with pytest.raises(ValueError, match='kernel_size: 19 is not one of 11, 21, 31'):
        DCLS(kernel_size=19)
