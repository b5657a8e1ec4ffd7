"""Real processes, which import the package; so few of them."""

import os
import signal
import time
from functools import partial
from pathlib import Path

import pytest
import torch

from dkp_plugin.host import jobs
from dkp_plugin.host.interruption import Interrupted, stop_if_requested
from dkp_plugin.host.jobs import one_thread, run_jobs


def start_squaring(number, say):
    def work(task):
        if task == 'die':
            os.kill(os.getpid(), signal.SIGKILL)
        say(('thread', torch.get_num_threads()))
        return task**2

    return work


def start_waiting(folder, number, say):
    def work(task):
        (folder / 'begun').touch()
        try:
            while True:
                time.sleep(0.01)
                stop_if_requested()
        except Interrupted:
            (folder / 'saved').touch()
            raise

    return work


def test_a_process_that_dies_loses_its_own_task_only():
    events = list(run_jobs(start_squaring, [2, 'die', 3, 4, 5], 2))
    assert {event.task: event.value for event in events if event.kind == 'done'} == {0: 4, 2: 9, 3: 16, 4: 25}
    (lost,) = (event for event in events if event.kind == 'lost')
    assert (lost.task, lost.value) == (1, 'its process ended with signal 9, perhaps for lack of memory')
    for task in (0, 2, 3, 4):
        kinds = [(event.kind, event.value) for event in events if event.task == task]
        assert kinds == [('begun', None), ('said', ('thread', 1)), ('done', [4, 0, 9, 16, 25][task])]


def test_without_processes_the_other_tasks_are_lost_too():
    events = list(run_jobs(start_squaring, ['die', 1], 1))
    assert [(event.kind, event.task) for event in events] == [('begun', 0), ('lost', 0), ('lost', 1)]


def test_no_tasks_need_no_process():
    assert list(run_jobs(start_squaring, [], 3)) == []


def test_a_request_to_stop_reaches_the_processes(tmp_path: Path, monkeypatch):
    def stop_once_begun():
        if (tmp_path / 'begun').exists():
            raise Interrupted(signal.SIGINT)

    monkeypatch.setattr(jobs, 'stop_if_requested', stop_once_begun)
    with pytest.raises(Interrupted):
        list(run_jobs(partial(start_waiting, tmp_path), [0], 1))
    assert (tmp_path / 'saved').exists()


def test_one_thread_is_temporary():
    before = torch.get_num_threads()
    with one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
