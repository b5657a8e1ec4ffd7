"""The option files that the repository ships, and the parser's own cases."""

from pathlib import Path

import pytest
import torch
import yaml
from basicsr.utils.registry import ARCH_REGISTRY, METRIC_REGISTRY

from dkp_plugin.archs.one_shot import OneShotNetwork
from dkp_plugin.data.blind_sr_dataset import BlindSRDatasetOptions
from dkp_plugin.engine.options import BlindSROptions, DegradationOptions, EarlyStoppingOptions
from dkp_plugin.estimators.base import KernelEstimator
from dkp_plugin.host.errors import OptionError
from dkp_plugin.host.schema import build_network, nearest, parse_section
from dkp_plugin.restorers.base import Restorer

FOLDER = Path(__file__).parents[2] / 'options'
# Files for BasicSR's own models have their keys.
FILES = sorted(p for p in (FOLDER / 'test').glob('*.yml') if 'model_type: BlindSRModel\n' in p.read_text())


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.stem)
def test_shipped_option_file(path):
    options = yaml.safe_load(path.read_text())
    parsed = parse_section(BlindSROptions, options | {'num_gpu': 0}, '')
    assert parsed.name == path.stem
    build_network(options['network_k'], 'network_k', KernelEstimator)
    build_network(options['network_g'], 'network_g', Restorer | OneShotNetwork)
    if parsed.restorer is not None:
        build_network(parsed.restorer.final, 'restorer: final', Restorer)
    for dataset in options['datasets'].values():
        parsed_dataset = parse_section(BlindSRDatasetOptions, dataset | {'phase': 'test', 'scale': parsed.scale}, '')
        assert parsed_dataset.convention == parsed.degradation.convention
    for key in ('ssim_iters', 'ssim_padding'):
        assert options['network_k'].get(key) == options['network_g'].get(key)
    for metric in parsed.val.metrics.values():
        assert metric['type'] in METRIC_REGISTRY
        assert metric.get('crop_border', parsed.scale) in (parsed.scale, 16)


def test_files_of_every_benchmark_are_there():
    names = {path.stem for path in FILES}
    assert {f'{method}_gaussian_x{scale}' for method in ('DIPDKP', 'DiffDKP', 'DIPFKP') for scale in (2, 3, 4)} <= names
    assert {f'{method}_{kind}_x4' for method in ('DIPDKP', 'DiffDKP') for kind in ('motion', 'demo', 'real')} <= names


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.stem)
def test_files_of_one_family_and_scale_have_the_same_data_sets(path):
    options = yaml.safe_load(path.read_text())
    names = [dataset['name'] for dataset in options['datasets'].values()]
    if 'crop128' in path.stem or not {'gaussian', 'motion', 'levin'} & set(path.stem.split('_')):
        assert len(names) == 1
    else:
        assert names == ['Set5', 'Set14', 'BSD100', 'Urban100'][: 4 if '_gaussian_' in path.stem else 2]


@pytest.mark.parametrize('path', [path for path in FILES if path.stem.split('_')[-2] not in ('demo', 'real')])
def test_folders_follow_from_data_set_family_and_scale(path):
    options = yaml.safe_load(path.read_text())
    family = next((name for name in ('motion', 'levin') if f'_{name}_' in path.stem), 'gaussian')
    for dataset in options['datasets'].values():
        folder = f'datasets/{dataset["name"]}'
        assert dataset['dataroot_gt'] == f'{folder}/HR'
        if 'random_kernel' in dataset:
            assert dataset['random_kernel'] == {'family': family, 'seed': 0}
        else:
            assert dataset['dataroot_lq'] == f'{folder}/{family}_x{options["scale"]}/LR'
            assert dataset['dataroot_kernel'] == f'{folder}/{family}_x{options["scale"]}/kernels'


@pytest.mark.parametrize('path', sorted(FOLDER.glob('t*/*.yml')), ids=lambda path: path.stem)
def test_editors_find_the_schema(path):
    assert path.read_text().startswith('# yaml-language-server: $schema=../schema.json\n# ')


def test_every_estimator_and_restorer_has_an_option_file():
    options = [yaml.safe_load(path.read_text()) for path in FILES]
    for key, kind in (('network_k', KernelEstimator), ('network_g', Restorer | OneShotNetwork)):
        ours = {n for n, c in ARCH_REGISTRY if issubclass(c, kind) and c.__module__.startswith('dkp_plugin')}
        assert {option[key]['type'] for option in options} == ours


def test_a_bare_off_in_yaml_switches_early_stopping_off():
    assert parse_section(EarlyStoppingOptions, yaml.safe_load('method: off'), '').method == 'off'


def test_nearest_ignores_case_and_lists_everything_else():
    assert nearest('dip', ['DIP', 'Diffusion']) == 'did you mean DIP?'
    assert nearest('xyz', ['b', 'a']) == 'allowed: a, b'


def test_a_network_of_another_kind_is_no_restorer():
    with pytest.raises(OptionError, match='network_g: type: DKP is not a Restorer; allowed: Bicubic, ClosedForm, '):
        build_network({'type': 'DKP'}, 'network_g', Restorer)


def test_auto_kernel_size_is_that_of_the_scale():
    assert DegradationOptions().build(8).kernel_size == 21


def test_force_fields_of_parse_options_are_allowed():
    added = {'dist': False, 'rank': 0, 'world_size': 1, 'auto_resume': False, 'is_train': False}
    options = yaml.safe_load(FILES[0].read_text()) | {'num_gpu': torch.cuda.device_count()} | added
    assert parse_section(BlindSROptions, options, '').rank == 0
