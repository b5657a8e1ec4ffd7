"""The kernel flow is trained by BasicSR's pipeline, and what it writes is what FKP reads."""

import math
import re
from pathlib import Path

import pytest
import torch
import yaml
from basicsr.utils.registry import DATASET_REGISTRY

from dkp_plugin.archs.kernel_flow_arch import KernelFlow
from dkp_plugin.archs.kernel_flow_weights import load_kernel_flow
from dkp_plugin.data.kernel_dataset import KernelDataset
from dkp_plugin.estimators.fkp_estimator import FKP

OPTIONS = sorted((Path(__file__).parents[2] / 'options/train').glob('train_FKP_*.yml'))


@pytest.fixture
def training():
    """Options that train a flow of 7x7 kernels for 150 steps."""
    dataset = {'type': 'KernelDataset', 'kernel_size': 7, 'noise': 4e-4}
    return {
        'name': 'tiny_flow',
        'model_type': 'KernelFlowModel',
        'scale': 2,
        'num_gpu': 0,
        'manual_seed': 0,
        'datasets': {
            'train': dataset | {'name': 'some', 'num_kernels': 500, 'batch_size_per_gpu': 50, 'num_worker_per_gpu': 0},
            'val': dataset | {'name': 'others', 'num_kernels': 100, 'seed': 1},
        },
        'network_g': {'type': 'KernelFlow', 'kernel_size': 7, 'num_units': 8, 'normalization': 0.3},
        'path': {'pretrain_network_g': None, 'resume_state': None},
        'train': {
            'optim_g': {'type': 'Adam', 'lr': 3e-3},
            'scheduler': {'type': 'CosineAnnealingRestartLR', 'periods': [150], 'eta_min': 0},
            'total_iter': 150,
            'warmup_iter': -1,
        },
        'val': {'val_freq': 50, 'save_img': False},
        'logger': {'print_freq': 50, 'save_checkpoint_freq': 100, 'use_tb_logger': False},
    }


def logged_nll(folder):
    text = next(folder.glob('train_*.log')).read_text()
    pattern = r'Validation others: negative log-likelihood (\S+) nats = (\S+) bits per dimension'
    return [(float(nats), float(bits)) for nats, bits in re.findall(pattern, text)]


def test_training_lowers_the_likelihood_that_it_logs_and_fkp_reads_its_file(training, run_train, tmp_path):
    assert run_train(training) == 0
    experiment = tmp_path / 'experiments/tiny_flow'
    values = logged_nll(experiment)
    nats, bits = values[-1]
    assert len(values) == 4 and nats < values[0][0] - 0.2
    assert bits == pytest.approx(nats / math.log(2), abs=1e-3)
    path = experiment / 'models/net_g_latest.pth'
    flow = load_kernel_flow(path)
    FKP(pretrained=str(path))

    dataset = KernelDataset(training['datasets']['val'] | {'phase': 'val', 'scale': 2})
    kernels = torch.stack([dataset[index]['kernel'] for index in range(100)])
    assert -flow.log_prob(flow.to_logits(kernels)).mean().item() / 49 == pytest.approx(nats, abs=1e-3)


def test_an_average_of_the_weights_is_refused(training, run_train, capsys):
    training['train']['ema_decay'] = 0.9
    assert run_train(training) == 2
    error = capsys.readouterr().err
    assert error.endswith('train:ema_decay: 0.9 is not allowed: input should be less than or equal to 0\n')


@pytest.mark.parametrize('path', OPTIONS, ids=lambda path: path.stem)
def test_shipped_option_file(path):
    options = yaml.safe_load(path.read_text())
    assert options['name'] == path.stem
    network = dict(options['network_g'])
    assert network.pop('type') == 'KernelFlow'
    flow = KernelFlow(**network)
    for phase in ('train', 'val'):
        given = options['datasets'][phase] | {'phase': phase, 'scale': options['scale']}
        dataset = DATASET_REGISTRY.get(given['type'])(given)
        kernels = torch.stack([item['kernel'] for item in dataset.__getitems__(range(200))])
        assert kernels.max() < flow.normalization
        assert flow.log_prob(flow.to_logits(kernels)).isfinite().all()
    assert options['datasets']['train']['seed'] != options['datasets']['val']['seed']
    assert options['datasets']['train']['noise'] == options['datasets']['val']['noise']
    assert options['train']['scheduler']['periods'] == [options['train']['total_iter']]


def test_option_files_are_there():
    assert {path.stem for path in OPTIONS} >= {'train_FKP_x2', 'train_FKP_x3', 'train_FKP_x4', 'train_FKP_motion_x4'}
