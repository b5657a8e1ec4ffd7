"""Figures as they are written, and files whose names could be taken for markup."""

import csv
import io
import math
from pathlib import Path
from types import SimpleNamespace

import pytest

from dkp_plugin.evaluation.comparison.complexity import Complexity
from dkp_plugin.evaluation.comparison.output import (
    describe_protocol,
    failures,
    format_complexity,
    format_figure,
    format_number,
    heading,
    render_csv,
    render_markdown,
    report_content,
)
from dkp_plugin.evaluation.comparison.results import Result
from dkp_plugin.evaluation.comparison.runs import Run
from dkp_plugin.evaluation.comparison.table import MEMORY, SECONDS, Figure, Row, Table
from dkp_plugin.host.option_files import OptionFile

METRICS = {
    'psnr': {'type': 'calculate_psnr', 'crop_border': 4, 'test_y_channel': True},
    'kernel_psnr': {'type': 'calculate_kernel_psnr'},
}


@pytest.fixture
def result():
    """A run on two images, the second of which it restored exactly."""
    options = {'name': 'a|b', 'manual_seed': 3, 'val': {'metrics': METRICS}}
    records = {'<x>': {'psnr': 30.0, SECONDS: 1.25}, 'y': {'psnr': None}}
    return Result(
        Run(Path('a.yml'), OptionFile(options), 'a|b'),
        records={'Tiny': records},
        versions={'torch': '2.0'},
        failures=['a: two\n  lines'],
    )


@pytest.fixture
def table(result):
    data_set = SimpleNamespace(label='Tiny <x2>', images=('<x>', 'y'))
    rows = [
        Row(
            'a|b', 'DKP', False, 2, [3, 4], {'psnr': Figure(30, 0.5)}, Complexity(1_500_000, None), frozenset({'psnr'})
        ),
        Row('top', 'FixedKernel', True, 1, [], {'psnr': Figure(math.inf)}),
    ]
    return Table(data_set, [(result, 'Tiny')], rows, {'Diff-DKP': {'psnr': 28.74, 'ssim': None}})


@pytest.mark.parametrize(
    ('column', 'value', 'text'),
    [
        ('psnr', 29.446, '29.45'),
        ('psnr', math.inf, 'exact'),
        ('ssim', 0.83134, '0.8313'),
        ('kernel_ncc', 0.9, '0.9000'),
        (SECONDS, 12.34, '12.3'),
        (MEMORY, 1234.5678, '1235'),
        ('psnr', None, '–'),
    ],
)
def test_digits(column, value, text):
    assert format_number(column, value) == text


def test_figures_with_and_without_a_spread():
    assert format_figure('psnr', Figure(27.0, 2.6458)) == '27.00 ± 2.65'
    assert format_figure('psnr', Figure(27.0)) == '27.00'
    assert format_figure('psnr', None) == '–'


def test_complexity_in_millions_and_thousands_of_millions():
    assert format_complexity(Complexity(1_234_567, 9_876_543_210)) == ('1.23 M', '9.88 G')
    assert format_complexity(Complexity()) == ('–', '–')


def test_headings():
    assert heading(SECONDS) == 'seconds' and heading('kernel_psnr') == 'kernel PSNR' and heading('mine') == 'mine'


def test_protocol_leaves_out_the_kernels(result):
    assert describe_protocol([result]) == (
        'results rounded to 8 bit; HR images cut top left, to scale times the LR image; '
        'PSNR: channel Y (BT.601), border 4'
    )


def test_failures_are_single_lines(result):
    assert failures([result]) == ['a: two lines']


def test_csv_has_every_image(table):
    rows = list(csv.DictReader(io.StringIO(render_csv([table]))))
    assert [(row['image'], row['psnr'], row[SECONDS]) for row in rows] == [('<x>', '30.0', '1.25'), ('y', 'inf', '')]
    assert list(rows[0])[:5] == ['data_set', 'method', 'seed', 'oracle', 'image'] and list(rows[0])[-2:] == [
        SECONDS,
        MEMORY,
    ]


def test_markdown_escapes_names_and_marks_the_best(result, table):
    lines = render_markdown([result], [table]).splitlines()
    assert '## Tiny &lt;x2>' in lines and '- failed: a: two lines' in lines
    assert r'| a\|b | DKP | 2/2 | 3, 4 | **30.00 ± 0.50** | 1.50 M | – |' in lines
    assert '| top (oracle) | FixedKernel | 1/2 |  | exact | – | – |' in lines
    assert '| Diff-DKP (quoted) |  |  |  | 28.74 |  |  |' in lines
    assert r'| &lt;x> | a\|b | 3 | 30.00 |' in lines
    assert sum('upper bound' in line for line in lines) == sum('quoted from' in line for line in lines) == 1
    assert not any('<x' in line for line in lines)


def test_json_keeps_the_numbers(result, table):
    content = report_content([result], [table])
    (described,) = content['tables']
    first, oracle = described['rows']
    assert (first['means'], first['spread_over_seeds'], first['num_parameters']) == (
        {'psnr': 30},
        {'psnr': 0.5},
        1_500_000,
    )
    assert oracle['oracle'] and oracle['means'] == {'psnr': math.inf} and described['num_images'] == 2
    assert described['published']['figures'] == {'Diff-DKP': {'psnr': 28.74, 'ssim': None}}
    assert content['runs'] == [{'name': 'a|b', 'option_file': 'a.yml', 'versions': {'torch': '2.0'}}]
    assert list(content['protocol']['metrics']) == ['psnr', 'kernel_psnr'] and content['failures'] == ['a: two lines']
