"""No result takes the place of another: names keep their folders, or two that collide are refused before any work."""

import json
import shutil

import lmdb
import pytest


def paired(options, benchmark, kind, **keys):
    """Replace the data set by one of BasicSR's."""
    roots = {'dataroot_lq': str(benchmark / 'LR')}
    roots |= {'dataroot_gt': str(benchmark / 'HR')} if kind == 'PairedImageDataset' else {}
    options['datasets']['test_1'] = {'name': 'Tiny', 'type': kind, **roots, 'io_backend': {'type': 'disk'}, **keys}


def stock(options):
    """Make the options those of a network of BasicSR."""
    del options['network_k'], options['alternation']
    options['model_type'] = 'SRModel'
    options['network_g'] = {
        'type': 'MSRResNet', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 2, 'num_block': 1, 'upscale': 2
    }  # fmt: skip
    options['path'] = {'pretrain_network_g': None, 'strict_load_g': True}
    options['val'] = {'save_img': True, 'suffix': 'x', 'pbar': False}


def fails_before_any_work(run_test, options, tmp_path, capsys):
    """Run; return the line of the error."""
    assert run_test(options) == 2
    results = tmp_path / 'results' / 'tiny'
    assert not list(results.rglob('*.png')) and not list(results.rglob('*.json'))
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith('error: ')]
    return line


@pytest.mark.parametrize('model', ['BlindSRModel', 'SRModel'])
def test_two_files_of_one_stem_are_refused(model, options, benchmark, run_test, tmp_path, capsys):
    shutil.copy(benchmark / 'LR/a.png', benchmark / 'LR/a.jpg')
    paired(options, benchmark, 'SingleImageDataset')
    if model == 'SRModel':
        stock(options)
    line = fails_before_any_work(run_test, options, tmp_path, capsys)
    for name in ('a.jpg', 'a.png'):
        assert str(benchmark / 'LR' / name) in line
    assert line.startswith('error: datasets: Tiny: ') and line.endswith(' would share their results; rename one')


@pytest.mark.parametrize('kind', ['SingleImageDataset', 'PairedImageDataset'])
@pytest.mark.parametrize('model', ['BlindSRModel', 'SRModel'])
def test_one_name_in_two_folders_of_a_meta_file_is_refused(model, kind, options, benchmark, run_test, tmp_path, capsys):
    for folder in ('HR', 'LR'):
        for sub, name in (('x', 'a'), ('y', 'b')):
            (benchmark / folder / sub).mkdir()
            shutil.move(benchmark / folder / f'{name}.png', benchmark / folder / sub / 'im.png')
    (tmp_path / 'meta.txt').write_text('x/im.png\ny/im.png\n')
    paired(options, benchmark, kind, meta_info_file=str(tmp_path / 'meta.txt'))
    if model == 'SRModel':
        stock(options)
    line = fails_before_any_work(run_test, options, tmp_path, capsys)
    if kind == 'SingleImageDataset':
        assert f'{benchmark}/LR/x/im.png and {benchmark}/LR/y/im.png would share' in line
    else:  # BasicSR itself drops the folder, so that it finds one file twice
        assert 'im.png' in line and 'would share' in line


@pytest.fixture
def with_folders(options, benchmark, tmp_path):
    """The benchmark's LR images a and b as the entries x/im and y/im of an lmdb."""
    root = tmp_path / 'LR.lmdb'
    with lmdb.open(str(root), map_size=1 << 20) as environment, environment.begin(write=True) as transaction:
        for folder, name in (('x', 'a'), ('y', 'b')):
            transaction.put(f'{folder}/im'.encode(), (benchmark / 'LR' / f'{name}.png').read_bytes())
    (root / 'meta_info.txt').write_text('x/im.png (16,20,3) 1\ny/im.png (16,20,3) 1\n')
    block = {'name': 'Tiny', 'type': 'BlindSRDataset', 'dataroot_lq': str(root), 'io_backend': {'type': 'lmdb'}}
    options['datasets']['test_1'] = block
    return options


def test_entries_of_an_lmdb_keep_their_folders_in_the_results(with_folders, run_test, run_again, tmp_path):
    assert run_test(with_folders) == 0
    results = tmp_path / 'results/tiny'
    pictures = [results / f'visualization/Tiny/{folder}/im_tiny.png' for folder in 'xy']
    first, second = (path.read_bytes() for path in pictures)
    assert first != second
    assert [(results / f'kernels/Tiny/{folder}/im.mat').is_file() for folder in 'xy'] == [True, True]
    summary = json.loads((results / 'metrics/Tiny.json').read_text())
    assert [record['image'] for record in summary['images']] == ['x/im', 'y/im']
    before = pictures[0].stat().st_mtime_ns
    assert run_again(with_folders) == 0 and pictures[0].stat().st_mtime_ns == before  # finished and kept


def test_networks_of_basicsr_would_drop_the_folders(with_folders, run_test, tmp_path, capsys):
    stock(with_folders)
    line = fails_before_any_work(run_test, with_folders, tmp_path, capsys)
    assert line == 'error: datasets: Tiny: x/im and y/im would share their results; rename one'
