from pathlib import Path

import pytest
import yaml

from dkp_plugin.engine.options import BlindSROptions, build_final_restorer
from dkp_plugin.estimators.base import KernelEstimator
from dkp_plugin.evaluation.comparison.runs import check_same_protocol, read_runs
from dkp_plugin.evaluation.comparison.suites import SUITES_FOLDER, expand_suite, merge_options, option_files, read_suite
from dkp_plugin.host.errors import OptionError
from dkp_plugin.host.schema import build_network, parse_section
from dkp_plugin.restorers.base import Restorer

ROOT = Path(__file__).parents[3]


def write_suite(text, name='small'):
    SUITES_FOLDER.mkdir(parents=True, exist_ok=True)
    (SUITES_FOLDER / f'{name}.yml').write_text(text)


def test_blocks_are_merged_and_those_with_a_type_replaced():
    options = {'scale': 4, 'network_k': {'type': 'DKP', 'lr': 1}, 'val': {'pbar': True, 'metrics': {'psnr': {}}}}
    before = yaml.safe_dump(options)
    changes = {'network_k': {'type': 'FKP'}, 'val': {'pbar': False}, 'early_stopping': {'method': 'emv'}}
    assert merge_options(options, changes) == {
        'scale': 4,
        'network_k': {'type': 'FKP'},
        'val': {'pbar': False, 'metrics': {'psnr': {}}},
        'early_stopping': {'method': 'emv'},
    }
    assert merge_options(options, {'network_k': {'lr': 2}})['network_k'] == {'type': 'DKP', 'lr': 2}
    assert merge_options(options, {'network_k': None})['network_k'] is None
    assert yaml.safe_dump(options) == before


def test_variants_become_option_files(workshop):
    workshop.write_options(workshop.options('one'))
    write_suite(
        'option_files:\n'
        '  - two.yml\n'
        '  - file: one.yml\n'
        '    variants: {plain: , delta: {network_k: {source: delta}, alternation: {averaging: 0.5}}}\n'
    )
    files = option_files('small', [Path('two.yml'), Path('three.yml')], Path('out/options'))
    assert files == [Path(name) for name in ('two.yml', 'out/options/one_plain.yml', 'out/options/one_delta.yml')] + [
        Path('three.yml')
    ]
    plain, delta = (yaml.safe_load(file.read_text()) for file in files[1:3])
    assert plain == workshop.options('one') | {'name': 'one_plain'}
    assert delta == plain | {
        'name': 'one_delta',
        'network_k': {'type': 'FixedKernel', 'source': 'delta'},
        'alternation': {'averaging': 0.5},
    }
    assert [run.name for run in read_runs(files[1:3])] == ['one_plain', 'one_delta']
    assert option_files(None, [Path('a.yml')] * 2, Path('out')) == [Path('a.yml')]


def test_a_suite_chooses_data_sets(workshop):
    options = workshop.options('one')
    options['datasets'] |= {key: options['datasets']['test_1'] | {'name': key} for key in ('test_2', 'test_3')}
    workshop.write_options(options)
    write_suite(
        'option_files:\n'
        '  - {file: one.yml, only: [Tiny, test_3]}\n'
        '  - {file: one.yml, only: [Tiny], variants: {delta: {network_k: {source: delta}}}}\n'
    )
    files = option_files('small', [], Path('out'))
    assert files == [Path('out/one.yml'), Path('out/one_delta.yml')]
    all_methods, delta = (yaml.safe_load(file.read_text()) for file in files)
    assert list(all_methods['datasets']) == ['test_1', 'test_3'] and all_methods['name'] == 'one'
    assert list(delta['datasets']) == ['test_1'] and delta['name'] == 'one_delta'
    write_suite('option_files: [{file: one.yml, only: [Tyni]}]')
    with pytest.raises(OptionError, match=r'one\.yml: --only Tyni: no data set of this name, allowed: Tiny, '):
        option_files('small', [], Path('out'))


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('option_files: one.yml', 'small.yml: not a list of option files under the one key option_files'),
        ('option_files: []', 'not a list of option files'),
        ('option_files: [3]', 'not a list of option files'),
        ('files: [one.yml]', 'not a list of option files'),
        ('- one.yml', 'small.yml: not a BasicSR option file: it holds no keys'),
        ('option_files: [', r'^options.suites.small.yml:1: .*$'),
        ('option_files: [{file: one.yml, variants: {a/b: }}]', 'option_files: 0: .*a/b.*is not allowed: string should'),
        (
            'option_files:\n- a.yml\n- {file: one.yml, variant: {}}',
            r'small.yml:3: option_files: 1: variant: unknown key, did you mean',
        ),
        ('option_files: [{file: one.yml, variants: {a: 3}}]', 'variants:a: 3 is not allowed'),
        ('option_files: [{variants: {a: }}]', 'option_files: 0: file: missing'),
    ],
)
def test_malformed_suites_are_refused(workshop, text, message):
    write_suite(text)
    with pytest.raises(OptionError, match=message):
        read_suite('small')


def test_a_suite_that_is_not_there(workshop):
    with pytest.raises(OptionError, match=r'--suite: small is not one of none, no options.suites'):
        read_suite('small')
    write_suite('option_files: [a.yml]', 'large')
    with pytest.raises(OptionError, match=r'--suite: small is not one of large$'):
        read_suite('small')
    with pytest.raises(OptionError, match=r'a.yml: No such file'):
        write_suite('option_files: [{file: a.yml, variants: {x: }}]')
        expand_suite(read_suite('small'), Path('out'))


@pytest.mark.parametrize('path', sorted((ROOT / SUITES_FOLDER).glob('*.yml')), ids=lambda path: path.stem)
def test_suites_that_come_along_can_be_run(path, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    runs = read_runs(option_files(path.stem, [], tmp_path))
    check_same_protocol(runs)
    for run in runs:
        options = parse_section(BlindSROptions, run.options | {'num_gpu': 0}, run.name)
        build_network(options.network_k, f'{run.name}: network_k', KernelEstimator).check(options.build_degradation())
        restorer = build_network(options.network_g, f'{run.name}: network_g', Restorer)
        assert (restorer.num_iter is None) == (options.alternation.num_iter is not None)
        if options.restorer is not None and not options.restorer.pretrain:
            build_final_restorer(options.restorer)
