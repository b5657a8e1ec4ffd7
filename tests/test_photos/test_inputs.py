"""Results keep the names of their photographs, and stay where they belong."""

from pathlib import Path

import pytest

from dkp_plugin.host.errors import UserError
from dkp_plugin.io.files import write_json
from dkp_plugin.photos.inputs import check_names, claim, find_items, find_unreadable, read_record, written_before


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


def test_only_results_of_earlier_runs_are_replaced(folder):
    patterns, target = [str(folder / 'in/a.JPG')], folder / 'in/a.png'
    with pytest.raises(UserError) as error:
        find_items(patterns, folder / 'in')
    assert str(error.value) == f'{target}: already exists and is not from an earlier run; --overwrite replaces it'
    (item,) = find_items(patterns, folder / 'in', overwrite=True)
    assert item.target == target
    write_json(item.record, {'status': 'done', 'outputs': ['/moved/since/a.png']})
    assert find_items(patterns, folder / 'in') == [item]
    write_json(item.record, {'status': 'done', 'outputs': ['/moved/since/b.png', 3]})
    with pytest.raises(UserError, match='--overwrite'):
        find_items(patterns, folder / 'in')
    target.unlink()
    target.symlink_to(folder / 'in/nowhere')  # a link that leads nowhere is somebody's file, too
    with pytest.raises(UserError, match='--overwrite'):
        find_items(patterns, folder / 'in')


def test_photographs_to_be_restored_are_never_replaced_not_even_on_request(folder):
    with pytest.raises(UserError, match='would replace'):
        find_items([str(folder / 'b')], folder / 'b', overwrite=True)


def test_a_run_that_was_killed_knows_its_files(folder):
    (item,) = find_items([str(folder / 'b/a.png')], folder / 'o', with_kernels=True)
    write_json(item.record, {'status': 'done', 'fingerprint': 'x', 'outputs': [str(item.kernel)]})
    assert claim(item, map(str, item.outputs(False))) == ['a.png', 'a_kernel.mat']
    item.target.touch()
    item.kernel.touch()
    assert read_record(item) == {}  # it is not finished
    assert written_before(item) == {'a.png', 'a_kernel.mat'}
    assert find_items([str(folder / 'b/a.png')], folder / 'o', with_kernels=True) == [item]
    item.kernel.with_suffix('.png').touch()
    with pytest.raises(UserError, match=r'a_kernel\.png: already exists'):
        find_items([str(folder / 'b/a.png')], folder / 'o', with_kernels=True)
    assert find_items([str(folder / 'b/a.png')], folder / 'o') == [item]


def test_kernel_pictures_and_results_do_not_meet(folder):
    (folder / 'b/a_kernel.jpg').touch()
    assert targets([folder / 'b'], folder / 'o') == ['a.png', 'a_kernel.png']
    with pytest.raises(UserError, match=r'both would write .*a_kernel\.png; restore them apart'):
        find_items([str(folder / 'b')], folder / 'o', with_kernels=True)


def test_images_of_other_kinds_are_found_to_be_named(folder):
    for name in ('in/sub/p.svg', 'in/q.cr2', 'in/.r.svg', 'in/out/s.svg'):
        (folder / name).touch()
    found = find_unreadable([str(folder / 'in'), str(folder / 'in/sub')], folder / 'in/out')
    assert found == [folder / 'in/q.cr2', folder / 'in/sub/p.svg']
    (folder / 'raw').mkdir()
    (folder / 'raw/x.nef').touch()
    with pytest.raises(UserError) as error:
        find_items([str(folder / 'raw')], folder / 'o')
    hint = 'not read: x.nef (develop the raw file and export it as TIFF)'
    assert str(error.value) == f'no images in {folder / "raw"}; {hint}'


def test_what_cannot_be_written_is_found_before_the_work(folder):
    (folder / 'plain').touch()
    with pytest.raises(UserError, match=r'^-o .*plain: .*plain is a file; name a folder$'):
        find_items([str(folder / 'b')], folder / 'plain')
    with pytest.raises(UserError, match=r'^-o .*below: .*plain is a file; name a folder$'):
        find_items([str(folder / 'b')], folder / 'plain' / 'below')


@pytest.mark.parametrize(('length', 'fits'), [(200, True), (244, False)])
def test_names_that_would_be_too_long(folder, length, fits):
    name = 'é' * ((length - 4) // 2) + '.png'
    (folder / 'long').mkdir()
    (folder / 'long' / name).touch()
    (item,) = find_items([str(folder / 'long')], folder / 'o')
    if fits:
        check_names(item)
        return
    with pytest.raises(UserError, match=r'the names of its results would have \d+ bytes; allowed: 255$'):
        check_names(item)
