"""A tiny benchmark on disk and the options that restore it in a second."""

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
import yaml

from dkp_plugin.io.images import write_image
from dkp_plugin.io.kernel_files import write_kernel
from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.physics.kernel_families import build_family

SCALE, NAMES = 2, ('a', 'b', 'c')


@pytest.fixture
def benchmark(tmp_path: Path) -> Path:
    """Three photographs of 32x40 pixels with their LR images and kernels, in HR, LR and kernels."""
    import skimage.data

    degradation = Degradation(SCALE, 11)
    family = build_family('gaussian', SCALE, 11, degradation.centre)
    kernels = family.render(family.sample(len(NAMES), torch.Generator().manual_seed(0)))
    for index, name in enumerate(NAMES):
        hr = np.ascontiguousarray(skimage.data.astronaut()[40 * index : 40 * index + 32, 200:240, ::-1])
        x = torch.from_numpy(hr / np.float32(255)).permute(2, 0, 1).unsqueeze(0)
        lq = degradation.A(x, kernels[index : index + 1])[0].permute(1, 2, 0)
        write_image(tmp_path / 'data/HR' / f'{name}.png', hr)
        write_image(tmp_path / 'data/LR' / f'{name}.png', (lq * 255).round().clamp(0, 255).numpy().astype(np.uint8))
        write_kernel(tmp_path / 'data/kernels' / f'{name}.mat', kernels[index : index + 1], 'aligned', SCALE)
    return tmp_path / 'data'


@pytest.fixture
def naive_kernel_psnr(benchmark: Path) -> dict[str, float]:
    """Mean kernel PSNR on the tiny benchmark of two kernels that know nothing of the image."""
    uniform, delta = np.full((11, 11), 1 / 121), np.zeros((11, 11))
    delta[5:7, 5:7] = 1 / 4  # the centre of the convention aligned at x2 is 5.5
    true_kernels = [scipy.io.loadmat(benchmark / 'kernels' / f'{name}.mat')['Kernel'] for name in NAMES]
    return {
        name: float(np.mean([-10 * np.log10(np.mean((kernel - true) ** 2)) for true in true_kernels]))
        for name, kernel in (('uniform', uniform), ('delta', delta))
    }


@pytest.fixture
def options(benchmark: Path) -> dict:
    """What an option file for the tiny benchmark holds."""
    return {
        'name': 'tiny',
        'model_type': 'BlindSRModel',
        'scale': SCALE,
        'num_gpu': 0,
        'manual_seed': 3,
        'datasets': {
            'test_1': {
                'name': 'Tiny',
                'type': 'BlindSRDataset',
                'dataroot_lq': str(benchmark / 'LR'),
                'dataroot_gt': str(benchmark / 'HR'),
                'dataroot_kernel': str(benchmark / 'kernels'),
                'io_backend': {'type': 'disk'},
            }
        },
        'network_k': {'type': 'DKP', 'num_units': 10, 'warmup_iters': 2},
        'network_g': {'type': 'DIP', 'num_feat': 4, 'num_skip': 2, 'num_scales': 2, 'non_local_scales': [2]},
        'alternation': {'num_iter': 12},
        'path': {},
        'val': {
            'save_img': True,
            'suffix': None,
            'pbar': False,
            'metrics': {
                'psnr': {'type': 'calculate_psnr', 'crop_border': 2, 'test_y_channel': True, 'better': 'higher'},
                'kernel_psnr': {'type': 'calculate_kernel_psnr'},
                'lr_psnr': {'type': 'calculate_lr_psnr'},
            },
        },
    }


def close_logger() -> None:
    """Close BasicSR's logger, which is global and holds its log file open."""
    from basicsr.utils.logger import initialized_logger

    logger = logging.getLogger('basicsr')
    for handler in list(logger.handlers):
        handler.close()
        logger.removeHandler(handler)
    initialized_logger.clear()


def run_from_yaml(
    options: dict, arguments: tuple[str, ...], folder: Path, monkeypatch, is_train: bool, resume: bool = False
) -> int:
    """Write options to a YAML file and run ``python -m dkp_plugin.{test,train}`` on it in this process."""
    import basicsr.test
    import basicsr.train

    from dkp_plugin.models.pipelines import run_pipeline

    if not resume:
        shutil.rmtree(folder / 'results' / str(options.get('name')), ignore_errors=True)
    path = folder / 'options.yml'
    path.write_text(yaml.safe_dump(options, sort_keys=False))
    monkeypatch.chdir(folder)
    monkeypatch.setattr('sys.argv', ['dkp_plugin', '-opt', str(path), *arguments])
    close_logger()  # which another test may have opened without a file
    try:
        return run_pipeline(basicsr.train if is_train else basicsr.test, is_train)
    finally:
        close_logger()


@pytest.fixture
def run_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Run the test pipeline on options; further arguments go to the command line."""
    return lambda options, *arguments: run_from_yaml(options, arguments, tmp_path, monkeypatch, is_train=False)


@pytest.fixture
def run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Run the test pipeline on options, with the results of earlier runs in place."""
    return lambda options, *arguments: run_from_yaml(options, arguments, tmp_path, monkeypatch, False, resume=True)


@pytest.fixture
def run_train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Run the train pipeline on options; further arguments go to the command line."""
    return lambda options, *arguments: run_from_yaml(options, arguments, tmp_path, monkeypatch, is_train=True)
