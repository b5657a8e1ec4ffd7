import hashlib

import pytest

from dkp_plugin.io.fingerprint import fingerprint


def by_hand(*contents):
    return hashlib.sha256(b''.join(hashlib.sha256(content).digest() for content in contents)).hexdigest()


def test_every_kind_of_part(tmp_path):
    path = tmp_path / 'é 中文.bin'
    path.write_bytes(b'\x00abc')
    assert fingerprint() == hashlib.sha256().hexdigest()
    assert fingerprint('abc') == by_hand(b'json:"abc"')
    assert fingerprint(b'\x00abc') == by_hand(b'bytes:\x00abc') == fingerprint(path)
    assert fingerprint({'b': [1, None], 'a': 0.5}, 'x') == by_hand(b'json:{"a": 0.5, "b": [1, null]}', b'json:"x"')


def test_what_matters_and_what_does_not():
    assert fingerprint({'a': {'x': 1, 'y': 2}, 'b': (3,)}) == fingerprint({'b': [3], 'a': {'y': 2, 'x': 1}})
    assert fingerprint('a', 'b') != fingerprint('b', 'a')
    assert fingerprint('ab', 'c') != fingerprint('a', 'bc') != fingerprint('abc')
    assert fingerprint('abc') != fingerprint(b'abc')
    assert fingerprint(1) != fingerprint('1') != fingerprint(True)


def test_a_large_file_is_read_as_a_whole(tmp_path):
    path = tmp_path / 'large.bin'
    content = bytes(range(256)) * 5000
    path.write_bytes(content)
    assert fingerprint(path) == fingerprint(content) != fingerprint(content[:-1])


def test_what_cannot_be_hashed(tmp_path):
    with pytest.raises(FileNotFoundError):
        fingerprint(tmp_path / 'absent')
    with pytest.raises(TypeError):
        fingerprint({1, 2})
