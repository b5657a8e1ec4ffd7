"""A killed training resumes from its last checkpoint, on the CPU, as if nothing had happened."""

import importlib.util

import numpy as np
import pytest
import torch

from dkp_plugin.io.images import write_image

TOTAL, CHECKPOINT = 4, 2


@pytest.fixture
def training(tmp_path):
    """Options that train a tiny prior on one uniform photograph.

    BasicSR resumes from the beginning of an epoch and does not keep the state of the global generator, so that other
    crops follow after a resume. Here all crops are equal, and whatever else is not resumed shows in the weights.
    """
    write_image(tmp_path / 'photos/gray.png', np.full((24, 24, 3), 100, np.uint8))
    return {
        'name': 'resumed',
        'model_type': 'DenoiserModel',
        'scale': 1,
        'num_gpu': 0,
        'manual_seed': 0,
        'datasets': {
            'train': {
                'name': 'crops',
                'type': 'PhotoCropDataset',
                'dataroot_gt': str(tmp_path / 'photos'),
                'gt_size': 16,
                'num_worker_per_gpu': 0,
                'batch_size_per_gpu': 2,
                'dataset_enlarge_ratio': 8,
            }
        },
        'network_g': {'type': 'CompactPrior', 'num_feats': [4, 8], 'num_blocks': [1, 1], 'num_emb': 8},
        'path': {'pretrain_network_g': None, 'resume_state': None},
        'train': {
            'sigma_range': [0.002, 3.0],
            'sigma_median': 0.1,
            'sigma_spread': 1.4,
            'precision': 'float32',
            'ema_decay': 0.5,
            'optim_g': {'type': 'Adam', 'lr': 1e-2},
            'scheduler': {'type': 'CosineAnnealingRestartLR', 'periods': [TOTAL], 'eta_min': 0},
            'total_iter': TOTAL,
            'warmup_iter': -1,
            'pixel_opt': {'type': 'MSELoss', 'loss_weight': 1.0, 'reduction': 'mean'},
        },
        'logger': {'print_freq': 1, 'save_checkpoint_freq': CHECKPOINT, 'use_tb_logger': False},
    }


def read(folder, name):
    return torch.load(folder / 'experiments/resumed' / name, weights_only=True)


def final_state(folder):
    """Weights, their average, and the state of optimiser and scheduler, at the last iteration."""
    return read(folder, f'models/net_g_{TOTAL}.pth'), read(folder, f'training_states/{TOTAL}.state')


def forget_what_followed_the_checkpoint(folder):
    """Leave what a run leaves that is killed between its checkpoint and its end."""
    experiment = folder / 'experiments/resumed'
    (experiment / f'training_states/{TOTAL}.state').unlink()
    for name in (TOTAL, 'latest'):
        (experiment / f'models/net_g_{name}.pth').unlink()


def assert_equal(found, expected):
    """Equality of nested dictionaries and lists, bit by bit where they hold tensors."""
    if isinstance(expected, torch.Tensor):
        assert torch.equal(found, expected)
    elif isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key in expected:
            assert_equal(found[key], expected[key])
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected)
        for pair in zip(found, expected, strict=True):
            assert_equal(*pair)
    else:
        assert found == expected


@pytest.mark.parametrize(
    'scheduler',
    [
        {'type': 'CosineAnnealingRestartLR', 'periods': [TOTAL], 'eta_min': 0},
        {'type': 'MultiStepLR', 'milestones': [3], 'gamma': 0.5},
    ],
    ids=['cosine', 'steps'],
)
def test_a_resumed_training_ends_like_an_uninterrupted_one(training, run_train, tmp_path, scheduler):
    training['train']['scheduler'] = scheduler
    assert run_train(training) == 0
    expected = final_state(tmp_path)
    at_checkpoint = read(tmp_path, f'models/net_g_{CHECKPOINT}.pth')
    forget_what_followed_the_checkpoint(tmp_path)

    assert run_train(training, '--auto_resume') == 0
    found = final_state(tmp_path)
    weights, state = found
    assert not torch.equal(weights['params']['last.weight'], at_checkpoint['params']['last.weight'])
    assert not torch.equal(weights['params']['last.weight'], weights['params_ema']['last.weight'])
    assert state['iter'] == TOTAL
    # An epoch that is begun again is counted from its beginning, so its number may differ; nothing else may.
    for run in (state, expected[1]):
        run.pop('epoch')
    assert_equal(found, expected)
    # It did not just begin anew, which would end the same.
    assert not list((tmp_path / 'experiments').glob('*_archived_*'))
    logs = [path.read_text() for path in (tmp_path / 'experiments/resumed').glob('train_*.log')]
    assert any(f'iter: {CHECKPOINT}.' in log for log in logs)


def test_auto_resume_without_a_checkpoint_starts_from_the_beginning(training, run_train, tmp_path):
    assert run_train(training, '--auto_resume') == 0
    assert final_state(tmp_path)[1]['iter'] == TOTAL


def test_a_damaged_checkpoint_is_reported_in_one_line(training, run_train, tmp_path, capsys):
    assert run_train(training) == 0
    path = tmp_path / f'experiments/resumed/training_states/{TOTAL}.state'
    path.write_bytes(path.read_bytes()[:500])
    capsys.readouterr()
    assert run_train(training, '--auto_resume') == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert path.name in line


def test_a_checkpoint_that_would_run_code_is_refused(training, run_train, tmp_path, capsys):
    assert run_train(training) == 0
    torch.save({'iter': TOTAL, 'code': pytest.skip}, tmp_path / f'experiments/resumed/training_states/{TOTAL}.state')
    capsys.readouterr()
    assert run_train(training, '--auto_resume') == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert 'more than tensors and plain values' in line


@pytest.mark.skipif(importlib.util.find_spec('tensorboard') is None, reason='tensorboard is not installed')
@pytest.mark.filterwarnings('ignore::DeprecationWarning')  # tensorboard's own
def test_tensorboard_gets_the_losses_of_both_parts(training, run_train, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    training['logger']['use_tb_logger'] = True
    assert run_train(training) == 0
    forget_what_followed_the_checkpoint(tmp_path)
    assert run_train(training, '--auto_resume') == 0

    folder = tmp_path / 'tb_logger/resumed'
    assert len(list(folder.glob('events.out.tfevents.*'))) == 2
    events = EventAccumulator(str(folder)).Reload()
    steps = {event.step for event in events.Scalars('losses/l_denoise')}
    assert steps == set(range(1, TOTAL + 1))
