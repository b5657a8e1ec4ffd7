"""Weights for BasicSR's own models are checked before anything starts."""

import pytest
import torch

from dkp_plugin.archs.dasr_arch import DASR
from dkp_plugin.evaluation.checks import check_options
from dkp_plugin.host.errors import OptionError

SIZES = {'num_feat': 4, 'num_group': 1, 'num_block': 1, 'reduction': 2, 'num_feat_encoder': 2}


@pytest.fixture
def check(tmp_path):
    """Check an option file whose weights hold some content; other keys of ``path`` may follow."""

    def run(content, network_g=None, **path):
        file = tmp_path / 'net.pth'
        torch.save(content, file)
        block = network_g or {'type': 'DASR', 'scale': 2} | SIZES
        path = {'pretrain_network_g': str(file), **path}
        check_options({'model_type': 'SRModel', 'num_gpu': 0, 'network_g': block, 'path': path})

    return run


@pytest.fixture
def weights():
    return DASR(2, **SIZES).state_dict()


def test_weights_that_fit(check, weights):
    check(weights, param_key_g=None)
    check({'params': weights})
    check({'params_ema': weights}, param_key_g='params_ema')
    check({'params': weights}, param_key_g='params_ema')  # BasicSR falls back
    check({'params': {f'module.{name}': value for name, value in weights.items()}})
    check({'params': {}}, strict_load_g=False)


def test_the_state_of_random_generators_does_not_change(check, weights):
    torch.manual_seed(3)
    check({'params': weights})
    assert torch.initial_seed() == 3 and torch.equal(torch.rand(2), torch.rand(2, generator=torch.manual_seed(3)))


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda weights: weights, r'param_key_g: params is not in .*net.pth; allowed: ~, because the file holds bare'),
        (lambda weights: {'params_ema': weights}, 'param_key_g: params is not in .*net.pth; allowed: params_ema'),
        (lambda weights: {'params': DASR(4, **SIZES).state_dict()}, 'of this DASR: they are for scale 4, not 2'),
        (lambda weights: {'params': {'a': torch.zeros(1)}}, r'of this DASR: G.sub_mean.weight is missing'),
        (lambda weights: {'params': weights | {'b': torch.zeros(1)}}, 'of this DASR: b is unknown'),
        (
            lambda weights: {'params': weights | {'G.tail.1.bias': torch.zeros(2)}},
            r'G.tail.1.bias has shape \(2,\) instead of \(3,\)',
        ),
        (lambda weights: [1], 'net.pth: not a file of weights'),
    ],
)
def test_weights_that_do_not_fit_are_one_line(check, weights, change, message):
    with pytest.raises(OptionError, match=rf'^path: .*{message}') as error:
        check(change(weights))
    assert '\n' not in str(error.value)


def test_a_missing_file():
    path = {'pretrain_network_g': 'gone.pth'}
    with pytest.raises(OptionError, match=r'path: pretrain_network_g: gone\.pth does not exist'):
        check_options({'model_type': 'SRModel', 'num_gpu': 0, 'network_g': {'type': 'DASR'}, 'path': path})
