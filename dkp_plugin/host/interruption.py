"""Stop a run on Ctrl-C or SIGTERM at the next point where its state can be saved, but always within seconds."""

import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

GRACE = 4.0  # seconds for the current step; files are written atomically, so ending the process later is safe
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
        """Exit status by the shell's convention: 130 after SIGINT, 143 after SIGTERM."""
        return 128 + self.signum


class StopRequest:
    """Signal handler that records the first signal."""

    signum: int | None = None

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        if self.signum is not None:  # a second signal stops at once
            raise Interrupted(signum)
        self.signum = signum


def stop_is_requested() -> bool:
    """Whether a signal has arrived within :func:`stopping_gently`."""
    handler = signal.getsignal(signal.SIGINT)
    return isinstance(handler, StopRequest) and handler.signum is not None


def stop_if_requested() -> None:
    """Raise Interrupted if a signal has arrived; call this only where no work is incomplete."""
    if stop_is_requested():
        raise Interrupted(signal.getsignal(signal.SIGINT).signum)


@contextmanager
def stopping_gently(kept: str | None, grace: float = GRACE) -> Iterator[None]:
    """After SIGINT or SIGTERM, let the block stop itself by :func:`stop_if_requested`, within a time limit.

    Python runs signal handlers between its own instructions, but not during a convolution or while waiting for other
    processes. A thread therefore enforces the limit: if the block has not ended ``grace`` seconds after the signal, the
    thread ends the process. A second signal raises Interrupted at once.

    Args:
        kept: Message after "interrupted; " if the process is ended; None: no message.
        grace: Time limit in seconds.
    """
    if threading.current_thread() is not threading.main_thread():  # only the main thread can handle signals
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
            if kept is not None:
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
