"""BasicSR's pipelines with functions of ours, for the time of a run."""

import json
from types import SimpleNamespace

import basicsr.test
import basicsr.train
import pytest
import torch

from dkp_plugin.host.errors import UserError
from dkp_plugin.models.pipelines import _functions_of, _report_failures, load_resume_state


def test_functions_are_put_back_whatever_happens():
    module = SimpleNamespace(first=1, second=2)
    with pytest.raises(ZeroDivisionError), _functions_of(module, {'first': 10}):
        assert (module.first, module.second) == (10, 2)
        raise ZeroDivisionError
    assert (module.first, module.second) == (1, 2)
    with pytest.raises(AttributeError, match='third'), _functions_of(module, {'third': 3}):  # BasicSR no longer has it
        pass


def test_a_run_leaves_basicsr_as_it_was(options, run_test):
    before = dict(vars(basicsr.test))
    assert run_test(options) == 0
    assert dict(vars(basicsr.test)) == before


def test_no_write_permission(options, run_test, tmp_path, capsys):
    (tmp_path / 'results').write_text('a file in the way: even root cannot write into it')
    assert run_test(options) == 2
    error = capsys.readouterr().err
    assert error.startswith('error: ') and str(tmp_path / 'results') in error and len(error.splitlines()) == 1


def test_a_folder_is_not_renamed_and_not_written_before_the_options_are_right(options, run_again, tmp_path):
    (tmp_path / 'results/tiny').mkdir(parents=True)
    (tmp_path / 'results/tiny/mine.txt').write_text('mine')
    options['network_k'] = {'type': 'none'}
    assert run_again(options) == 2
    assert [path.name for path in (tmp_path / 'results/tiny').iterdir()] == ['mine.txt']


# Where a training resumes


@pytest.fixture
def states(tmp_path, monkeypatch):
    """Training states of the iterations 9 and 10, which sort otherwise as text."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / 'experiments/x/training_states'
    folder.mkdir(parents=True)
    for iteration in (9, 10):
        torch.save({'iter': iteration, 'epoch': 0}, folder / f'{iteration}.state')
    return folder


def training(**path):
    return {'name': 'x', 'auto_resume': True, 'network_g': {}, 'path': {'models': 'models'} | path}


def test_the_latest_state_is_found_and_the_weights_beside_it(states):
    opt = training(resume_state='experiments/x/training_states/9.state')
    assert load_resume_state(opt)['iter'] == 10
    assert opt['path']['resume_state'] == 'experiments/x/training_states/10.state'
    assert opt['path']['pretrain_network_g'] == 'models/net_g_10.pth'


def test_the_state_that_is_named_is_taken(states):
    opt = training(resume_state=str(states / '9.state')) | {'auto_resume': False}
    assert load_resume_state(opt)['iter'] == 9
    assert opt['path']['pretrain_network_g'] == 'models/net_g_9.pth'


def test_without_a_state_a_training_starts_from_the_beginning(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_resume_state(training()) is None
    assert load_resume_state(training() | {'auto_resume': False}) is None


def test_a_state_that_cannot_be_read_is_named(states):
    (states / '10.state').write_bytes(b'no state')
    with pytest.raises(UserError, match=r'10\.state'):
        load_resume_state(training())


# How a test ends


@pytest.mark.parametrize(
    ('records', 'rank', 'status', 'lines'),
    [
        ([{'image': 'a'}], 0, 0, []),
        ([{'image': 'a', 'error': 'a: diverged'}, {'image': 'b'}], 0, 1, ['failed: a: diverged']),
        ([{'image': 'a', 'error': 'a: diverged'}], 1, 0, []),  # the first process speaks for all
        (None, 0, 0, []),  # a model that writes no records
    ],
)
def test_failed_images_are_reported_by_the_first_process(records, rank, status, lines, tmp_path, capsys):
    if records is not None:
        (tmp_path / 'metrics').mkdir()
        (tmp_path / 'metrics/A.json').write_text(json.dumps({'images': records}))
    datasets = {'test_1': {'name': 'A'}, 'test_2': {'name': 'B'}}
    opt = {'dist': rank > 0, 'rank': rank, 'datasets': datasets, 'path': {'results_root': str(tmp_path)}}
    assert _report_failures(opt) == status
    assert capsys.readouterr().err.splitlines() == lines
