"""Exit status of a command, and one-line messages for errors that a user can fix."""

import os
import sys
from collections.abc import Callable

from dkp_plugin.host.errors import UserError
from dkp_plugin.host.interruption import Interrupted

EXIT_FAILED_IMAGES, EXIT_USER_ERROR, EXIT_INTERRUPTED, EXIT_BROKEN_PIPE = 1, 2, 130, 141


def run_command(work: Callable[[], int], kept: str) -> int:
    """Run a command and print errors in one line instead of a traceback.

    Args:
        work: Runs the command and returns its exit status.
        kept: Message after an interruption; printed after "interrupted; ".

    Returns:
        The status of ``work``; 2 after a UserError or an OSError, 130 after Ctrl-C, 143 after SIGTERM, and 141 without
        a message if the reader of the output closes it, as ``head`` does.
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
    """Make standard output and standard error accept any text.

    A closed stream (``2>&-``, ``pythonw``) becomes the null device. Characters that the encoding lacks, and undecodable
    bytes of a file name, are written as escapes such as ``\\udce9``.
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
    """Discard buffered output, because the interpreter would flush it at exit and report an error."""
    null = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            os.dup2(null, stream.fileno())
    os.close(null)
