"""File names whose bytes are no text: restored, recorded and printed like all others."""

import json
import os
from pathlib import Path

import pytest

import dkp_restore

NAME = os.fsdecode(b'caf\xe9')


@pytest.fixture
def photographs(benchmark):
    """The LR images alone; one of them has such a name."""
    folder = benchmark / 'LR'
    try:
        (folder / 'a.png').rename(folder / f'{NAME}.png')
    except OSError:
        pytest.skip('this file system takes no such name')
    return folder


@pytest.mark.parametrize('dataset', ['BlindSRDataset', 'SingleImageDataset'])
def test_test_pipeline(dataset, photographs, options, run_test, tmp_path):
    block = {'name': 'Tiny', 'type': dataset, 'dataroot_lq': str(photographs), 'io_backend': {'type': 'disk'}}
    options |= {'datasets': {'test_1': block}, 'network_k': {'type': 'FixedKernel', 'source': 'delta'}}
    options |= {'network_g': {'type': 'ClosedForm'}}
    options.pop('alternation')
    options['val']['metrics'] = {'lr_psnr': {'type': 'calculate_lr_psnr'}}
    assert run_test(options) == 0
    results = tmp_path / 'results/tiny'
    images = json.loads((results / 'metrics/Tiny.json').read_text())['images']
    assert {image['image'] for image in images} == {NAME, 'b', 'c'} and not any('error' in image for image in images)
    assert (results / f'visualization/Tiny/{NAME}_tiny.png').is_file()
    log = next(results.glob('*.log')).read_text(encoding='utf-8')
    assert 'caf\\udce9' in log and 'Logging error' not in log


def test_photographs(photographs, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path('cheap.yml').write_text(
        'model_type: BlindSRModel\nscale: 2\n'
        'network_k: {type: FixedKernel, source: delta}\nnetwork_g: {type: ClosedForm}\n'
    )
    for word in ('done', 'skipped'):
        assert dkp_restore.main([str(photographs), '--opt', 'cheap.yml', '--report']) == 0
        assert f'3 {word} in' in capsys.readouterr().out
    assert Path('restored', f'{NAME}.png').is_file()
    assert 'caf\\udce9.png' in Path('restored/report.html').read_text(encoding='utf-8')
