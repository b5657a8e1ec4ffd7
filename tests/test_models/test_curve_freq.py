"""``val: {curve_freq: n}``: the figures of every n-th iteration."""

import json

import pytest


def test_the_last_row_is_the_result_and_the_result_is_what_it_was_without(options, run_test, tmp_path):
    def image():
        return (tmp_path / 'results/tiny/visualization/Tiny/a_tiny.png').read_bytes()

    assert run_test(options) == 0
    without = image()
    assert not (tmp_path / 'results/tiny/progress').exists()
    options['val']['curve_freq'] = 4
    assert run_test(options) == 0
    assert image() == without
    rows = json.loads((tmp_path / 'results/tiny/progress/Tiny/a.json').read_text())
    record = json.loads((tmp_path / 'results/tiny/metrics/Tiny.json').read_text())['images'][0]
    assert [row['iteration'] for row in rows] == [4, 8, 12]
    for name in ('psnr', 'kernel_psnr', 'lr_psnr'):
        assert rows[-1][name] == pytest.approx(record[name])
    assert rows[0]['psnr'] != rows[1]['psnr'] and rows[-1]['seconds'] <= record['seconds']


def test_negative_frequencies_are_refused(options, run_test, capsys):
    options['val']['curve_freq'] = -1
    assert run_test(options) == 2
    assert 'val:curve_freq: -1 is not allowed: input should be greater than or equal to 0' in capsys.readouterr().err
