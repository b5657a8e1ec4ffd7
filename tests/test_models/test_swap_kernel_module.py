"""One option file, another kernel module: nothing but ``network_k: type`` changes."""

import json
import logging

import pytest
import scipy.io
import torch
from basicsr.utils.registry import ARCH_REGISTRY

from dkp_plugin.archs.unpaired_arch import UnpairedSR
from dkp_plugin.estimators.base import KernelEstimator

ESTIMATORS = sorted(
    name
    for name, network in ARCH_REGISTRY
    if issubclass(network, KernelEstimator) and network.__module__.startswith('dkp_plugin')
)
DIFFUSION = {'type': 'Diffusion', 'num_steps': 3, 'num_final_steps': 1}
# Least gain in kernel PSNR, in dB and on average, over the better of a centred delta and the uniform kernel.
GAIN = {'BSRDM': 2, 'DKP': 3, 'EvidenceDKP': 3, 'FKP': 3, 'KernelGAN': 1}
# Without a prior on kernels a dozen steps lead nowhere: the kernel is still about the uniform one.
NO_PRIOR = ('DoubleDIP', 'Softmax')
TINY = {
    'KernelGAN': ('num_iter=2', 'num_feat=4', 'crop_size=27'),  # in seconds instead of minutes
    'UnpairedKernel': ('pretrained=unpaired_x2.pth',),  # the package has weights for x4 only
}


def swap(name):
    return '--force_yml', *(f'network_k:{change}' for change in (f'type={name}', *TINY.get(name, ())))


def test_all_estimators_take_part():
    assert {*GAIN, *NO_PRIOR, 'FixedKernel'} <= set(ESTIMATORS)


@pytest.fixture
def unpaired_weights(tmp_path, monkeypatch):
    net = UnpairedSR(2, num_feat=4, num_block=1, num_block_refine=1, num_feat_kernel=4, num_block_kernel=1)
    torch.save(net.state_dict(), tmp_path / 'unpaired_x2.pth')
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures('unpaired_weights')
@pytest.mark.parametrize('restorer', ['DIP', 'Diffusion'])
@pytest.mark.parametrize('name', ESTIMATORS)
def test_swap_by_force_yml(options, run_test, tmp_path, naive_kernel_psnr, name, restorer):
    options['network_k'] = {'type': 'DKP'}
    if restorer == 'Diffusion':
        options['network_g'] = DIFFUSION
        del options['alternation']
    assert run_test(options, *swap(name)) == 0
    results = json.loads((tmp_path / 'results/tiny/metrics/Tiny.json').read_text())
    records, found = results['images'], results['means']['kernel_psnr']
    assert [record['image'] for record in records] == ['a', 'b', 'c']
    assert not any(record['oracle'] for record in records)
    if name in GAIN:
        assert found > max(naive_kernel_psnr.values()) + GAIN[name]
    elif name in NO_PRIOR:
        assert found == pytest.approx(naive_kernel_psnr['uniform'], abs=1.5)  # the delta is 8 dB below
    elif name == 'FixedKernel':
        assert found == pytest.approx(naive_kernel_psnr['delta'], abs=0.01)


def test_the_old_form_of_the_evidence_gives_the_same_result_and_one_line_in_the_log(
    options, run_test, tmp_path, caplog, monkeypatch
):
    del options['alternation']
    options |= {'network_g': DIFFUSION}
    results = []
    for block in ({'type': 'EvidenceDKP'}, {'type': 'DKP', 'likelihood': 'evidence'}):
        options['network_k'] = {**block, 'num_samples': 8, 'num_units': 20}
        monkeypatch.setattr(logging.getLogger('basicsr'), 'propagate', True)  # BasicSR switches it off
        assert run_test(options) == 0
        folder = tmp_path / 'results/tiny'
        notes = [line for line in caplog.messages if 'is now type: EvidenceDKP' in line]
        assert len(notes) == ('likelihood' in block)
        files = sorted(path for path in folder.rglob('*') if path.suffix in ('.png', '.mat'))
        kernels = [scipy.io.loadmat(path)['Kernel'].tobytes() for path in files if path.suffix == '.mat']
        results.append(kernels + [path.read_bytes() for path in files if path.suffix == '.png'])
    assert len(results[0]) == 9 and results[0] == results[1]  # of three images: kernel, its picture and the result


@pytest.mark.parametrize(
    ('name', 'scale', 'message'),
    [
        ('KernelGAN', 3, 'scale: 3 is not possible with KernelGAN; allowed: 2, 4'),
        ('FKP', 8, 'pretrained: auto: found no weights gaussian_x8, expected one of gaussian_x2'),
    ],
)
def test_a_scale_that_an_estimator_cannot_do_is_reported_before_any_work(
    options, run_test, tmp_path, capsys, name, scale, message
):
    options |= {'scale': scale, 'network_k': {'type': 'DKP'}}
    assert run_test(options, '--force_yml', f'network_k:type={name}') == 2
    error = capsys.readouterr().err
    assert f': {message}' in error and len(error.splitlines()) == 1
    assert not (tmp_path / 'results').exists()


def test_a_scale_that_a_restorer_cannot_do_is_one_line_before_any_work(options, run_test, tmp_path, capsys):
    options['network_g'] = {'type': 'Unpaired'}
    del options['alternation']
    assert run_test(options) == 2
    error = capsys.readouterr().err
    assert 'scale: 2 is not possible with Unpaired; allowed: 4' in error and len(error.splitlines()) == 1
    assert not (tmp_path / 'results').exists()


def test_a_wrong_weight_file_is_reported_before_any_work(options, run_test, tmp_path, capsys):
    (tmp_path / 'x.pt').write_bytes(b'no weights')
    options['network_k'] = {'type': 'FKP', 'pretrained': str(tmp_path / 'x.pt')}
    assert run_test(options) == 2
    error = capsys.readouterr().err
    assert f': {tmp_path / "x.pt"}: ' in error and len(error.splitlines()) == 1
    assert not (tmp_path / 'results').exists()
