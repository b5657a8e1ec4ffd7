"""BlindSRModel in BasicSR's own test pipeline, from a YAML file to the results folder."""

import json

import cv2
import numpy as np
import pytest
import scipy.io
import torch
from basicsr.metrics import calculate_psnr
from basicsr.utils.registry import ARCH_REGISTRY

from dkp_plugin.estimators.base import KernelEstimator
from dkp_plugin.models.blind_sr_model import BlindSRModel


def results(root, kind='visualization'):
    return {path.name: path.read_bytes() for path in sorted((root / 'results/tiny' / kind / 'Tiny').iterdir())}


def records(root):
    return json.loads((root / 'results/tiny/metrics/Tiny.json').read_text())


@ARCH_REGISTRY.register()
class DeltaEstimator(KernelEstimator):
    """The smallest estimator there can be: always a delta; notes what it is given."""

    seen: list = []  # noqa: RUF012

    def __init__(self, position: int = 5) -> None:
        super().__init__()
        self.position = position

    def reset(self, lq, degradation, generator):
        self.seen.append(('reset', lq.clone()))
        self.kernel = torch.zeros(1, 1, degradation.kernel_size, degradation.kernel_size)
        self.kernel[..., self.position, self.position] = 1

    def forward(self):
        return self.kernel

    def step(self, x):
        self.seen.append(('step', x.clone()))
        return {'l_k_none': x.new_zeros(())}


def test_yaml_to_results(options, run_test, tmp_path, benchmark):
    assert run_test(options) == 0

    content = records(tmp_path)
    assert [record['image'] for record in content['images']] == ['a', 'b', 'c']
    for record in content['images']:
        name = record['image']
        image = cv2.imread(str(tmp_path / f'results/tiny/visualization/Tiny/{name}_tiny.png'))
        truth = cv2.imread(str(benchmark / f'HR/{name}.png'))
        assert record['psnr'] == pytest.approx(calculate_psnr(image, truth, crop_border=2, test_y_channel=True))
        saved = scipy.io.loadmat(tmp_path / f'results/tiny/kernels/Tiny/{name}.mat')
        kernel, kernel_gt = saved['Kernel'], scipy.io.loadmat(benchmark / f'kernels/{name}.mat')['Kernel']
        assert kernel.dtype == np.float64 and saved['convention'][0] == 'aligned' and saved['scale'] == 2
        assert record['kernel_psnr'] == pytest.approx(-10 * np.log10(np.mean((kernel - kernel_gt) ** 2)), abs=1e-4)
        assert (tmp_path / f'results/tiny/kernels/Tiny/{name}.png').is_file()
        curve = json.loads((tmp_path / f'results/tiny/curves/Tiny/{name}.json').read_text())
        assert [row['iteration'] for row in curve] == [10, 12]
        assert record['seed'] == 3 and record['num_iter'] == 12 and record['seconds'] > 0
    mean = sum(record['psnr'] for record in content['images']) / 3
    assert content['means']['psnr'] == pytest.approx(mean)
    assert content['protocol']['metrics']['psnr'] == {'type': 'calculate_psnr', 'channel': 'Y (BT.601)', 'border': 2}
    assert set(content) == {'images', 'means', 'protocol', 'options_hash', 'versions'}
    assert list((tmp_path / 'results/tiny').glob('test_tiny_*.log'))


def test_blind_another_truth_changes_nothing(options, run_test, tmp_path, benchmark):
    run_test(options)
    first, first_kernels = results(tmp_path), results(tmp_path, 'kernels')
    psnr = records(tmp_path)['means']['psnr']
    for name in 'abc':
        cv2.imwrite(str(benchmark / f'HR/{name}.png'), np.full((32, 40, 3), 7, np.uint8))
        delta = np.zeros((11, 11))
        delta[0, 0] = 1
        scipy.io.savemat(benchmark / f'kernels/{name}.mat', {'Kernel': delta})
    run_test(options)
    assert results(tmp_path) == first and results(tmp_path, 'kernels') == first_kernels
    assert records(tmp_path)['means']['psnr'] != psnr  # so the other truth did arrive at the metrics


def test_blind_another_lr_image_changes_the_result(options, run_test, tmp_path, benchmark):
    run_test(options)
    first = results(tmp_path)
    cv2.imwrite(str(benchmark / 'LR/a.png'), np.full((16, 20, 3), 7, np.uint8))
    run_test(options)
    assert [name for name in first if results(tmp_path)[name] != first[name]] == ['a_tiny.png']


def test_blind_estimators_never_see_the_truth(options, run_test, benchmark):
    DeltaEstimator.seen.clear()
    options['network_k'] = {'type': 'DeltaEstimator'}
    run_test(options)
    truths = [cv2.imread(str(path))[..., ::-1] for path in (benchmark / 'HR').iterdir()]
    assert {kind for kind, _ in DeltaEstimator.seen} == {'reset', 'step'}
    for _, tensor in DeltaEstimator.seen:
        array = tensor[0].permute(1, 2, 0).numpy() * 255
        for truth in truths:
            assert array.shape != truth.shape or np.abs(array - truth).mean() > 5


def test_a_dummy_estimator_is_chosen_by_yaml_alone(options, run_test, tmp_path):
    options['network_k'] = {'type': 'DeltaEstimator', 'position': 4}
    assert run_test(options) == 0
    kernel = scipy.io.loadmat(tmp_path / 'results/tiny/kernels/Tiny/a.mat')['Kernel']
    assert kernel[4, 4] == 1 and kernel.sum() == 1


def test_force_yml_swaps_the_estimator(options, run_test, tmp_path):
    options['network_k'] = {'type': 'DKP'}
    assert run_test(options, '--force_yml', 'network_k:type=DeltaEstimator') == 0
    assert scipy.io.loadmat(tmp_path / 'results/tiny/kernels/Tiny/a.mat')['Kernel'][5, 5] == 1


def test_same_result_twice_reversed_and_for_a_subset(options, run_test, tmp_path, benchmark):
    run_test(options)
    first = results(tmp_path)
    run_test(options)
    assert results(tmp_path) == first

    dataset = options['datasets']['test_1']
    loader = [item | {'lq_path': [item['lq_path']]} for item in reversed(list(build_dataset(dataset)))]
    model = build_model(options, tmp_path)
    for item in loader:
        model.feed_data({key: value[None] if torch.is_tensor(value) else value for key, value in item.items()})
        model.test()
        saved = cv2.imdecode(np.frombuffer(first[f'{model.image_name}_tiny.png'], np.uint8), cv2.IMREAD_COLOR)
        output = (model.output[0].double() * 255).round().byte().permute(1, 2, 0).numpy()[..., ::-1]
        np.testing.assert_array_equal(output, saved)

    for folder in ('LR', 'HR', 'kernels'):
        for path in (benchmark / folder).glob('[ac].*'):
            path.unlink()
    run_test(options)
    assert results(tmp_path) == {'b_tiny.png': first['b_tiny.png']}


def test_another_seed_gives_another_result(options, run_test, tmp_path):
    run_test(options)
    first = results(tmp_path)
    run_test(options | {'manual_seed': 4})
    assert results(tmp_path)['a_tiny.png'] != first['a_tiny.png']


@pytest.mark.parametrize('with_truth', [True, False])
def test_datasets_of_basicsr(options, run_test, tmp_path, benchmark, with_truth, caplog):
    dataset = {'name': 'Tiny', 'dataroot_lq': str(benchmark / 'LR'), 'io_backend': {'type': 'disk'}}
    if with_truth:
        dataset |= {'type': 'PairedImageDataset', 'dataroot_gt': str(benchmark / 'HR')}
    else:
        dataset |= {'type': 'SingleImageDataset'}
    reference = dict(options)
    run_test(reference)
    first = results(tmp_path)
    options['datasets'] = {'test_1': dataset}
    assert run_test(options) == 0
    assert results(tmp_path) == first
    means = records(tmp_path)['means']
    assert ('psnr' in means) == with_truth and 'kernel_psnr' not in means and 'lr_psnr' in means


def test_gray_images_stay_gray(options, run_test, tmp_path, benchmark):
    for folder in ('LR', 'HR'):
        for path in (benchmark / folder).iterdir():
            cv2.imwrite(str(path), cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))
    assert run_test(options) == 0
    restored = cv2.imread(str(tmp_path / 'results/tiny/visualization/Tiny/a_tiny.png'), cv2.IMREAD_UNCHANGED)
    assert restored.shape == (32, 40)


def test_early_stopping_keeps_the_best_iteration(options, run_test, tmp_path):
    options['alternation'] = {'num_iter': 80, 'averaging': 0.9}
    options['early_stopping'] = {'method': 'emv', 'window': 5, 'patience': 20, 'min_iter': 10}
    assert run_test(options) == 0
    for record in records(tmp_path)['images']:
        curve = json.loads((tmp_path / f'results/tiny/curves/Tiny/{record["image"]}.json').read_text())
        variances = {row['iteration']: row['variance'] for row in curve if row['iteration'] >= 10}
        assert record['best_iter'] == min(variances, key=variances.get)
        assert record['num_iter'] == 80 or record['num_iter'] == record['best_iter'] + 21


def test_divergence_restarts_once_then_fails_for_that_image_only(options, run_test, tmp_path, monkeypatch, capsys):
    from dkp_plugin.engine import alternation

    attempts = []
    original = alternation.alternate
    options['degradation'] = {'border': 'periodic'}  # so that the engine passes the images as they are

    def alternate(estimator, restorer, lq, degradation, generator, *arguments, **keywords):
        attempts.append(generator.initial_seed())
        if torch.equal(lq.cpu(), poisoned[0]) or (torch.equal(lq.cpu(), unlucky[0]) and len(attempts) == 1):
            lq = lq * float('nan')
        return original(estimator, restorer, lq, degradation, generator, *arguments, **keywords)

    items = [item['lq'][None] for item in build_dataset(options['datasets']['test_1'])]
    unlucky, poisoned = [items[0]], [items[1]]
    monkeypatch.setattr('dkp_plugin.engine.image_job.alternate', alternate)
    assert run_test(options) == 1
    a, b, c = records(tmp_path)['images']
    assert 'psnr' in a and 'psnr' in c
    assert b['error'].startswith('b: not finite at iteration 10') and 'in each of 2 attempts' in b['error']
    assert len(set(attempts)) == 5  # two for a, two for b, one for c, all of different seeds
    assert sorted(results(tmp_path)) == ['a_tiny.png', 'c_tiny.png']
    assert capsys.readouterr().err.splitlines()[-1].startswith('failed: b: not finite')


def test_interruption_keeps_what_is_finished(options, run_test, tmp_path, monkeypatch, capsys):
    from dkp_plugin.engine import alternation

    def alternate(*arguments, **keywords):
        if (tmp_path / 'results/tiny/visualization/Tiny/a_tiny.png').exists():
            raise KeyboardInterrupt
        return alternation.alternate(*arguments, **keywords)

    monkeypatch.setattr('dkp_plugin.engine.image_job.alternate', alternate)
    assert run_test(options) == 130
    assert capsys.readouterr().err.splitlines()[-1].startswith('interrupted')
    assert [record['image'] for record in records(tmp_path)['images']] == ['a']
    assert list(results(tmp_path)) == ['a_tiny.png']


def build_dataset(options):
    from basicsr.data import build_dataset

    return build_dataset(options | {'phase': 'test', 'scale': 2})


def build_model(options, root):
    return BlindSRModel(
        options | {'dist': False, 'rank': 0, 'is_train': False, 'path': {'results_root': str(root / 'results/direct')}}
    )
