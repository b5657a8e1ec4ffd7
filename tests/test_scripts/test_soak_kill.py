"""A killed process loses no finished image; 200 kills are for the command line, a few are made here."""

import pytest
import soak_kill
from real_processes import RealProcess


@pytest.fixture(autouse=True)
def _two_photos(monkeypatch):
    monkeypatch.setattr(soak_kill, 'NUM_PHOTOS', 2)


@pytest.fixture
def start(start_process):
    """Start a process as the script does, but by a fork, which saves the imports."""

    class Forked:
        def __init__(self, module, arguments, folder):
            self.real: RealProcess = start_process(module, *arguments, folder=folder, num_threads=1)
            self.kill = self.real.kill

        def poll(self):
            return self.real.process.exitcode

        def has_begun(self):
            return bool(self.real.read())

    return Forked


@pytest.mark.parametrize(('name', 'count'), [('dkp-restore', 3), ('dkp_plugin.test', 2)])
def test_killed_processes_lose_nothing(start, tmp_path, name, count):
    outcome = soak_kill.soak(soak_kill.PROGRAMS[name], count, tmp_path, start=start)
    assert outcome.failures == () and outcome.num_kills == count and outcome.num_runs >= 1


def test_losses_are_seen(start, tmp_path, monkeypatch):
    """A program that damages a finished result fails the checks."""
    program = soak_kill.PROGRAMS['dkp-restore']
    outputs, calls = program.outputs, []

    def damaged(self, folder):
        calls.append(folder)
        content = outputs(folder)
        return content if len(calls) == 1 else {name: content[name][:-1] for name in content}

    monkeypatch.setattr(soak_kill.Program, 'outputs', damaged)
    assert soak_kill.soak(program, 1, tmp_path, start=start).failures[-1].endswith('other results')
