"""Errors and interruptions of ``dkp data`` end in one line."""

from argparse import Namespace

import pytest

from dkp_plugin.data import commands
from dkp_plugin.host.errors import UserError


@pytest.mark.parametrize(
    ('error', 'status', 'line'),
    [
        (UserError('a.png: no such file'), 2, 'error: a.png: no such file\n'),
        (OSError('no space left on device'), 2, 'error: no space left on device\n'),
        (KeyboardInterrupt(), 130, 'interrupted; rerun the same command\n'),
    ],
)
def test_one_line(error, status, line, monkeypatch, capsys):
    def fail(*_):
        raise error

    monkeypatch.setattr(commands, 'create_lmdb', fail)
    assert commands.lmdb(Namespace(input='in', output='out', overwrite=False)) == status
    assert capsys.readouterr().err == line
