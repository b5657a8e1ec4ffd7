import cv2
import lmdb
import numpy as np
import pytest
import torch
from basicsr.data import build_dataset

from dkp_plugin.data import lmdb_writer
from dkp_plugin.data.blind_sr_dataset import BlindSRDataset
from dkp_plugin.data.lmdb_writer import create_lmdb
from dkp_plugin.host.errors import ImageError, UserError
from dkp_plugin.io.images import decode_image, write_image
from dkp_plugin.io.kernel_files import write_kernel
from dkp_plugin.io.lmdb_reader import list_lmdb, read_lmdb

NAMES = ['b 1 (2,2,2) 1', 'a.x', 'Größe 中文']


@pytest.fixture
def folders(tmp_path, rng):
    """LR and HR images and kernels of scale 2, under names with spaces, dots, brackets and beyond ASCII."""
    for name in NAMES:
        for folder, shape in (('LR', (16, 18, 3)), ('HR', (33, 36, 3))):
            pixels = torch.randint(256, shape, generator=rng, dtype=torch.uint8).numpy()
            write_image(tmp_path / folder / f'{name}.png', pixels)
        kernel = torch.rand(1, 1, 5, 5, generator=rng, dtype=torch.float64)
        write_kernel(tmp_path / 'kernels' / f'{name}.mat', kernel / kernel.sum(), 'released', 2)
    return tmp_path


def make_lmdb(folder):
    for name in ('LR', 'HR', 'kernels'):
        create_lmdb(folder / name, folder / f'{name}.lmdb')


def dataset(folder, backend, **options):
    suffix = '.lmdb' if backend == 'lmdb' else ''
    roots = {
        f'dataroot_{key}': str(folder / f'{name}{suffix}')
        for key, name in {'lq': 'LR', 'gt': 'HR', 'kernel': 'kernels'}.items()
    }
    base = {'name': 'Tiny', 'type': 'BlindSRDataset', 'phase': 'test', 'scale': 2, 'convention': 'released'}
    options = {key: value for key, value in (base | roots | options).items() if value is not None}
    return BlindSRDataset(options | {'io_backend': {'type': backend}})


def assert_same_items(first, second):
    assert len(first) == len(second) > 0
    for one, other in zip(first, second, strict=True):
        assert one.keys() == other.keys()
        for key in one.keys() - {'lq_path', 'gt_path'}:
            assert one[key].dtype == other[key].dtype and one[key].equal(other[key])


def test_items_are_those_of_the_files_bit_by_bit(folders):
    make_lmdb(folders)
    from_lmdb = dataset(folders, 'lmdb')
    assert_same_items(from_lmdb, dataset(folders, 'disk'))
    assert [item['lq_path'] for item in from_lmdb] == sorted(NAMES)


def test_list_has_the_layout_of_basicsr(folders):
    make_lmdb(folders)
    assert sorted(path.name for path in (folders / 'HR.lmdb').iterdir()) == ['data.mdb', 'lock.mdb', 'meta_info.txt']
    lines = (folders / 'HR.lmdb/meta_info.txt').read_text('utf-8').splitlines()
    assert lines == [f'{name}.png (33,36,3) 1' for name in sorted(NAMES)]
    lines = (folders / 'kernels.lmdb/meta_info.txt').read_text('utf-8').splitlines()
    assert lines == [f'{name}.mat (5,5,1) 0' for name in sorted(NAMES)]  # and no line for the pictures beside them
    assert read_lmdb(folders / 'kernels.lmdb', 'a.x') == (folders / 'kernels/a.x.mat').read_bytes()


def test_dataset_of_basicsr_reads_it(tmp_path, rng):
    for folder, side in (('LR', 8), ('HR', 16)):
        write_image(tmp_path / folder / 'one.png', torch.randint(256, (side, side, 3), generator=rng).byte().numpy())
        create_lmdb(tmp_path / folder, tmp_path / f'{folder}.lmdb')

    def items(suffix, backend):
        roots = {f'dataroot_{key}': str(tmp_path / f'{name}{suffix}') for key, name in (('lq', 'LR'), ('gt', 'HR'))}
        base = {'name': 'Tiny', 'type': 'PairedImageDataset', 'phase': 'test', 'scale': 2, 'color': 'rgb'}
        return build_dataset(base | roots | {'io_backend': {'type': backend}})

    (from_lmdb,), (from_disk,) = items('.lmdb', 'lmdb'), items('', 'disk')
    assert from_lmdb['lq'].equal(from_disk['lq']) and from_lmdb['gt'].equal(from_disk['gt'])


def test_two_datasets_of_one_process_share_an_lmdb(folders):
    make_lmdb(folders)
    first = dataset(folders, 'lmdb')
    second = dataset(folders, 'lmdb', dataroot_lq=None, dataroot_kernel=None, random_kernel={'kernel_size': 5})
    same_root = dataset(folders, 'lmdb', dataroot_lq=str(folders / 'HR.lmdb'), dataroot_gt=None)
    for index in range(3):  # in turn, so that all of them would be open at once
        assert first[index]['gt'][:, :32].equal(second[index]['gt'])
        assert same_root[index]['lq'][:, :32].equal(second[index]['gt'])


def write_raw(path, image, *parameters):
    """Encode by OpenCV and write by Python, so that any path works."""
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, image, parameters)[1].tobytes())


def test_images_of_every_kind_keep_their_numbers(tmp_path):
    generator = np.random.default_rng(0)
    eight = generator.integers(256, size=(9, 7, 4), dtype=np.uint8)
    write_raw(tmp_path / 'in/gray.png', eight[..., 0])
    write_raw(tmp_path / 'in/alpha.png', eight)
    write_raw(tmp_path / 'in/jpeg.jpg', eight[..., :3])
    write_raw(tmp_path / 'in/bmp.bmp', eight[..., :3])
    write_raw(tmp_path / 'in/deep.png', generator.integers(65536, size=(9, 7, 3), dtype=np.uint16))
    write_raw(tmp_path / 'in/deep gray.tif', generator.integers(65536, size=(9, 7), dtype=np.uint16))
    write_raw(tmp_path / 'in/flat.png', np.full((9, 7), 257 * 100, np.uint16))  # 8 bits say the same
    root = tmp_path / 'out.lmdb'
    assert create_lmdb(tmp_path / 'in', root) == 7
    for path in (tmp_path / 'in').iterdir():
        stored = decode_image(read_lmdb(root, path.stem), path.name)
        assert stored.equal(decode_image(path.read_bytes(), path.name)), path
    assert cv2.imdecode(np.frombuffer(read_lmdb(root, 'deep'), np.uint8), -1).dtype == np.uint16
    assert cv2.imdecode(np.frombuffer(read_lmdb(root, 'flat'), np.uint8), -1).dtype == np.uint8


def test_map_grows_as_needed(tmp_path, monkeypatch, rng):
    monkeypatch.setattr(lmdb_writer, 'INITIAL_MAP_SIZE', 1 << 14)
    for index in range(4):
        pixels = torch.randint(256, (100, 100, 3), generator=rng).byte().numpy()
        write_image(tmp_path / 'in' / f'{index}.png', pixels)
    create_lmdb(tmp_path / 'in', tmp_path / 'out.lmdb')
    assert (tmp_path / 'out.lmdb/data.mdb').stat().st_size > 4 * 30000 > 1 << 14
    for index in range(4):
        expected = decode_image((tmp_path / 'in' / f'{index}.png').read_bytes(), '')
        assert decode_image(read_lmdb(tmp_path / 'out.lmdb', str(index)), '').equal(expected)


# What is refused, and what is left behind


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != 'lock.mdb'}


def test_existing_output_stays_without_overwrite(folders):
    root = folders / 'out.lmdb'
    create_lmdb(folders / 'LR', root)
    before = content(root)
    with pytest.raises(UserError, match=r'out\.lmdb: already exists; nothing was written$'):
        create_lmdb(folders / 'HR', root)
    assert content(root) == before
    create_lmdb(folders / 'HR', root, overwrite=True)
    assert '(33,36,3)' in (root / 'meta_info.txt').read_text('utf-8')
    assert {path.name for path in folders.iterdir()} == {'LR', 'HR', 'kernels', 'out.lmdb'}


def test_failure_leaves_nothing_new_and_nothing_lost(folders):
    root = folders / 'out.lmdb'
    create_lmdb(folders / 'LR', root)
    before = content(root)
    (folders / 'HR/z.png').write_bytes(b'no image')
    with pytest.raises(ImageError, match=r'z\.png: not a readable image'):
        create_lmdb(folders / 'HR', root, overwrite=True)
    assert content(root) == before
    assert {path.name for path in folders.iterdir()} == {'LR', 'HR', 'kernels', 'out.lmdb'}


def test_only_an_lmdb_is_replaced(folders):
    (folders / 'LR').rename(folders / 'photos.lmdb')
    with pytest.raises(UserError, match=r'photos\.lmdb is not a BasicSR lmdb and is not replaced'):
        create_lmdb(folders / 'HR', folders / 'photos.lmdb', overwrite=True)
    assert len(list((folders / 'photos.lmdb').iterdir())) == 3


def test_output_behind_a_link_is_replaced_where_it_lies(folders):
    (folders / 'elsewhere').mkdir()
    create_lmdb(folders / 'LR', folders / 'elsewhere/out.lmdb')
    (folders / 'link.lmdb').symlink_to(folders / 'elsewhere/out.lmdb')
    create_lmdb(folders / 'HR', folders / 'link.lmdb', overwrite=True)
    assert (folders / 'link.lmdb').is_symlink()
    assert '(33,36,3)' in (folders / 'elsewhere/out.lmdb/meta_info.txt').read_text('utf-8')


@pytest.mark.parametrize(
    ('source', 'output', 'message'),
    [
        ('HR', 'out', 'OUTPUT: .*out does not end in .lmdb'),
        ('nowhere', 'out.lmdb', 'INPUT: .*nowhere is not a folder'),
        ('.', 'out.lmdb', 'INPUT: .* has no file that ends in .png'),
    ],
)
def test_unusable_arguments(source, output, message, folders):
    with pytest.raises(UserError, match=message):
        create_lmdb(folders / source, folders / output)
    assert not (folders / output).exists()


def test_images_that_would_share_a_key_are_refused(folders):
    (folders / 'HR/a.x.jpg').write_bytes((folders / 'HR/a.x.png').read_bytes())
    with pytest.raises(UserError, match='would share their results'):
        create_lmdb(folders / 'HR', folders / 'out.lmdb')


def test_damaged_lmdb_is_named(folders):
    root = folders / 'LR.lmdb'
    create_lmdb(folders / 'LR', root)
    with (root / 'meta_info.txt').open('a', encoding='utf-8') as meta:
        meta.write('ghost.png (1,1,3) 1\n')
    assert 'ghost' in list_lmdb(root, 'dataroot_lq')
    with pytest.raises(ImageError, match=r'LR\.lmdb: meta_info\.txt names ghost, but the lmdb does not hold it'):
        read_lmdb(root, 'ghost')
    (root / 'data.mdb').write_bytes(b'no lmdb')
    with pytest.raises(ImageError, match=r'LR\.lmdb: not a readable lmdb'):
        read_lmdb(root, 'a.x')
    (root / 'data.mdb').unlink()
    with pytest.raises(ImageError, match=r'LR\.lmdb: not a readable lmdb'):
        read_lmdb(root, 'a.x')


def test_lmdb_error_while_writing_is_one_line(folders, monkeypatch):
    def fail(*_):
        raise lmdb.DiskError('mdb_txn_commit: No space left on device')

    monkeypatch.setattr(lmdb_writer, '_put', fail)
    with pytest.raises(UserError, match=r'OUTPUT: .*out\.lmdb: mdb_txn_commit: No space left on device'):
        create_lmdb(folders / 'HR', folders / 'out.lmdb')
    assert not (folders / 'out.lmdb').exists()
