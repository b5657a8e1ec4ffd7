"""One option file, another kernel module: nothing but ``network_k: type`` changes."""

import json

import pytest
from basicsr.utils.registry import ARCH_REGISTRY

from dkp_plugin.estimators.base import KernelEstimator

MODULES = ('DKP', 'DoubleDIP', 'FKP', 'Softmax')


@pytest.mark.parametrize('name', MODULES)
def test_swap_by_force_yml(options, run_test, tmp_path, name):
    options['network_k'] = {'type': 'DKP', 'ssim_iters': 5}
    assert issubclass(ARCH_REGISTRY.get(name), KernelEstimator)
    assert run_test(options, '--force_yml', f'network_k:type={name}') == 0
    records = json.loads((tmp_path / 'results/tiny/metrics/Tiny.json').read_text())
    assert [record['image'] for record in records['images']] == ['a', 'b', 'c']
    assert all(record['kernel_psnr'] > 20 for record in records['images'])


def test_a_wrong_weight_file_is_told_before_any_work(options, run_test, tmp_path, capsys):
    (tmp_path / 'x.pt').write_bytes(b'no weights')
    options['network_k'] = {'type': 'FKP', 'pretrained': str(tmp_path / 'x.pt')}
    assert run_test(options) == 2
    error = capsys.readouterr().err
    assert error.startswith(f'error: {tmp_path / "x.pt"}: ') and len(error.splitlines()) == 1
    assert not (tmp_path / 'results').exists()
