"""The records of a run and their summary."""

import json
import math
import sys

import pytest
import torch

from dkp_plugin.evaluation.provenance import options_hash
from dkp_plugin.evaluation.records import Records, peak_memory, protocol, read_image_record, record_path

METRICS = {'psnr': {'type': 'calculate_psnr', 'crop_border': 4, 'test_y_channel': True}}
OPT = {'scale': 2, 'datasets': {'test_1': {'name': 'Tiny'}}, 'val': {'metrics': METRICS}}


@pytest.fixture
def records(tmp_path):
    return Records(tmp_path, 'Tiny', ['a', 'x/b', 'c'], OPT)


def test_protocol_says_channel_and_border():
    assert protocol(METRICS | {'niqe': {'type': 'calculate_niqe'}}) == {
        'rounding': '8 bit',
        'gt_crop': 'top left, to scale times the LR image',
        'metrics': {
            'psnr': {'type': 'calculate_psnr', 'channel': 'Y (BT.601)', 'border': 4},
            'niqe': {'type': 'calculate_niqe', 'channel': 'all', 'border': 0},
        },
    }


def test_a_record_is_read_as_it_was_written(records, tmp_path):
    records.add({'image': 'x/b', 'psnr': 30.0}, {'version': '1'})
    assert (tmp_path / 'records/Tiny/x/b.json').is_file()
    assert read_image_record(tmp_path, 'Tiny', 'x/b') == ({'image': 'x/b', 'psnr': 30.0}, {'version': '1'})


@pytest.mark.parametrize(
    'content',
    [
        None,
        '',
        '[]',
        '{"record": {}}',
        '{"record": 3, "made_from": {}}',
        '{"record": {"image": "a", "error": "a: diverged"}, "made_from": {"version": "1"}}',
    ],
)
def test_an_image_that_is_not_finished_has_no_record(content, tmp_path):
    if content is not None:
        path = record_path(tmp_path, 'Tiny', 'a')
        path.parent.mkdir(parents=True)
        path.write_text(content)
    assert read_image_record(tmp_path, 'Tiny', 'a') == ({}, {})


def test_records_come_in_the_order_of_the_images(records):
    for name in ('c', 'a'):
        records.add({'image': name}, {})
    assert [record['image'] for record in records.images] == ['a', 'c']


def test_means_are_of_the_finite_figures(records):
    records.add({'image': 'a', 'psnr': 30.0, 'seconds': 1.0, 'other': 5.0}, {})
    records.add({'image': 'x/b', 'psnr': math.inf, 'seconds': 2.0}, {})
    records.add({'image': 'c', 'psnr': 20.0, 'seconds': None}, {})
    assert records.means() == {'psnr': 25.0, 'seconds': 1.5}


def test_without_a_finite_figure_there_is_no_mean(records):
    records.add({'image': 'a', 'psnr': math.inf}, {})
    assert records.means() == {}


def test_records_of_other_processes_are_adopted_if_they_stand(records, tmp_path):
    other = Records(tmp_path, 'Tiny', records.image_names, OPT)
    other.add({'image': 'a', 'psnr': 1.0}, {'version': '1'})
    other.add({'image': 'x/b', 'psnr': 2.0}, {'version': '0'})
    other.add({'image': 'c', 'psnr': 3.0}, {'version': '1'})
    records.add({'image': 'c', 'psnr': 4.0}, {'version': '1'})  # its own stays
    records.adopt({name: {'version': '1'} for name in records.image_names})
    assert {record['image']: record['psnr'] for record in records.images} == {'a': 1.0, 'c': 4.0}


def test_the_summary_is_json_with_the_contracts_keys(records, tmp_path):
    records.add({'image': 'a', 'psnr': math.inf, 'seconds': 1.0}, {})
    records.write_summary()
    text = (tmp_path / 'metrics/Tiny.json').read_text()
    content = json.loads(text, parse_constant=lambda constant: pytest.fail(f'{constant} is no JSON'))
    assert list(content) == ['images', 'means', 'protocol', 'options_hash', 'versions']
    assert content['images'] == [{'image': 'a', 'psnr': None, 'seconds': 1.0}] and content['means'] == {'seconds': 1.0}
    assert content['options_hash'] == options_hash(OPT, 'Tiny') and content['protocol'] == protocol(METRICS)
    assert content['versions']['torch'].split('+')[0] == torch.__version__.split('+')[0]  # metadata may lack the build


@pytest.mark.skipif(sys.platform != 'linux', reason='reads /proc')
def test_peak_memory_is_that_of_the_process():
    with open('/proc/self/status') as file:
        (line,) = [line for line in file if line.startswith('VmHWM:')]
    assert peak_memory(torch.device('cpu')) == pytest.approx(int(line.split()[1]) / 1024, rel=0.05)


def test_the_summary_is_written_at_intervals(records, tmp_path, monkeypatch):
    now = records.last_summary
    monkeypatch.setattr('dkp_plugin.evaluation.records.time.monotonic', lambda: now)
    path = tmp_path / 'metrics/Tiny.json'
    records.write_summary_sometimes()
    assert not path.exists()
    now += 11
    records.write_summary_sometimes()
    assert path.exists()
    path.unlink()
    now += 5
    records.write_summary_sometimes()
    assert not path.exists()
