import json
import math
from pathlib import Path

import pytest
import torch
from basicsr.utils.registry import ARCH_REGISTRY

from dkp_plugin.archs.diffusion_schedule import alphas_cumprod, linear_betas, noise_levels, x0_from_epsilon
from dkp_plugin.archs.guided_diffusion_arch import AttentionBlock, GuidedDiffusionUNet, ResBlock, timestep_embedding
from dkp_plugin.host.schema import build_network

# Parameters of 256x256_diffusion.pt, written down from other people's code of the network, not from ours.
PUBLIC = Path(__file__).with_name('data_guided_diffusion_256.json')
SMALL = {
    'num_channels': 32,
    'num_res_blocks': 1,
    'channel_mult': (1, 2, 4),
    'attention_strides': (2, 4),
    'num_head_channels': 32,
}


def randomise(net: torch.nn.Module, rng: torch.Generator) -> None:
    """Give every parameter, also those that start at zero, random values under which activations keep their size."""
    for parameter in net.parameters():
        fan_in = parameter[0].numel() if parameter.dim() > 1 else 16
        parameter.data.normal_(std=fan_in**-0.5, generator=rng)


@pytest.fixture
def net(rng) -> GuidedDiffusionUNet:
    net = GuidedDiffusionUNet(**SMALL)
    randomise(net, rng)
    return net


@pytest.mark.parametrize(('num_classes', 'count'), [(1000, 553_838_086), (None, 552_814_086)])
def test_parameters_of_the_public_checkpoints(num_classes, count):
    with torch.device('meta'):
        net = GuidedDiffusionUNet(num_classes=num_classes)
    shapes = {name: tuple(value.shape) for name, value in net.state_dict().items()}
    public = {name: tuple(shape) for name, shape in json.loads(PUBLIC.read_text()).items()}
    if num_classes is None:
        del public['label_emb.weight']
    assert shapes == public
    assert sum(map(math.prod, public.values())) == count


def test_is_built_from_options():
    options = {'type': 'GuidedDiffusionUNet', **SMALL, 'channel_mult': [1, 2], 'attention_strides': [2]}
    net = build_network(options, 'network_g', torch.nn.Module)
    assert type(net) is ARCH_REGISTRY.get('GuidedDiffusionUNet') and net.stride == 2


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'num_channels': 48}, 'num_channels: 48 is not a multiple of 32'),
        ({'num_head_channels': 48}, 'num_head_channels: 48 does not divide the 64 channels'),
    ],
)
def test_refuses_channels_that_cannot_be_divided(options, message):
    with pytest.raises(ValueError, match=message):
        GuidedDiffusionUNet(**SMALL | options)


def test_starts_as_zero_noise(rng):
    x = torch.rand(2, 3, 8, 8, generator=rng)
    net = GuidedDiffusionUNet(**SMALL)
    assert torch.equal(net(x, torch.tensor([0, 999])), torch.zeros(2, 6, 8, 8))
    assert torch.equal(net.denoise(x, torch.tensor([0.1, 1.0])), x)


def test_timestep_embedding_by_hand():
    emb = timestep_embedding(torch.tensor([0, 500]), 4)  # frequencies 1 and 1 / sqrt(10000)
    expected = [[1, 1, 0, 0], [math.cos(500), math.cos(5), math.sin(500), math.sin(5)]]
    torch.testing.assert_close(emb, torch.tensor(expected), rtol=0, atol=1e-4)
    torch.testing.assert_close(timestep_embedding(torch.tensor([0.5]), 4)[0, 0].item(), math.cos(0.5))


def test_attention_by_its_definition(rng):
    attention = AttentionBlock(64, num_head_channels=16).double()
    randomise(attention, rng)
    x = torch.randn(2, 64, 3, 5, dtype=torch.float64, generator=rng)
    tokens = attention.norm(x).reshape(2, 64, 15)
    qkv = torch.einsum('oi,bit->bot', attention.qkv.weight[..., 0], tokens) + attention.qkv.bias[:, None]
    heads = []
    for first in range(0, 3 * 64, 3 * 16):  # each head's query, key and value are neighbours
        q, k, v = (qkv[:, first + part : first + part + 16] for part in (0, 16, 32))
        weights = torch.softmax(torch.einsum('bct,bcs->bts', q, k) / 4, dim=2)
        heads.append(torch.einsum('bts,bcs->bct', weights, v))
    h = torch.einsum('oi,bit->bot', attention.proj_out.weight[..., 0], torch.cat(heads, 1))
    expected = x + (h + attention.proj_out.bias[:, None]).reshape(x.shape)
    torch.testing.assert_close(attention(x), expected)


@pytest.mark.parametrize('resample', [None, torch.nn.AvgPool2d(2), torch.nn.Upsample(scale_factor=2)])
def test_residual_block_by_its_definition(resample, rng):
    block = ResBlock(32, 64, 5, resample).double()
    randomise(block, rng)
    x = torch.randn(1, 32, 4, 6, dtype=torch.float64, generator=rng)
    emb = torch.randn(1, 5, dtype=torch.float64, generator=rng)

    def resampled(x):
        if isinstance(resample, torch.nn.AvgPool2d):
            return (x[..., ::2, ::2] + x[..., 1::2, ::2] + x[..., ::2, 1::2] + x[..., 1::2, 1::2]) / 4
        return x if resample is None else x.repeat_interleave(2, 2).repeat_interleave(2, 3)

    def swish(x):
        return x / (1 + torch.exp(-x))

    factors = (swish(emb) @ block.emb_layers[1].weight.T + block.emb_layers[1].bias)[0, :, None, None]
    h = block.in_layers[2](resampled(swish(block.in_layers[0](x))))
    h = swish(block.out_layers[0](h) * (1 + factors[:64]) + factors[64:])
    expected = block.skip_connection(resampled(x)) + block.out_layers[3](h)
    torch.testing.assert_close(block(x, emb), expected)


def test_decoder_sees_the_encoder_in_reverse_after_its_own_features(net, rng):
    encoded, decoded, taken = [], [], []
    for stage in net.input_blocks:
        stage.register_forward_hook(lambda _stage, _args, out: encoded.append(out))
    net.middle_block.register_forward_hook(lambda _stage, _args, out: decoded.append(out))
    for stage in net.output_blocks:
        stage.register_forward_pre_hook(lambda _stage, args: taken.append(args[0]))
        stage.register_forward_hook(lambda _stage, _args, out: decoded.append(out))
    net(torch.randn(1, 3, 8, 8, generator=rng), torch.tensor([5]))
    for own, skip, both in zip(decoded[:-1], reversed(encoded), taken, strict=True):
        assert torch.equal(both[:, : own.shape[1]], own) and torch.equal(both[:, own.shape[1] :], skip)


def test_takes_sides_that_are_multiples_of_the_stride(rng):
    net = GuidedDiffusionUNet(**SMALL | {'channel_mult': (1, 1, 1, 1, 1, 1), 'attention_strides': (8, 16, 32)})
    assert net.stride == 32
    assert net(torch.rand(1, 3, 64, 96, generator=rng), torch.tensor([10])).shape == (1, 6, 64, 96)
    with pytest.raises(ValueError, match=r'height and width \(64, 80\) are not multiples of 32'):
        net(torch.rand(1, 3, 64, 80, generator=rng), torch.tensor([10]))


def test_images_of_a_batch_do_not_meet(net, rng):
    x, timesteps = torch.randn(2, 3, 8, 12, generator=rng), torch.tensor([3, 700])
    out = net(x, timesteps)
    for i in range(2):
        torch.testing.assert_close(out[i : i + 1], net(x[i : i + 1], timesteps[i : i + 1]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(('dtype', 'tolerance'), [(torch.bfloat16, 0.03), (torch.float16, 0.004)])
def test_half_precision(net, rng, dtype, tolerance):
    x, timesteps = torch.randn(2, 3, 16, 16, generator=rng), torch.tensor([3, 700])
    with torch.no_grad():
        exact, rough = net(x, timesteps), net(x, timesteps, dtype)
    assert rough.dtype == torch.float32
    assert 0 < (rough - exact).square().mean().sqrt() < tolerance * exact.square().mean().sqrt()


def test_class_labels(net, rng):
    x, timesteps = torch.randn(2, 3, 8, 8, generator=rng), torch.tensor([3, 700])
    labelled = GuidedDiffusionUNet(**SMALL, num_classes=10)
    # The label adds to the embedding of the time: class 4 adds nothing here, the others do.
    emb = torch.randn(10, 128, generator=rng)
    emb[4] = 0
    labelled.load_state_dict(net.state_dict() | {'label_emb.weight': emb})
    out = labelled(x, timesteps, label=torch.tensor([4, 5]))
    plain = net(x, timesteps)
    torch.testing.assert_close(out[0], plain[0], rtol=1e-4, atol=1e-5)
    assert (out[1] - plain[1]).abs().max() > 0.01
    with pytest.raises(ValueError, match='label: None is not allowed, this network takes labels from 0 to 9'):
        labelled.denoise(x, torch.tensor([0.1, 0.1]))
    with pytest.raises(ValueError, match='this network takes None'):
        net(x, timesteps, label=torch.tensor([4, 5]))


def test_denoise_with_the_true_noise_returns_the_image(net, photo, rng):
    x = photo[..., :40, :52].expand(3, -1, -1, -1).double()
    noise = torch.randn(x.shape, dtype=torch.float64, generator=rng)
    abar = alphas_cumprod(linear_betas())[[20, 300, 900]]
    sigma = noise_levels(abar) / 2  # of images in [0, 1]
    share = abar.view(3, 1, 1, 1)

    def forward(x_t, timesteps, dtype, y):
        torch.testing.assert_close(x_t, share.sqrt() * (2 * x - 1) + (1 - share).sqrt() * noise)
        torch.testing.assert_close(timesteps, torch.tensor([20.0, 300.0, 900.0], dtype=torch.float64))
        assert dtype == torch.bfloat16 and y is None
        torch.testing.assert_close(x0_from_epsilon(x_t, noise, abar), 2 * x - 1)
        return torch.cat([noise, torch.full_like(noise, math.nan)], dim=1)  # the variance has no say

    net.forward = forward
    denoised = net.denoise(x + sigma.view(3, 1, 1, 1) * noise, sigma, torch.bfloat16)
    torch.testing.assert_close(denoised, x)


def test_denoise_takes_any_size(net, rng):
    x, sigma = torch.rand(1, 3, 8, 8, generator=rng), torch.tensor([0.2])
    cut = net.denoise(x[..., :7, :6], sigma)
    assert cut.shape == (1, 3, 7, 6)
    mirrored = x.clone()
    mirrored[..., 7, :] = mirrored[..., 5, :]
    mirrored[..., 6], mirrored[..., 7] = mirrored[..., 4], mirrored[..., 3]
    torch.testing.assert_close(cut, net.denoise(mirrored, sigma)[..., :7, :6])


def adm_state(net: GuidedDiffusionUNet, adm: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The parameters of a network under the names and in the channel order of deepinv's ADMUNet, block by block."""
    ours = net.state_dict()
    pairs = {'map_layer0': 'time_embed.0', 'map_layer1': 'time_embed.2', 'out_norm': 'out.0', 'out_conv': 'out.2'}
    theirs = [name for name, module in adm.named_modules() if hasattr(module, 'conv0')]
    blocks = [name for name, module in net.named_modules() if isinstance(module, ResBlock)]
    pairs[next(name for name in adm.state_dict() if name.startswith('enc.')).rpartition('.')[0]] = 'input_blocks.0.0'
    for name, block in zip(theirs, blocks, strict=True):
        layers = {'norm0': 'in_layers.0', 'conv0': 'in_layers.2', 'affine': 'emb_layers.1', 'norm1': 'out_layers.0'}
        layers |= {'conv1': 'out_layers.3', 'skip': 'skip_connection'}
        pairs |= {f'{name}.{layer}': f'{block}.{counterpart}' for layer, counterpart in layers.items()}
        attention = f'{block.rpartition(".")[0]}.{int(block.rpartition(".")[2]) + 1}'
        layers = {'norm2': 'norm', 'qkv': 'qkv', 'proj': 'proj_out'}
        pairs |= {f'{name}.{layer}': f'{attention}.{counterpart}' for layer, counterpart in layers.items()}
    state = {'map_label.weight': ours['label_emb.weight'].T}
    for name, value in adm.state_dict().items():
        layer, _, kind = name.rpartition('.')
        if layer not in pairs or kind == 'resample_filter':
            continue
        state[name] = ours[f'{pairs[layer]}.{kind}']
        if layer.endswith('.qkv'):  # there, the three values of a channel are neighbours
            state[name] = state[name].unflatten(0, (-1, 3, 64)).transpose(1, 2).flatten(0, 2)
        state[name] = state[name].reshape(value.shape)
    return state


def test_agrees_with_the_adm_network_of_deepinv(rng):
    """ADMUNet descends from EDM's code, which was written anew, with other names and another order of channels."""
    models = pytest.importorskip('deepinv.models', reason='deepinv is not installed')
    net = GuidedDiffusionUNet(32, 1, (1, 2, 4), attention_strides=(2, 4), num_classes=10).double()
    adm = models.ADMUNet(
        img_resolution=16,
        out_channels=6,
        label_dim=10,
        model_channels=32,
        channel_mult=(1, 2, 4),
        num_blocks=1,
        attn_resolutions=(8, 4),
        pretrained=None,
    )
    randomise(net, rng)
    adm = adm.double().eval()
    missing = adm.load_state_dict(adm_state(net, adm), strict=False).missing_keys
    assert all(name.endswith('resample_filter') for name in missing)
    assert sum(p.numel() for p in adm.parameters()) == sum(p.numel() for p in net.parameters())
    x = torch.randn(2, 3, 16, 16, dtype=torch.float64, generator=rng)
    # Small timesteps, as ADMUNet rounds the frequencies differently.
    timesteps, y = torch.tensor([0.0, 2.5], dtype=torch.float64), torch.tensor([3, 7])
    with torch.no_grad():
        out = net(x, timesteps, torch.float64, y)
        expected = adm.forward_unet(x, timesteps, torch.nn.functional.one_hot(y, 10).double())
    assert out.std() > 0.1
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-5)


def test_agrees_with_the_network_of_deepinv_that_loads_public_weights(rng):
    """DiffUNet has the public names; it downloads ``ffhq_10m.pt`` or ``256x256_diffusion_uncond.pt`` as its weights."""
    models = pytest.importorskip('deepinv.models', reason='deepinv is not installed')
    with torch.device('meta'):
        large = models.DiffUNet(large_model=True, pretrained=None)
        ours = GuidedDiffusionUNet()
        faces = GuidedDiffusionUNet(num_channels=128, num_res_blocks=1, attention_strides=[16])
    assert {n: p.shape for n, p in large.named_parameters()} == {n: p.shape for n, p in ours.named_parameters()}
    theirs = models.DiffUNet(pretrained=None).eval()
    randomise(theirs, rng)
    faces.load_state_dict(dict(theirs.named_parameters()), strict=True, assign=True)
    x, timesteps = torch.randn(1, 3, 32, 64, generator=rng), torch.tensor([417])
    with torch.no_grad():
        out, expected = faces(x, timesteps), theirs.forward_diffusion(x, timesteps)
        assert out.std() > 0.1
        torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item())
        # Its denoiser rounds the timestep, so the noise level is one of the table.
        sigma = noise_levels(alphas_cumprod(linear_betas()))[[417]].float() / 2
        denoised, expected = faces.denoise(0.1 * x + 0.5, sigma), theirs.forward_denoise(0.1 * x + 0.5, sigma)
    torch.testing.assert_close(denoised.clamp(0, 1), expected, rtol=0, atol=1e-3)
