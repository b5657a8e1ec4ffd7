"""Networks that know no kernel, as restorers: what they return, and which files of weights they refuse."""

import pytest
import torch

from dkp_plugin.archs.dasr_arch import DASR
from dkp_plugin.archs.dcls_arch import DCLS
from dkp_plugin.archs.usrnet_arch import USRNetwork
from dkp_plugin.engine.options import BlindSROptions, build_restorer
from dkp_plugin.host.errors import OptionError
from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.restorers.one_shot_restorer import OneShot

DASR_SIZES = {'num_feat': 4, 'num_group': 1, 'num_block': 1, 'reduction': 2, 'num_feat_encoder': 2}
DCLS_SIZES = {'num_feat': 16, 'num_group': 1, 'num_block': 1, 'num_code': 4, 'kernel_size': 11}
NETWORKS = [(DASR, DASR_SIZES), (DCLS, DCLS_SIZES)]


def write_weights(folder, network, sizes, scale=2):
    path = folder / f'{network.__name__}_x{scale}.pt'
    torch.manual_seed(0)
    torch.save(network(scale, **sizes).state_dict(), path)
    return path


def build(network_g, path, scale=2):
    """Build the restorer of an option file, as every entry point does."""
    return build_restorer(
        BlindSROptions(
            name='one',
            model_type='BlindSRModel',
            scale=scale,
            num_gpu=0,
            manual_seed=0,
            datasets={},
            network_k={},
            network_g=network_g,
            path={'pretrain_network_g': None if path is None else str(path)},
        )
    )


@pytest.mark.parametrize(('network', 'sizes'), NETWORKS, ids=lambda value: getattr(value, '__name__', ''))
@pytest.mark.parametrize('scale', [2, 3, 4])
def test_one_step_is_one_pass_whatever_the_kernel(network, sizes, scale, tmp_path, rng):
    restorer = build({'type': network.__name__}, write_weights(tmp_path, network, sizes, scale), scale)
    assert isinstance(restorer, OneShot) and restorer.num_iter == 1 and not restorer.updates_kernel
    lq, found = torch.rand(1, 3, 16, 17, generator=rng), {}
    for convention in ('aligned', 'released'):
        restorer.reset(lq, Degradation(scale, 11, convention), rng)
        assert restorer().shape == (1, 3, 16 * scale, 17 * scale)
        losses = restorer.step(torch.rand(1, 1, 11, 11, generator=rng))
        assert all(name.startswith('l_x_') for name in losses)
        found[convention] = restorer()
    torch.manual_seed(0)
    expected = network(scale, **sizes).eval()(lq).detach().clamp(0, 1)
    torch.testing.assert_close(found['aligned'], expected)
    torch.testing.assert_close(found['released'], expected.roll((1 - scale, 1 - scale), (-2, -1)))
    assert not restorer.net.training and not any(parameter.requires_grad for parameter in restorer.net.parameters())


def test_weights_of_another_scale_or_network_are_one_line(tmp_path):
    dasr, dcls = (write_weights(tmp_path, network, sizes) for network, sizes in NETWORKS)
    usrnet, part = tmp_path / 'usrnet.pth', tmp_path / 'part.pth'
    torch.save(USRNetwork(1, (2, 3, 4, 5), 1, 4).state_dict(), usrnet)
    weights = torch.load(dcls, weights_only=True)
    torch.save({name: value for name, value in weights.items() if name != 'Restorer.fusion.bias'}, part)
    cases = [
        ('DASR', dasr, 4, r'^scale: 4 is not possible with DASR; allowed: 2$'),
        ('DCLS', dcls, 3, r'^scale: 3 is not possible with DCLS; allowed: 2$'),
        ('DASR', dcls, 2, r'DCLS_x2.pt: these are not the weights of DASR \(.*G\.head\.0\.weight'),
        ('DCLS', dasr, 2, r'DASR_x2.pt: these are not the weights of DCLS \(.*Restorer\.conv_first\.weight'),
        ('DCLS', usrnet, 2, r'usrnet.pth: these are not the weights of DCLS'),
        ('DCLS', part, 2, r'part.pth: these are not the weights of DCLS \(.*Restorer\.fusion\.bias'),
        ('DASR', tmp_path / 'gone.pt', 2, r'path: pretrain_network_g: .*gone.pt: No such file'),
        ('DASR', None, 2, r'path: pretrain_network_g: missing; DASR needs its released weights from https://github'),
    ]
    for kind, path, scale, message in cases:
        with pytest.raises(OptionError, match=message) as error:
            build({'type': kind}, path, scale)
        assert '\n' not in str(error.value)


@pytest.mark.parametrize(
    ('block', 'message'),
    [
        ({'type': 'DASR', 'num_feats': 4}, 'network_g: num_feats: unknown key of DASR, did you mean num_feat?'),
        ({'type': 'DASR', 'scale': 8}, 'network_g: scale: 8 is not one of 2, 3, 4'),
        ({'type': 'DCLS', 'kernel_size': 19}, 'network_g: kernel_size: 19 is not one of 11, 21, 31'),
        ({'type': 'DCLS', 'convention': 'aligned'}, 'network_g: convention: not allowed here; set it in the block deg'),
        ({'type': 'DASRR'}, 'network_g: type: DASRR is unknown, did you mean DASR?'),
        ({'type': 'RRDBNet'}, r'network_g: type: RRDBNet is not a Restorer or OneShotNetwork; allowed: .*DASR, DCLS'),
    ],
)
def test_mistakes_in_the_block_are_one_line(block, message, tmp_path):
    with pytest.raises(OptionError, match=message):
        build(block, write_weights(tmp_path, DASR, DASR_SIZES))


def test_options_that_differ_from_the_weights_are_refused(tmp_path):
    path = write_weights(tmp_path, DASR, DASR_SIZES)
    with pytest.raises(OptionError, match='these are not the weights of DASR'):
        build({'type': 'DASR', 'num_feat': 8}, path)
