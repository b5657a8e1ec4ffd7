"""How a command ends."""

import os
import subprocess
import sys

import pytest

from dkp_plugin.host.command import run_command
from dkp_plugin.host.errors import UserError
from dkp_plugin.host.interruption import Interrupted

LOAD = 'import sys\nfrom dkp_plugin.host.command import run_command\n'


@pytest.mark.parametrize(
    ('error', 'status', 'line'),
    [
        (UserError('scale: 5'), 2, 'error: scale: 5'),
        (PermissionError(13, 'Permission denied', 'a'), 2, "error: [Errno 13] Permission denied: 'a'"),
        (KeyboardInterrupt(), 130, 'interrupted; all of it is kept'),
        (Interrupted(15), 143, 'interrupted; all of it is kept'),
    ],
)
def test_errors_and_interruptions_are_one_line_and_a_status(error, status, line, capsys):
    def work():
        raise error

    assert run_command(work, 'all of it is kept') == status
    text = capsys.readouterr()
    assert text.err == f'{line}\n' and text.out == ''


def test_a_fault_of_the_code_is_no_users_mistake():
    with pytest.raises(ZeroDivisionError):
        run_command(lambda: 1 // 0, '')


def run(code, **keywords):
    return subprocess.run([sys.executable, '-c', LOAD + code], timeout=300, **keywords)


def test_closed_streams_are_replaced():
    code = (
        'def work():\n'
        '    print("nobody reads \\udce9", file=sys.stderr)\n'
        '    sys.stdout.write("nor this")\n'
        '    return 3 * (sys.stderr.fileno() == 2)\n'
        'import os\n'
        'os.close(1); os.close(2)\n'
        'sys.stdout = sys.stderr = None\n'
        'sys.exit(run_command(work, ""))\n'
    )
    assert run(code).returncode == 3


def test_undecodable_names_are_escaped():
    code = (
        'import os\n'
        'name = os.fsdecode(b"caf\\xe9.png")\n'
        'sys.exit(run_command(lambda: print(name) or print(name, file=sys.stderr) or 0, ""))\n'
    )
    done = run(code, capture_output=True, env=os.environ | {'PYTHONIOENCODING': 'utf-8'})
    assert done.returncode == 0
    assert done.stdout == done.stderr == b'caf\\udce9.png\n'


@pytest.mark.parametrize('stream', ['stdout', 'stderr'])
def test_a_broken_pipe_is_no_error(stream):
    code = (
        'def work():\n'
        f'    for _ in range(100_000): print("a line", file=sys.{stream})\n'
        '    return 0\n'
        'sys.exit(run_command(work, "kept"))\n'
    )
    process = subprocess.Popen([sys.executable, '-c', LOAD + code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    pipe, other = (getattr(process, name) for name in (stream, 'stderr' if stream == 'stdout' else 'stdout'))
    assert pipe.readline() == b'a line\n'
    pipe.close()
    assert other.read() == b''
    assert process.wait(timeout=300) == 141
    other.close()
