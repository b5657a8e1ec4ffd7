"""The command as it is typed: what it writes, what it says, how it ends."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch

import dkp_plugin
from dkp_plugin.engine.confidence import Confidence, Inspection
from dkp_plugin.engine.restoration import Result
from dkp_plugin.host.interruption import GRACE
from dkp_plugin.io.kernel_files import read_kernel
from dkp_plugin.io.photo_files import read_photo, write_photo
from dkp_plugin.photos.command import describe
from dkp_plugin.photos.presets import Choices, make_options
from dkp_restore import main

CHEAP = """
model_type: BlindSRModel
scale: 2
network_k: {type: FixedKernel, source: delta}
network_g: {type: ClosedForm}
"""
LONG = """
model_type: BlindSRModel
scale: 2
network_k: {type: DoubleDIP, num_units: 10}
network_g: {type: DIP, num_feat: 4, num_skip: 2, num_scales: 2, non_local_scales: [2], precision: float32}
alternation: {num_iter: 100000}
"""


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of three photographs of 24x20, 20x24 and 16x16 pixels, one of them in a folder of its own."""
    folder = tmp_path / 'photos'
    image = skimage.data.astronaut()
    write_photo(folder / 'a.png', image[100:124, 200:220])
    write_photo(folder / 'é 中文' / 'b c.jpg', image[120:140, 200:224])
    write_photo(folder / 'deep.tif', (image[140:156, 200:216] * np.uint16(257)))
    return folder


@pytest.fixture
def options(tmp_path: Path) -> Path:
    """An option file of something that takes milliseconds."""
    (tmp_path / 'cheap.yml').write_text(CHEAP)
    return tmp_path / 'cheap.yml'


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob('*.png')}


def test_a_photograph_of_another_format_is_not_overwritten(photos, options, capsys):
    write_photo(photos / 'a.jpg', np.full((20, 20, 3), 100, np.uint8))
    before = (photos / 'a.png').read_bytes()
    assert run(photos / 'a.jpg', '-o', photos, '--opt', options) == 2
    error = f'error: {photos}/a.png: already exists and is not from an earlier run; --overwrite replaces it\n'
    assert capsys.readouterr().err == error
    assert (photos / 'a.png').read_bytes() == before and not (photos / '.dkp').exists()


def test_a_run_that_ended_between_result_and_record_is_repeated(photos, options, tmp_path, monkeypatch, capsys):
    out = tmp_path / 'out'

    def fail(*_):
        raise OSError('no space left on device')

    with monkeypatch.context() as context:
        context.setattr('dkp_plugin.photos.command.write_json', fail)
        assert run(photos / 'a.png', '-o', out, '--opt', options) == 1
    assert (out / 'a.png').exists()
    assert run(photos / 'a.png', '-o', out, '--opt', options) == 0
    assert '1 done in' in capsys.readouterr().out


def test_other_weights_of_the_package_make_results_anew(photos, options, tmp_path, monkeypatch, capsys):
    for digest, status in (('1', 'done'), ('1', 'skipped'), ('2', 'done')):
        monkeypatch.setattr('dkp_plugin.photos.command.package_weights_digest', lambda digest=digest: digest)
        assert run(photos / 'a.png', '-o', tmp_path / 'out', '--opt', options) == 0
        assert f'1 {status} in' in capsys.readouterr().out


def test_a_cautious_result_is_told_in_the_line_of_the_image(photos, tmp_path, monkeypatch, capsys):
    def restore(restoration, lq, name, *_):
        x = restoration.enlarge(lq)
        confidence = Confidence(50.0, None, 1.0, 0.25, ['it looks sharpened'])
        kernel = torch.ones(1, 1, 3, 3) / 9
        return Result(
            x, kernel, restoration.degradation, Inspection(0.0), confidence, 1, 1, None, [], stages={}, seconds=1.0
        )

    monkeypatch.setattr('dkp_plugin.engine.restoration.Restoration.__call__', restore)
    assert run(photos / 'a.png', '-o', tmp_path / 'out', '--scale', 2, '--report') == 0
    assert ', confidence low (it looks sharpened), strength 0.25\n' in capsys.readouterr().out
    assert '; strength 0.25, the rest is plain enlargement' in (tmp_path / 'out/report.html').read_text()
    assert run(photos / 'a.png', '-o', tmp_path / 'all', '--scale', 2, '--strength', 1) == 0
    assert ', confidence low (it looks sharpened)\n' in capsys.readouterr().out


def test_what_a_killed_process_left_behind_is_removed(photos, options, tmp_path):
    ended = subprocess.Popen([sys.executable, '-c', ''])
    ended.wait()
    places = ['.dkp/.a.png.json.{}.tmp', '.a.png.{}.tmp', '.a_kernel.mat.{}.tmp', '.report.html.{}.tmp']
    left = [tmp_path / 'out' / place.format(ended.pid) for place in places]
    (tmp_path / 'out/.dkp').mkdir(parents=True)
    for path in left:
        path.write_bytes(b'half a')
    assert run(photos / 'a.png', '-o', tmp_path / 'out', '--opt', options) == 0
    assert not any(path.exists() for path in left) and (tmp_path / 'out/a.png').exists()


def test_a_folder_is_restored_and_a_second_run_skips_it(photos, options, tmp_path, capsys):
    out = tmp_path / 'out'
    assert run(photos, '-o', out, '--opt', options, '--save-kernel') == 0
    text = capsys.readouterr()
    assert re.search(r'x2, FixedKernel delta with ClosedForm, on .*; images: 3', text.err)
    assert f'b c.jpg -> {out}/é 中文/b c.png, 48x40' in text.out and '3 done in' in text.out
    deep = read_photo(out / 'deep.png').pixels
    assert deep.shape == (32, 32, 3) and deep.dtype == np.uint16 and deep.max() > 255
    kernel = read_kernel(out / 'é 中文' / 'b c_kernel.mat', 'aligned')
    assert kernel.shape == (1, 1, 11, 11) and (out / 'a_kernel.png').exists()

    before = contents(out)
    assert run(photos, '-o', out, '--opt', options, '--save-kernel') == 0
    assert '3 skipped' in capsys.readouterr().out
    (out / 'a.png').unlink()
    assert run(photos, '-o', out, '--opt', options, '--save-kernel') == 0
    assert '1 done, 2 skipped' in capsys.readouterr().out
    assert contents(out) == before
    options.write_text(CHEAP + 'val: {checkpoint_freq: 7, suffix: x}\n')  # options that change no result
    assert run(photos, '-o', out, '--opt', options, '--save-kernel') == 0
    assert '3 skipped' in capsys.readouterr().out
    assert run(photos, '-o', out, '--opt', options, '--noise', 5) == 0  # other options, other results
    assert '3 done' in capsys.readouterr().out


def test_one_bad_image_costs_only_itself(photos, options, tmp_path, capsys):
    (photos / 'bad.png').write_bytes((photos / 'a.png').read_bytes()[:200])
    write_photo(photos / 'small.png', np.zeros((8, 40, 3), np.uint8))
    assert run(photos, photos / 'gone.png', '-o', tmp_path / 'out', '--opt', options) == 1
    text = capsys.readouterr()
    failures = [line for line in text.err.splitlines() if line.startswith('failed: ')]
    assert len(failures) == 3 and 'Traceback' not in text.err
    assert 'bad.png: not a readable image' in failures[0]
    assert 'small.png: small: 40x8 pixels are too few; allowed: at least 16x16' in failures[1]
    assert 'gone.png: No such file' in failures[2]
    assert '3 done, 3 failed' in text.out
    assert sorted(contents(tmp_path / 'out')) == ['a.png', 'deep.png', 'é 中文/b c.png']


def test_json_has_a_line_for_each_image_and_quiet_has_none(photos, options, tmp_path, capsys):
    assert run(photos, '-o', tmp_path / 'out', '--opt', options, '--json') == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [record['status'] for record in records] == ['done'] * 3
    assert {(record['width'], record['height']) for record in records} == {(40, 48), (48, 40), (32, 32)}
    assert all(record['confidence']['lr_psnr'] > 30 for record in records)
    assert run(photos, '-o', tmp_path / 'other', '--opt', options, '--quiet') == 0
    text = capsys.readouterr()
    assert text.out == text.err == ''


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--kernel', 'box'], 'kernel: box is not possible with fast-dkp; allowed: auto, gaussian, disc, line'),
        (['--noise', 'much'], "noise: 'much' is not allowed"),
        (['--device', 'cuda:77'], 'device: cuda:77 is not available'),
        (['--tile', '12'], 'tile: 12 is not allowed'),
        (['--opt', 'OPT', '--method', 'dip-dkp'], '--method: not allowed together with --opt'),
        (['--opt', 'missing.yml'], 'missing.yml: No such file'),
        (['--kernel', 'k.npy'], 'k.npy: No such file'),
    ],
)
def test_mistakes_end_with_status_2_and_one_line(arguments, message, photos, options, tmp_path, capsys):
    arguments = [str(options) if argument == 'OPT' else argument for argument in arguments]
    status = run(photos / 'a.png', '-o', tmp_path / 'out', *arguments)
    text = capsys.readouterr().err
    assert message in text and text.count('\n') == 1
    assert status == 2 and not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
    ('right', 'wrong', 'message'),
    [
        ('source', 'sauce', ':4: network_k: sauce: unknown key of FixedKernel, did you mean source?'),
        ('network_g', 'network_q', ':5: network_q: unknown key, did you mean network_k?'),
        ('scale: 2', 'scale: 5', ':3: scale: 5 is not allowed: input should be 1, 2, 3, 4 or 8'),
    ],
)
def test_a_wrong_option_is_reported_with_file_and_line(right, wrong, message, photos, tmp_path, capsys):
    (tmp_path / 'wrong.yml').write_text(CHEAP.replace(right, wrong))
    assert run(photos, '-o', tmp_path / 'out', '--opt', tmp_path / 'wrong.yml') == 2
    assert f'wrong.yml{message}' in capsys.readouterr().err


def test_processes_share_the_images_and_make_the_same_files(photos, options, tmp_path, monkeypatch):
    assert run(photos, '-o', tmp_path / 'one', '--opt', options) == 0
    monkeypatch.setenv('WORLD_SIZE', '2')
    numbers = []
    for rank in '01':
        monkeypatch.setenv('RANK', rank)
        assert run(photos, '-o', tmp_path / 'two', '--opt', options) == 0
        numbers.append(len(contents(tmp_path / 'two')))
    assert numbers[0] in (1, 2) and numbers[1] == 3
    assert contents(tmp_path / 'one') == contents(tmp_path / 'two')


def test_images_are_restored_at_once_and_make_the_same_files(photos, options, tmp_path, capsys):
    (photos / 'bad.png').write_bytes((photos / 'a.png').read_bytes()[:200])
    assert run(photos, '-o', tmp_path / 'one', '--opt', options) == 1
    capsys.readouterr()
    arguments = photos, '-o', tmp_path / 'two', '--opt', options, '--device', 'cpu', '-j', 2
    assert run(*arguments, '--report') == 1
    text = capsys.readouterr()
    assert 'on cpu, in 2 processes; images: 4' in text.err
    assert text.err.count('failed: ') == 1 and 'bad.png: not a readable image' in text.err
    assert text.out.count(' -> ') == 3 and re.search('3 done, 1 failed in .*, report.html', text.out)
    assert (tmp_path / 'two/report.html').read_text(encoding='utf-8').count('data:image/webp;base64,') == 6
    assert contents(tmp_path / 'one') == contents(tmp_path / 'two')
    assert run(*arguments, '--json') == 1
    statuses = [json.loads(line)['status'] for line in capsys.readouterr().out.splitlines()]
    assert sorted(statuses) == ['failed', 'skipped', 'skipped', 'skipped']


def test_a_signal_stops_all_processes_which_keep_their_state(photos, tmp_path, start_process):
    options = tmp_path / 'long.yml'
    options.write_text(LONG + 'val: {checkpoint_freq: 10}\n')
    out = tmp_path / 'out'
    process = start_process('dkp_restore', photos, '-o', out, '--opt', options, '--device', 'cpu', '-j', 2, '--quiet')
    process.wait_until(lambda: len(list((out / '.dkp').rglob('*.pt'))) == 2)  # both are in the loop
    seconds = process.stop(signal.SIGTERM)
    assert process.wait() == 143 and seconds < GRACE + 1 + process.seconds_to_start
    assert process.read() == 'interrupted; finished results are kept, rerun the same command to resume\n'
    assert len(list((out / '.dkp').rglob('*.pt'))) == 2 and not list(out.rglob('*.png'))


def test_the_report_is_one_page_that_needs_nothing(photos, options, tmp_path):
    write_photo(photos / '<img src=x>.png', np.full((16, 16, 4), 77, np.uint8))
    assert run(photos, '-o', tmp_path / 'out', '--opt', options, '--report') == 0
    page = (tmp_path / 'out/report.html').read_text(encoding='utf-8')
    assert page.count('data:image/webp;base64,') == 8 and page.count('data:image/png;base64,') == 4
    assert '&lt;img src=x&gt;' in page and '<img src=x>' not in page
    assert not re.search(r'(src|href)="(?!data:)', page) and '://' not in page
    assert 'type: ClosedForm' in page


@pytest.mark.parametrize(('signum', 'status'), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_within_five_seconds(signum, status, photos, tmp_path, start_process):
    (tmp_path / 'long.yml').write_text(LONG)
    arguments = photos / 'a.png', '-o', tmp_path / 'out', '--opt', tmp_path / 'long.yml'
    process = start_process('dkp_restore', *arguments)
    process.wait_until(lambda: process.read().startswith('dkp-restore '))  # it has begun
    time.sleep(0.2)  # into the loop
    seconds = process.stop(signum)
    assert process.wait() == status
    assert seconds < GRACE + 1 + process.seconds_to_start  # five seconds, more on a busy machine
    lines = [line for line in process.read().splitlines()[1:] if 'kernel estimate' not in line]
    assert lines == ['interrupted; finished results are kept, rerun the same command to resume']
    assert not list((tmp_path / 'out').rglob('*.png'))


def test_after_a_kill_the_rest_is_done_with_the_same_bytes(photos, tmp_path, start_process):
    options = tmp_path / 'short.yml'
    options.write_text(LONG.replace('100000', '30'))
    arguments = ['--opt', options, '--device', 'cpu']
    process = start_process('dkp_restore', photos, '-o', tmp_path / 'killed', *arguments)
    process.wait_until(lambda: list((tmp_path / 'killed').rglob('*.json')))
    process.stop(signal.SIGKILL)
    num_done = len(list((tmp_path / 'killed/.dkp').rglob('*.json')))
    assert 1 <= num_done <= 3
    assert run(photos, '-o', tmp_path / 'killed', *arguments) == 0
    assert run(photos, '-o', tmp_path / 'whole', *arguments) == 0
    assert contents(tmp_path / 'killed') == contents(tmp_path / 'whole')


def test_an_image_that_was_interrupted_continues_from_its_last_state(photos, tmp_path, start_process):
    options = tmp_path / 'short.yml'
    options.write_text(LONG.replace('100000', '60') + 'val: {checkpoint_freq: 10}\n')
    arguments = [photos / 'a.png', '--opt', options, '--device', 'cpu']
    process = start_process('dkp_restore', *arguments, '-o', tmp_path / 'broken')
    process.wait_until(lambda: list((tmp_path / 'broken/.dkp').rglob('*.pt')))
    process.stop(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL and not list((tmp_path / 'broken').rglob('*.png'))
    process = start_process('dkp_restore', *arguments, '-o', tmp_path / 'broken')
    assert process.wait() == 0 and re.search(r'resuming after iteration \d+0, from', process.read())
    assert run(*arguments, '-o', tmp_path / 'whole') == 0
    assert contents(tmp_path / 'broken') == contents(tmp_path / 'whole')
    assert not list((tmp_path / 'broken/.dkp').rglob('*.pt'))


def test_a_mask_of_another_size_fails_its_image_in_one_line(photos, options, tmp_path, capsys):
    write_photo(tmp_path / 'mask.png', np.full((24, 20, 1), 255, np.uint8))
    out = tmp_path / 'out'
    assert run(photos / 'a.png', photos / 'deep.tif', '-o', out, '--opt', options, '--mask', tmp_path / 'mask.png') == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith('failed')]
    assert lines == [f'failed: {photos / "deep.tif"}: mask: 20x24 pixels; allowed: 16x16, as the image']
    assert (out / 'a.png').exists()
    assert run(photos / 'a.png', '-o', out, '--opt', options, '--mask', tmp_path / 'none.png') == 2
    assert 'none.png: No such file' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('choice', 'methods'),
    [
        ({}, 'EvidenceDKP auto with OnePass, then Unfolded'),
        ({'preset': 'best', 'kernel': 'k.npy'}, 'FixedKernel k.npy with Unfolded'),
        ({'method': 'diff-dkp'}, 'EvidenceDKP gaussian with Diffusion'),
    ],
)
def test_the_first_line_names_the_methods(choice, methods):
    line = describe(make_options(Choices(**choice)), 3, torch.device('cuda'), 2)
    assert line == f'dkp-restore {dkp_plugin.__version__}: x4, {methods}, on cuda, in 2 processes; images: 3'
