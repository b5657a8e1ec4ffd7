"""The compact prior is trained by BasicSR's pipeline, and what it writes is what Diffusion reads."""

import math
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import scipy.stats
import torch
import yaml
from basicsr.utils.registry import ARCH_REGISTRY, MODEL_REGISTRY

from dkp_plugin.archs import priors
from dkp_plugin.archs.compact_prior_arch import CompactPrior
from dkp_plugin.data.photo_crop_dataset import PhotoCropDatasetOptions
from dkp_plugin.host.schema import build_network
from dkp_plugin.models.denoiser_model import sample_sigma

NETWORK = {'num_feats': [4, 8], 'num_blocks': [1, 1], 'num_emb': 8}
OPTIONS = Path(__file__).parents[2] / 'options/train/train_CompactPrior.yml'


@pytest.fixture
def training(benchmark):
    """Options that train a tiny prior for three steps."""
    return {
        'name': 'tiny_prior',
        'model_type': 'DenoiserModel',
        'scale': 1,
        'num_gpu': 0,
        'manual_seed': 0,
        'datasets': {
            'train': {
                'name': 'crops',
                'type': 'PhotoCropDataset',
                'dataroot_gt': str(benchmark / 'HR'),
                'gt_size': 16,
                'num_worker_per_gpu': 0,
                'batch_size_per_gpu': 2,
                'dataset_enlarge_ratio': 4,
            },
            'val': {
                'name': 'photos',
                'type': 'SingleImageDataset',
                'dataroot_lq': str(benchmark / 'HR'),
                'io_backend': {'type': 'disk'},
            },
        },
        'network_g': {'type': 'CompactPrior'} | NETWORK,
        'path': {'pretrain_network_g': None, 'resume_state': None},
        'train': {
            'sigma_range': [0.002, 3.0],
            'sigma_median': 0.1,
            'sigma_spread': 1.4,
            'precision': 'float32',
            'max_grad_norm': 0.5,
            'ema_decay': 0.5,
            'optim_g': {'type': 'Adam', 'lr': 1e-3},
            'scheduler': {'type': 'CosineAnnealingRestartLR', 'periods': [3], 'eta_min': 0},
            'total_iter': 3,
            'warmup_iter': -1,
            'pixel_opt': {'type': 'MSELoss', 'loss_weight': 1.0, 'reduction': 'mean'},
        },
        'val': {'val_freq': 3, 'save_img': False, 'sigmas': [15, 50]},
        'logger': {'print_freq': 1, 'save_checkpoint_freq': 3, 'use_tb_logger': False},
    }


def weights_of(folder, name='net_g_latest'):
    return torch.load(folder / f'experiments/tiny_prior/models/{name}.pth', weights_only=True)


def log_of(folder):
    return next((folder / 'experiments/tiny_prior').glob('train_*.log')).read_text()


@pytest.mark.parametrize(('low', 'high', 'median', 'spread'), [(0.002, 3.0, 0.1, 1.4), (0.05, 0.2, 0.3, 0.5)])
def test_noise_levels_follow_a_truncated_log_normal(low, high, median, spread, rng):
    sigma = sample_sigma(4000, (low, high), median, spread, rng)
    assert sigma.shape == (4000,) and sigma.dtype == torch.float32
    assert sigma.min() >= low and sigma.max() <= high
    ends = [math.log(end / median) / spread for end in (low, high)]
    law = scipy.stats.truncnorm(*ends, loc=math.log(median), scale=spread)
    assert scipy.stats.kstest(sigma.double().log().numpy(), law.cdf).pvalue > 0.01
    shares = np.linspace(0.1, 0.9, 9)
    found = law.cdf(np.quantile(sigma.double().log().numpy(), shares))
    np.testing.assert_allclose(found, shares, rtol=0, atol=4 * (0.25 / 4000) ** 0.5)


def test_extreme_random_numbers_stay_in_the_range():
    sigma = sample_sigma(100_000, (0.01, 0.02), 1.0, 0.2, torch.Generator().manual_seed(0))  # 20 deviations off
    assert sigma.isfinite().all() and sigma.min() >= 0.01 and sigma.max() <= 0.02


def test_training_writes_a_checkpoint_that_the_restorer_reads(training, run_train, tmp_path, monkeypatch):
    assert run_train(training) == 0
    weights = weights_of(tmp_path)
    assert set(weights) == {'params', 'params_ema'}
    start = CompactPrior(**NETWORK)
    assert weights['params'].keys() == start.state_dict().keys()
    assert weights['params']['last.weight'].abs().max() > 0  # it starts at zero
    assert not torch.equal(weights['params']['last.weight'], weights['params_ema']['last.weight'])
    state = torch.load(tmp_path / 'experiments/tiny_prior/training_states/3.state', weights_only=False)
    assert state['iter'] == 3

    monkeypatch.setitem(priors.PRIORS, 'compact', lambda: CompactPrior(**NETWORK))
    net = priors.load_prior('compact', str(tmp_path / 'experiments/tiny_prior/models/net_g_latest.pth'))
    assert torch.equal(net.last.weight, weights['params_ema']['last.weight'])


def test_validation_logs_the_psnr_of_each_noise_level(training, run_train, tmp_path, benchmark):
    training['train'] |= {'optim_g': {'type': 'Adam', 'lr': 0.0}}
    assert run_train(training) == 0
    found = re.findall(r'Validation photos, sigma (\d+): PSNR (\S+) dB', log_of(tmp_path))
    assert [int(sigma) for sigma, _ in found[:2]] == [15, 50]
    # At a learning rate of 0 the network stays the linear denoiser that it starts as.
    for sigma_255, psnr in found:
        sigma, psnrs = int(sigma_255) / 255, []
        for path in sorted((benchmark / 'HR').glob('*.png')):
            x = cv2.imread(str(path)) / 255
            noisy = x + sigma * np.random.default_rng(0).standard_normal(x.shape)
            denoised = np.clip(0.5 + 0.0625 / (0.0625 + sigma**2) * (noisy - 0.5), 0, 1)
            psnrs.append(-10 * np.log10(np.mean((denoised - x) ** 2)))
        assert float(psnr) == pytest.approx(np.mean(psnrs), abs=0.3)  # other noise in 3840 values


def test_first_loss_is_about_one(training, run_train, tmp_path):
    """A network that has learnt nothing has loss 1 at every level, for images of its variance; photographs are near."""
    training['datasets']['train']['batch_size_per_gpu'] = 8
    training['train']['total_iter'] = 1
    assert run_train(training) == 0
    (loss,) = re.findall(r'l_denoise: (\S+)', log_of(tmp_path))
    assert 0.3 < float(loss) < 2


def test_the_seed_alone_decides(training, run_train, tmp_path):
    results = []
    for seed in (0, 0, 1):
        assert run_train(training | {'manual_seed': seed}) == 0
        results.append(weights_of(tmp_path)['params'])
        (tmp_path / 'experiments/tiny_prior').rename(tmp_path / f'done_{len(results)}')
    first, again, other = results
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_gradients_are_cut_to_the_limit(training, run_train, tmp_path):
    """Adam's first step is lr |g| / (|g| + 1e-8), so a gradient of 1e-9 moves a weight by an eleventh of lr at most."""
    training['train'] |= {'max_grad_norm': 1e-9, 'ema_decay': 0, 'total_iter': 1}
    assert run_train(training) == 0
    step = weights_of(tmp_path)['params']['last.weight'].abs().max().item()  # it starts at zero
    assert 0 < step <= 1e-3 / 11 * (1 + 1e-4)


def test_shipped_option_file():
    options = yaml.safe_load(OPTIONS.read_text())
    assert options['name'] == OPTIONS.stem
    assert MODEL_REGISTRY.get(options['model_type'])
    net = build_network(options['network_g'], 'network_g', torch.nn.Module)
    shipped = priors.PRIORS['compact']()  # what the file trains is what the restorer builds
    assert type(net) is ARCH_REGISTRY.get('CompactPrior')
    assert {name: value.shape for name, value in net.state_dict().items()} == {
        name: value.shape for name, value in shipped.state_dict().items()
    }
    PhotoCropDatasetOptions(**options['datasets']['train'])
    train = options['train']
    assert train['scheduler']['periods'] == [train['total_iter']]
    low, high = train['sigma_range']
    assert 0 < low < train['sigma_median'] < high
