"""The images of a test shared among real processes: the same bytes and the same table as one process."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

OUTPUTS = ('visualization', 'kernels', 'curves')
NOT_COMPARED = ('seconds', 'peak_memory_mib')
# As many threads in each case: sums over several threads are rounded in another order on some processors.
ENVIRONMENT = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONWARNINGS': 'ignore'}


@pytest.fixture
def folder(options, benchmark, tmp_path):
    """An option file for five images of two sizes."""
    for name, twin in (('d', 'a'), ('e', 'b')):
        for path in benchmark.glob(f'*/{twin}.*'):
            shutil.copy(path, path.with_stem(name))
    options['alternation'] = {'num_iter': 30}
    (tmp_path / 'options.yml').write_text(yaml.safe_dump(options))
    return tmp_path


def torchrun(folder: Path, num: int, *arguments: str) -> subprocess.Popen:
    command = [sys.executable, '-m', 'torch.distributed.run', '--standalone', f'--nproc_per_node={num}', *arguments]
    command += ['-m', 'dkp_plugin.test', '-opt', 'options.yml', '--launcher', 'pytorch']
    return subprocess.Popen(command, cwd=folder, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)


def run_alone(folder: Path) -> int:
    command = [sys.executable, '-m', 'dkp_plugin.test', '-opt', 'options.yml']
    return subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, check=False).returncode


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


def test_two_and_three_processes_one_of_them_killed(folder, tmp_path):
    assert run_alone(folder) == 0
    expected, expected_table = outputs(folder), table(folder)
    assert len(expected) == 5 * 4 and len(expected_table) == 6

    shutil.rmtree(folder / 'results')
    process = torchrun(folder, 2)
    _, error = process.communicate(timeout=240)
    assert process.returncode == 0, error
    assert outputs(folder) == expected and table(folder) == expected_table

    shutil.rmtree(folder / 'results')
    process = torchrun(folder, 3)
    records = folder / 'results/tiny/records/Tiny'
    deadline = time.monotonic() + 240
    while len(list(records.glob('*.json'))) < 1:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.005)
    os.kill(worker(process.pid, rank=2), signal.SIGKILL)
    process.communicate(timeout=240)
    assert process.returncode != 0
    done = {path.stem for path in records.glob('*.json')}

    kept = {name: (records / f'{name}.json').stat().st_mtime_ns for name in done}
    process = torchrun(folder, 3)
    _, error = process.communicate(timeout=240)
    assert process.returncode == 0, error
    assert outputs(folder) == expected and table(folder) == expected_table
    assert {name: (records / f'{name}.json').stat().st_mtime_ns for name in done} == kept


def worker(parent: int, rank: int) -> int:
    """Process id of torchrun's worker of a rank."""
    for entry in Path('/proc').iterdir():
        try:
            variables = (entry / 'environ').read_bytes().split(b'\0')
            status = (entry / 'stat').read_text().rpartition(')')[2].split()
        except (OSError, IndexError):
            continue
        if entry.name.isdecimal() and int(status[1]) == parent and f'RANK={rank}'.encode() in variables:
            return int(entry.name)
    raise AssertionError(f'there is no worker of rank {rank}')


def test_processes_of_a_job_array_need_no_group(options, run_again, tmp_path, monkeypatch):
    for rank in (1, 0):
        monkeypatch.setenv('RANK', str(rank))
        monkeypatch.setenv('WORLD_SIZE', '2')
        assert run_again(options) == 0
        names = {path.stem for path in (tmp_path / 'results/tiny/records/Tiny').iterdir()}
        assert names == ({'b'} if rank == 1 else {'a', 'b', 'c'})
    assert [row['image'] for row in table(tmp_path)[1:]] == ['a', 'b', 'c']


def test_a_failed_image_of_another_process_is_told(folder, benchmark):
    (benchmark / 'LR/b.png').write_bytes(b'no image')
    process = torchrun(folder, 2)
    _, error = process.communicate(timeout=240)
    assert process.returncode == 1
    assert sum(line.startswith('failed: ') and 'LR/b.png: not a readable' in line for line in error.splitlines()) == 1
    assert [row['image'] for row in table(folder)[1:] if 'error' in row] == ['b']
