"""What goes wrong with one image, or with the machine, costs that image and one line; the others are done."""

import errno
import json
from pathlib import Path

import pytest
import torch

from dkp_plugin.engine import alternation
from dkp_plugin.io.images import decode_image
from dkp_plugin.models import blind_sr_model
from dkp_plugin.models.blind_sr_model import BlindSRModel


def finished(root):
    return sorted(path.name for path in (root / 'results/tiny/visualization/Tiny').glob('*'))


def records(root):
    return json.loads((root / 'results/tiny/metrics/Tiny.json').read_text())['images']


def no_space(path):
    raise OSError(errno.ENOSPC, 'No space left on device', str(path))


@pytest.mark.parametrize('writer', ['write_photo', 'write_kernel', 'write_json'])
def test_a_disk_that_is_full_for_a_while(options, run_test, tmp_path, monkeypatch, capsys, writer):
    original = getattr(blind_sr_model, writer)

    def fail(path, *rest):
        return no_space(path) if path.name.startswith('b') else original(path, *rest)

    monkeypatch.setattr(blind_sr_model, writer, fail)
    assert run_test(options) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith('failed: ')]
    assert line.startswith('failed: b: No space left on device: ') and '/b' in line
    assert [name for name in finished(tmp_path) if name != 'b_tiny.png'] == ['a_tiny.png', 'c_tiny.png']
    assert 'psnr' in records(tmp_path)[2]


def test_a_disk_that_stays_full(options, run_test, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr('dkp_plugin.evaluation.records.write_json', lambda path, *_: no_space(path))
    assert run_test(options) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith('error: ') and 'No space left on device' in last
    assert finished(tmp_path) == ['a_tiny.png', 'b_tiny.png', 'c_tiny.png']


def test_an_input_that_vanishes(options, run_test, tmp_path, benchmark, monkeypatch, capsys):
    original = BlindSRModel.test

    def test(model):
        (benchmark / 'LR/b.png').unlink(missing_ok=True)
        original(model)

    monkeypatch.setattr(BlindSRModel, 'test', test)
    assert run_test(options) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith('failed: ') and 'b.png' in last
    assert finished(tmp_path) == ['a_tiny.png', 'c_tiny.png']


ERRORS = [
    torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 20.00 GiB.\nOf the allocated memory ...'),
    MemoryError(),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: ..."),
]


@pytest.mark.parametrize('error', ERRORS, ids=lambda error: type(error).__name__)
def test_an_image_too_large_for_the_memory(options, run_test, tmp_path, monkeypatch, capsys, error):
    def alternate(estimator, restorer, lq, *arguments, **keywords):
        if lq.flatten()[0] == lq_of_b:
            raise error
        return alternation.alternate(estimator, restorer, lq, *arguments, **keywords)

    options['degradation'] = {'border': 'periodic'}  # so that the first pixel is that of the image
    lq_of_b = decode_image(Path(options['datasets']['test_1']['dataroot_lq'], 'b.png').read_bytes(), 'b').flatten()[0]
    monkeypatch.setattr('dkp_plugin.engine.image_job.alternate', alternate)
    assert run_test(options) == 1
    assert capsys.readouterr().err.splitlines()[-1] == 'failed: b: cpu has too little memory for 40x32 pixels'
    assert finished(tmp_path) == ['a_tiny.png', 'c_tiny.png']


def test_other_errors_are_not_hidden(options, run_test, monkeypatch):
    def alternate(*arguments, **keywords):
        raise RuntimeError('mat1 and mat2 shapes cannot be multiplied')

    monkeypatch.setattr('dkp_plugin.engine.image_job.alternate', alternate)
    with pytest.raises(RuntimeError, match='mat1 and mat2'):
        run_test(options)
