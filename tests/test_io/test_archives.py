"""Folders, zip and tar files hold the same files."""

import io
import random
import tarfile
import zipfile
from pathlib import Path

import pytest

from dkp_plugin.host.errors import ImageError, UserError
from dkp_plugin.io.archives import read_content, walk

FILES = {'b/é.png': b'one', 'a/x y.png': b'two', 'c.txt': b''}


def folder(path, files):
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)


def zipped(path, files):
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('empty/', b'')  # a folder: passed over
        for name, content in files.items():
            archive.writestr(name, content)


def tarred(path, files):
    kind = path.suffix[1:] if path.suffix in ('.gz', '.bz2', '.xz') else ''
    with tarfile.open(path, f'w:{kind}') as archive:
        link = tarfile.TarInfo('link')
        link.type, link.linkname = tarfile.SYMTYPE, '/etc/passwd'
        archive.addfile(link)  # not a file: passed over
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


@pytest.mark.parametrize(
    ('name', 'write'),
    [
        ('data', folder),
        ('a.zip', zipped),
        ('no suffix', zipped),
        ('a.tar', tarred),
        ('a.tar.gz', tarred),
        ('a.tar.bz2', tarred),
        ('a.tar.xz', tarred),
    ],
)
def test_every_source_holds_the_same(name, write, tmp_path):
    source = tmp_path / name
    write(source, FILES)
    found = {str(path.relative_to(source)): read_content(path, read) for path, read in walk(source)}
    assert found == FILES


def test_a_folder_is_walked_in_the_order_of_names(tmp_path, monkeypatch):
    folder(tmp_path / 'data', FILES)
    monkeypatch.chdir(tmp_path)
    names = [path.relative_to(tmp_path).as_posix() for path, _ in walk(Path('data'))]
    assert names == ['data/a/x y.png', 'data/b/é.png', 'data/c.txt']
    monkeypatch.setenv('HOME', str(tmp_path))
    assert len(list(walk(Path('~/data')))) == 3


@pytest.mark.parametrize(
    ('content', 'message'),
    [(None, 'there is no such folder or file'), (b'text', 'neither a folder nor a zip or tar file')],
)
def test_sources_that_cannot_be_read(content, message, tmp_path):
    if content is not None:
        (tmp_path / 'Set5.zip').write_bytes(content)
    with pytest.raises(UserError, match=rf'Set5\.zip: {message}'):
        list(walk(tmp_path / 'Set5.zip'))


def test_a_damaged_file_of_an_archive_costs_only_itself(tmp_path):
    noise = random.Random(0).randbytes(30_000)
    zipped(tmp_path / 'a.zip', {'Set5/one.png': noise, 'Set5/two.png': b'two'})
    damaged = bytearray((tmp_path / 'a.zip').read_bytes())
    damaged[5000:5100] = bytes(100)
    (tmp_path / 'a.zip').write_bytes(damaged)
    files = walk(tmp_path / 'a.zip')
    with pytest.raises(ImageError, match=r'a\.zip/Set5/one\.png: cannot be read'):
        read_content(*next(files))
    assert read_content(*next(files)) == b'two'


def test_an_archive_that_was_cut_off_is_named(tmp_path):
    tarred(tmp_path / 'b.tar.gz', {'one.png': random.Random(0).randbytes(30_000), 'two.png': b'two'})
    (tmp_path / 'b.tar.gz').write_bytes((tmp_path / 'b.tar.gz').read_bytes()[:20_000])
    with pytest.raises(UserError, match=r'b\.tar\.gz: not a readable archive'):
        list(walk(tmp_path / 'b.tar.gz'))
