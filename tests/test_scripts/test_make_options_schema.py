"""The JSON schema of option files is up to date, allows the shipped files and finds mistakes."""

import copy
import json
from pathlib import Path

import make_options_schema
import pytest
import yaml

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / 'options').glob('t*/*.yml'))


def load(name):
    return yaml.safe_load(next(path for path in FILES if path.stem == name).read_text(encoding='utf-8'))


def test_it_is_up_to_date():
    written = make_options_schema.TARGET.read_text(encoding='utf-8')
    assert written == make_options_schema.render(), 'run scripts/make_options_schema.py'


@pytest.fixture(scope='module')
def validator():
    jsonschema = pytest.importorskip('jsonschema')
    schema = json.loads((ROOT / 'options/schema.json').read_text(encoding='utf-8'))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.stem)
def test_shipped_files_are_valid(path, validator):
    text = path.read_text(encoding='utf-8')
    assert text.splitlines()[0] == '# yaml-language-server: $schema=../schema.json'
    assert [error.message for error in validator.iter_errors(yaml.safe_load(text))] == []


TEST, TRAIN = 'DIPDKP_gaussian_x4', 'train_CompactPrior'


@pytest.mark.parametrize(
    ('name', 'path', 'value'),
    [
        (TEST, ['scale'], 5),
        (TEST, ['num_gpu'], -1),
        (TEST, ['networ_k'], {}),
        (TEST, ['network_k', 'num_sample'], 5),
        (TEST, ['network_k', 'weighting'], 'softmx'),
        (TEST, ['network_g', 'lr'], '5e-3'),  # text in YAML
        (TEST, ['degradation', 'convention'], 'kernelgan'),
        (TEST, ['val', 'metrics', 'psnr', 'crop_boder'], 4),
        (TEST, ['val', 'save_image'], True),
        (TEST, ['datasets', 'tset_9'], {'type': 'BlindSRDataset', 'name': 'x'}),
        (TEST, ['datasets', 'test_9'], {'type': 'BlindSRDataset', 'name': 'x', 'dataroot_lr': 'y'}),
        (TEST, ['datasets', 'test_9'], {'type': 'SingleImageDataset', 'name': 'x', 'dataroot_lq': 'y'}),
        (TEST, ['restorer'], {'final': {'type': 'ZSSR', 'num_step': 1}}),
        (TEST, ['custom_imports'], 'one'),
        (TRAIN, ['train', 'max_gard_norm'], 1.0),
        (TRAIN, ['train', 'optim_g', 'beta'], [0.9, 0.99]),
        (TRAIN, ['train', 'scheduler', 'type'], 'CosineAnealing'),
        (TRAIN, ['train', 'pixel_opt', 'reducton'], 'mean'),
        (TRAIN, ['train', 'sigma_range'], [1.0]),
        (TRAIN, ['logger', 'print_frq'], 1),
        (TRAIN, ['datasets', 'train', 'gt_siz'], 64),
        (TRAIN, ['network_g', 'num_feat'], 64),
    ],
)
def test_mistakes_are_found(name, path, value, validator):
    options = copy.deepcopy(load(name))
    block = options
    for key in path[:-1]:
        block = block[key]
    block[path[-1]] = value
    assert [error for error in validator.iter_errors(options) if list(error.absolute_path)[:1] in ([], path[:1])]


@pytest.mark.parametrize(
    'changes',
    [
        {'network_k': {'type': 'Delta', 'width': 3}, 'custom_imports': ['my_project.delta']},
        {'early_stopping': {'method': False}},  # a bare off
        {'restorer': {'final': 'ClosedForm'}},
        {'path': None, 'manual_seed': None, 'num_gpu': 'auto'},
    ],
)
def test_what_the_program_allows_is_allowed(changes, validator):
    assert validator.is_valid(load(TEST) | changes)


def test_files_of_basicsr_are_left_alone(validator):
    stock = {'name': 'x', 'model_type': 'SRModel', 'scale': 2, 'num_gpu': 0, 'datasets': {}, 'anything': 1}
    assert validator.is_valid(stock)
