"""``restorer: {final: ...}``: a restorer that takes over with the kernel of the alternation."""

import json

import pytest
import torch

from dkp_plugin.archs.usrnet_arch import USRNetwork

TINY_DIP = {'type': 'DIP', 'num_feat': 4, 'num_skip': 2, 'num_scales': 2, 'non_local_scales': [2]}


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    torch.save(USRNetwork(2, (2, 3, 4, 5), num_blocks=1, num_units=4).state_dict(), tmp_path / 'usrnet.pth')
    return str(tmp_path / 'usrnet.pth')


def restored(root, name):
    return (root / f'results/{name}/visualization/Tiny/a_{name}.png').read_bytes()


@pytest.mark.parametrize(
    ('final', 'has_weights', 'num_iter'),
    [('ClosedForm', False, None), ({'type': 'USRNet', 'sigma': 2.0}, True, None), (TINY_DIP, False, 5)],
    ids=['ClosedForm', 'USRNet', 'DIP'],
)
def test_equals_that_restorer_given_the_saved_kernel(
    options, run_test, tmp_path, benchmark, weights, final, has_weights, num_iter
):
    for path in benchmark.glob('*/[bc].*'):
        path.unlink()
    path = weights if has_weights else None
    options['restorer'] = {'final': final, 'pretrain': path, 'num_iter': num_iter}
    assert run_test(options) == 0
    (record,) = json.loads((tmp_path / 'results/tiny/metrics/Tiny.json').read_text())['images']
    assert record['num_iter'] == 12  # of the alternation, which found the kernel

    alone = options | {
        'name': 'alone',
        'network_k': {'type': 'FixedKernel', 'source': str(tmp_path / 'results/tiny/kernels/Tiny/a.mat')},
        'network_g': {'type': final} if isinstance(final, str) else final,
        'alternation': {'num_iter': num_iter},
        'path': {'pretrain_network_g': path},
    }
    del alone['restorer']
    assert run_test(alone) == 0
    assert restored(tmp_path, 'tiny') == restored(tmp_path, 'alone')


@pytest.mark.parametrize(
    ('block', 'message'),
    [
        ({}, 'restorer:final: missing'),
        ({'final': 'UsrNet'}, 'restorer: final: type: UsrNet is unknown, did you mean USRNet?'),
        ({'final': 'DKP'}, 'restorer: final: type: DKP is not a Restorer or OneShotNetwork; allowed: '),
        ({'final': 3}, 'restorer:final: 3 is not allowed: input should be a valid dictionary'),
        ({'final': 'USRNet'}, 'restorer: pretrain: missing; USRNet needs usrnet_tiny.pth or usrnet.pth from'),
        ({'final': 'ClosedForm', 'pretrain': 'a.pth'}, 'restorer: pretrain: a.pth is not allowed: ClosedForm has no'),
        ({'final': {'type': 'ClosedForm', 'alhpa': 1}}, 'final: alhpa: unknown key of ClosedForm, did you mean alpha?'),
        ({'final': 'ClosedForm', 'num_iter': 3}, 'restorer: num_iter: 3 is not allowed: ClosedForm sets its own'),
        ({'final': 'DIP'}, 'restorer: num_iter: None is not allowed: DIP needs a number of iterations'),
        ({'finale': 'DIP'}, 'restorer:finale: unknown key, did you mean final?'),
    ],
    ids=str,
)
def test_mistakes_are_reported_before_any_work(options, run_test, tmp_path, capsys, block, message):
    options['restorer'] = {'final': 'ClosedForm'} | block if 'finale' in block else block
    assert run_test(options) == 2
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 1 and error[0].startswith('error: ') and message in error[0]
    assert not (tmp_path / 'results').exists()


def test_another_final_restorer_makes_results_of_another_hash(options, run_test, tmp_path):
    def options_hash():
        assert run_test(options) == 0
        return json.loads((tmp_path / 'results/tiny/metrics/Tiny.json').read_text())['options_hash']

    options['restorer'] = {'final': 'ClosedForm'}
    first = options_hash()
    options['restorer'] = {'final': {'type': 'ClosedForm', 'alpha': 0.1}}
    assert options_hash() != first
