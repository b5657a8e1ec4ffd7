"""Signals to real processes."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import dkp_plugin.host.interruption
from dkp_plugin.host.interruption import Interrupted, stop_if_requested, stop_is_requested, stopping_gently

FOLDER = str(Path(dkp_plugin.host.interruption.__file__).parent)
PROGRAM = """
import ctypes, sys, time
sys.path.insert(0, {folder!r})  # the module alone, which starts quickly
from interruption import Interrupted, stop_if_requested, stopping_gently
try:
    with stopping_gently('what is finished is kept', grace={grace}):
        print('ready', flush=True)
        for _ in range(600):
            {work}
except Interrupted as error:
    print('saved', flush=True)
    sys.exit(error.exit_status)
"""


def start(work, grace=4.0):
    process = subprocess.Popen(
        [sys.executable, '-c', PROGRAM.format(work=work, grace=grace, folder=FOLDER)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == 'ready\n'
    return process


@pytest.mark.parametrize(('signum', 'status'), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_loop_stops_where_it_can_save(signum, status):
    process = start('time.sleep(0.05); stop_if_requested()')
    process.send_signal(signum)
    output, error = process.communicate(timeout=5)
    assert (process.returncode, output, error) == (status, 'saved\n', '')


@pytest.mark.parametrize(('signum', 'status'), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_c_function_that_does_not_return_is_ended(signum, status):
    # A function of the C library that resumes its sleep, as a convolution resumes its work.
    process = start('ctypes.CDLL(None).poll(None, 0, 60000) and ctypes.CDLL(None).poll(None, 0, 60000)', grace=0.3)
    begin = time.monotonic()
    process.send_signal(signum)
    output, error = process.communicate(timeout=5)
    assert (process.returncode, output) == (status, '')
    assert error == 'interrupted; what is finished is kept\n' and time.monotonic() - begin < 3


def test_a_second_signal_stops_at_once():
    process = start('time.sleep(0.05)')
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=3)
    assert (process.returncode, output) == (130, 'saved\n')


def test_handlers_are_put_back():
    before = [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)]
    with stopping_gently('all'):
        assert not stop_is_requested()
        signal.raise_signal(signal.SIGTERM)
        assert stop_is_requested()
        with pytest.raises(Interrupted) as caught:
            stop_if_requested()
    assert caught.value.exit_status == 143 and isinstance(caught.value, KeyboardInterrupt)
    assert [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)] == before
    assert not stop_is_requested()
    stop_if_requested()
