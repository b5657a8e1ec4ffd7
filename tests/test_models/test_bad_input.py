"""Every mistake of a user: one line that names the file or key and what is allowed, and nothing half-written."""

import re

import cv2
import numpy as np
import pytest
import scipy.io
from basicsr.utils.registry import ARCH_REGISTRY

from dkp_plugin.estimators.base import KernelEstimator


@ARCH_REGISTRY.register()
class KeylessEstimator(KernelEstimator):
    """An estimator without a constructor of its own."""

    def reset(self, lq, degradation, generator): ...

    def forward(self): ...

    def step(self, x): ...


def set_option(options, path, value):
    *blocks, key = path.split(':')
    for block in blocks:
        options = options[block]
    options[key] = value


WRONG_OPTIONS = [
    ('model_type', 'BlindSRModle', 'model_type: type: BlindSRModle is unknown, did you mean BlindSRModel?'),
    ('network_k:type', 'DPK', 'network_k: type: DPK is unknown, did you mean DKP?'),
    ('network_g:type', 'Dip', 'network_g: type: Dip is unknown, did you mean DIP?'),
    ('network_k:num_smples', 5, 'network_k: num_smples: unknown key of DKP, did you mean num_samples?'),
    ('network_k:num_samples', 'five', "network_k: num_samples: 'five' is not allowed: input should be a valid integer"),
    ('network_k:num_samples', 0, 'network_k: num_samples: 0 is not allowed: input should be greater than 0'),
    ('network_g:lr', -1, 'network_g: lr: -1 is not allowed: input should be greater than 0'),
    ('network_k', {'type': 'KeylessEstimator', 'args': 1}, 'args: unknown key of KeylessEstimator, allowed: none'),
    (
        'network_k:weighting',
        'soft',
        "network_k: weighting: 'soft' is not allowed: input should be 'inverse', 'focal' or 'softmax'",
    ),
    (
        'network_k:kernel_family',
        'box',
        "network_k: kernel_family: 'box' is not allowed: input should be 'gaussian', 'motion', 'line'",
    ),
    ('network_g:precision', 'fp8', "network_g: precision: 'fp8' is not one of auto, float32, bf16"),
    ('scale', 5, 'scale: 5 is not allowed: input should be 1, 2, 3, 4 or 8'),
    ('degradation', {'kernel_size': 12}, 'degradation: kernel_size: 12 is not an odd number of at least 3'),
    ('degradation', {'convention': 'centred'}, "degradation:convention: 'centred' is not allowed"),
    ('degradation', {'convention': 'released'}, 'datasets: test_1: convention: aligned differs from'),
    ('alternation:num_iters', 3, 'alternation:num_iters: unknown key, did you mean num_iter?'),
    ('alternation:num_iter', 0, 'alternation:num_iter: 0 is not allowed: input should be greater than 0'),
    ('early_stoping', {'method': 'wmv'}, 'early_stoping: unknown key, did you mean early_stopping?'),
    ('early_stopping', {'method': 'wmw'}, "early_stopping:method: 'wmw' is not allowed"),
    ('val:metrics:psnr:type', 'calculate_pnsr', 'did you mean calculate_psnr?'),
    ('datasets:test_1:type', 'BlindSRData', 'type: BlindSRData is unknown, did you mean BlindSRDataset?'),
    ('datasets:test_1:dataroot_lr', 'x', 'dataroot_lr: unknown key, did you mean dataroot_lq?'),
    ('datasets:test_1:dataroot_lq', 'nowhere', 'dataroot_lq: nowhere is not a folder'),
    ('num_gpu', 64, 'num_gpu: 64 is not allowed, this machine has'),
]


@pytest.mark.parametrize(
    ('path', 'value', 'message'), WRONG_OPTIONS, ids=[f'{row[0]}={row[1]}' for row in WRONG_OPTIONS]
)
def test_wrong_option(options, run_test, tmp_path, capsys, path, value, message):
    set_option(options, path, value)
    assert run_test(options) == 2
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 1 and error[0].startswith('error: ') and message in error[0]
    assert not (tmp_path / 'results').exists()


def test_empty_folder(options, run_test, tmp_path, capsys):
    (tmp_path / 'empty').mkdir()
    options['datasets']['test_1']['dataroot_lq'] = str(tmp_path / 'empty')
    assert run_test(options) == 2
    assert f'dataroot_lq: {tmp_path / "empty"} has no file that ends in .png' in capsys.readouterr().err


def test_a_dataset_of_basicsr_refuses_its_options(options, run_test, benchmark, capsys):
    (benchmark / 'HR/c.png').unlink()
    options['datasets']['test_1'] = {
        'name': 'Tiny',
        'type': 'PairedImageDataset',
        'dataroot_lq': str(benchmark / 'LR'),
        'dataroot_gt': str(benchmark / 'HR'),
        'io_backend': {'type': 'disk'},
    }
    assert run_test(options) == 2
    error = capsys.readouterr().err
    assert re.match(r'error: .*options.yml:7: datasets: test_1: AssertionError', error)
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (None, 'No such file'),
        ('name: [', 'options.yml:1: while parsing'),
        ('name: tiny', 'options.yml: model_type: missing'),
        ('just text', 'not a BasicSR option file'),
    ],
)
def test_unusable_option_file(run_test, tmp_path, monkeypatch, capsys, content, message):
    import basicsr.test

    from dkp_plugin.models.pipelines import run_pipeline

    path = tmp_path / 'options.yml'
    if content is not None:
        path.write_text(content)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr('sys.argv', ['test.py', '-opt', str(path)])
    assert run_pipeline(basicsr.test, is_train=False) == 2
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1


def break_image(benchmark):
    path = benchmark / 'LR/b.png'
    path.write_bytes(path.read_bytes()[:-100])
    return f'{path}: not a readable image'


def break_size(benchmark):
    cv2.imwrite(str(benchmark / 'HR/b.png'), np.zeros((20, 30, 3), np.uint8))
    return 'b.png: 30x20 pixels do not fit an LR image of 20x16 at scale 2, which needs 40x32'


def break_kernel_key(benchmark):
    scipy.io.savemat(benchmark / 'kernels/b.mat', {'kernel': np.ones((3, 3)) / 9})
    return "b.mat: has no key Kernel; it has ['kernel']"


def break_kernel_sum(benchmark):
    scipy.io.savemat(benchmark / 'kernels/b.mat', {'Kernel': np.ones((3, 3))})
    return 'b.mat: the kernel has sum 9'


def break_tiny_image(benchmark):
    cv2.imwrite(str(benchmark / 'LR/b.png'), np.zeros((5, 20, 3), np.uint8))
    cv2.imwrite(str(benchmark / 'HR/b.png'), np.zeros((10, 40, 3), np.uint8))
    return 'b: 20x5 pixels are too few; allowed: at least 16x16'


@pytest.mark.parametrize('damage', [break_image, break_size, break_kernel_key, break_kernel_sum, break_tiny_image])
def test_one_bad_file_among_good_ones(options, run_test, tmp_path, benchmark, capsys, damage):
    message = damage(benchmark)
    assert run_test(options) == 1
    assert sorted(p.name for p in (tmp_path / 'results/tiny/visualization/Tiny').iterdir()) == [
        'a_tiny.png',
        'c_tiny.png',
    ]
    last_line = capsys.readouterr().err.splitlines()[-1]
    assert last_line.startswith('failed: ') and message in last_line


def test_unreadable_image_in_a_dataset_of_basicsr(options, run_test, benchmark, capsys):
    (benchmark / 'LR/b.png').write_bytes(b'no image')
    options['datasets'] = {
        'test_1': {
            'name': 'Tiny',
            'type': 'SingleImageDataset',
            'dataroot_lq': str(benchmark / 'LR'),
            'io_backend': {'type': 'disk'},
        }
    }
    assert run_test(options) == 1
    assert 'LR/b.png: cannot be read' in capsys.readouterr().err.splitlines()[-1]
