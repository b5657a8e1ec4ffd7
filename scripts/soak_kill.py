"""Kill processes of dkp-restore and dkp_plugin.test at random moments, and check that no finished image is lost.

    python scripts/soak_kill.py --count 200

The processes restore a few small photographs and save their state often. After each kill, every result that is there
must be whole, and what was finished before must not have been touched. Once a process reaches its end, all results must
have the bytes of a run that was never killed; the next process then starts in an empty folder. With --fork (Linux), the
processes are forks of one that has imported the package, which saves seconds for each. Exit status: 0; 1 if a check
failed.
"""

import argparse
import multiprocessing
import os
import runpy
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import skimage.data

from dkp_plugin.io.photo_files import write_photo

OPTIONS = """\
name: soak
model_type: BlindSRModel
scale: 2
num_gpu: 0
manual_seed: 0
datasets: {test_1: {name: Tiny, type: BlindSRDataset, dataroot_lq: photos, convention: aligned}}
network_k: {type: DoubleDIP, num_units: 10}
network_g: {type: DIP, num_feat: 4, num_skip: 2, num_scales: 2, non_local_scales: [2], precision: float32}
alternation: {num_iter: 16, averaging: 0.9}
val: {save_img: true, pbar: false, checkpoint_freq: 4}
"""
NUM_PHOTOS = 4
TIMEOUT = 600  # seconds for a process


class Process(Protocol):
    """A process in a folder of its own, started by ``start(module, arguments, folder)``."""

    def poll(self) -> int | None:
        """The exit status, None while it runs."""

    def kill(self) -> None:
        """Send SIGKILL and wait for the end."""

    def has_begun(self) -> bool:
        """Whether it has written anything to standard error."""


class StartedProcess:
    """``python -m MODULE ARGUMENTS``; its output goes to a file beside the folder."""

    def __init__(self, module: str, arguments: Sequence[str], folder: Path) -> None:
        self.output = folder.with_name(f'{folder.name}.txt')
        with self.output.open('w') as file:
            command = [sys.executable, '-m', module, *arguments]
            self.process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=file)
        self.poll = self.process.poll

    def kill(self) -> None:
        """Send SIGKILL and wait for the end."""
        self.process.kill()
        self.process.wait()

    def has_begun(self) -> bool:
        """Whether it has written anything to standard error."""
        return self.output.stat().st_size > 0


class ForkedProcess:
    """The same as a fork of a process that has imported the package."""

    def __init__(self, module: str, arguments: Sequence[str], folder: Path) -> None:
        self.output = folder.with_name(f'{folder.name}.txt')
        self.output.write_text('')
        context = multiprocessing.get_context('forkserver')
        context.set_forkserver_preload(['dkp_plugin.models.pipelines', 'dkp_plugin.photos.command', 'basicsr.test'])
        self.process = context.Process(target=_run_module, args=(module, arguments, folder, self.output))
        self.process.start()

    def poll(self) -> int | None:
        """The exit status, None while it runs."""
        return self.process.exitcode

    def kill(self) -> None:
        """Send SIGKILL and wait for the end."""
        self.process.kill()
        self.process.join()

    def has_begun(self) -> bool:
        """Whether it has written anything to standard error."""
        return self.output.stat().st_size > 0


def _run_module(module: str, arguments: Sequence[str], folder: Path, output: Path) -> None:
    for stream, path in ((sys.__stdout__, os.devnull), (sys.__stderr__, output)):
        os.dup2(os.open(path, os.O_WRONLY), stream.fileno())
    os.chdir(folder)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name='__main__', alter_sys=True)


@dataclass(frozen=True)
class Program:
    """A program, its arguments, and the folders of its results and of its records of finished images."""

    module: str
    arguments: tuple[str, ...]
    results: str
    records: str

    def outputs(self, folder: Path) -> dict[str, bytes]:
        """The images and kernels that are there."""
        paths = [path for path in (folder / self.results).rglob('*') if path.suffix in ('.png', '.mat')]
        return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(paths)}

    def finished(self, folder: Path) -> dict[str, bytes]:
        """The records of finished images, which hold times and so differ if an image is restored again."""
        records = {path.name: path.read_bytes() for path in sorted((folder / self.records).glob('*.json'))}
        return {name: content for name, content in records.items() if b'"status": "started"' not in content}


PROGRAMS = {
    'dkp-restore': Program(
        'dkp_restore',
        ('photos', '-o', 'out', '--opt', 'soak.yml', '--device', 'cpu', '--save-kernel'),
        'out',
        'out/.dkp',
    ),
    'dkp_plugin.test': Program(
        'dkp_plugin.test', ('-opt', 'soak.yml'), 'results', 'results/soak/records/Tiny'
    ),
}  # fmt: skip


@dataclass
class Outcome:
    """What was seen: kills, kills with finished images at stake, runs that ended, and what went wrong."""

    num_kills: int = 0
    num_at_stake: int = 0
    num_runs: int = 0
    failures: tuple[str, ...] = ()


def soak(
    program: Program,
    count: int,
    folder: Path,
    seed: int = 0,
    start: Callable[[str, Sequence[str], Path], Process] = StartedProcess,
) -> Outcome:
    """Kill processes of a program.

    Args:
        program: The program.
        count: Number of kills.
        folder: An empty folder to work in.
        seed: Of the moments.
        start: Starts a process.
    """
    outcome, rng = Outcome(), np.random.default_rng(seed)
    begin = time.monotonic()
    expected, seconds = _run(program, _prepare(folder / 'whole'), start)
    if len(expected) != 3 * NUM_PHOTOS:
        raise RuntimeError(f'{program.module}: the run that was not killed wrote {len(expected)} files')
    place, before = _prepare(folder / 'killed'), {}
    while outcome.num_kills < count:
        process = start(program.module, program.arguments, place)
        _wait_until(lambda process=process: process.has_begun() or process.poll() is not None)
        deadline = time.monotonic() + rng.uniform(0, seconds)
        _wait_until(
            lambda process=process, deadline=deadline: time.monotonic() > deadline or process.poll() is not None
        )
        status = process.poll()
        if status is None:
            process.kill()
            outcome.num_kills += 1
            outcome.num_at_stake += bool(before)
        now, finished = program.outputs(place), program.finished(place)
        damaged = [name for name in now if now[name] != expected.get(name)]
        lost = [name for name in before if finished.get(name) != before[name]]
        outcome.failures += tuple(
            f'{program.module}, kill {outcome.num_kills}: {what}: {", ".join(names)}'
            for what, names in (('damaged', damaged), ('lost', lost))
            if names
        )
        before = finished
        if status is not None:
            outcome.num_runs += 1
            if status != 0 or now != expected:
                outcome.failures += (f'{program.module}, run {outcome.num_runs}: status {status}, other results',)
            shutil.rmtree(place)
            place, before = _prepare(folder / 'killed'), {}
    _run(program, place, start, expected, outcome)
    print(
        f'{program.module}: {outcome.num_kills} kills in {time.monotonic() - begin:.0f} s, {outcome.num_at_stake} of '
        f'them with finished images at stake; {outcome.num_runs} runs ended, {len(outcome.failures)} failures',
        flush=True,
    )
    return outcome


def _run(
    program: Program,
    place: Path,
    start: Callable[[str, Sequence[str], Path], Process],
    expected: dict[str, bytes] | None = None,
    outcome: Outcome | None = None,
) -> tuple[dict[str, bytes], float]:
    """Run a program to its end; return its results and the seconds from its first line to its end."""
    process = start(program.module, program.arguments, place)
    _wait_until(lambda: process.has_begun() or process.poll() is not None)
    begin = time.monotonic()
    _wait_until(lambda: process.poll() is not None)
    outputs = program.outputs(place)
    if outcome is not None:
        outcome.num_runs += 1
        if process.poll() != 0 or outputs != expected:
            outcome.failures += (f'{program.module}, last run: status {process.poll()}, other results',)
    return outputs, time.monotonic() - begin


def _prepare(place: Path) -> Path:
    """A folder with photographs and an option file."""
    image = skimage.data.astronaut()
    for index in range(NUM_PHOTOS):
        write_photo(place / 'photos' / f'{index}.png', image[40 * index : 40 * index + 24, 200:228])
    (place / 'soak.yml').write_text(OPTIONS)
    return place


def _wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f'nothing after {TIMEOUT} s')
        time.sleep(0.002)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--count', type=int, default=200, help='kills, shared among the two programs; default: 200')
    parser.add_argument('--seed', type=int, default=0, help='of the moments; default: 0')
    parser.add_argument('--fork', action='store_true', help='fork the processes from one that has imported the package')
    arguments = parser.parse_args(argv)
    failures: tuple[str, ...] = ()
    for index, program in enumerate(PROGRAMS.values()):
        with tempfile.TemporaryDirectory() as folder:
            count = (arguments.count + index) // len(PROGRAMS)
            start = ForkedProcess if arguments.fork else StartedProcess
            failures += soak(program, count, Path(folder), arguments.seed, start).failures
    print('\n'.join(failures) or 'no finished image was lost, all results are byte-identical')
    return int(bool(failures))


if __name__ == '__main__':
    sys.exit(main())
