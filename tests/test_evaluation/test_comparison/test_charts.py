from pathlib import Path

import pytest

from dkp_plugin.evaluation.comparison.charts import HEIGHT, WIDTH, mean_rows, ticks
from dkp_plugin.evaluation.comparison.compare import compare
from dkp_plugin.io.files import write_json

COMPLETE = {'a': (30.0, 50.0, 2.0, 100.0), 'b': (20.0, 40.0, 4.0, 120.0)}


def test_means_of_the_iterations_that_all_images_have():
    one = [{'iteration': 5, 'seconds': 1.0, 'psnr': 20.0}, {'iteration': 10, 'seconds': 2.0, 'psnr': 22.0}]
    two = [{'iteration': 5, 'seconds': 3.0, 'psnr': None, 'ssim': 0.5}, {'iteration': 15, 'seconds': 4.0, 'psnr': 1.0}]
    assert mean_rows([one, two]) == [{'iteration': 5, 'seconds': 2.0}]
    assert mean_rows([one, one]) == one
    assert mean_rows([]) == []


@pytest.mark.parametrize(
    ('low', 'high', 'expected'),
    [
        (0, 700, [0, 200, 400, 600]),
        (0, 500, [0, 100, 200, 300, 400, 500]),
        (23.1, 26.9, [24, 25, 26]),
        (0.61, 0.67, [0.62, 0.64, 0.66]),
        (5, 5, [5]),
    ],
)
def test_ticks_are_round(low, high, expected):
    assert ticks(low, high) == pytest.approx(expected)


def test_charts_against_iterations_and_seconds(workshop, never):
    one, two = workshop.options('one'), workshop.options('two')
    for options in (one, two):
        workshop.write_results(options, COMPLETE)
    rows = [
        {'iteration': 50, 'seconds': 1.0, 'psnr': 20.0, 'kernel_psnr': None},
        {'iteration': 100, 'seconds': 4.0, 'psnr': 30.0, 'kernel_psnr': None},
    ]
    for name in 'ab':
        write_json(Path(f'results/two/progress/Tiny/{name}.json'), rows)
    Path('results/one/progress/Tiny').mkdir(parents=True)
    Path('results/one/progress/Tiny/a.json').write_text('[{"iteration":')  # cut off: left out
    assert compare([workshop.write_options(options) for options in (one, two)], Path('out'), start=never) == []
    page = Path('out/report.html').read_text()
    # Halfway and at the right end, from the bottom to the top; the second method keeps its colour, the second one.
    assert f'<polyline class="m1" points="{WIDTH / 2},{HEIGHT}.0 {WIDTH}.0,0.0"><title>two</title>' in page
    assert f'<polyline class="m1" points="{WIDTH / 4},{HEIGHT}.0 {WIDTH}.0,0.0"><title>two</title>' in page
    assert page.count('class="chart"') == 2 and 'PSNR against seconds' in page  # none of the kernel: it is exact
    expected = [{key: value for key, value in row.items() if value is not None} for row in rows]
    assert workshop.report()['tables'][0]['progress'] == {'two': expected}


def test_without_progress_there_are_no_charts(workshop, never):
    workshop.write_results(workshop.options(), COMPLETE)
    compare([workshop.write_options(workshop.options())], Path('out'), start=never)
    assert 'class="chart"' not in Path('out/report.html').read_text()
