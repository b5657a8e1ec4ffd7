"""One option file, another kernel module: nothing but ``network_k: type`` changes."""

import json

import pytest
from basicsr.utils.registry import ARCH_REGISTRY

from dkp_plugin.estimators.base import KernelEstimator

ESTIMATORS = sorted(
    name
    for name, network in ARCH_REGISTRY
    if issubclass(network, KernelEstimator) and network.__module__.startswith('dkp_plugin')
)
DIFFUSION = {'type': 'Diffusion', 'num_steps': 3, 'num_final_steps': 1}
TINY = {'KernelGAN': ('num_iter=2', 'num_feat=4', 'crop_size=27')}  # in seconds instead of minutes


def swap(name):
    return '--force_yml', *(f'network_k:{change}' for change in (f'type={name}', *TINY.get(name, ())))


def test_all_estimators_take_part():
    assert {'DKP', 'FKP', 'DoubleDIP', 'Softmax', 'FixedKernel', 'KernelGAN', 'BSRDM'} <= set(ESTIMATORS)


@pytest.mark.parametrize('restorer', ['DIP', 'Diffusion'])
@pytest.mark.parametrize('name', ESTIMATORS)
def test_swap_by_force_yml(options, run_test, tmp_path, name, restorer):
    options['network_k'] = {'type': 'DKP'}
    if restorer == 'Diffusion':
        options['network_g'] = DIFFUSION
        del options['alternation']
    assert run_test(options, *swap(name)) == 0
    records = json.loads((tmp_path / 'results/tiny/metrics/Tiny.json').read_text())['images']
    assert [record['image'] for record in records] == ['a', 'b', 'c']
    assert all(record['kernel_psnr'] > 20 for record in records)
    assert not any(record['oracle'] for record in records)


@pytest.mark.parametrize(
    ('name', 'scale', 'message'),
    [
        ('KernelGAN', 3, 'scale: 3 is not possible with KernelGAN; allowed: 2, 4'),
        ('FKP', 8, 'pretrained: auto: found no weights gaussian_x8, expected one of gaussian_x2'),
    ],
)
def test_a_scale_that_an_estimator_cannot_do_is_told_before_any_work(
    options, run_test, tmp_path, capsys, name, scale, message
):
    options |= {'scale': scale, 'network_k': {'type': 'DKP'}}
    assert run_test(options, '--force_yml', f'network_k:type={name}') == 2
    error = capsys.readouterr().err
    assert f': {message}' in error and len(error.splitlines()) == 1
    assert not (tmp_path / 'results').exists()


def test_a_wrong_weight_file_is_told_before_any_work(options, run_test, tmp_path, capsys):
    (tmp_path / 'x.pt').write_bytes(b'no weights')
    options['network_k'] = {'type': 'FKP', 'pretrained': str(tmp_path / 'x.pt')}
    assert run_test(options) == 2
    error = capsys.readouterr().err
    assert f': {tmp_path / "x.pt"}: ' in error and len(error.splitlines()) == 1
    assert not (tmp_path / 'results').exists()
