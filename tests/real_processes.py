"""Real processes that start in a fraction of a second: one server imports the package, each process is a fork of it."""

import functools
import multiprocessing
import os
import runpy
import sys
import time
from collections.abc import Callable
from pathlib import Path

IS_FORKED = sys.platform == 'linux'  # a fork after importing torch is not safe elsewhere


@functools.cache
def _context() -> multiprocessing.context.BaseContext:
    context = multiprocessing.get_context('forkserver' if IS_FORKED else 'spawn')
    if IS_FORKED:
        context.set_forkserver_preload(['dkp_plugin.models.pipelines', 'dkp_plugin.photos.command', 'basicsr.test'])
    return context


class RealProcess:
    """``python -m MODULE ARGUMENTS``, which can be signalled and killed as any process.

    Args:
        module: Name of the module.
        arguments: Its command line.
        folder: Current folder of the process; its output goes to files beside it.
        environment: Further environment variables.
        num_threads: Threads of torch; None: torch's default.

    Attributes:
        seconds_to_start: From its start to the end of the last :meth:`wait_until`; shows how busy the machine is.
    """

    def __init__(
        self,
        module: str,
        arguments: tuple[str, ...],
        folder: Path,
        environment: dict[str, str],
        num_threads: int | None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        number = len(list(folder.parent.glob(f'{folder.name}_*.stderr')))
        self.output = folder.with_name(f'{folder.name}_{number}')
        self.begin, self.seconds_to_start = time.monotonic(), 0.0
        self.process = _context().Process(
            target=_run, args=(module, arguments, folder, environment, num_threads, self.output)
        )
        self.process.start()

    def read(self, stream: str = 'stderr') -> str:
        """What the process has written so far."""
        path = self.output.with_name(f'{self.output.name}.{stream}')
        return path.read_text() if path.exists() else ''

    def wait(self, timeout: float = 240) -> int:
        """Wait for the end; return the exit status, or minus the signal that killed the process."""
        self.process.join(timeout)
        assert self.process.exitcode is not None, f'still running after {timeout} s\n{self.read()}'
        return self.process.exitcode

    def wait_until(self, condition: Callable[[], object], timeout: float = 240) -> None:
        """Wait until something is the case, while the process runs."""
        deadline = time.monotonic() + timeout
        while not condition():
            assert self.process.exitcode is None, self.read()
            assert time.monotonic() < deadline, f'nothing after {timeout} s\n{self.read()}'
            time.sleep(0.002)
        self.seconds_to_start = time.monotonic() - self.begin

    def stop(self, signum: int) -> float:
        """Send a signal; return the seconds until the end."""
        begin = time.monotonic()
        os.kill(self.process.pid, signum)
        self.wait()
        return time.monotonic() - begin

    def kill(self) -> None:
        """Kill the process, unless it has ended."""
        self.process.kill()
        self.process.join()


def _run(
    module: str,
    arguments: tuple[str, ...],
    folder: Path,
    environment: dict[str, str],
    num_threads: int | None,
    output: Path,
) -> None:
    for stream in ('stdout', 'stderr'):
        file = os.open(output.with_name(f'{output.name}.{stream}'), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, getattr(sys, f'__{stream}__').fileno())
    os.chdir(folder)
    os.environ.update(environment)
    sys.argv = [module, *arguments]
    if num_threads is not None:
        import torch

        torch.set_num_threads(num_threads)
    runpy.run_module(module, run_name='__main__', alter_sys=True)
