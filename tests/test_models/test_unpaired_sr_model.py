"""The unpaired network is trained by BasicSR's pipeline; what it writes is what tests of both kinds read."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
import yaml
from basicsr.utils.registry import ARCH_REGISTRY
from test_models.tiny_unpaired import NETWORK, START, TOTAL, make_data, make_training, weights_of

from dkp_plugin.archs.unpaired_arch import UnpairedSR
from dkp_plugin.data.blur_manifest import BlurRecipe, prepare
from dkp_plugin.estimators.base import KernelEstimator
from dkp_plugin.io.images import decode_image, write_image
from dkp_plugin.io.weight_files import write_safetensors

OPTIONAL = {
    'distill_opt': {'type': 'L1Loss', 'loss_weight': 0.1},
    'affinity_opt': {'type': 'FeatureAffinityLoss', 'loss_weight': 0.1},
    'aux_opt': {'type': 'L1Loss', 'loss_weight': 0.1},
    'data_opt': {'type': 'L1Loss', 'loss_weight': 0.1},
}


@pytest.fixture
def data(tmp_path):
    return make_data(tmp_path)


@pytest.fixture
def training(data):
    return make_training(data)


def losses_of(folder, name):
    log = next((folder / 'experiments/tiny').glob('train_*.log')).read_text()
    return [float(value) for value in re.findall(rf'{name}: (\S+)', log)]


def test_a_training_writes_network_bank_and_kernels(training, run_train, tmp_path):
    assert run_train(training) == 0
    weights = weights_of(tmp_path)
    assert set(weights) == {'params', 'params_ema'}
    for part in ('s.tail.weight', 'n.kernel.weight', 'n.weight.weight', 'r.0.tail.weight'):  # they start at zero
        assert weights['params'][part].abs().max() > 0
    bank, first = weights_of(tmp_path, 'net_k')['params'], weights_of(tmp_path, 'net_k', START)['params']
    assert first['visits'].tolist() == [1, 1] and bank['visits'].sum() == 2 + TOTAL - START
    assert not torch.equal(bank['kernels'], first['kernels'])
    torch.testing.assert_close(bank['kernels'].sum((1, 2, 3)), torch.ones(2))
    for name, kernel in zip('ab', bank['kernels'], strict=True):
        content = scipy.io.loadmat(tmp_path / f'experiments/tiny/kernels/{name}.mat')
        np.testing.assert_allclose(content['Kernel'], kernel[0], atol=1e-7)
        assert content['convention'] == 'released' and content['scale'] == 2


def test_the_losses_fall(training, run_train, tmp_path):
    total = 80
    training['train'] |= {'total_iter': total, 'image_crop': 32, 'optim_g': {'type': 'Adam', 'lr': 5e-3}}
    training['train']['scheduler']['periods'] = [total]
    training['train']['bank'] |= {'start_iter': 20, 'interval': 60}
    training['logger']['save_checkpoint_freq'] = total
    training['datasets']['train'] |= {'dataset_enlarge_ratio': total, 'exemplar_size': 64}  # nearly whole exemplars
    assert run_train(training) == 0
    for name in ('l_intermediate', 'l_exemplar'):  # l_kernel depends on how wide the kernels are that are drawn
        losses = losses_of(tmp_path, name)
        assert np.mean(losses[-20:]) < 0.97 * np.mean(losses[:20]), name


def test_ablations_of_the_bank(training, run_train, tmp_path):
    training['train'] |= {'intermediate_kernels': 'bank'}
    training['train']['bank'] |= {'source': 'random'}
    assert run_train(training) == 0
    banks = [weights_of(tmp_path, 'net_k', at)['params'] for at in (START, 'latest')]
    assert torch.equal(banks[0]['kernels'], banks[1]['kernels']) and not banks[1]['visits'].any()
    assert not (tmp_path / 'experiments/tiny/kernels').exists()


@pytest.mark.parametrize('parts', [['r'], ['s'], ['n', 's']])
def test_parts_can_be_trained_alone(training, run_train, tmp_path, parts):
    training['train'] |= {'parts': parts, 'own_shares': [0.5, 0.5]}
    training['train']['bank']['start_iter'] = 1
    assert run_train(training) == 0
    first, last = (weights_of(tmp_path, at=at)['params'] for at in (START, 'latest'))
    moved = {name for name in last if not torch.equal(first[name], last[name])}
    assert {name.split('.')[0] for name in moved if not name.startswith('n.weight')} == set(parts)
    assert any(name.startswith('n.weight') for name in moved) == ('r' in parts)


def test_losses_of_the_refinement_reach_nothing_else(training, run_train, tmp_path):
    """Without weight on their own losses, S and N stay as they are, but for the weight head of N."""
    training['train'] |= OPTIONAL
    training['train']['bank']['start_iter'] = 1
    training['datasets']['train']['lq_size'] = 24
    for key in ('intermediate_opt', 'kernel_opt'):
        training['train'][key] = training['train'][key] | {'loss_weight': 0.0}
    assert run_train(training) == 0
    first, last = (weights_of(tmp_path, at=at)['params'] for at in (START, 'latest'))
    moved = {name for name in last if not torch.equal(first[name], last[name])}
    assert {name for name in moved if not name.startswith('r.')} == {'n.weight.weight', 'n.weight.bias'}
    assert 'r.0.tail.weight' in moved


def test_early_averages_forget_the_start(training, run_train, tmp_path):
    """The average after t steps is d_t times the last one and 1 - d_t times the weights, d_t = (1 + t) / (10 + t)."""
    training['train']['ema_decay'] = 0.999
    training['logger']['save_checkpoint_freq'] = 1
    assert run_train(training) == 0
    before, after = weights_of(tmp_path, at=3), weights_of(tmp_path, at=4)
    for name, value in after['params_ema'].items():
        if value.is_floating_point():
            expected = 5 / 14 * before['params_ema'][name] + 9 / 14 * after['params'][name]
            torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-7)


def test_every_loss_can_be_switched_on(training, run_train, tmp_path):
    training['train'] |= OPTIONAL
    training['datasets']['train']['lq_size'] = 24
    training['network_g']['num_stage'] = 2
    assert run_train(training) == 0
    for name in OPTIONAL:
        losses = losses_of(tmp_path, 'l_' + name.removesuffix('_opt'))
        assert len(losses) == TOTAL - START + 1 and all(np.isfinite(losses))


@pytest.mark.parametrize(
    'network_k',
    [
        {'type': 'DoubleDIP'},
        {'type': 'FKP'},
        {'type': 'DKP', 'kernel_family': 'free'},
        {'type': 'EvidenceDKP', 'kernel_family': 'motion', 'num_samples': 8, 'num_units': 10, 'warmup_iters': 2},
    ],
)
def test_other_estimators_and_families_serve_as_well(training, run_train, tmp_path, network_k):
    training['network_k'] = network_k
    training['degradation'] = {'convention': 'aligned'}
    assert run_train(training) == 0
    assert weights_of(tmp_path, 'net_k')['params']['visits'].min() > 0


@pytest.mark.filterwarnings('ignore::DeprecationWarning')  # tensorboard's own
def test_validation_scores_all_stages(training, run_train, tmp_path, data):
    training['datasets']['val'] = {
        'name': 'truth',
        'type': 'BlindSRDataset',
        'dataroot_lq': str(data / 'LR'),
        'dataroot_gt': str(data / 'truth/HR'),
        'convention': 'released',
    }
    training['val'] = {
        'val_freq': TOTAL,
        'save_img': True,
        'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 2, 'test_y_channel': True}},
    }
    training['logger']['use_tb_logger'] = importlib.util.find_spec('tensorboard') is not None
    assert run_train(training) == 0
    for name in ('psnr', 'psnr_variational', 'psnr_intermediate'):
        assert all(10 < value < 40 for value in (float(text.rstrip(',')) for text in _found(tmp_path, name)))
    assert (tmp_path / f'experiments/tiny/visualization/a/a_{TOTAL}.png').is_file()


def _found(folder, name):
    log = next((folder / 'experiments/tiny').glob('train_*.log')).read_text()
    found = re.findall(rf'one pass: .*?\b{name}: (\S+)', log)
    assert found
    return found


def test_a_resumed_training_ends_like_an_uninterrupted_one(training, run_train, tmp_path):
    """As in ``test_resume_training.py``, all crops are equal: the exemplar has all symmetries of the square."""
    index = np.arange(40) - 19.5
    pattern = (120 + 100 * np.cos(0.02 * (index[:, None] ** 2 + index**2))).astype(np.uint8)
    for folder, image in (('exemplars', pattern), ('LR', pattern[:20, :20])):
        for path in (tmp_path / folder).iterdir():
            path.unlink()
        write_image(tmp_path / folder / f'{folder}.png', image)
    training['datasets']['train']['leak_check'] = 'off'
    training['train'] |= OPTIONAL
    training['train']['bank']['start_iter'] = 2
    assert run_train(training) == 0
    expected = weights_of(tmp_path, 'net_g', TOTAL), weights_of(tmp_path, 'net_k', TOTAL)
    experiment = tmp_path / 'experiments/tiny'
    (experiment / f'training_states/{TOTAL}.state').unlink()
    for path in (experiment / 'models').glob('*_latest.pth'):
        path.unlink()
    assert run_train(training, '--auto_resume') == 0
    found = weights_of(tmp_path, 'net_g', TOTAL), weights_of(tmp_path, 'net_k', TOTAL)
    for run, other in zip(found, expected, strict=True):
        for key in other:
            assert all(torch.equal(run[key][name], value) for name, value in other[key].items())
    assert not list((tmp_path / 'experiments').glob('*_archived_*'))


PROGRAM = """
import sys
opened = set()
sys.addaudithook(lambda event, arguments: opened.add(str(arguments[0])) if event == 'open' else None)
from dkp_plugin.models.pipelines import run_pipeline
import basicsr.train
status = run_pipeline(basicsr.train, True)
print('\\n'.join(sorted(opened)))
sys.exit(status)
"""


def test_training_opens_nothing_of_the_truth(training, data, tmp_path):
    (tmp_path / 'options.yml').write_text(yaml.safe_dump(training))
    weights = []
    for _ in range(2):
        command = [sys.executable, '-c', PROGRAM, '-opt', 'options.yml']
        run = subprocess.run(
            command,
            cwd=tmp_path,
            env=os.environ | {'OMP_NUM_THREADS': '1'},
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, run.stderr
        opened = [Path(line) for line in run.stdout.splitlines()]
        assert data / 'LR/a.png' in opened
        assert not [path for path in opened if 'truth' in path.parts]
        weights.append(weights_of(tmp_path)['params'])
        for path in (data / 'truth').rglob('*.png'):
            write_image(path, np.zeros((64, 72, 3), np.uint8))
    assert all(torch.equal(weights[0][name], value) for name, value in weights[1].items())


def test_two_processes_train_one_network(training, tmp_path):
    (tmp_path / 'options.yml').write_text(yaml.safe_dump(training))
    command = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2']
    command += ['-m', 'dkp_plugin.train', '-opt', 'options.yml', '--launcher', 'pytorch']
    environment = os.environ | {'OMP_NUM_THREADS': '1', 'PYTHONWARNINGS': 'ignore'}
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    assert weights_of(tmp_path)['params']['s.tail.weight'].isfinite().all()
    assert weights_of(tmp_path, 'net_k')['params']['visits'].sum() == 2 + 2 * (TOTAL - START)


def test_a_training_starts_from_weights_and_a_bank(training, run_train, tmp_path):
    """Also from those of a safetensors file; with a bank that is full, no kernel is estimated before its turn."""
    assert run_train(training) == 0
    weights, bank = weights_of(tmp_path)['params_ema'], weights_of(tmp_path, 'net_k')['params']
    write_safetensors(tmp_path / 'start.safetensors', weights, {})
    torch.save({'params': bank}, tmp_path / 'bank.pth')
    starts = {'pretrain_network_g': 'start.safetensors', 'pretrain_network_k': 'bank.pth'}
    training['path'] |= {key: str(tmp_path / name) for key, name in starts.items()}
    training['train'] |= {'total_iter': 1, 'parts': ['r']}
    training['train']['bank'] |= {'start_iter': 1}
    training['network_g']['variational'] = False
    assert run_train(training) == 0
    after = weights_of(tmp_path)['params']
    assert torch.equal(after['s.tail.weight'], weights['s.tail.weight'])
    assert not torch.equal(after['r.0.tail.weight'], weights['r.0.tail.weight'])
    assert not after['variational'] and weights['variational']  # the option, not the file, says what is trained
    assert torch.equal(weights_of(tmp_path, 'net_k')['params']['kernels'], bank['kernels'])


def test_a_training_starts_from_what_fits_of_another_scale(training, run_train, tmp_path):
    """``strict_load_g: false``: the layers that do not depend on the scale, and not the scale."""
    other = UnpairedSR(3, **NETWORK).state_dict() | {'s.head.bias': torch.arange(4.0)}
    torch.save({'params': other}, tmp_path / 'x3.pth')
    training['path'] |= {'pretrain_network_g': str(tmp_path / 'x3.pth'), 'strict_load_g': False}
    training['train'] |= {'total_iter': 1, 'parts': ['n']}
    training['train']['bank']['start_iter'] = 1
    assert run_train(training) == 0
    weights = weights_of(tmp_path)['params']
    assert torch.equal(weights['s.head.bias'], torch.arange(4.0)) and weights['scale'] == 2
    assert weights['s.tail.weight'].shape[0] == 3 * 2**2


@pytest.mark.parametrize('scale', [2, 3])
def test_the_scale_is_an_option(training, data, run_train, run_test, tmp_path, scale):
    if scale == 3:
        prepare(data / 'truth/HR', data / 'truth/x3', BlurRecipe(scale=3, convention='released'))
        training['datasets']['train']['dataroot_lq'] = str(data / 'truth/x3/LR')
    training['scale'] = scale
    assert run_train(training) == 0
    path = str(tmp_path / 'experiments/tiny/models/net_g_latest.pth')
    blind = {
        'name': 'scaled',
        'model_type': 'BlindSRModel',
        'scale': scale,
        'num_gpu': 0,
        'manual_seed': 0,
        'datasets': {'test_1': {'name': 'test', 'type': 'BlindSRDataset', 'dataroot_gt': str(data / 'truth/HR')}},
        'degradation': {'convention': 'released'},
        'network_k': {'type': 'EvidenceDKP', 'num_samples': 8, 'num_units': 10, 'warmup_iters': 2},
        'network_g': {'type': 'Unpaired', 'kernel_iters': 2},
        'path': {'pretrain_network_g': path},
        'val': {'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': scale, 'test_y_channel': True}}},
    }
    blind['datasets']['test_1'] |= {'convention': 'released', 'random_kernel': {'family': 'gaussian'}}
    assert run_test(blind) == 0
    for name in 'ab':
        image = decode_image((tmp_path / f'results/scaled/visualization/test/{name}_scaled.png').read_bytes(), name)
        assert image.shape == (3, 64 - 64 % scale, 72)
        record = json.loads((tmp_path / f'results/scaled/records/test/{name}.json').read_text())['record']
        assert all(10 < record[key] < 40 for key in ('psnr_intermediate', 'psnr_variational', 'psnr'))


def test_the_network_in_the_tests_of_both_models(training, run_train, run_test, tmp_path, data):
    """SRModel's one pass and BlindSRModel's with UnpairedKernel give the same image; other estimators work, too."""
    assert run_train(training) == 0
    path = str(tmp_path / 'experiments/tiny/models/net_g_latest.pth')
    dataset = {'name': 'test', 'type': 'SingleImageDataset', 'dataroot_lq': str(data / 'LR')}
    common = {'scale': 2, 'num_gpu': 0, 'manual_seed': 0, 'val': {'save_img': True, 'suffix': None}}
    network = {'type': 'UnpairedSR', 'scale': 2, 'convention': 'released'} | NETWORK
    plain = {
        'name': 'plain',
        'model_type': 'SRModel',
        'datasets': {'test_1': dataset | {'io_backend': {'type': 'disk'}}},
        'network_g': network,
        'path': {'pretrain_network_g': path, 'param_key_g': 'params_ema', 'strict_load_g': True},
    }
    assert run_test(common | plain) == 0
    blind = {
        'name': 'blind',
        'model_type': 'BlindSRModel',
        'datasets': {'test_1': dataset | {'type': 'BlindSRDataset', 'convention': 'released'}},
        'degradation': {'convention': 'released'},
        'network_k': {'type': 'UnpairedKernel', 'pretrained': path},
        'network_g': {'type': 'Unpaired', 'kernel_iters': 2},
        'path': {'pretrain_network_g': path},
    }
    assert run_test(common | blind) == 0
    paths = [tmp_path / f'results/{name}/visualization/test/a_{name}.png' for name in ('plain', 'blind')]
    one, other = (255 * decode_image(path.read_bytes(), path.name) for path in paths)
    assert (one - other).abs().max() < 1.01 and (one != other).float().mean() < 1e-3  # rounding to 8 bits
    estimators = [
        name
        for name, network in ARCH_REGISTRY
        if issubclass(network, KernelEstimator) and network.__module__.startswith('dkp_plugin')
    ]
    assert {'DKP', 'EvidenceDKP', 'FKP', 'KernelGAN'} <= set(estimators)
    tiny = {'KernelGAN': {'num_iter': 2, 'num_feat': 4, 'crop_size': 27}, 'UnpairedKernel': {'pretrained': path}}
    for name in estimators:
        assert run_test(common | blind | {'network_k': {'type': name} | tiny.get(name, {})}) == 0, name
