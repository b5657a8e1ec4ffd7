from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from dkp_plugin.archs.dasr_arch import DASR
from dkp_plugin.archs.dcls_arch import DCLS
from dkp_plugin.evaluation.comparison.results import check_same_protocol
from dkp_plugin.evaluation.comparison.runs import check_run, read_runs
from dkp_plugin.evaluation.comparison.suites import (
    SUITES_FOLDER,
    Suite,
    expand_suite,
    merge_options,
    option_files,
    read_suite,
)
from dkp_plugin.host.errors import OptionError
from dkp_plugin.io.images import write_image
from dkp_plugin.io.kernel_files import write_kernel
from dkp_plugin.physics.kernels import default_kernel_size

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
    files = option_files(read_suite('small'), [Path('two.yml'), Path('three.yml')], Path('out/options'))
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
    assert option_files(Suite(), [Path('a.yml')] * 2, Path('out')) == [Path('a.yml')]


def test_a_suite_chooses_data_sets(workshop):
    options = workshop.options('one')
    options['datasets'] |= {key: options['datasets']['test_1'] | {'name': key} for key in ('test_2', 'test_3')}
    workshop.write_options(options)
    write_suite(
        'option_files:\n'
        '  - {file: one.yml, only: [Tiny, test_3]}\n'
        '  - {file: one.yml, only: [Tiny], variants: {delta: {network_k: {source: delta}}}}\n'
    )
    files = option_files(read_suite('small'), [], Path('out'))
    assert files == [Path('out/one.yml'), Path('out/one_delta.yml')]
    all_methods, delta = (yaml.safe_load(file.read_text()) for file in files)
    assert list(all_methods['datasets']) == ['test_1', 'test_3'] and all_methods['name'] == 'one'
    assert list(delta['datasets']) == ['test_1'] and delta['name'] == 'one_delta'
    write_suite('option_files: [{file: one.yml, only: [Tyni]}]')
    with pytest.raises(OptionError, match=r'one\.yml: --only Tyni: no data set of this name, allowed: Tiny, '):
        option_files(read_suite('small'), [], Path('out'))


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('option_files: one.yml', r'small\.yml: option_files: not a list of option files'),
        ('option_files: []', 'not a list of option files'),
        ('option_files: [3]', 'not a list of option files'),
        ('files: [one.yml]', 'not a list of option files'),
        ('option_files: [one.yml]\nquotes: Set5', 'small.yml:2: quotes: unknown key, did you mean quoted?'),
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
    with pytest.raises(OptionError, match=r'--suite: small is not one of ablation-diffdkp, ablation-dip-crops, '):
        read_suite('small')
    write_suite('option_files: [a.yml]', 'large')
    with pytest.raises(OptionError, match=r'--suite: small is not one of ablation-diffdkp, .*, large, '):
        read_suite('small')
    with pytest.raises(OptionError, match=r'a.yml: No such file'):
        write_suite('option_files: [{file: a.yml, variants: {x: }}]')
        expand_suite(read_suite('small').option_files, Path('out'))


def test_entries_without_their_files_are_left_out_and_noted(workshop):
    workshop.write_options(workshop.options('one'))
    write_suite(
        'quoted: Set5\n'
        'notes: [A sentence.]\n'
        'option_files:\n'
        '  - one.yml\n'
        '  - {file: one.yml, needs: [net.pth], variants: {a: , b: }}\n'
    )
    suite = read_suite('small')
    assert [entry.file.name for entry in suite.option_files] == ['one.yml'] and suite.quoted == 'Set5'
    assert suite.notes == ['A sentence.', 'one: not run, because net.pth is missing']
    Path('net.pth').touch()
    assert len(option_files(read_suite('small'), [], Path('out'))) == 3


@pytest.fixture(scope='module')
def benchmarks(tmp_path_factory):
    """A folder with the option files and one tiny image for every data set that they name."""
    folder = tmp_path_factory.mktemp('benchmarks')
    (folder / 'options').symlink_to(ROOT / 'options')
    pretrained = folder / 'experiments/pretrained_models'  # what some entries of suites need
    pretrained.mkdir(parents=True)
    dasr = DASR(4, num_feat=4, num_group=1, num_block=1, reduction=2, num_feat_encoder=2)
    dcls = DCLS(4, num_feat=16, num_group=1, num_block=1, num_code=4)
    torch.save(dasr.state_dict(), pretrained / 'DASR_x4_aniso.pt')
    torch.save(dcls.state_dict(), pretrained / 'DCLSx4_setting2.pth')
    for path in (ROOT / 'options/test').glob('*.yml'):
        options = yaml.safe_load(path.read_text())
        for dataset in options['datasets'].values():
            for key, root in dataset.items():
                if key in ('dataroot_lq', 'dataroot_gt'):
                    write_image(folder / root / 'a.png', np.zeros((8, 8, 3), np.uint8))
                elif key == 'dataroot_kernel':
                    size = default_kernel_size(options['scale'])
                    kernel = torch.full((1, 1, size, size), 1 / size**2)
                    write_kernel(folder / root / 'a.mat', kernel, dataset['convention'], options['scale'])
    return folder


@pytest.mark.parametrize('path', sorted((ROOT / SUITES_FOLDER).glob('*.yml')), ids=lambda path: path.stem)
def test_suites_that_come_along_can_be_run(path, benchmarks, monkeypatch):
    """Everything up to the first run of ``scripts/compare.py --suite``."""
    monkeypatch.chdir(benchmarks)
    suite = read_suite(path.stem)
    entries = suite.option_files
    runs = read_runs(option_files(suite, [], Path('out')))
    assert len(runs) == sum(len(entry.variants) or 1 for entry in entries)
    names = {run.method: [data_set.name for data_set in check_run(run)] for run in runs}
    for entry in entries:
        for variant, changes in entry.variants.items():
            if entry.only and 'datasets' not in (changes or {}):
                assert names[f'{entry.file.stem}_{variant}'] == entry.only
    check_same_protocol(runs)
