"""Means, spreads and best figures, worked out by hand."""

import math
from pathlib import Path
from types import SimpleNamespace

import pytest

from dkp_plugin.evaluation.comparison.results import Result
from dkp_plugin.evaluation.comparison.runs import Run
from dkp_plugin.evaluation.comparison.table import (
    MEMORY,
    SECONDS,
    Figure,
    Row,
    Table,
    describe_parts,
    image_rows,
    lower_is_better,
    make_row,
    mark_best,
    mean_figure,
    ordered_columns,
    read_figure,
)
from dkp_plugin.host.option_files import OptionFile

METRICS = {'psnr': {'type': 'calculate_psnr'}, 'ssim': {'type': 'calculate_ssim'}}


def result(records, seed=0, metrics=METRICS, method='one'):
    """A run on the data set Tiny with these records, by the image's name."""
    options = {
        'name': f'{method}_{seed}',
        'manual_seed': seed,
        'network_k': {'type': 'DKP'},
        'val': {'metrics': metrics},
    }
    return Result(Run(Path('a.yml'), OptionFile(options), method, seed), records={'Tiny': records})


def test_seconds_and_memory_come_last():
    assert ordered_columns([MEMORY, 'psnr', SECONDS, 'ssim', 'psnr']) == ['psnr', 'ssim', SECONDS, MEMORY]
    assert ordered_columns(['psnr']) == ['psnr']


@pytest.mark.parametrize(
    ('record', 'key', 'value'),
    [
        ({'psnr': 30.0}, 'psnr', 30.0),
        ({'psnr': None}, 'psnr', math.inf),  # JSON has no infinity
        ({}, 'psnr', None),
        ({'ssim': None}, 'ssim', None),
        ({SECONDS: None}, SECONDS, None),
    ],
)
def test_a_psnr_that_is_null_is_infinite(record, key, value):
    assert read_figure(record, key, METRICS) == value


def test_means_by_hand():
    records = [{'psnr': 30.0, SECONDS: 1.0, MEMORY: 5.0}, {'psnr': None, SECONDS: 4.0, MEMORY: 7.0}, {'psnr': 20.0}]
    assert mean_figure(records, 'psnr', METRICS) == 25.0
    assert mean_figure(records[1:2], 'psnr', METRICS) == math.inf
    assert mean_figure(records, SECONDS, METRICS) == 2.5
    assert mean_figure(records, MEMORY, METRICS) == 7.0  # the peak of the process so far
    assert mean_figure(records, 'ssim', METRICS) is None


def test_a_row_of_three_seeds():
    # Over the images that all have, a and b, the means are 25, 26 and 30: 27 on average, variance (4 + 1 + 9) / 2 = 7.
    figures = ((30.0, 20.0), (30.0, 22.0), (40.0, 20.0))
    members = [
        (result({'a': {'psnr': a}, 'b': {'psnr': b}} | ({'c': {'psnr': 99.0}} if seed else {}), seed), 'Tiny')
        for seed, (a, b) in enumerate(figures)
    ]
    row = make_row('one', members)
    assert (row.method, row.parts, row.num_images, row.seeds, row.is_oracle) == ('one', 'DKP', 2, [0, 1, 2], False)
    assert list(row.figures) == ['psnr']
    assert row.figures['psnr'].mean == 27.0 and row.figures['psnr'].spread == pytest.approx(math.sqrt(7))


def test_one_seed_and_infinite_means_have_no_spread():
    assert make_row('one', [(result({'a': {'psnr': 30.0}}), 'Tiny')]).figures['psnr'] == Figure(30.0, None)
    members = [(result({'a': {'psnr': None, 'oracle': True}}, seed), 'Tiny') for seed in (0, 1)]
    row = make_row('one', members)
    assert row.figures['psnr'] == Figure(math.inf, None) and row.is_oracle


@pytest.mark.parametrize(
    ('options', 'parts'),
    [
        ({'network_k': {'type': 'DKP'}, 'network_g': {'type': 'DIP'}}, 'DKP + DIP'),
        ({'network_g': {'type': 'RRDBNet'}}, 'RRDBNet'),
        ({'network_g': {'type': 'DIP'}, 'restorer': {'final': {'type': 'USRNet'}}}, 'DIP, USRNet'),
        ({'network_g': {'type': 'DIP'}, 'restorer': {'final': 'USRNet'}}, 'DIP, USRNet'),
        ({'network_g': {'type': 'DIP'}, 'restorer': None}, 'DIP'),
        ({}, ''),
    ],
)
def test_parts(options, parts):
    assert describe_parts(options) == parts


def test_which_metrics_are_better_where_they_are_lower():
    metrics = {
        'a': {'type': 'calculate_niqe'},
        'b': {'type': 'calculate_niqe', 'better': 'higher'},
        'c': {'type': 'calculate_psnr'},
        'd': {'type': 'my_metric', 'better': 'lower'},
    }
    assert lower_is_better([result({}, metrics=metrics), result({})]) == {'a', 'd'}


def row(method, num_images=2, is_oracle=False, **figures):
    return Row(method, '', is_oracle, num_images, [], {name: Figure(value) for name, value in figures.items()})


def test_best_figures_are_those_of_complete_methods():
    rows = [
        row('one', psnr=30.0, niqe=5.0, seconds=1.0, alone=1.0),
        row('two', psnr=29.0, niqe=4.0, seconds=2.0),
        row('three', psnr=30.0, niqe=6.0),
        row('oracle', is_oracle=True, psnr=40.0, niqe=1.0),
        row('partial', num_images=1, psnr=50.0, niqe=0.0),
    ]
    mark_best(rows, 2, {'niqe'})
    assert {row.method: row.best for row in rows} == {
        'one': {'psnr'},  # a tie; what nobody else has is no competition, nor is time
        'two': {'niqe'},
        'three': {'psnr'},
        'oracle': frozenset(),
        'partial': frozenset(),
    }


def test_a_single_method_is_not_the_best():
    rows = [row('one', psnr=30.0), row('oracle', is_oracle=True, psnr=20.0)]
    mark_best(rows, 2, set())
    assert not rows[0].best


def test_rows_of_images():
    first = result({'a': {'psnr': 30.0, SECONDS: 1.0}, 'b': {'psnr': None, 'oracle': True}}, seed=3)
    table = Table(SimpleNamespace(label='Tiny x2'), [(first, 'Tiny')], [], {})
    one, two = image_rows([table])
    expected = {'data_set': 'Tiny x2', 'method': 'one', 'seed': 3, 'oracle': False, 'image': 'a'}
    assert one == expected | {'psnr': 30.0, 'ssim': None, SECONDS: 1.0, MEMORY: None}
    assert list(one)[-2:] == [SECONDS, MEMORY]
    assert (two['oracle'], two['psnr']) == (True, math.inf)


def test_columns_of_a_table_are_those_of_any_row():
    rows = [row('one', seconds=1.0, psnr=1.0), row('two', ssim=1.0)]
    assert Table(None, [], rows, {}).columns == ['psnr', 'ssim', SECONDS]
