"""How a command ends: its exit status, and one line for whatever the user can mend."""

import os
import sys
from collections.abc import Callable

from dkp_plugin.host.errors import UserError
from dkp_plugin.host.interruption import Interrupted

EXIT_FAILED_IMAGES, EXIT_USER_ERROR, EXIT_INTERRUPTED, EXIT_BROKEN_PIPE = 1, 2, 130, 141


def run_command(work: Callable[[], int], kept: str) -> int:
    """Run the work of a command; mistakes end in one line, not in a traceback.

    Args:
        work: Returns the exit status.
        kept: What an interruption leaves; printed after "interrupted; ".

    Returns:
        The status of ``work``; 2 after a UserError or an OSError, 130 after Ctrl-C, 143 after SIGTERM, and 141 without
        a line where the reader of the output has closed it, as ``head`` does.
    """
    mend_streams()
    try:
        status = work()
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        _discard_output()
        return EXIT_BROKEN_PIPE
    except (UserError, OSError) as error:
        return _last_line(f'error: {error}', EXIT_USER_ERROR)
    except KeyboardInterrupt as error:
        return _last_line(
            f'interrupted; {kept}', error.exit_status if isinstance(error, Interrupted) else EXIT_INTERRUPTED
        )


def mend_streams() -> None:
    """Make standard output and error accept every text.

    A stream that is closed (``2>&-``, ``pythonw``) becomes the null device. A character that the encoding lacks, or a
    byte of a file name that is no text, is written as an escape such as ``\\udce9``.
    """
    for name in ('stdout', 'stderr'):
        stream = getattr(sys, name)
        if stream is None:
            stream = open(os.devnull, 'w', encoding='utf-8')  # noqa: SIM115  # for the rest of the process
            setattr(sys, name, stream)
        if hasattr(stream, 'reconfigure'):
            stream.reconfigure(errors='backslashreplace')


def _last_line(line: str, status: int) -> int:
    try:
        print(line, file=sys.stderr, flush=True)
    except BrokenPipeError:
        _discard_output()
    return status


def _discard_output() -> None:
    """Send what is still buffered nowhere: the interpreter flushes at exit and would complain."""
    null = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            os.dup2(null, stream.fileno())
    os.close(null)
