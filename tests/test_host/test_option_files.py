import re
from argparse import Namespace
from collections import OrderedDict
from pathlib import Path

import pytest
import yaml
from basicsr.utils import options as basicsr_options

from dkp_plugin.host.arguments import make_test_parser
from dkp_plugin.host.errors import OptionError, UserError
from dkp_plugin.host.option_files import (
    OptionFile,
    choose_data_sets,
    complete_options,
    read_option_file,
)

SHIPPED = sorted((Path(__file__).parents[2] / 'options').glob('t*/*.yml'))


def write(tmp_path, text):
    path = tmp_path / 'a.yml'
    path.write_text(text)
    return path


def test_places(tmp_path):
    path = write(tmp_path, 'a: 1\n\nb: # block\n  c: {d: 2}\n  "e": [1,\n    {f: 3}]\n')
    file = read_option_file(path)
    assert file.options == {'a': 1, 'b': {'c': {'d': 2}, 'e': [1, {'f': 3}]}}
    lines = {':'.join(keys): place.removeprefix(f'{path}:') for keys, place in file.places.items()}
    assert lines == {
        '': str(path),
        'a': '1',
        'b': '3',
        'b:c': '4',
        'b:c:d': '4',
        'b:e': '5',
        'b:e:0': '5',
        'b:e:1': '6',
        'b:e:1:f': '6',
    }
    assert file.place('b: c:d: 7 is wrong') == f'{path}:4'
    assert file.place('b: e:0: 7 is wrong') == f'{path}:5'
    assert file.place('c: d: no key of the top level') == str(path)


def test_errors_are_given_their_place(tmp_path):
    file = read_option_file(write(tmp_path, 'a: 1\nb: {c: 2}\n'))
    with pytest.raises(OptionError, match=r'a\.yml:2: b: c: 2 is wrong$'), file.naming_places():
        raise UserError('b: c: 2 is wrong')


def test_anchors_and_merge_keys_work(tmp_path):
    file = read_option_file(write(tmp_path, 'a: &x {p: 1, q: 2}\nb:\n  <<: *x\n  q: 3\n'))
    assert file.options['b'] == {'p': 1, 'q': 3}
    assert file.place('b: q: wrong').endswith(':4') and file.place('b: p: wrong').endswith(':2')


@pytest.mark.parametrize(
    'text',
    [
        'a0: &a0 [x]\n' + ''.join(f'a{n}: &a{n} [{", ".join([f"*a{n - 1}"] * 9)}]\n' for n in range(1, 12)),
        'a: &a {b: *a}\n',
        'a: ' + '[' * 3000,
        '? [a, b]\n: 1\n',
        'a: 2026-13-01\n',
    ],
    ids=['aliases of aliases', 'an alias of itself', 'depth', 'a list as key', 'a date that is none'],
)
def test_malicious_files_are_refused(tmp_path, text):
    with pytest.raises(OptionError, match=r'a\.yml') as caught:
        read_option_file(write(tmp_path, text))
    assert len(str(caught.value).splitlines()) == 1 and len(str(caught.value)) < 300


def test_a_file_that_is_no_text(tmp_path):
    path = tmp_path / 'a.yml'
    path.write_bytes(b'name: \xff\xfe')
    with pytest.raises(OptionError, match=r"a\.yml: 'utf-8' codec can't decode"):
        read_option_file(path)


@pytest.mark.parametrize(
    ('text', 'value'),
    [
        ('5', 5),
        ('0.25', 0.25),
        ('!!float 2e-4', 2e-4),
        ('!!float2e-4', 2e-4),
        ('~', None),
        ('None', None),
        ('True', True),
        ('false', False),
        ('[1, 2.5, x]', [1, 2.5, 'x']),
        ("['a', 'b']", ['a', 'b']),
        ('DKP', 'DKP'),
        ('a=b', 'a=b'),
        ('{type: DIP}', {'type': 'DIP'}),
        ('__import__("os").getcwd()', '__import__("os").getcwd()'),
    ],
)
def test_forced_values(text, value):
    file = OptionFile({'a': {'b': 0}})
    file.force([f'a:b={text}', f'a:new = {text}'])
    assert file.options == {'a': {'b': value, 'new': value}}
    assert file.place('a: b: wrong') == f'--force_yml a:b={text}'


@pytest.mark.parametrize('text', ['5', '2.5', '~', 'none', 'true', 'False', '!!float 1e-3', '[1, 2]', 'some/path.pth'])
def test_forced_values_are_those_of_basicsr(text):
    file = OptionFile({'a': 0})
    file.force([f'a={text}'])
    assert file.options['a'] == basicsr_options._postprocess_yml_value(text)


@pytest.mark.parametrize('path', SHIPPED, ids=lambda path: path.stem)
@pytest.mark.parametrize('arguments', [(), ('--debug', '--auto_resume', '--force_yml', 'scale=3', 'name=other')])
def test_completed_options_are_those_of_basicsr(path, arguments, tmp_path, monkeypatch, capsys):
    is_train = path.parent.name == 'train'
    monkeypatch.setattr('sys.argv', ['x', '-opt', str(path), *arguments])
    expected, _ = basicsr_options.parse_options(str(tmp_path), is_train)
    args = make_test_parser().parse_args()
    file = read_option_file(path)
    file.force(args.force_yml)
    completed = complete_options(file.options, args, tmp_path, is_train)
    assert completed == plain(expected)


def plain(options):
    return {k: plain(v) if isinstance(v, OrderedDict | dict) else v for k, v in options.items()}


def minimal(**changes):
    return {'name': 'x', 'model_type': 'y', 'num_gpu': 0, 'datasets': {}, 'manual_seed': 0} | changes


def complete(opt, tmp_path, is_train=False, launcher='none'):
    args = Namespace(launcher=launcher, auto_resume=False, debug=False)
    return complete_options(opt, args, tmp_path, is_train)


def test_processes_share_a_test_but_not_a_training(tmp_path, monkeypatch):
    monkeypatch.setenv('RANK', '1')
    monkeypatch.setenv('WORLD_SIZE', '3')
    assert [complete(minimal(), tmp_path)[key] for key in ('dist', 'rank', 'world_size')] == [False, 1, 3]
    assert [complete(minimal(), tmp_path, True)[key] for key in ('dist', 'rank', 'world_size')] == [False, 0, 1]
    assert [complete(minimal(), tmp_path, True, 'pytorch')[key] for key in ('dist', 'rank')] == [True, 1]
    with pytest.raises(OptionError, match='manual_seed: missing; several processes need a common seed'):
        complete(minimal(manual_seed=None), tmp_path)


def test_home_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', '/home/me')
    opt = minimal(datasets={'test': {'dataroot_gt': '~/gt', 'dataroot_lq': None}}, path={'pretrain_network_g': '~/w'})
    complete(opt, tmp_path)
    assert opt['datasets']['test'] == {'dataroot_gt': '/home/me/gt', 'dataroot_lq': None, 'phase': 'test'}
    assert opt['path']['pretrain_network_g'] == '/home/me/w'


def test_no_file_is_read_by_an_unsafe_loader():
    package = Path(__file__).parents[2] / 'dkp_plugin'
    text = ''.join(path.read_text() for path in package.rglob('*.py'))
    assert not re.findall(r'yaml\.(?:load|unsafe_load|full_load)\(|(?<![.\w])(?:exec|eval)\(', text)
    with pytest.raises(yaml.constructor.ConstructorError):
        yaml.safe_load('!!python/name:os.system')


def test_images_are_saved_unless_a_test_says_otherwise(tmp_path):
    assert complete(minimal(path={}), tmp_path)['val'] == {'save_img': True, 'suffix': None}
    assert complete(minimal(path={}, val={'save_img': False, 'pbar': True}), tmp_path)['val']['save_img'] is False


DATA_SETS = """\
name: x
datasets:
  test_1: {name: A, dataroot_gt: here, dataroot_lq: ~}
  test_2:
    name: B
    dataroot_lq: here
    dataroot_kernel: absent
  test_3: {name: C, dataroot_gt: gone}
"""


@pytest.fixture
def data_sets(tmp_path, monkeypatch):
    """Read ``DATA_SETS`` in a folder that has A's data alone; entries of --force_yml may follow."""
    monkeypatch.chdir(tmp_path)
    Path('here').mkdir()

    def read(*entries):
        Path('a.yml').write_text(DATA_SETS)
        file = read_option_file(Path('a.yml'))
        file.force(entries)
        return file

    return read


def test_data_sets_without_their_folders_are_skipped(data_sets):
    file = data_sets()
    assert choose_data_sets(file) == [
        'a.yml:7: datasets: test_2: dataroot_kernel: absent does not exist; B is skipped',
        'a.yml:8: datasets: test_3: dataroot_gt: gone does not exist; C is skipped',
    ]
    assert list(file.options['datasets']) == ['test_1']


def test_a_training_skips_no_data_set(data_sets):
    file = data_sets('datasets:test_2=~')
    assert choose_data_sets(file, skip_missing=False) == []
    assert list(file.options['datasets']) == ['test_1', 'test_3']


def test_data_sets_that_were_chosen_are_kept_for_the_check_to_refuse(data_sets):
    file = data_sets()
    assert choose_data_sets(file, ['C', 'B']) == [] and list(file.options['datasets']) == ['test_2', 'test_3']
    file = data_sets('datasets:test_3:dataroot_gt=elsewhere')
    (line,) = choose_data_sets(file)
    assert 'B is skipped' in line and list(file.options['datasets']) == ['test_1', 'test_3']
    file = data_sets('datasets:test_1=~')
    assert choose_data_sets(file) == [] and list(file.options['datasets']) == ['test_2', 'test_3']


def test_data_sets_are_chosen_by_name(data_sets):
    with pytest.raises(OptionError, match=r'^--only b: no data set of this name, did you mean B\?$'):
        choose_data_sets(data_sets(), ['A', 'b'])
    with pytest.raises(OptionError, match=r'^--only A: no data set of this name, allowed: B, C$'):
        choose_data_sets(data_sets('datasets:test_1=~'), ['A'])
    with pytest.raises(OptionError, match=r'^datasets: no data set is left$'):
        choose_data_sets(data_sets(*(f'datasets:test_{index}=~' for index in (1, 2, 3))))


@pytest.mark.parametrize('block', [None, 3, {}, {'test_1': 3}, {'test_1': {'name': 2}}])
def test_what_is_no_data_set_is_left_to_the_check(block):
    file = OptionFile({'datasets': block})
    assert choose_data_sets(file) == [] and file.options['datasets'] == block
