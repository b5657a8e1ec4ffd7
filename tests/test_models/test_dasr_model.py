"""DASR and DCLS learn through BasicSR's train pipeline; what they write is what a blind test reads."""

import re

import pytest
import torch

from dkp_plugin.archs.dasr_arch import DASR
from dkp_plugin.archs.dcls_arch import DCLS
from dkp_plugin.io.images import decode_image

DASR_SIZES = {'num_feat': 8, 'num_group': 1, 'num_block': 1, 'reduction': 2, 'num_feat_encoder': 2}
DCLS_SIZES = {'num_feat': 16, 'num_group': 1, 'num_block': 1, 'num_code': 4, 'kernel_size': 11}
TOTAL = 60


@pytest.fixture
def training(benchmark):
    """Options that train a tiny DCLS on the benchmark by BasicSR's own model."""
    return {
        'name': 'tiny_training',
        'model_type': 'SRModel',
        'scale': 2,
        'num_gpu': 0,
        'manual_seed': 0,
        'datasets': {
            'train': {
                'name': 'pairs',
                'type': 'PairedImageDataset',
                'dataroot_lq': str(benchmark / 'LR'),
                'dataroot_gt': str(benchmark / 'HR'),
                'io_backend': {'type': 'disk'},
                'gt_size': 32,
                'use_hflip': False,
                'use_rot': False,
                'num_worker_per_gpu': 0,
                'batch_size_per_gpu': 3,
                'dataset_enlarge_ratio': TOTAL,
            }
        },
        'network_g': {'type': 'DCLS', 'scale': 2} | DCLS_SIZES,
        'path': {'pretrain_network_g': None, 'resume_state': None},
        'train': {
            'optim_g': {'type': 'Adam', 'lr': 3e-3},
            'scheduler': {'type': 'MultiStepLR', 'milestones': [TOTAL], 'gamma': 0.5},
            'total_iter': TOTAL,
            'warmup_iter': -1,
            'pixel_opt': {'type': 'L1Loss', 'loss_weight': 1.0, 'reduction': 'mean'},
        },
        'logger': {'print_freq': 1, 'save_checkpoint_freq': TOTAL, 'use_tb_logger': False},
    }


@pytest.fixture
def dasr_training(training):
    """The same for DASR, whose encoder learns alone for the first third."""
    training['model_type'] = 'DASRModel'
    training['network_g'] = {'type': 'DASR', 'scale': 2} | DASR_SIZES
    training['network_e'] = {'type': 'MomentumContrast', 'num_feat': 2, 'num_keys': 6, 'momentum': 0.9}
    training['train'] |= {'encoder_iter': TOTAL // 3, 'contrast_weight': 0.1}
    return training


def losses(folder, name):
    """A loss of every iteration that has it, from the log."""
    log = next((folder / 'experiments/tiny_training').glob('train_*.log')).read_text()
    return [float(value) for value in re.findall(rf'{name}: (\S+)', log)]


def mean(values):
    return sum(values) / len(values)


def check_blind_test(options, run_test, benchmark, tmp_path, network):
    """A blind test with the trained weights makes the images that the network makes, in both conventions."""
    weights = tmp_path / 'experiments/tiny_training/models/net_g_latest.pth'
    net = network.from_weights(torch.load(weights, weights_only=True)).eval()
    del options['alternation'], options['val']['metrics']
    options |= {'network_k': {'type': 'FixedKernel', 'source': 'bicubic'}, 'network_g': {'type': network.__name__}}
    options['path'] = {'pretrain_network_g': str(weights)}
    for convention, shift in (('aligned', 0), ('released', 1)):
        options['datasets']['test_1'] = {
            'name': 'Tiny',
            'type': 'BlindSRDataset',
            'dataroot_lq': str(benchmark / 'LR'),
            'convention': convention,
        }
        options['degradation'] = {'convention': convention, 'border': 'periodic'}
        assert run_test(options) == 0
        for name in 'abc':
            lq, found = (
                decode_image(path.read_bytes(), name)[None]
                for path in (
                    benchmark / f'LR/{name}.png',
                    tmp_path / f'results/tiny/visualization/Tiny/{name}_tiny.png',
                )
            )
            with torch.no_grad():
                expected = net(lq).clamp(0, 1).roll((-shift, -shift), (-2, -1))
            torch.testing.assert_close(found, expected, rtol=0, atol=0.51 / 255)


def test_dcls_learns_by_the_stock_model(training, options, run_train, run_test, benchmark, tmp_path):
    assert run_train(training) == 0
    pixel = losses(tmp_path, 'l_pix')
    assert len(pixel) == TOTAL and mean(pixel[-5:]) < 0.5 * mean(pixel[:5])
    weights = torch.load(tmp_path / 'experiments/tiny_training/models/net_g_latest.pth', weights_only=True)['params']
    torch.manual_seed(0)
    start = DCLS(2, **DCLS_SIZES).state_dict()
    for name in ('Estimator.head.0.weight', 'Restorer.fusion.weight'):  # the kernel learns through the restorer
        assert (weights[name] - start[name]).abs().max() > 0
    check_blind_test(options, run_test, benchmark, tmp_path, DCLS)


def test_dasr_learns_with_its_contrast(dasr_training, options, run_train, run_test, benchmark, tmp_path):
    assert run_train(dasr_training) == 0
    pixel, contrast = losses(tmp_path, 'l_pix'), losses(tmp_path, 'l_contrast')
    assert len(contrast) == TOTAL and len(pixel) == TOTAL - TOTAL // 3
    assert mean(pixel[-5:]) < 0.6 * mean(pixel[:5])
    assert mean(contrast[-10:]) < 0.8 * mean(contrast[:10])
    folder = tmp_path / 'experiments/tiny_training/models'
    assert DASR.from_weights(torch.load(folder / 'net_g_latest.pth', weights_only=True)).scale == 2
    queue = torch.load(folder / 'net_e_latest.pth', weights_only=True)['params']['queue']
    torch.testing.assert_close(queue.norm(dim=1), torch.ones(6))
    check_blind_test(options, run_test, benchmark, tmp_path, DASR)


def test_a_training_of_dasr_resumes_with_its_queue(dasr_training, run_train, tmp_path):
    dasr_training['train'] |= {'total_iter': 3, 'encoder_iter': 1}
    dasr_training['logger']['save_checkpoint_freq'] = 3
    assert run_train(dasr_training) == 0
    folder = tmp_path / 'experiments/tiny_training'
    before = torch.load(folder / 'models/net_e_latest.pth', weights_only=True)['params']
    dasr_training['train'] |= {'total_iter': 4}
    dasr_training['path']['resume_state'] = str(folder / 'training_states/3.state')
    assert run_train(dasr_training) == 0
    after = torch.load(folder / 'models/net_e_latest.pth', weights_only=True)['params']
    assert after['position'] == (before['position'] + 3) % 6
    kept = [index for index in range(6) if torch.equal(after['queue'][index], before['queue'][index])]
    assert len(kept) == 3


@pytest.mark.parametrize(
    ('block', 'changes', 'message'),
    [
        ('network_g', {'scale': 4}, 'network_g: scale: 4 does not match scale, 2'),
        ('network_g', {'convention': 'released'}, 'network_g: convention: released is not allowed in a training'),
        ('network_e', {'num_feat': 3}, 'network_e: num_feat: 3 does not match num_feat_encoder of network_g, 2'),
        ('network_e', {'num_keis': 3}, 'network_e: num_keis: unknown key of MomentumContrast, did you mean num_keys?'),
        ('train', {'ema_decay': 0.9}, 'train:ema_decay: 0.9 is not allowed'),
    ],
)
def test_mistakes_are_one_line(dasr_training, run_train, tmp_path, capsys, block, changes, message):
    dasr_training[block] |= changes
    assert run_train(dasr_training) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (tmp_path / 'experiments').exists()
