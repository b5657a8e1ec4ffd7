"""A second run keeps the results that are still valid and restores all others again."""

import json
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
import yaml
from basicsr.metrics import calculate_ssim

from dkp_plugin.host.interruption import GRACE
from dkp_plugin.models.blind_sr_model import BlindSRModel


@pytest.fixture
def tested(monkeypatch):
    """Names of the images that were restored, not kept."""
    names, original = [], BlindSRModel.test

    def test(model):
        names.append(model.image_name)
        original(model)

    monkeypatch.setattr(BlindSRModel, 'test', test)
    return names


def files(root):
    """All results; without times."""
    folders = ('visualization', 'kernels', 'curves', 'progress')
    paths = [path for folder in folders for path in sorted((root / 'results/tiny' / folder).rglob('*.*'))]
    return {str(path.relative_to(root)): path.read_bytes() for path in paths}


def metrics(root):
    return json.loads((root / 'results/tiny/metrics/Tiny.json').read_text())


def log(root):
    newest = max((root / 'results/tiny').glob('test_tiny_*.log'), key=lambda path: path.stat().st_mtime_ns)
    return newest.read_text()


def test_nothing_is_done_twice(options, run_again, tmp_path, tested):
    assert run_again(options) == 0
    first, summary = files(tmp_path), metrics(tmp_path)
    assert tested == ['a', 'b', 'c']
    (tmp_path / 'results/tiny/metrics/Tiny.json').unlink()
    assert run_again(options) == 0
    assert tested == ['a', 'b', 'c'] and files(tmp_path) == first and metrics(tmp_path) == summary
    assert 'Tiny: 3 of 3 images are finished in ' in log(tmp_path)
    assert [path.name for path in (tmp_path / 'results').iterdir()] == ['tiny']  # nothing was renamed


def test_another_option_is_named_and_all_is_done_again(options, run_again, tmp_path, tested):
    run_again(options)
    tested.clear()
    assert run_again(options, '--force_yml', 'alternation:num_iter=13') == 0
    assert tested == ['a', 'b', 'c']
    assert 'Tiny: restored again: a, b, c: alternation: num_iter: 12 before, 13 now\n' in log(tmp_path)
    assert {record['num_iter'] for record in metrics(tmp_path)['images']} == {13}


@pytest.mark.parametrize('entry', ['val:pbar=true', 'val:checkpoint_freq=5', 'path:resume_state=~'])
def test_options_that_change_no_result(options, run_again, tested, entry):
    run_again(options)
    tested.clear()
    assert run_again(options, '--force_yml', entry) == 0
    assert tested == []


def test_another_lr_image(options, run_again, tmp_path, benchmark, tested):
    run_again(options)
    tested.clear()
    cv2.imwrite(str(benchmark / 'LR/b.png'), np.full((16, 20, 3), 7, np.uint8))
    assert run_again(options) == 0
    assert tested == ['b'] and 'restored again: b: the LR image has changed\n' in log(tmp_path)


def test_another_content_of_a_kernel_file(options, run_again, tmp_path, benchmark, tested):
    kernel = tmp_path / 'kernel.mat'
    kernel.write_bytes((benchmark / 'kernels/a.mat').read_bytes())
    options['network_k'] = {'type': 'FixedKernel', 'source': str(kernel)}
    run_again(options)
    tested.clear()
    (tmp_path / 'moved.mat').write_bytes(kernel.read_bytes())
    moved = options | {'network_k': {'type': 'FixedKernel', 'source': str(tmp_path / 'moved.mat')}}
    run_again(moved)
    assert tested == []  # the place of the file does not matter
    kernel.write_bytes((benchmark / 'kernels/b.mat').read_bytes())
    run_again(options)
    assert tested == ['a', 'b', 'c'] and 'network_k: source: SHA-256 ' in log(tmp_path)


def test_another_version(options, run_again, tmp_path, tested, monkeypatch):
    run_again(options)
    tested.clear()
    monkeypatch.setattr('dkp_plugin.evaluation.provenance.__version__', '99')
    run_again(options)
    assert tested == ['a', 'b', 'c'] and 'version: 0.1.0 before, 99 now' in log(tmp_path)


def test_other_weights_of_the_package(options, run_again, tmp_path, tested, monkeypatch):
    run_again(options)
    tested.clear()
    monkeypatch.setattr('dkp_plugin.evaluation.provenance.package_weights_digest', lambda: 64 * 'f')
    run_again(options)
    assert tested == ['a', 'b', 'c'] and f'before, {16 * "f"} now' in log(tmp_path)


def test_what_a_killed_process_left_behind_is_removed(options, run_again, tmp_path):
    ended = subprocess.Popen([sys.executable, '-c', ''])
    ended.wait()
    places = {'visualization': 'a_tiny.png', 'kernels': 'b.png', 'records': 'c.json', 'curves': 'a.json'}
    left = [f'{folder}/Tiny/.{name}.{ended.pid}.tmp' for folder, name in places.items()]
    left = [tmp_path / 'results/tiny' / name for name in (*left, f'metrics/.Tiny.json.{ended.pid}.tmp')]
    for path in left:
        path.parent.mkdir(parents=True)
        path.write_bytes(b'half a')
    run_again(options)
    assert not any(path.exists() for path in left) and len(files(tmp_path)) > 0


def test_other_metrics_are_calculated_on_the_results_that_are_there(options, run_again, tmp_path, benchmark, tested):
    run_again(options)
    old, before = metrics(tmp_path), files(tmp_path)
    options['val']['metrics']['ssim'] = {'type': 'calculate_ssim', 'crop_border': 2, 'test_y_channel': True}
    tested.clear()
    assert run_again(options) == 0
    assert tested == [] and files(tmp_path) == before
    for record, old_record in zip(metrics(tmp_path)['images'], old['images'], strict=True):
        paths = f'results/tiny/visualization/Tiny/{record["image"]}_tiny.png', f'data/HR/{record["image"]}.png'
        image, truth = (cv2.imread(str(tmp_path / path)) for path in paths)
        ssim = calculate_ssim(image, truth, crop_border=2, test_y_channel=True)
        assert record.pop('ssim') == pytest.approx(ssim)
        assert record == old_record  # the old figures, calculated once more, to the last digit


def test_a_damaged_result_is_not_measured_but_made_again(options, run_again, tmp_path, tested):
    run_again(options)
    first = files(tmp_path)
    path = tmp_path / 'results/tiny/visualization/Tiny/b_tiny.png'
    path.write_bytes(path.read_bytes()[:-50])
    tested.clear()
    options['val']['metrics']['ncc'] = {'type': 'calculate_kernel_ncc'}
    assert run_again(options) == 0
    assert tested == ['b'] and files(tmp_path) == first and 'b_tiny.png: not a readable image' in log(tmp_path)


def test_another_truth_changes_the_figures_only(options, run_again, tmp_path, benchmark, tested):
    run_again(options)
    old, before = metrics(tmp_path), files(tmp_path)
    cv2.imwrite(str(benchmark / 'HR/b.png'), np.full((32, 40, 3), 7, np.uint8))
    tested.clear()
    run_again(options)
    assert tested == [] and files(tmp_path) == before
    changed = [new['psnr'] != record['psnr'] for new, record in zip(metrics(tmp_path)['images'], old['images'])]  # noqa: B905
    assert changed == [False, True, False]


def test_another_true_kernel_changes_the_oracle(options, run_again, benchmark, tested):
    options['network_k'] = {'type': 'FixedKernel', 'source': 'gt'}
    run_again(options)
    tested.clear()
    (benchmark / 'kernels/b.mat').write_bytes((benchmark / 'kernels/a.mat').read_bytes())
    run_again(options)
    assert tested == ['b']


@pytest.mark.parametrize('lost', ['visualization/Tiny/b_tiny.png', 'kernels/Tiny/b.mat', 'records/Tiny/b.json'])
def test_a_lost_file_is_made_again(options, run_again, tmp_path, tested, lost):
    run_again(options)
    first = files(tmp_path)
    tested.clear()
    (tmp_path / 'results/tiny' / lost).unlink()
    run_again(options)
    assert tested == ['b'] and files(tmp_path) == first


def test_a_failed_image_is_tried_again(options, run_again, tmp_path, benchmark, tested, capsys):
    good = (benchmark / 'LR/b.png').read_bytes()
    (benchmark / 'LR/b.png').write_bytes(good[:-100])
    assert run_again(options) == 1
    assert run_again(options) == 1  # and is reported again
    assert capsys.readouterr().err.count('failed: ') == 2
    (benchmark / 'LR/b.png').write_bytes(good)
    tested.clear()
    assert run_again(options) == 0
    assert tested == ['b'] and [record['image'] for record in metrics(tmp_path)['images']] == ['a', 'b', 'c']


def test_unsaved_images_cannot_be_measured_again(options, run_again, tested, tmp_path):
    options['val']['save_img'] = False
    run_again(options)
    run_again(options)
    assert tested == ['a', 'b', 'c']
    options['val']['metrics']['lr'] = {'type': 'calculate_lr_psnr'}
    run_again(options)
    assert tested == ['a', 'b', 'c'] * 2 and 'no image was saved to measure again' in log(tmp_path)


# Real processes from here on.


@pytest.fixture
def start(options, start_process):
    """Start ``python -m dkp_plugin.test`` on the options, slowed down so that it can be hit in the middle."""
    options['alternation'] = {'num_iter': 40, 'averaging': 0.9}
    options['early_stopping'] = {'method': 'emv', 'window': 5, 'min_iter': 10}
    options['val'] |= {'checkpoint_freq': 5, 'curve_freq': 20}
    options['network_g'] |= {'num_feat': 8, 'num_scales': 3}

    def run(folder):
        folder.mkdir(exist_ok=True)
        (folder / 'options.yml').write_text(yaml.safe_dump(options))
        return start_process('dkp_plugin.test', '-opt', 'options.yml', folder=folder)

    return run


def without_seconds(results):
    """Progress shows the seconds of each row."""
    progress = {name: content for name, content in results.items() if '/progress/' in name}
    return results | {name: [row | {'seconds': 0} for row in json.loads(progress[name])] for name in progress}


def test_kill_9_and_on_again_gives_the_same_bytes(start, tmp_path):
    assert start(tmp_path / 'whole').wait() == 0
    expected = without_seconds(files(tmp_path / 'whole'))
    assert len(expected) == 3 * 5

    broken, checkpoint = tmp_path / 'broken', tmp_path / 'broken/results/tiny/checkpoints/Tiny/b/search.pt'
    process = start(broken)
    process.wait_until(checkpoint.exists)
    process.stop(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    kept = files(broken)
    assert 'results/tiny/visualization/Tiny/a_tiny.png' in kept
    assert 'results/tiny/visualization/Tiny/b_tiny.png' not in kept

    process = start(broken)
    assert process.wait() == 0 and 'Tiny: 1 of 3 images are finished' in process.read()
    assert 'resuming after iteration ' in process.read()
    assert without_seconds(files(broken)) == expected
    assert not checkpoint.exists()


@pytest.mark.parametrize(('signum', 'status'), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_stops(start, tmp_path, signum, status, options):
    options['val'] |= {'checkpoint_freq': 0, 'curve_freq': 0}  # so that only the signal saves
    options['alternation']['num_iter'] = 100_000
    process = start(tmp_path / 'work')
    process.wait_until(lambda: 'Tiny 1/3' in process.read())
    time.sleep(0.2)  # into the loop
    seconds = process.stop(signum)
    assert process.wait() == status
    assert seconds < GRACE + 1 + process.seconds_to_start  # five seconds, more on a busy machine
    assert process.read().splitlines()[-1] == 'interrupted; finished results are kept, rerun the same command to resume'
    assert [path.name for path in (tmp_path / 'work/results/tiny/checkpoints/Tiny').rglob('*.pt')] == ['search.pt']
