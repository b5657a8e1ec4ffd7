import numpy as np

from dkp_plugin.io.images import write_image
from dkp_plugin.io.lmdb_reader import list_lmdb


def test_folder_becomes_an_lmdb_once(run_script, tmp_path):
    write_image(tmp_path / 'in' / 'ü 1.png', np.zeros((3, 4), np.uint8))
    output = tmp_path / 'out.lmdb'
    assert run_script('create_lmdb', tmp_path / 'in', output) == (0, f'{output}: 1 entries\n', '')
    assert list_lmdb(output, '') == ['ü 1']
    assert run_script('create_lmdb', tmp_path / 'in', output) == (
        2,
        '',
        f'error: {output}: already exists; nothing was written\n',
    )
    assert run_script('create_lmdb', tmp_path / 'in', output, '--overwrite')[0] == 0


def test_missing_folder_is_one_line(run_script, tmp_path):
    status, out, error = run_script('create_lmdb', tmp_path / 'nowhere', tmp_path / 'out.lmdb')
    assert (status, out) == (2, '') and error == f'error: INPUT: {tmp_path}/nowhere is not a folder\n'
