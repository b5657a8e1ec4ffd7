"""Results keep the names of their photographs, and stay where they belong."""

from pathlib import Path

import pytest

from dkp_plugin.host.errors import UserError
from dkp_plugin.photos.inputs import find_items


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in (
        'in/a.png',
        'in/a.JPG',
        'in/sub/a.png',
        'in/.hidden/x.png',
        'in/notes.txt',
        'in/out/old.png',
        'b/a.png',
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def targets(patterns: list[Path], output: Path) -> list[str]:
    return [str(item.target.relative_to(output)) for item in find_items([*map(str, patterns)], output)]


def test_folders_keep_their_shape_and_names_stay_apart(folder):
    out = folder / 'in/out'
    assert targets([folder / 'in'], out) == ['a.JPG.png', 'a.png.png', 'sub/a.png']
    assert targets([folder / 'in/sub', folder / 'b'], folder / 'o') == ['a.png.png', 'a.png-2.png']
    assert targets([folder / 'in/sub', folder / 'in/sub/a.png'], folder / 'o') == ['a.png']  # named twice


def test_patterns_and_missing_files_are_taken(folder):
    assert targets([folder / 'in' / '*.png'], folder / 'o') == ['a.png']
    assert targets([folder / 'in' / 'gone.png'], folder / 'o') == ['gone.png']


def test_one_image_may_go_to_a_file(folder):
    (item,) = find_items([str(folder / 'b/a.png')], folder / 'o/x.tif')
    assert (item.target, item.record) == (folder / 'o/x.tif', folder / 'o/.dkp/x.tif.json')
    with pytest.raises(UserError, match='a file, but there are 3 images; name a folder'):
        find_items([str(folder / 'in' / '**' / 'a.*')], folder / 'x.tif')


def test_photographs_are_never_replaced(folder):
    with pytest.raises(UserError, match='would replace'):
        find_items([str(folder / 'b')], folder / 'b')
    (folder / 'empty').mkdir()
    with pytest.raises(UserError, match='no images in'):
        find_items([str(folder / 'empty')], folder / 'o')


def test_results_do_not_leave_the_folder_by_a_link(folder):
    (folder / 'o').mkdir()
    (folder / 'o/sub').symlink_to(folder / 'b')
    with pytest.raises(UserError, match='would leave the folder'):
        find_items([str(folder / 'in')], folder / 'o')
