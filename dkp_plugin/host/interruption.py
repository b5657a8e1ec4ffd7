"""Stop a run on Ctrl-C or SIGTERM: at the next place where its state can be saved, and within seconds at any rate."""

import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

GRACE = 4.0  # seconds for the step in work; all that is on disk is whole at any time, so that nothing breaks after it
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """The run was asked to stop.

    Args:
        signum: The signal.
    """

    def __init__(self, signum: int) -> None:
        super().__init__()
        self.signum = signum

    @property
    def exit_status(self) -> int:
        """By the shell's convention: 130 after SIGINT, 143 after SIGTERM."""
        return 128 + self.signum


class StopRequest:
    """Signal handler that takes note of the first signal; it stays with the process as long as it is installed."""

    signum: int | None = None

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        if self.signum is not None:  # asked twice: at once
            raise Interrupted(signum)
        self.signum = signum


def stop_is_requested() -> bool:
    """Whether a signal has come since :func:`stopping_gently` took over."""
    handler = signal.getsignal(signal.SIGINT)
    return isinstance(handler, StopRequest) and handler.signum is not None


def stop_if_requested() -> None:
    """Raise Interrupted if a signal has come; to be called where nothing is half done."""
    if stop_is_requested():
        raise Interrupted(signal.getsignal(signal.SIGINT).signum)


@contextmanager
def stopping_gently(kept: str, grace: float = GRACE) -> Iterator[None]:
    """Let the block decide where it stops after SIGINT or SIGTERM, by :func:`stop_if_requested`, but not for long.

    Python runs signal handlers between its own instructions, not within a convolution or while it waits for other
    processes. So a thread watches, too: if the block has not ended ``grace`` seconds after the signal, the process
    ends. A second signal raises Interrupted at once.

    Args:
        kept: What is said if the process is ended, after "interrupted; ".
        grace: Seconds.
    """
    if threading.current_thread() is not threading.main_thread():  # signals are not its business
        yield
        return
    request = StopRequest()
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    old_handlers = {signum: signal.signal(signum, request) for signum in SIGNALS}
    old_fd = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    is_over = threading.Event()

    def watch() -> None:
        signum = (reader.recv(1) or b'\0')[0]  # the interpreter writes it here even while a C function runs
        if signum in SIGNALS and not is_over.wait(grace):
            sys.stderr.write(f'interrupted; {kept}\n')
            sys.stderr.flush()
            os._exit(128 + signum)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        signal.set_wakeup_fd(old_fd)
        for signum, handler in old_handlers.items():
            signal.signal(signum, handler)
        writer.close()
        thread.join()
        reader.close()
