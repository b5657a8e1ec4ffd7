"""BasicSR's lmdb."""

import lmdb
import pytest

from dkp_plugin.host.errors import ImageError, OptionError
from dkp_plugin.io.lmdb_reader import list_lmdb, read_lmdb


@pytest.fixture
def root(tmp_path):
    """An lmdb of two entries, one of them in a folder; its list names a third."""
    root = tmp_path / 'x.lmdb'
    with lmdb.open(str(root), map_size=1 << 20) as environment, environment.begin(write=True) as transaction:
        transaction.put(b'b (1)', b'one')
        transaction.put('x/é'.encode(), b'two')
    lines = ['b (1).png (16,17,3) 1', 'x/é.png (16,17,3) 1', '', 'gone.png (16,17,3) 1']
    (root / 'meta_info.txt').write_text('\n'.join(lines), encoding='utf-8')
    return root


def test_entries_come_in_the_order_of_the_list_with_their_folders(root):
    assert list_lmdb(root, 'key') == ['b (1)', 'x/é', 'gone']
    assert read_lmdb(root, 'b (1)') == b'one' and read_lmdb(root, 'x/é') == b'two'


def test_an_lmdb_is_not_kept_open(root):
    read_lmdb(root, 'x/é')
    with lmdb.open(str(root), readonly=True, lock=False) as environment:  # refused while it is open in this process
        assert environment.stat()['entries'] == 2


def test_an_entry_that_is_missing_is_named(root):
    with pytest.raises(ImageError, match=r'x\.lmdb: meta_info\.txt names gone, but the lmdb does not hold it$'):
        read_lmdb(root, 'gone')


def test_a_damaged_lmdb_is_named(root):
    (root / 'data.mdb').write_bytes(b'no lmdb')
    with pytest.raises(ImageError, match=r'x\.lmdb: not a readable lmdb'):
        read_lmdb(root, 'gone')


@pytest.mark.parametrize(
    ('meta', 'reason'),
    [
        (None, 'x.lmdb has no meta_info.txt, so it is no BasicSR lmdb'),
        ('\n', 'meta_info.txt is empty'),
        ('x/im.png (16,17,3) 1\nx/im.jpg (16,17,3) 1\n', 'x/im.png and x/im.jpg would share their results'),
        ('../im.png (16,17,3) 1\n', "the name '../im.png', which leads out of the folder of results"),
        ('/im.png (16,17,3) 1\n', "the name '/im.png', which leads out of the folder of results"),
    ],
)
def test_lists_that_are_refused(meta, reason, root):
    (root / 'meta_info.txt').unlink()
    if meta is not None:
        (root / 'meta_info.txt').write_text(meta)
    with pytest.raises(OptionError) as error:
        list_lmdb(root, 'dataroot_lq')
    assert str(error.value).startswith('dataroot_lq: ') and reason in str(error.value)


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(OptionError, match=r'^key: .*gone is not a folder$'):
        list_lmdb(tmp_path / 'gone', 'key')
