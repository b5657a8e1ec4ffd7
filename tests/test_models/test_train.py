"""The train entry point: BasicSR's own pipeline, on the CPU."""

import torch


def test_a_model_of_basicsr_trains(options, run_train, tmp_path, benchmark):
    dataset = {
        'name': 'Tiny',
        'type': 'PairedImageDataset',
        'dataroot_lq': str(benchmark / 'LR'),
        'dataroot_gt': str(benchmark / 'HR'),
        'io_backend': {'type': 'disk'},
        'gt_size': 16,
        'use_hflip': False,
        'use_rot': False,
        'num_worker_per_gpu': 0,
        'batch_size_per_gpu': 1,
    }
    training = {
        'name': 'tiny_train',
        'model_type': 'SRModel',
        'scale': 2,
        'num_gpu': 0,
        'manual_seed': 0,
        'datasets': {'train': dataset},
        'network_g': {
            'type': 'MSRResNet',
            'num_in_ch': 3,
            'num_out_ch': 3,
            'num_feat': 4,
            'num_block': 1,
            'upscale': 2,
        },
        'path': {'pretrain_network_g': None, 'resume_state': None},
        'train': {
            'ema_decay': 0.9,
            'optim_g': {'type': 'Adam', 'lr': 1e-3},
            'scheduler': {'type': 'MultiStepLR', 'milestones': [9], 'gamma': 0.5},
            'total_iter': 2,
            'warmup_iter': -1,
            'pixel_opt': {'type': 'L1Loss', 'loss_weight': 1.0, 'reduction': 'mean'},
        },
        'logger': {'print_freq': 1, 'save_checkpoint_freq': 9, 'use_tb_logger': False},
    }
    assert run_train(training) == 0
    weights = torch.load(tmp_path / 'experiments/tiny_train/models/net_g_latest.pth', weights_only=True)
    assert set(weights) == {'params', 'params_ema'}


def test_a_mistake_is_one_line(run_train, capsys):
    assert run_train({'name': 'x', 'model_type': 'SRModle', 'num_gpu': 0, 'datasets': {}, 'path': {}}) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith('options.yml:2: model_type: type: SRModle is unknown, did you mean SRModel?')


def test_tensorboard_that_is_not_there_is_reported_before_the_training(run_train, capsys, monkeypatch):
    monkeypatch.setattr('dkp_plugin.evaluation.checks.find_spec', lambda name: None)
    options = {'name': 'x', 'model_type': 'SRModel', 'num_gpu': 0, 'datasets': {}, 'path': {}}
    assert run_train(options | {'logger': {'use_tb_logger': True}}) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert 'use_tb_logger: True needs tensorboard: pip install tensorboard' in line
