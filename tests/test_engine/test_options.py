"""The option files that the repository ships, and the parser's own cases."""

from pathlib import Path

import pytest
import torch
import yaml
from basicsr.utils.registry import ARCH_REGISTRY, METRIC_REGISTRY

from dkp_plugin.data.blind_sr_dataset import BlindSRDatasetOptions
from dkp_plugin.engine.options import BlindSROptions, EarlyStoppingOptions
from dkp_plugin.estimators.base import KernelEstimator
from dkp_plugin.host.errors import OptionError
from dkp_plugin.host.schema import build_network, nearest, parse_section
from dkp_plugin.restorers.base import Restorer

FILES = sorted((Path(__file__).parents[2] / 'options/test').glob('*.yml'))


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.stem)
def test_shipped_option_file(path):
    options = yaml.safe_load(path.read_text())
    parsed = parse_section(BlindSROptions, options | {'num_gpu': 0}, '')
    assert parsed.name == path.stem
    build_network(options['network_k'], 'network_k', KernelEstimator)
    build_network(options['network_g'], 'network_g', Restorer)
    if parsed.restorer is not None:
        build_network(parsed.restorer.final, 'restorer: final', Restorer)
    for dataset in options['datasets'].values():
        parsed_dataset = parse_section(BlindSRDatasetOptions, dataset | {'phase': 'test', 'scale': parsed.scale}, '')
        assert parsed_dataset.convention == parsed.degradation.convention
    assert options['network_k'].get('ssim_iters') == options['network_g'].get('ssim_iters')
    for metric in parsed.val.metrics.values():
        assert metric['type'] in METRIC_REGISTRY
        assert metric.get('crop_border', parsed.scale) in (parsed.scale, 16)


def test_files_of_every_benchmark_are_there():
    names = {path.stem for path in FILES}
    assert {f'DIPDKP_{name}_x4' for name in ('Set5', 'Set14', 'BSD100', 'Urban100', 'real', 'motion_Set5')} <= names
    assert {'DIPDKP_Set5_x2', 'DIPDKP_Set5_x3', 'DIPDKP_released_Set5_x4'} <= names


def test_every_estimator_and_restorer_has_an_option_file():
    options = [yaml.safe_load(path.read_text()) for path in FILES]
    for key, kind in (('network_k', KernelEstimator), ('network_g', Restorer)):
        ours = {n for n, c in ARCH_REGISTRY if issubclass(c, kind) and c.__module__.startswith('dkp_plugin')}
        assert {option[key]['type'] for option in options} == ours


def test_a_bare_off_in_yaml_switches_early_stopping_off():
    assert parse_section(EarlyStoppingOptions, yaml.safe_load('method: off'), '').method == 'off'


def test_nearest_ignores_case_and_lists_everything_else():
    assert nearest('dip', ['DIP', 'Diffusion']) == 'did you mean DIP?'
    assert nearest('xyz', ['b', 'a']) == 'allowed: a, b'


def test_a_network_of_another_kind_is_no_restorer():
    with pytest.raises(OptionError, match='network_g: type: DKP is unknown'):
        build_network({'type': 'DKP'}, 'network_g', Restorer)


def test_auto_kernel_size_is_that_of_the_scale():
    options = yaml.safe_load(FILES[0].read_text()) | {'num_gpu': 0}
    assert parse_section(BlindSROptions, options | {'scale': 8}, '').build_degradation().kernel_size == 21


def test_force_fields_of_parse_options_are_allowed():
    added = {'dist': False, 'rank': 0, 'world_size': 1, 'auto_resume': False, 'is_train': False}
    options = yaml.safe_load(FILES[0].read_text()) | {'num_gpu': torch.cuda.device_count()} | added
    assert parse_section(BlindSROptions, options, '').rank == 0
