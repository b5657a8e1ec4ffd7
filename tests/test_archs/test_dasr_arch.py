"""DASR against the names and shapes of the released checkpoints, and its layers against loops over pixels."""

import math

import pytest
import torch

from dkp_plugin.archs.dasr_arch import DASR, ChannelScaling, DegradationAwareConv, DegradationEncoder

TINY = {'num_feat': 4, 'num_group': 2, 'num_block': 1, 'reduction': 2, 'num_feat_encoder': 2}


def conv(name, num_out, num_in, size=3):
    return {f'{name}.weight': (num_out, num_in, size, size), f'{name}.bias': (num_out,)}


def released(scale):
    """The state dict of a released checkpoint, written down from the published program, not from ours.

    The checkpoints leave out the encoder of the keys and the queue, which only the training needs.
    """
    shapes = conv('G.sub_mean', 3, 3, 1) | conv('G.add_mean', 3, 3, 1) | conv('G.head.0', 64, 3)
    shapes |= {'G.compress.0.weight': (64, 256)} | conv('G.body.5', 64, 64) | conv('G.tail.1', 3, 64)
    tails = {2: {0: 256}, 3: {0: 576}, 4: {0: 256, 2: 256}}[scale]
    for index, num in tails.items():
        shapes |= conv(f'G.tail.0.{index}', num, 64)
    for group in range(5):
        shapes |= conv(f'G.body.{group}.body.5', 64, 64)
        for block in range(5):
            name = f'G.body.{group}.body.{block}'
            shapes |= conv(f'{name}.conv1', 64, 64) | conv(f'{name}.conv2', 64, 64)
            for layer in ('da_conv1', 'da_conv2'):
                shapes |= {f'{name}.{layer}.kernel.0.weight': (64, 64), f'{name}.{layer}.kernel.2.weight': (576, 64)}
                shapes |= conv(f'{name}.{layer}.conv', 64, 64, 1)
                shapes |= {
                    f'{name}.{layer}.ca.conv_du.{i}.weight': s for i, s in ((0, (8, 64, 1, 1)), (2, (64, 8, 1, 1)))
                }
    for index, num_in, num_out in (
        (0, 3, 64),
        (3, 64, 64),
        (6, 64, 128),
        (9, 128, 128),
        (12, 128, 256),
        (15, 256, 256),
    ):
        shapes |= conv(f'E.encoder_q.E.{index}', num_out, num_in)
        norm = f'E.encoder_q.E.{index + 1}'
        shapes |= {f'{norm}.{key}': (num_out,) for key in ('weight', 'bias', 'running_mean', 'running_var')}
        shapes[f'{norm}.num_batches_tracked'] = ()
    for index in (0, 2):
        shapes |= {f'E.encoder_q.mlp.{index}.weight': (256, 256), f'E.encoder_q.mlp.{index}.bias': (256,)}
    return shapes


@pytest.mark.parametrize('scale', [2, 3, 4])
def test_names_and_shapes_are_those_of_the_released_checkpoints(scale):
    net = DASR(scale)
    assert {name: tuple(value.shape) for name, value in net.state_dict().items()} == released(scale)


def test_parameters_at_x4_are_the_published_5_84_million():
    """The count of the papers that followed leaves out the projection head, which restores nothing."""
    net = DASR(4)
    num = sum(parameter.numel() for parameter in net.parameters())
    head = sum(parameter.numel() for parameter in net.encoder.mlp.parameters())
    assert round((num - head) / 1e6, 2) == 5.84


@pytest.mark.parametrize('scale', [2, 3, 4])
def test_a_network_is_read_off_its_weights(scale):
    net = DASR(scale, **TINY)
    again = DASR.from_weights({'params': net.state_dict()}, convention='released')
    assert again.scale == scale and again.convention == 'released'
    for name, value in net.state_dict().items():
        assert torch.equal(again.state_dict()[name], value)


@torch.no_grad()
def test_degradation_aware_convolution_pixel_by_pixel(rng):
    layer = DegradationAwareConv(3, kernel_size=3, reduction=3).double()
    x, code = (torch.randn(size, generator=rng, dtype=torch.float64) for size in ((2, 3, 4, 5), (2, 64)))
    leaky = lambda value: value if value > 0 else 0.1 * value  # noqa: E731
    expected = torch.zeros_like(x)
    for image in range(2):
        hidden = (layer.kernel[0].weight @ code[image]).apply_(leaky)
        kernels = (layer.kernel[2].weight @ hidden).view(3, 3, 3)
        squeezed = (layer.ca.conv_du[0].weight[..., 0, 0] @ code[image]).apply_(leaky)
        factors = [1 / (1 + math.exp(-value)) for value in layer.ca.conv_du[2].weight[..., 0, 0] @ squeezed]
        for row in range(4):
            for column in range(5):
                filtered = [
                    leaky(
                        sum(
                            kernels[channel, i, j] * x[image, channel, row + i - 1, column + j - 1]
                            for i in range(3)
                            for j in range(3)
                            if 0 <= row + i - 1 < 4 and 0 <= column + j - 1 < 5
                        )
                    )
                    for channel in range(3)
                ]
                for out in range(3):
                    mixed = sum(layer.conv.weight[out, channel, 0, 0] * filtered[channel] for channel in range(3))
                    scaled = factors[out] * x[image, out, row, column]
                    expected[image, out, row, column] = mixed + layer.conv.bias[out] + scaled
    torch.testing.assert_close(layer(x, code), expected, rtol=1e-12, atol=1e-12)


def test_images_of_a_batch_do_not_see_each_other(rng):
    net = DASR(2, **TINY).eval()
    lq = torch.rand(3, 3, 9, 8, generator=rng)
    with torch.no_grad():
        torch.testing.assert_close(net(lq), torch.cat([net(image[None]) for image in lq]))


def test_scaling_lies_between_0_and_1(rng):
    x, code = torch.ones(5, 4, 2, 2), 10 * torch.randn(5, 64, generator=rng)
    y = ChannelScaling(4, 2)(x, code)
    assert y.min() > 0 and y.max() < 1 and y.var((-2, -1)).max() == 0


def test_representation_is_a_mean_over_the_image_and_its_projection_has_unit_length(rng):
    encoder = DegradationEncoder(2).eval()
    x = 255 * torch.rand(2, 3, 12, 16, generator=rng)
    representation, projection = encoder(x)
    assert representation.shape == projection.shape == (2, 8)
    torch.testing.assert_close(projection.norm(dim=1), torch.ones(2))
    features = encoder.E(x)  # at a quarter of the size
    assert features.shape == (2, 8, 3, 4)
    torch.testing.assert_close(representation, features.sum((-2, -1)) / 12)


def test_an_empty_body_returns_the_mean_colour():
    """With all weights 0, only the mean of DIV2K remains: what is subtracted before is added after."""
    net = DASR(2, **TINY)
    for parameter in net.parameters():
        if parameter.requires_grad:
            parameter.data.zero_()
    expected = torch.tensor([0.4488, 0.4371, 0.4040]).view(1, 3, 1, 1).expand(1, 3, 8, 10)
    torch.testing.assert_close(net.eval()(torch.rand(1, 3, 4, 5)), expected)


def test_released_images_are_aligned_ones_moved_by_whole_pixels(rng):
    net = DASR(4, **TINY).eval()
    lq = torch.rand(1, 3, 8, 8, generator=rng)
    aligned = net(lq)
    net.convention = 'released'
    torch.testing.assert_close(net(lq)[..., :-3, :-3], aligned[..., 3:, 3:])


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [({'scale': 8}, 'scale: 8 is not one of 2, 3, 4'), ({'convention': 'kernelgan'}, "convention: 'kernelgan' is not")],
)
def test_what_is_not_allowed(arguments, message):
    with pytest.raises(ValueError, match=message):
        DASR(**arguments)
