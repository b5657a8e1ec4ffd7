"""What a user can get wrong in a training of the unpaired network is one line."""

import numpy as np
import pytest
import torch
from test_models.tiny_unpaired import NETWORK, TOTAL, make_data, make_training

from dkp_plugin.archs.unpaired_arch import UnpairedSR
from dkp_plugin.io.images import write_image
from dkp_plugin.models.kernel_bank import KernelBank


@pytest.fixture
def data(tmp_path):
    return make_data(tmp_path)


@pytest.fixture
def training(data):
    return make_training(data)


def change(options, key, value):
    *blocks, last = key.split(':')
    for block in blocks:
        options = options.setdefault(block, {})
    options[last] = value


def error_line(capsys):
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith('error')]
    return line


@pytest.mark.parametrize(
    ('key', 'value', 'message'),
    [
        ('train:bank:start_iter', 100, 'bank: start_iter: 100 is beyond total_iter'),
        ('train:image_crop', 0, 'image_crop: 0'),
        ('train:ema_decay', 0, 'ema_decay: 0'),
        ('network_k', {'type': 'FixedKernel', 'source': 'gt'}, 'source: gt'),
        ('degradation:convention', 'kernelgan', "convention: 'kernelgan'"),
        ('degradation:kernel_size', 10, 'kernel_size: 10'),
        ('datasets:train:lq_size', 200, 'fewer than lq_size 200'),
        ('datasets:train:exemplar_size', 200, 'fewer than exemplar_size 200'),
        ('datasets:train:dataroot_exemplar', 'nowhere', 'nowhere is not a folder'),
    ],
)
def test_mistakes_are_one_line(training, run_train, capsys, key, value, message):
    change(training, key, value)
    assert run_train(training) == 2
    assert message in error_line(capsys)


@pytest.mark.parametrize(
    ('key', 'meant'),
    [
        ('tran', 'train'),
        ('datasets:train:lq_sise', 'lq_size'),
        ('degradation:noize', 'noise'),
        ('network_k:num_sample', 'num_samples'),
        ('network_g:num_feats', 'num_feat'),
        ('path:pretrained_network_g', 'pretrain_network_g'),
        ('train:image_crops', 'image_crop'),
        ('train:bank:intervall', 'interval'),
        ('train:optim_g:betass', 'betas'),
        ('train:scheduler:period', 'periods'),
        ('train:distill_opt:loss_weigth', 'loss_weight'),
        ('val:val_frek', 'val_freq'),
        ('logger:print_freqs', 'print_freq'),
    ],
)
def test_an_unknown_key_is_named_in_every_block(training, run_train, capsys, key, meant):
    training['val'] = {'val_freq': TOTAL, 'save_img': False}
    training['train']['distill_opt'] = {'type': 'L1Loss'}
    change(training, key, 3)
    assert run_train(training) == 2
    line = error_line(capsys)
    assert key.split(':')[-1] in line and f'did you mean {meant}' in line


@pytest.mark.parametrize('folder', ['LR', 'exemplars'])
@pytest.mark.parametrize('mistake', ['missing', 'empty', 'image'])
def test_folders_that_cannot_be_used(training, data, run_train, capsys, folder, mistake):
    paths = sorted((data / folder).iterdir())
    if mistake == 'image':
        paths[-1].write_bytes(b'no image')
    else:
        for path in paths:
            path.unlink()
        if mistake == 'missing':
            (data / folder).rmdir()
    assert run_train(training) == 2
    expected = {
        'missing': 'is not a folder',
        'empty': 'has no file',
        'image': f'{paths[-1].name}: not a readable image',
    }
    line = error_line(capsys)
    assert expected[mistake] in line and str(data / folder) in line


def test_one_folder_cannot_be_both(training, data, run_train, capsys):
    training['datasets']['train']['dataroot_exemplar'] = str(data / 'LR')
    assert run_train(training) == 2
    assert 'dataroot_lq, too' in error_line(capsys)


def test_an_lr_image_that_is_smaller_than_the_kernel_is_named(training, data, run_train, capsys):
    """The kernel's grid inside the network has 21 + 2 pixels, which are 12 LR pixels."""
    write_image(data / 'LR/b.png', np.zeros((11, 40, 3), np.uint8))
    training['datasets']['train']['lq_size'] = 10
    training['degradation']['kernel_size'] = 21
    assert run_train(training) == 2
    assert 'LR/b: 40x11 pixels are too few' in error_line(capsys)


@pytest.mark.parametrize(
    ('other', 'message'),
    [
        ({'scale': 3, 'kernel_size': 11}, 'scale: the weights are for 3, not 2'),
        ({'scale': 2, 'kernel_size': 9}, 'kernel_size: the weights are for 9, not 11'),
    ],
)
def test_weights_of_another_network_start_no_training(training, run_train, capsys, tmp_path, other, message):
    torch.save({'params': UnpairedSR(**other, **NETWORK).state_dict()}, tmp_path / 'other.pth')
    training['path']['pretrain_network_g'] = str(tmp_path / 'other.pth')
    assert run_train(training) == 2
    line = error_line(capsys)
    assert 'pretrain_network_g' in line and message in line and not (tmp_path / 'experiments/tiny').exists()


def test_a_bank_of_other_images_is_refused(training, run_train, capsys, tmp_path):
    bank = KernelBank(torch.full((3, 1, 11, 11), 1 / 121), can_mix=True)
    torch.save({'params': bank.state_dict()}, tmp_path / 'bank.pth')
    training['path']['pretrain_network_k'] = str(tmp_path / 'bank.pth')
    assert run_train(training) == 2
    assert 'bank.pth: does not fit' in error_line(capsys)
