import hashlib

import pytest
import torch

from dkp_plugin.archs import priors
from dkp_plugin.archs.compact_prior_arch import CompactPrior
from dkp_plugin.archs.guided_diffusion_arch import GuidedDiffusionUNet
from dkp_plugin.host.errors import UserError
from dkp_plugin.io.weight_files import write_safetensors


def tiny_compact():
    return CompactPrior(num_feats=(4, 8), num_blocks=(1, 1), num_emb=4)


def tiny_guided():
    return GuidedDiffusionUNet(
        num_channels=32, num_res_blocks=1, channel_mult=(1, 2), attention_strides=(2,), num_head_channels=32
    )


@pytest.fixture(autouse=True)
def tiny_priors(monkeypatch):
    """Networks of the right kinds that are built in no time."""
    monkeypatch.setattr(priors, 'PRIORS', {'compact': tiny_compact, 'guided': tiny_guided})


@pytest.fixture
def weights(rng):
    """Random weights of the compact prior."""
    return {name: torch.randn(value.shape, generator=rng) for name, value in tiny_compact().state_dict().items()}


def assert_has(net, weights):
    state = net.state_dict()
    assert state.keys() == weights.keys() and all(torch.equal(state[name], weights[name]) for name in weights)


def test_of_a_checkpoint_the_averaged_weights_are_taken(weights, tmp_path):
    torch.save({'params': tiny_compact().state_dict(), 'params_ema': weights}, tmp_path / 'net_g_latest.pth')
    net = priors.load_prior('compact', str(tmp_path / 'net_g_latest.pth'))
    assert_has(net, weights)
    assert not net.training and not any(parameter.requires_grad for parameter in net.parameters())


@pytest.mark.parametrize('kind', ['params', 'bare', 'safetensors'])
def test_files_without_an_average(kind, weights, tmp_path):
    path = tmp_path / ('x.safetensors' if kind == 'safetensors' else 'x.pth')
    if kind == 'safetensors':
        write_safetensors(path, weights, {})
    else:
        torch.save({'params': weights} if kind == 'params' else weights, path)
    assert_has(priors.load_prior('compact', str(path)), weights)


def test_prior_denoises_by_the_common_method(weights, tmp_path, rng):
    torch.save(weights, tmp_path / 'x.pth')
    net = priors.load_prior('compact', str(tmp_path / 'x.pth'))
    x, sigma = torch.rand(2, 3, 9, 10, generator=rng), torch.tensor([0.1, 0.5])
    assert torch.equal(net.denoise(x, sigma, torch.float32, None), net(x, sigma))


def test_guided_prior_is_read_from_a_bare_dictionary(tmp_path):
    torch.save(tiny_guided().state_dict(), tmp_path / 'x.pt')
    net = priors.load_prior('guided', str(tmp_path / 'x.pt'))
    with torch.no_grad():
        assert net.denoise(torch.rand(1, 3, 16, 16), torch.tensor([0.3]), torch.float32, None).shape == (1, 3, 16, 16)


@pytest.mark.parametrize('content', ['of another network', 'a list', 'a number', 'nested'])
def test_wrong_content_is_one_line(content, weights, tmp_path):
    path = tmp_path / 'x.pth'
    values = {'of another network': {'w': torch.zeros(3)}, 'a list': [torch.zeros(3)], 'a number': 3.0}
    torch.save(values.get(content, {'state': weights}), path)
    with pytest.raises(UserError) as caught:
        priors.load_prior('compact', str(path))
    message = str(caught.value)
    assert message.startswith(f'{path}: these are not the weights of the prior compact') and '\n' not in message


def test_weights_of_another_size_are_refused(tmp_path):
    torch.save(CompactPrior(num_feats=(4, 12), num_blocks=(1, 1), num_emb=4).state_dict(), tmp_path / 'x.pth')
    with pytest.raises(UserError, match=r'these are not the weights of the prior compact .*size mismatch'):
        priors.load_prior('compact', str(tmp_path / 'x.pth'))


def test_missing_file(tmp_path):
    with pytest.raises(UserError, match=r'no\.pth: No such file'):
        priors.load_prior('compact', str(tmp_path / 'no.pth'))


@pytest.mark.parametrize(
    ('name', 'file'), [('guided', '256x256_diffusion_uncond.pt'), ('guided_class', '256x256_diffusion.pt')]
)
def test_guided_priors_say_which_file_they_need(name, file):
    with pytest.raises(UserError) as caught:
        priors.load_prior(name)
    assert str(caught.value) == (
        f'missing; the prior {name} needs a file from https://github.com/openai/guided-diffusion, {file}'
    )


def test_weights_that_come_with_the_package_are_checked(weights, tmp_path, monkeypatch):
    path = tmp_path / 'compact_prior.safetensors'
    write_safetensors(path, weights, {})
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(priors, 'COMPACT_WEIGHTS', path)
    monkeypatch.setattr(priors, 'COMPACT_SHA256', digest)
    assert_has(priors.load_prior('compact'), weights)

    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    damaged = hashlib.sha256(content).hexdigest()
    with pytest.raises(UserError) as caught:
        priors.load_prior('compact')
    assert str(caught.value) == (
        f'{path}: SHA-256 {damaged}, expected {digest}; the file is damaged, install the package again'
    )
    path.unlink()
    with pytest.raises(UserError, match=r'compact_prior\.safetensors: No such file.*; install the package again'):
        priors.load_prior('compact')
