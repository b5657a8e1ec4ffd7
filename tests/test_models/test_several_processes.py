"""The images of a test shared among real processes: the same bytes and the same table as one process."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

OUTPUTS = ('visualization', 'kernels', 'curves')
NOT_COMPARED = ('seconds', 'peak_memory_mib')


@pytest.fixture
def folder(options, benchmark, tmp_path):
    """An option file for five images of two sizes."""
    for name, twin in (('d', 'a'), ('e', 'b')):
        for path in benchmark.glob(f'*/{twin}.*'):
            shutil.copy(path, path.with_stem(name))
    options['alternation'] = {'num_iter': 30}
    folder = tmp_path / 'work'
    folder.mkdir()
    (folder / 'options.yml').write_text(yaml.safe_dump(options))
    return folder


@pytest.fixture
def start(folder, start_process):
    """Start the test pipeline as process ``rank`` of ``world_size``, or alone."""

    def run(rank=0, world_size=1, port=0):
        # As many threads in each case: sums over several threads are rounded in another order on some processors.
        arguments = ['dkp_plugin.test', '-opt', 'options.yml']
        if world_size == 1:
            return start_process(*arguments, folder=folder, num_threads=1)
        group = {'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': port, 'RANK': rank, 'LOCAL_RANK': rank}
        group['WORLD_SIZE'] = world_size
        return start_process(*arguments, '--launcher', 'pytorch', folder=folder, num_threads=1, **group)

    return run


@pytest.fixture
def start_group(start):
    """Start so many processes with the variables that torchrun sets."""

    def run(num):
        with socket.socket() as free:
            free.bind(('127.0.0.1', 0))
            port = free.getsockname()[1]
        return [start(rank, num, port) for rank in range(num)]

    return run


def outputs(folder: Path) -> dict[str, bytes]:
    root = folder / 'results/tiny'
    return {str(p.relative_to(root)): p.read_bytes() for name in OUTPUTS for p in (root / name).rglob('*.*')}


def table(folder: Path) -> list[dict]:
    content = json.loads((folder / 'results/tiny/metrics/Tiny.json').read_text())
    means = {name: value for name, value in content['means'].items() if name not in NOT_COMPARED}
    return [
        means,
        *({key: value for key, value in row.items() if key not in NOT_COMPARED} for row in content['images']),
    ]


@pytest.fixture
def expected(folder, start):
    """The results and the table of one process; the results are removed."""
    assert start().wait() == 0
    found = outputs(folder), table(folder)
    assert len(found[0]) == 5 * 4 and len(found[1]) == 6
    shutil.rmtree(folder / 'results')
    return found


def test_two_and_three_processes_one_of_them_killed(expected, folder, start_group):
    processes = start_group(2)
    assert [process.wait() for process in processes] == [0, 0], processes[0].read()
    assert (outputs(folder), table(folder)) == expected

    shutil.rmtree(folder / 'results')
    processes = start_group(3)
    records = folder / 'results/tiny/records/Tiny'
    processes[2].wait_until(lambda: list(records.glob('*.json')))
    processes[2].stop(signal.SIGKILL)
    for process in processes[:2]:  # as torchrun ends the others
        process.kill()
    assert all(process.wait() != 0 for process in processes)
    done = {path.stem for path in records.glob('*.json')}

    kept = {name: (records / f'{name}.json').stat().st_mtime_ns for name in done}
    processes = start_group(3)
    assert [process.wait() for process in processes] == [0, 0, 0], processes[0].read()
    assert (outputs(folder), table(folder)) == expected
    assert {name: (records / f'{name}.json').stat().st_mtime_ns for name in done} == kept


def test_processes_of_a_job_array_need_no_group(options, run_again, tmp_path, monkeypatch):
    for rank in (1, 0):
        monkeypatch.setenv('RANK', str(rank))
        monkeypatch.setenv('WORLD_SIZE', '2')
        assert run_again(options) == 0
        names = {path.stem for path in (tmp_path / 'results/tiny/records/Tiny').iterdir()}
        assert names == ({'b'} if rank == 1 else {'a', 'b', 'c'})
    assert [row['image'] for row in table(tmp_path)[1:]] == ['a', 'b', 'c']


def test_torchrun_and_a_failed_image_of_another_process(folder, benchmark):
    (benchmark / 'LR/b.png').write_bytes(b'no image')
    command = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2']
    command += ['-m', 'dkp_plugin.test', '-opt', 'options.yml', '--launcher', 'pytorch']
    command += ['--force_yml', 'alternation:num_iter=2']
    environment = os.environ | {'OMP_NUM_THREADS': '1', 'PYTHONWARNINGS': 'ignore'}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert sum(line.startswith('failed: ') and 'LR/b.png: not a readable' in line for line in lines) == 1
    assert [row['image'] for row in table(folder)[1:] if 'error' in row] == ['b']
