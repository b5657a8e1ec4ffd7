import csv
import io
import json
import math
import re
import sys
from pathlib import Path

import pytest
import yaml

from dkp_plugin.evaluation.comparison.compare import compare
from dkp_plugin.host.errors import OptionError, UserError

FILES = ('report.html', 'report.md', 'report.json', 'report.csv')


def test_means_and_best_figures(workshop, never):
    # By hand: PSNR (30 + 20) / 2 = 25 and (31 + 21) / 2 = 26; seconds (2 + 4) / 2 = 3; peak the larger one.
    one, two, oracle = (workshop.options(name) for name in ('one', 'two', 'top'))
    oracle['network_k'] = {'type': 'FixedKernel', 'source': 'gt'}
    workshop.write_results(one, {'a': (30.0, 60.0, 2.0, 100.0), 'b': (20.0, 40.0, 4.0, 120.0)})
    workshop.write_results(two, {'a': (31.0, 30.0, 1.0, 90.0), 'b': (21.0, None, 1.0, 80.0)})
    workshop.write_results(oracle, {'a': (40.0, math.inf, 1.0, 1.0), 'b': (40.0, math.inf, 1.0, 1.0)}, oracle=True)
    files = [workshop.write_options(options) for options in (one, two, oracle)]
    assert compare(files, Path('out'), start=never) == []
    (table,) = workshop.report()['tables']
    means = {row['method']: row['means'] for row in table['rows']}
    assert means['one'] == {'psnr': 25.0, 'kernel_psnr': 50.0, 'seconds': 3.0, 'peak_memory_mib': 120.0}
    assert means['two'] == {'psnr': 26.0, 'kernel_psnr': 30.0, 'seconds': 1.0, 'peak_memory_mib': 90.0}
    assert [row['oracle'] for row in table['rows']] == [False, False, True, False]  # the last row is bicubic
    text = Path('out/report.md').read_text()
    assert '| one | FixedKernel + ClosedForm | 2/2 | 3 | 25.00 | **50.00** | 3.0 | 120 |' in text
    assert '| two | FixedKernel + ClosedForm | 2/2 | 3 | **26.00** | 30.00 | 1.0 | 90 |' in text
    assert '| top (oracle) | FixedKernel + ClosedForm | 2/2 | 3 | 40.00 | exact |' in text
    assert means['top']['kernel_psnr'] is None and 'kernel PSNR exact' in Path('out/report.html').read_text()
    assert 'oracle: given the true kernel' in text


def test_mean_and_spread_over_seeds(workshop, never):
    # Means over the images: 25, 26, 30; their mean is 27, their variance (4 + 1 + 9) / 2 = 7.
    options = workshop.options()
    for seed, psnr in ((0, (30.0, 20.0)), (1, (30.0, 22.0)), (2, (40.0, 20.0))):
        figures = {name: (value, 50.0, 1.0, 10.0) for name, value in zip('ab', psnr, strict=True)}
        workshop.write_results(workshop.seeded(options, seed), figures)
    assert compare([workshop.write_options(options)], Path('out'), [0, 1, 2], start=never) == []
    row, _ = workshop.report()['tables'][0]['rows']
    assert (row['method'], row['seeds'], row['num_images']) == ('one', [0, 1, 2], 2)
    assert row['means']['psnr'] == 27.0 and row['spread_over_seeds']['psnr'] == pytest.approx(math.sqrt(7))
    assert '27.00 ± 2.65' in Path('out/report.md').read_text()
    assert '27.00 ± 2.65' in Path('out/report.html').read_text()
    assert len(workshop.report()['images']) == 6 + 2  # of bicubic enlargement


def test_seeds_are_compared_on_the_images_that_all_have(workshop):
    options = workshop.options()
    workshop.write_results(workshop.seeded(options, 0), {'a': (30.0, 50.0, 1.0, 1.0), 'b': (20.0, 50.0, 1.0, 1.0)})
    workshop.write_results(workshop.seeded(options, 1), {'a': (32.0, 50.0, 1.0, 1.0)})
    assert compare([workshop.write_options(options)], Path('out'), [0, 1], start=lambda run: 'broken') == [
        'one_seed1: broken'
    ]
    row, _ = workshop.report()['tables'][0]['rows']
    assert (row['num_images'], row['means']['psnr']) == (1, 31.0)
    assert row['spread_over_seeds']['psnr'] == pytest.approx(math.sqrt(2))


def test_an_infinite_figure_does_not_swallow_the_others(workshop, never):
    options = workshop.options()
    workshop.write_results(options, {'a': (30.0, math.inf, 2.0, 100.0), 'b': (20.0, 40.0, 4.0, 120.0)})
    compare([workshop.write_options(options)], Path('out'), start=never)
    text = Path('out/report.md').read_text()
    assert '| **25.00** | 40.00 | 3.0 | 120 |' in text and '| a | one | 3 | 30.00 | exact | 2.0 | 100 |' in text


def test_csv_has_a_row_for_each_image_and_run(workshop, never):
    options = workshop.options('x,"y')
    workshop.write_results(options, {'a': (30.0, 60.0, 2.0, 100.0), 'b': (20.0, None, 4.0, 120.0)})
    compare([workshop.write_options(options)], Path('out'), start=never)
    rows = list(csv.DictReader(io.StringIO(Path('out/report.csv').read_text())))
    assert [(row['method'], row['image'], row['psnr'], row['kernel_psnr']) for row in rows[:2]] == [
        ('x,"y', 'a', '30.0', '60.0'),
        ('x,"y', 'b', '20.0', ''),
    ]
    assert [(row['method'], row['image'], row['seed']) for row in rows[2:]] == [
        ('bicubic enlargement', 'a', ''),
        ('bicubic enlargement', 'b', ''),
    ]


def test_failing_runs_leave_a_report_of_the_others(workshop):
    good, bad = workshop.options('good'), workshop.options('bad')
    workshop.write_results(good, {'a': (30.0, 60.0, 2.0, 100.0), 'b': (20.0, 40.0, 4.0, 120.0)})
    files = [workshop.write_options(options) for options in (bad, good)]
    failures = compare(files, Path('out'), start=lambda run: 'exit status 2: error: no\nluck')
    assert failures == ['bad: exit status 2: error: no luck']
    assert [row['method'] for row in workshop.report()['tables'][0]['rows']] == ['good', 'bicubic enlargement']
    for name in FILES:
        assert name == 'report.csv' or 'error: no luck' in Path('out', name).read_text()


def test_a_report_of_nothing_but_failures(workshop):
    failures = compare([workshop.write_options(workshop.options())], Path('out'), start=lambda run: 'exit status 2')
    assert len(failures) == 1 and all(Path('out', name).is_file() for name in FILES)


def test_different_protocols_are_refused_before_any_run(workshop, never):
    one, two = workshop.options('one'), workshop.options('two')
    two['val']['metrics']['psnr']['crop_border'] = 4
    files = [workshop.write_options(options) for options in (one, two)]
    with pytest.raises(OptionError, match='psnr: border: 4 instead of 2'):
        compare(files, Path('out'), start=never)
    assert not Path('out').exists()


def test_results_of_another_protocol_are_refused_before_any_run(workshop, never):
    options = workshop.options('two')
    workshop.write_results(options, {'a': (30.0, 60.0, 2.0, 100.0)})
    files = [workshop.write_options(workshop.options('one')), workshop.write_options(options)]
    for file in files:
        file.write_text(file.read_text().replace('crop_border: 2', 'crop_border: 4'))
    with pytest.raises(OptionError, match=r'results.two.metrics.Tiny.json: .* psnr: border: 2 instead of 4'):
        compare(files, Path('out'), start=never)


def test_html_stands_alone_and_escapes_names(workshop, never):
    options = workshop.options('<script>alert("x")</script>&'.replace('/', '_'))
    options['datasets']['test_1']['dataroot_lq'] = '<b>LR'
    Path('data/gaussian_x2/LR').rename('<b>LR')
    workshop.write_results(options, {'a': (30.0, 60.0, 2.0, 100.0), 'b': (20.0, 40.0, 4.0, 120.0)})
    file = Path('odd.yml')
    file.write_text(yaml.safe_dump(options))
    assert compare([file], Path('out'), start=never) == []
    page = Path('out/report.html').read_text()
    assert '<script' not in page and '<b>' not in page and '&lt;script&gt;' in page and '&lt;b&gt;LR' in page
    assert '//' not in re.sub(r'"data:image/png;base64,[A-Za-z0-9+/=]+"', '""', page)
    sources = re.findall(r'(?:src|href|url)\s*[=(]\s*"?([^">)]*)', page)
    assert sources and all(source.startswith('data:image/png;base64,') for source in sources)
    # For each of two images: crops of truth, LR, result and bicubic enlargement, kernels of truth and result.
    assert len(sources) == 2 * 6
    assert page.count('<polyline') == 2
    text = Path('out/report.md').read_text()
    assert '<script' not in text and '<b>' not in text


def test_published_figures_are_marked_as_quoted(workshop, never):
    options = workshop.options()
    options['scale'] = 4
    options['datasets']['test_1'] |= {'name': 'Set5', 'dataroot_lq': 'motion_x4/LR'}
    del options['datasets']['test_1']['dataroot_gt'], options['datasets']['test_1']['dataroot_kernel']
    Path('motion_x4').mkdir()
    Path('data/gaussian_x2/LR').rename('motion_x4/LR')
    workshop.write_results(options, {'a': (30.0, 60.0, 2.0, 100.0), 'b': (20.0, 40.0, 4.0, 120.0)})
    compare([workshop.write_options(options)], Path('out'), start=never)
    text = Path('out/report.md').read_text()
    assert '| Diff-DKP (quoted) |  |  |  | 28.74 | – |' in text and 'quoted from the DKP paper' in text
    assert 'other random kernels' in Path('out/report.html').read_text()
    assert workshop.report()['tables'][0]['published']['figures']['Diff-DKP'] == {'psnr': 28.74, 'ssim': 0.8313}

    # a suite may choose other figures, and say what is not there
    note = 'DiffBIR is only quoted.'
    compare([Path('one.yml')], Path('chosen'), start=never, quoted='Set14', notes=[note])
    text, page = (Path('chosen', name).read_text() for name in ('report.md', 'report.html'))
    assert '| Diff-DKP (quoted) |  |  |  | 26.03 | – |' in text and 'Table 2, Set14' in text
    assert f'- {note}' in text.splitlines() and f'<li>{note}</li>' in page and 'Table 2, Set14' in page
    assert json.loads(Path('chosen/report.json').read_text())['notes'] == [note]


def test_missing_template_engine_is_reported_before_any_run(workshop, never, monkeypatch):
    monkeypatch.setitem(sys.modules, 'jinja2', None)
    with pytest.raises(UserError, match='needs the package jinja2'):
        compare([workshop.write_options(workshop.options())], Path('out'), start=never)


def test_a_real_run(workshop):
    """The command itself on 32x40 pixels; the second time it takes what is there."""
    file = workshop.write_options(workshop.options())
    assert compare([file], Path('out'), [7]) == []
    row, _ = workshop.report()['tables'][0]['rows']
    assert row['num_images'] == 2 and row['seeds'] == [7] and math.isfinite(row['means']['psnr'])

    def start(run):
        raise AssertionError('the results are there')

    assert compare([file], Path('again'), [7], start=start) == []
    assert Path('again/report.csv').read_text() == Path('out/report.csv').read_text()
