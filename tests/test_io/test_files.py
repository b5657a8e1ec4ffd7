"""Files are there as a whole or not at all."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from dkp_plugin.io import files
from dkp_plugin.io.files import remove_leftovers, write_bytes, write_json


def test_write_bytes_replaces_the_old_file_and_makes_its_folder(tmp_path):
    path = tmp_path / 'a' / 'b' / 'file'
    write_bytes(path, b'old')
    write_bytes(path, b'new')
    assert path.read_bytes() == b'new'
    assert os.listdir(path.parent) == ['file']


@pytest.mark.parametrize('failure', ['write', 'replace'])
def test_failed_write_leaves_the_old_file_and_nothing_else(failure, tmp_path, monkeypatch):
    def fail(path, content=None, *_):
        if failure == 'write':
            with open(path, 'wb') as file:
                file.write(content[:2])
        raise OSError('no space left on device')

    path = tmp_path / 'file'
    write_bytes(path, b'old')
    monkeypatch.setattr(*{'write': (type(path), 'write_bytes'), 'replace': (files.os, 'replace')}[failure], fail)
    with pytest.raises(OSError, match='no space left'):
        write_bytes(path, b'new content')
    assert path.read_bytes() == b'old'
    assert os.listdir(tmp_path) == ['file']


def test_numbers_that_json_lacks_become_null(tmp_path):
    content = {'a': float('inf'), 'b': [1, float('nan'), (-float('inf'), 2.5)], 'c': {'d': np.float64('inf')}, 'e': 'ü'}
    write_json(tmp_path / 'a.json', content)
    text = (tmp_path / 'a.json').read_text()
    assert json.loads(text) == {'a': None, 'b': [1, None, [None, 2.5]], 'c': {'d': None}, 'e': 'ü'}


def test_leftovers_of_ended_processes_are_removed_and_nothing_else(tmp_path):
    ended = subprocess.Popen([sys.executable, '-c', ''])
    ended.wait()
    kept = [
        f'.a.png.{os.getpid()}.tmp',  # of a process that is running
        f'.b.png.{ended.pid}.tmp',  # of another file
        f'a.png.{ended.pid}.tmp',
        '.a.png.tmp',
        '.a.png.1x.tmp',
        'a.png',
    ]
    for name in (*kept, f'.a.png.{ended.pid}.tmp', f'.a.png.{10**30}.tmp'):
        (tmp_path / name).write_bytes(b'content')
    remove_leftovers([tmp_path / 'a.png', tmp_path / 'missing folder' / 'a.png'])
    assert sorted(os.listdir(tmp_path)) == sorted(kept)
