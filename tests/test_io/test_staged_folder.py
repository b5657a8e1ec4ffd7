"""Folders are there as a whole or not at all."""

import pytest

from dkp_plugin.io.staged_folder import staged_folder


def test_staged_folder_is_there_as_a_whole_or_not_at_all(tmp_path):
    folder = tmp_path / 'deep/er'
    with staged_folder(folder) as staging:
        (staging / 'a').write_text('a')
        assert not folder.exists() and staging.parent == folder.parent
    assert [path.name for path in folder.iterdir()] == ['a'] and list(folder.parent.iterdir()) == [folder]
    with pytest.raises(KeyboardInterrupt), staged_folder(folder, overwrite=True):
        raise KeyboardInterrupt
    assert [path.name for path in folder.iterdir()] == ['a'] and list(folder.parent.iterdir()) == [folder]
