"""Option files are checked before any work."""

import inspect

import numpy as np
import pytest
import torch
from basicsr.metrics import calculate_niqe, calculate_psnr, calculate_ssim
from basicsr.utils.registry import DATASET_REGISTRY, MODEL_REGISTRY

from dkp_plugin.evaluation.checks import METRIC_DATA, MetricOptions, check_datasets, check_metrics, check_options
from dkp_plugin.evaluation.evaluate import metric_data
from dkp_plugin.host.errors import OptionError
from dkp_plugin.io.images import write_image
from dkp_plugin.physics.degradation import Degradation

PSNR = {'type': 'calculate_psnr', 'crop_border': 2}


def message_of(check, *arguments):
    with pytest.raises(OptionError) as error:
        check(*arguments)
    assert '\n' not in str(error.value)
    return str(error.value)


@pytest.fixture
def registered(monkeypatch):
    """A model and a data set of one's own, for the time of a test."""

    class Checked:
        @classmethod
        def check_options(cls, opt):
            return 'checked', opt['name']

    class Free:
        pass

    class Refusing:
        def __init__(self, opt):
            raise {'key': KeyError('mean'), 'value': ValueError('odd sizes')}[opt['way']]

    for registry, classes in ((MODEL_REGISTRY, (Checked, Free)), (DATASET_REGISTRY, (Refusing,))):
        monkeypatch.setattr(registry, '_obj_map', registry._obj_map | {entry.__name__: entry for entry in classes})


def test_a_model_checks_its_own_options(registered):
    opt = {'name': 'x', 'num_gpu': 0}
    assert check_options(opt | {'model_type': 'Checked'}) == ('checked', 'x')
    assert check_options(opt | {'model_type': 'Free'}) is None
    assert message_of(check_options, opt | {'model_type': 'Fre'}) == (
        'model_type: type: Fre is unknown, did you mean Free?'
    )


@pytest.mark.parametrize(('num_gpu', 'num_there', 'is_possible'), [(0, 0, True), (2, 2, True), (1, 0, False)])
def test_as_many_gpus_as_there_are(registered, num_gpu, num_there, is_possible, monkeypatch):
    monkeypatch.setattr('torch.cuda.device_count', lambda: num_there)
    opt = {'name': 'x', 'num_gpu': num_gpu, 'model_type': 'Free'}
    if is_possible:
        check_options(opt)
    else:
        assert message_of(check_options, opt).startswith('num_gpu: 1 is not allowed, this machine has 0 CUDA devices')


def test_tensorboard_is_asked_for_only_where_it_is_wanted(registered, monkeypatch):
    monkeypatch.setattr('dkp_plugin.evaluation.checks.find_spec', lambda name: None)
    opt = {'name': 'x', 'num_gpu': 0, 'model_type': 'Free', 'logger': {'use_tb_logger': False}}
    check_options(opt)
    opt['logger']['use_tb_logger'] = True
    assert message_of(check_options, opt).startswith('logger: use_tb_logger: True needs tensorboard: pip install ')


def test_metric_data_are_what_the_model_passes():
    images = {key: torch.zeros(1, 3, 8, 8) for key in ('result', 'gt', 'lq')}
    kernels = {key: torch.zeros(1, 1, 3, 3) for key in ('kernel', 'kernel_gt')}
    assert set(metric_data(images | kernels, 2)) == set(METRIC_DATA)


@pytest.mark.parametrize('function', [calculate_psnr, calculate_ssim, calculate_niqe])
def test_options_of_basicsrs_metrics_are_known(function):
    parameters = set(inspect.signature(function).parameters) - set(METRIC_DATA) - {'kwargs'}
    assert parameters <= MetricOptions.model_fields.keys()


def test_good_metrics_pass():
    check_metrics(None)
    check_metrics({'psnr': PSNR | {'better': 'higher', 'test_y_channel': True}, 'k': {'type': 'calculate_kernel_psnr'}})


@pytest.mark.parametrize(
    ('metric', 'message'),
    [
        ({'type': 'calculate_psnr'}, 'val: metrics: x: missing key crop_border'),
        (PSNR | {'crop_bordr': 1}, 'val: metrics: x: crop_bordr: unknown key of calculate_psnr, did you mean crop_bor'),
        (PSNR | {'img': 1}, 'val: metrics: x: img: unknown key of calculate_psnr, '),
        (PSNR | {'crop_border': -1}, 'val: metrics: x: crop_border: -1 is not allowed: '),
        (PSNR | {'better': 'larger'}, "val: metrics: x: better: 'larger' is not allowed: "),
        ({'crop_border': 1}, 'val: metrics: x: missing key type'),
    ],
)
def test_mistakes_in_a_metric(metric, message):
    assert message_of(check_metrics, {'good': PSNR, 'x': metric}).startswith(message)


@pytest.fixture
def block(tmp_path):
    """A data set of one image, and the degradation of its convention."""
    write_image(tmp_path / 'LR/a.png', np.zeros((16, 16, 3), np.uint8))
    return {'name': 'A', 'type': 'BlindSRDataset', 'dataroot_lq': str(tmp_path / 'LR'), 'scale': 2, 'phase': 'test'}


def test_good_data_sets_pass_and_are_left_as_they_are(block, tmp_path):
    other = block | {'name': 'B', 'type': 'SingleImageDataset', 'io_backend': {'type': 'disk'}}
    datasets = {'test_1': block, 'test_2': other}
    before = {key: dict(value) for key, value in datasets.items()}
    check_datasets(datasets, Degradation(2, 11))
    assert datasets == before and other['io_backend'] == {'type': 'disk'}  # BasicSR takes the type out of its own copy


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'name': None}, 'missing key name'),
        ({'name': 'a/b'}, "name: 'a/b' is not allowed"),
        ({'name': '..'}, "name: '..' is not allowed"),
        ({'name': 3}, 'name: 3 is not allowed'),
        ({'phase': 'train'}, 'not the key of a data set for a test; allowed: test, test_1, test_2, ...'),
        ({'type': 'Refusing', 'way': 'key'}, "KeyError: 'mean'"),
        ({'type': 'Refusing', 'way': 'value'}, 'ValueError: odd sizes'),
        ({'dataroot_lq': 'nowhere'}, 'dataroot_lq: nowhere is not a folder'),  # said once where it is
        ({'convention': 'released'}, 'convention: released differs from degradation: convention: aligned'),
    ],
)
def test_mistakes_in_a_data_set(registered, block, changes, message):
    found = message_of(check_datasets, {'test_3': block | changes}, Degradation(2, 11))
    assert found.startswith(f'datasets: test_3: {message}')


def test_two_data_sets_of_one_name_would_share_their_results(block):
    found = message_of(check_datasets, {'test_1': block, 'test_2': dict(block)}, Degradation(2, 11))
    assert found == 'datasets: test_2: name: A is also the name of test_1'
