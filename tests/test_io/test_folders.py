"""The files that a dataset finds in a folder."""

import pytest

from dkp_plugin.host.errors import OptionError
from dkp_plugin.io.folders import list_folder
from dkp_plugin.io.formats import IMAGE_SUFFIXES


@pytest.fixture
def folder(tmp_path):
    """A function that makes a folder of empty files."""

    def make(*names):
        for name in names:
            (tmp_path / name).touch()
        return tmp_path

    return make


def test_files_come_in_the_order_of_their_names(folder):
    root = folder('b 1.png', 'a.x.PNG', 'c.jpeg', '.hidden.png', 'notes.txt', 'k.mat')
    (root / 'folder').mkdir()
    assert [path.name for path in list_folder(root, 'key', IMAGE_SUFFIXES)] == ['a.x.PNG', 'b 1.png', 'c.jpeg']
    assert [path.name for path in list_folder(root, 'key', ('.mat',))] == ['k.mat']


def test_images_that_are_not_read_are_named_in_one_line(folder, caplog):
    root = folder('a.png', 'a.heic.svg', 'b.svg', 'c.nef', 'notes.txt', '.d.svg')
    with caplog.at_level('WARNING', 'basicsr'):
        assert len(list_folder(root, 'key', IMAGE_SUFFIXES)) == 1
        list_folder(root, 'key', ('.txt',))  # is not about images
    (message,) = caplog.messages
    assert message == (
        f'key: {root}: not read: a.heic.svg, b.svg (export as PNG or TIFF); '
        'c.nef (develop the raw file and export it as TIFF)'
    )


def test_a_folder_without_such_files_says_why(folder, tmp_path):
    with pytest.raises(OptionError) as error:
        list_folder(folder('a.svg', 'b.txt'), 'key', IMAGE_SUFFIXES)
    assert str(error.value) == (
        f'key: {tmp_path} has no file that ends in {", ".join(IMAGE_SUFFIXES)}; not read: a.svg (export as PNG or TIFF)'
    )
    with pytest.raises(OptionError, match=r'^key: .*a\.svg is not a folder$'):
        list_folder(tmp_path / 'a.svg', 'key', IMAGE_SUFFIXES)


def test_images_that_would_share_their_results_are_refused(folder):
    with pytest.raises(OptionError, match=r'^key: .*c\.jpg and .*c\.png would share their results$'):
        list_folder(folder('c.png', 'c.jpg'), 'key', IMAGE_SUFFIXES)
