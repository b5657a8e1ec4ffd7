"""What a result was made from, and what makes it another."""

import re

import numpy as np
import pytest
import torch

from dkp_plugin.evaluation.provenance import Provenance, differences, options_hash, result_options
from dkp_plugin.host.version import __version__
from dkp_plugin.physics.jpeg_coding import JpegCoding

OPTIONS = {
    'scale': 2,
    'network_k': {'type': 'DKP'},
    'val': {'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 2}}},
}
ITEM = {'lq': np.zeros((3, 4, 5), np.float32), 'gt': np.ones((3, 8, 10), np.float32), 'kernel': np.ones((1, 3, 3))}


def made_from(options=OPTIONS, **changes):
    return Provenance(options).of(ITEM | changes)


def test_options_that_no_result_depends_on_are_left_out(tmp_path):
    kernel = tmp_path / 'k.mat'
    kernel.write_bytes(b'kernel')
    network = {'type': 'FixedKernel', 'source': str(kernel), 'sizes': (1, 2), 3: 'gone.mat'}
    found = result_options({'name': 'x', 'num_gpu': 1, 'rank': 0, 'scale': 2, 'network_k': network, 'path': None})
    assert {key for key, value in found.items() if value is not None} == {'scale', 'network_k', 'path'}
    assert re.fullmatch(r'SHA-256 [0-9a-f]{16}', found['network_k'].pop('source'))
    assert found['network_k'] == {'type': 'FixedKernel', 'sizes': [1, 2], '3': 'gone.mat'}
    assert found['path'] == {'pretrain_network_g': None}
    assert result_options({'path': {'param_key_g': 'params'}})['path']['param_key_g'] == 'params'


def test_what_the_options_hash_depends_on(tmp_path):
    weights = tmp_path / 'w.pth'
    weights.write_bytes(b'1')
    options = {
        'scale': 2,
        'datasets': {'test_1': {'name': 'Tiny', 'dataroot_lq': 'LR'}},
        'path': {'pretrain_network_g': str(weights)},
    }
    first = options_hash(options, 'Tiny')
    completed = {**options, 'rank': 0, 'num_gpu': 4, 'name': 'x'}
    completed['datasets'] = {'test_1': {**options['datasets']['test_1'], 'phase': 'test', 'scale': 2}}
    assert options_hash(completed, 'Tiny') == first and len(first) == 16
    weights.write_bytes(b'2')
    assert options_hash(options, 'Tiny') != first
    weights.write_bytes(b'1')
    assert options_hash(options, 'Tiny') == first
    options['datasets']['test_2'] = options['datasets']['test_1'] | {'name': 'Other'}
    assert options_hash(options, 'Tiny') == first != options_hash(options, 'Other')
    options['datasets']['test_1']['dataroot_lq'] = 'elsewhere'
    assert options_hash(options, 'Tiny') != first


def test_differences():
    old = {'options': {'scale': 2, 'network_k': {'type': 'A', 'x': 1}}, 'version': '1', 'input': 'i', 'figures': 'f'}
    assert differences(old, old | {'figures': 'g'}) == []
    new = {'options': {'scale': 2, 'network_k': {'type': 'B'}}, 'version': '1', 'input': 'j', 'figures': 'f'}
    assert differences(old, new) == [
        'the LR image has changed',
        'network_k: type: A before, B now',
        'network_k: x: 1 before, None now',
    ]


def test_a_result_that_has_no_record_of_its_making_does_not_stand():
    assert differences({}, {'version': '1'}) == ['version: None before, 1 now']


def test_what_the_input_of_a_result_is():
    first = made_from()
    assert first['version'] == __version__ and first['options']['scale'] == 2
    assert made_from(lq=torch.from_numpy(ITEM['lq'])) == first  # a tensor or an array
    for changes in (
        {'lq': ITEM['lq'] + 1},
        {'lq': ITEM['lq'].reshape(3, 5, 4)},
        {'lq': ITEM['lq'].astype(np.float64)},
        {'alpha': np.zeros((1, 4, 5))},
        {'jpeg': JpegCoding.standard(80).to_tensor()},
    ):
        other = made_from(**changes)
        assert other['input'] != first['input'] and other['figures'] == first['figures'], changes
    numbers = JpegCoding.standard(80).to_tensor()
    assert made_from(jpeg=numbers.numpy()) == made_from(jpeg=numbers) != made_from(jpeg=numbers + 1)


def test_truth_and_metrics_change_the_figures_alone():
    first = made_from()
    for options, changes in (
        (OPTIONS, {'gt': None}),
        (OPTIONS, {'kernel': ITEM['kernel'] + 1}),
        (OPTIONS | {'val': {'metrics': {}}}, {}),
    ):
        other = made_from(options, **changes)
        assert other['figures'] != first['figures'] and differences(first, other) == []


def test_the_oracle_depends_on_the_true_kernel():
    oracle = OPTIONS | {'network_k': {'type': 'FixedKernel', 'source': 'gt'}}
    first, other = made_from(oracle), made_from(oracle, kernel=ITEM['kernel'] + 1)
    assert differences(first, other) == ['the LR image has changed']


@pytest.mark.parametrize('val', [None, {}, {'pbar': True, 'checkpoint_freq': 5, 'curve_freq': 0}])
def test_only_the_frequency_of_the_curve_is_taken_from_val(val):
    assert made_from(OPTIONS | {'val': val})['options']['val'] == {'curve_freq': 0}
    assert made_from(OPTIONS | {'val': {'curve_freq': 7}})['options']['val'] == {'curve_freq': 7}
