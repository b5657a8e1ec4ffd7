import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from dkp_plugin.evaluation.comparison.results import (
    Result,
    check_same_protocol,
    obtain,
    protocol_differences,
    run_test,
)
from dkp_plugin.evaluation.comparison.runs import check_run, read_runs
from dkp_plugin.host.errors import OptionError
from dkp_plugin.io.images import write_image

COMPLETE = {'a': (30.0, 50.0, 2.0, 100.0), 'b': (20.0, 40.0, 4.0, 120.0)}


def checked(workshop, options):
    """A run whose option file was checked, without results."""
    (run,) = read_runs([workshop.write_options(options)])
    return Result(run, check_run(run))


def test_complete_results_are_taken_as_they_are(workshop, never):
    options = workshop.options()
    workshop.write_results(options, COMPLETE)
    result = obtain(checked(workshop, options), never)
    assert result.failures == []
    assert [record['psnr'] for record in result.records['Tiny'].values()] == [30.0, 20.0]


@pytest.mark.parametrize(
    'case',
    [
        'none',
        'an image short',
        'an image failed',
        'other options',
        'cut off',
        'new metric',
        'another LR image',
        'another truth',
        'another kernel file',
        'another data set',
    ],
)
def test_incomplete_results_are_made(workshop, case):
    options = workshop.options()
    if case == 'an image short':
        workshop.write_results(options, {'a': COMPLETE['a']})
    elif case == 'an image failed':
        workshop.write_metrics(options, [{'image': 'a', 'psnr': 30.0}, {'image': 'b', 'error': 'b: diverged'}])
    elif case == 'other options':
        workshop.write_results(options | {'manual_seed': 4}, COMPLETE)
    elif case == 'cut off':
        path = workshop.write_results(options, COMPLETE)
        path.write_text(path.read_text()[:100])
    elif case == 'new metric':
        workshop.write_results(options, COMPLETE)
        options['val']['metrics']['ssim'] = {'type': 'calculate_ssim', 'crop_border': 2, 'test_y_channel': True}
    elif case in ('another LR image', 'another truth'):
        workshop.write_results(options, COMPLETE)
        folder, size = ('data/HR', (32, 40, 3)) if case == 'another truth' else ('data/gaussian_x2/LR', (16, 20, 3))
        write_image(Path(folder, 'a.png'), np.zeros(size, np.uint8))
    elif case == 'another kernel file':
        options['network_k']['source'] = 'kernel.mat'
        workshop.write_kernel(Path('kernel.mat'))
        workshop.write_results(options, COMPLETE)
        workshop.write_kernel(Path('kernel.mat'))
    elif case == 'another data set':
        workshop.write_results(options, COMPLETE)
        shutil.copytree('data/HR', 'data/other')
        options['datasets']['test_1']['dataroot_gt'] = 'data/other'
    started = []

    def start(run):
        started.append(run.name)
        workshop.write_results(options, COMPLETE)

    result = obtain(checked(workshop, options), start)
    assert started == ['one'] and result.failures == [] and len(result.records['Tiny']) == 2


def test_failed_images_and_runs_are_reported(workshop):
    options = workshop.options()

    def start(run):
        workshop.write_metrics(options, [{'image': 'a', 'psnr': 30.0}, {'image': 'b', 'error': 'b: diverged'}])
        return 'exit status 1: failed: b: diverged'

    result = obtain(checked(workshop, options), start)
    assert result.failures == ['one: Tiny: b: diverged']
    assert list(result.records['Tiny']) == ['a']
    (workshop.folder / 'results/one/metrics/Tiny.json').unlink()
    result = obtain(checked(workshop, options), lambda run: 'exit status 2: error: no disk')
    assert result.failures == ['one: exit status 2: error: no disk']
    assert obtain(checked(workshop, options), lambda run: None).failures == ['one: Tiny: no result for a, b']


def test_results_of_other_options_are_not_shown_for_a_run_that_fails(workshop):
    options = workshop.options()
    workshop.write_results(options | {'manual_seed': 4}, COMPLETE)
    result = obtain(checked(workshop, options), lambda run: 'exit status 2')
    assert result.records['Tiny'] == {}


def test_results_of_another_protocol_are_refused_and_kept(workshop, never):
    options = workshop.options()
    path = workshop.write_results(options, COMPLETE)
    before = path.read_bytes()
    options['val']['metrics']['psnr']['crop_border'] = 4
    result = checked(workshop, options)
    with pytest.raises(OptionError, match=r'Tiny.json: its protocol differs .*metrics: psnr: border: 2 instead of 4'):
        obtain(result, never)
    assert path.read_bytes() == before


def test_option_files_of_different_protocols_are_refused(workshop):
    one, two = workshop.options('one'), workshop.options('two')
    two['val']['metrics']['psnr'] |= {'test_y_channel': False}
    runs = read_runs([workshop.write_options(one), workshop.write_options(two)])
    with pytest.raises(OptionError, match=r'two.yml: .*psnr: channel: all instead of Y \(BT.601\)'):
        check_same_protocol(runs)


def test_protocols_may_differ_in_which_metrics_they_have():
    found = {'rounding': '8 bit', 'metrics': {'psnr': {'border': 4}}}
    assert protocol_differences(found, {'rounding': '8 bit', 'metrics': {'ssim': {'border': 2}}}) == []
    assert protocol_differences(found, {'rounding': 'none', 'metrics': {}}) == ['rounding: 8 bit instead of none']
    assert protocol_differences(found, {'metrics': {'psnr': {'border': 4}}}) == ['rounding: 8 bit instead of None']


def test_basicsr_data_sets_work(workshop, never):
    options = workshop.options()
    options['datasets']['test_1'] = {
        'name': 'Tiny',
        'type': 'PairedImageDataset',
        'dataroot_lq': 'data/gaussian_x2/LR',
        'dataroot_gt': 'data/HR',
        'io_backend': {'type': 'disk'},
    }
    workshop.write_results(options, COMPLETE)
    result = obtain(checked(workshop, options), never)
    assert result.failures == [] and result.data_sets[0].images == ('a', 'b')


def test_metrics_that_are_no_json_of_ours_are_made_again(workshop):
    path = workshop.folder / 'results/one/metrics/Tiny.json'
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps([1, 2]))
    result = obtain(checked(workshop, workshop.options()), lambda run: 'refused')
    assert result.failures[0] == 'one: refused'


def test_the_reason_of_a_failed_run_is_its_last_line_but_for_progress_bars(workshop, monkeypatch):
    code = 'import sys; sys.exit("start\\nOSError: no space\\nbaby:   0%|          | 0/250 [00:00<?, ?step/s]\\n")'
    interpreter = workshop.folder / 'python'
    interpreter.write_text(f"#!/bin/sh\nexec {sys.executable} -c '{code}'\n")
    interpreter.chmod(0o755)
    monkeypatch.setattr(sys, 'executable', str(interpreter))
    assert run_test(checked(workshop, workshop.options()).run) == 'exit status 1: OSError: no space'
