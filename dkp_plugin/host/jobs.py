"""Tasks that run at once on one machine, each in a process of its own."""

import multiprocessing
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Literal

import torch

from dkp_plugin.host.interruption import GRACE, Interrupted, stop_if_requested, stopping_gently

POLL = 0.1  # seconds between two looks at a request to stop
CHILD_GRACE = GRACE - 1  # seconds; less than the parent has, which waits for its children

Say = Callable[[Any], None]
Start = Callable[[int, Say], Callable[[Any], Any]]


@dataclass(frozen=True)
class Event:
    """What happened to a task.

    Attributes:
        kind: ``begun``; ``said``, with a message; ``done``, with the result; ``lost``, with the reason.
        task: Index of the task.
        value: Message, result or reason.
    """

    kind: Literal['begun', 'said', 'done', 'lost']
    task: int
    value: Any = None


def run_jobs(start: Start, tasks: Sequence[Any], num: int) -> Iterator[Event]:
    """Run tasks in several processes of one thread each; a process takes the next task when it has finished one.

    After a request to stop, the processes end their current tasks as a single process does, and Interrupted is raised.

    Args:
        start: A function that can be pickled. Every process calls it once, with the number of the process and a
            function that sends a message to this process; it returns the function that does a task.
        tasks: Tasks that can be pickled, in the order in which they are begun.
        num: Number of processes.

    Yields:
        Events of the tasks. If a process ends by itself, its task is lost, and the others go on.
    """
    waiting = deque(enumerate(tasks))
    jobs = {job.connection: job for job in (_Job(start, number) for number in range(min(num, len(tasks))))}
    try:
        while jobs:
            stop_if_requested()
            for connection in wait(list(jobs), POLL):
                job = jobs[connection]
                try:
                    kind, value = connection.recv()
                except (EOFError, OSError):
                    del jobs[connection]
                    reason = job.why_it_ended()
                    if job.task is not None:
                        yield Event('lost', job.task, reason)
                    continue
                if kind != 'ready':
                    yield Event(kind, job.task, value)
                if kind != 'said':
                    job.give(waiting.popleft() if waiting else None)
                    if job.task is not None:
                        yield Event('begun', job.task)
        for index, _ in waiting:
            yield Event('lost', index, reason)
    finally:
        _end(jobs.values())


class _Job:
    """A process and the task that it works on.

    Args:
        start: See :func:`run_jobs`.
        number: Number of the process.
    """

    def __init__(self, start: Start, number: int) -> None:
        context = multiprocessing.get_context('spawn')  # a fork of a process that has used threads can hang
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, start, number), daemon=True)
        self.task: int | None = None
        with _without_interrupts():
            self.process.start()
        theirs.close()

    def give(self, task: tuple[int, Any] | None) -> None:
        """Send the next task; None ends the process."""
        self.task = None if task is None else task[0]
        with suppress(OSError):  # a process that has ended is noticed when its connection is read
            self.connection.send(task)

    def why_it_ended(self) -> str:
        """The reason why a process ended before its task was done."""
        self.process.join()
        status = self.process.exitcode
        cause = f'signal {-status}, perhaps for lack of memory' if status < 0 else f'status {status}'
        return f'its process ended with {cause}'


def _end(jobs: Sequence[_Job]) -> None:
    """Ask the processes that have a task to stop, and end those that do not in time."""
    for job in jobs:
        if job.task is None:
            job.process.kill()
        else:
            job.process.terminate()
    deadline = time.monotonic() + GRACE
    open_connections = {job.connection for job in jobs}
    while open_connections and time.monotonic() < deadline:  # read what they still say, so that no pipe is full
        for connection in wait(list(open_connections), POLL):
            try:
                connection.recv()
            except (EOFError, OSError):
                open_connections.remove(connection)
    for job in jobs:
        job.process.kill()
        job.process.join()


def _serve(connection: Connection, start: Start, number: int) -> None:
    """Do tasks until there are no more, the parent is gone, or a signal asks to stop."""
    gone = Interrupted, EOFError, BrokenPipeError, ConnectionResetError
    with one_thread(), suppress(*gone), stopping_gently(None, CHILD_GRACE):
        work = start(number, lambda message: connection.send(('said', message)))
        connection.send(('ready', None))
        while (task := connection.recv()) is not None:
            connection.send(('done', work(task[1])))


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread, as the processes of :func:`run_jobs` do."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Start processes that do not receive Ctrl-C, which a terminal sends to parent and children; the parent does."""
    if not hasattr(signal, 'pthread_sigmask'):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
