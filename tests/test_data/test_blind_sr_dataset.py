import pickle
import shutil

import cv2
import lmdb
import numpy as np
import pytest
import torch
from basicsr.data import build_dataset
from basicsr.utils.lmdb_util import make_lmdb_from_imgs
from PIL import Image
from torch.utils.data import DataLoader

from dkp_plugin.data.blind_sr_dataset import BlindSRDataset
from dkp_plugin.host.errors import ImageError, KernelError, OptionError
from dkp_plugin.io.images import write_image
from dkp_plugin.io.kernel_files import write_kernel
from dkp_plugin.physics.degradation import degrade
from dkp_plugin.physics.jpeg_coding import JpegCoding
from dkp_plugin.physics.kernels import centre_of_mass

NAMES = ['b 1', 'a.x', 'c']


def to_uint8(image):
    """An image (C, H, W) in [0, 1] as OpenCV holds it: uint8 (H, W, C), BGR, or (H, W)."""
    array = (image * 255).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
    return np.ascontiguousarray(array[..., 0] if array.shape[2] == 1 else array[..., ::-1])


@pytest.fixture
def files(tmp_path, photo, rng):
    """Three HR images of 33x35 pixels, LR images of 16x17 pixels and kernels; a folder with spaces and umlauts."""
    folder = tmp_path / 'Größe, échelle 2'
    for index, name in enumerate(NAMES):
        gt = photo[0, :, 20 * index : 20 * index + 33, 10:45]
        kernel = torch.rand(1, 1, 5, 5, generator=rng)
        kernel /= kernel.sum()
        write_image(folder / 'HR' / f'{name}.png', to_uint8(gt))
        write_image(folder / 'LR' / f'{name}.png', to_uint8(degrade(gt[None, :, :32, :34], kernel, 2)[0]))
        write_kernel(folder / 'kernels' / f'{name}.mat', kernel, 'aligned', 2)
    return folder


def dataset(files, *keys, **options):
    """A dataset of scale 2 with the named roots among lq, gt, kernel."""
    folders = {'lq': 'LR', 'gt': 'HR', 'kernel': 'kernels'}
    roots = {f'dataroot_{key}': str(files / folders[key]) for key in keys}
    base = {'name': 'Tiny', 'type': 'BlindSRDataset', 'phase': 'test', 'scale': 2, 'io_backend': {'type': 'disk'}}
    return BlindSRDataset(base | roots | options)


def assert_same_item(first, second):
    assert first.keys() == second.keys()
    for key in first.keys() - {'lq_path', 'gt_path'}:
        assert first[key].equal(second[key]), key


def test_lr_images_alone(files):
    items = dataset(files, 'lq')
    assert len(items) == 3
    item = items[0]
    assert set(item) == {'lq', 'lq_path'}
    assert item['lq'].shape == (3, 16, 17) and item['lq'].dtype == torch.float32
    assert [item['lq_path'] for item in map(items.__getitem__, range(3))] == [
        str(files / 'LR' / f'{name}.png') for name in sorted(NAMES)
    ]


def test_lr_images_with_hr_images_and_kernels_paired_by_stem(files):
    (files / 'HR' / 'c.png').rename(files / 'HR' / 'c.BMP')  # still a PNG inside
    (files / 'HR' / 'notes.txt').write_text('not an image')
    (files / 'HR' / '.hidden.png').write_text('not an image')
    items = dataset(files, 'lq', 'gt', 'kernel')
    assert len(items) == 3
    for index, name in enumerate(sorted(NAMES)):
        item = items[index]
        assert set(item) == {'lq', 'gt', 'kernel', 'lq_path', 'gt_path'}
        assert item['gt_path'] == str(files / 'HR' / (name + ('.BMP' if name == 'c' else '.png')))
        assert item['gt'].shape == (3, 32, 34) and item['kernel'].shape == (1, 5, 5)
        lq = degrade(item['gt'][None], item['kernel'][None], 2)[0]
        assert (lq - item['lq']).abs().max() < 0.501 / 255  # so LR image, HR image and kernel belong together


@pytest.mark.parametrize('family', ['gaussian', 'motion', 'line'])
@pytest.mark.parametrize('convention', ['aligned', 'released'])
def test_lr_images_made_on_the_fly(family, convention, files):
    items = dataset(files, 'gt', convention=convention, random_kernel={'family': family, 'seed': 4})
    for index, name in enumerate(sorted(NAMES)):
        item = items[index]
        assert set(item) == {'lq', 'gt', 'kernel', 'lq_path', 'gt_path'}
        assert item['lq_path'] == item['gt_path'] == str(files / 'HR' / f'{name}.png')
        assert item['gt'].shape == (3, 32, 34) and item['kernel'].shape == (1, 11, 11)
        exact = degrade(item['gt'][None].double(), item['kernel'][None].double(), 2)[0]
        levels = item['lq'].double() * 255
        assert (levels - levels.round()).abs().max() < 1e-4
        assert (levels / 255 - exact).abs().max() < 0.501 / 255
        centre = 5.5 if convention == 'aligned' else 4.5
        assert (centre_of_mass(item['kernel'][None]) - centre).abs().max() < 0.06


def test_on_the_fly_images_depend_on_seed_and_name_alone(files, tmp_path):
    made = {'family': 'motion', 'seed': 4}
    items = dataset(files, 'gt', random_kernel=made)
    forwards = {name: items[index] for index, name in enumerate(sorted(NAMES))}
    again = dataset(files, 'gt', random_kernel=made)
    for index, name in reversed(list(enumerate(sorted(NAMES)))):
        assert_same_item(again[index], forwards[name])
    kernels = [item['kernel'] for item in forwards.values()]
    assert not kernels[0].allclose(kernels[1]) and not kernels[1].allclose(kernels[2])

    (tmp_path / 'subset').mkdir()
    shutil.copy(files / 'HR' / 'c.png', tmp_path / 'subset')
    (subset,) = dataset(files, dataroot_gt=str(tmp_path / 'subset'), random_kernel=made)
    assert_same_item(subset, forwards['c'])

    other = dataset(files, 'gt', random_kernel=made | {'seed': 5})[0]
    assert not other['kernel'].allclose(kernels[0])


def test_options_of_the_random_kernel_reach_the_family(files):
    item = dataset(files, 'gt', random_kernel={'kernel_size': 7, 'variance_range': [1e-4, 1e-4]}, scale=3)[0]
    assert item['kernel'].shape == (1, 7, 7)
    torch.testing.assert_close(item['kernel'][0, 4, 4], torch.tensor(1.0))  # nothing but a shift by (s - 1) / 2 = 1
    torch.testing.assert_close(item['lq'], item['gt'][:, 1::3, 1::3])


@pytest.mark.parametrize('workers', [0, 2])
def test_dataset_is_built_and_loaded_as_basicsr_does(workers, files):
    options = dataset(files, 'gt', random_kernel={}).opt
    items = build_dataset(options)
    loaded = list(DataLoader(pickle.loads(pickle.dumps(items)), batch_size=1, num_workers=workers))
    for index, batch in enumerate(loaded):
        assert batch['lq'].shape == (1, 3, 16, 17)
        assert batch['lq'][0].equal(items[index]['lq']) and batch['lq_path'] == [items[index]['lq_path']]


def test_gray_images_stay_one_channel(files):
    for path in (files / 'HR').iterdir():
        write_image(path, np.full((33, 35), 100, np.uint8))
    item = dataset(files, 'gt', random_kernel={})[0]
    assert item['gt'].shape == (1, 32, 34) and item['lq'].shape == (1, 16, 17)
    torch.testing.assert_close(item['lq'], torch.full((1, 16, 17), 100 / 255))


def test_gray_image_beside_one_in_colour_becomes_one_in_colour(files):
    for path in (files / 'LR').iterdir():
        write_image(path, np.full((16, 17), 100, np.uint8))
    item = dataset(files, 'lq', 'gt')[0]
    assert item['lq'].shape == (3, 16, 17) and item['gt'].shape == (3, 32, 34)


# lmdb


def write_lmdb(folder, root, contents):
    """An lmdb of any files, with BasicSR's list of contents."""
    with lmdb.open(str(root), map_size=1 << 20) as environment, environment.begin(write=True) as transaction:
        for name in contents:
            transaction.put(name.encode(), (folder / f'{name}.mat').read_bytes())
    (root / 'meta_info.txt').write_text(''.join(f'{name}.mat (5,5,1) 1\n' for name in contents))


@pytest.fixture
def lmdb_roots(files, tmp_path, capsys):
    """The same files as lmdb, one for each root."""
    for folder in ('LR', 'HR'):
        make_lmdb_from_imgs(
            str(files / folder), str(tmp_path / f'{folder}.lmdb'), [f'{n}.png' for n in NAMES], NAMES, map_size=1 << 20
        )
    write_lmdb(files / 'kernels', tmp_path / 'kernels.lmdb', NAMES)
    capsys.readouterr()
    names = {'lq': 'LR', 'gt': 'HR', 'kernel': 'kernels'}
    return {f'dataroot_{key}': str(tmp_path / f'{name}.lmdb') for key, name in names.items()}


def test_lmdb_gives_the_same_items_as_files(files, lmdb_roots):
    from_lmdb = dataset(files, **lmdb_roots, io_backend={'type': 'lmdb'})
    from_files = dataset(files, 'lq', 'gt', 'kernel')
    assert len(from_lmdb) == len(from_files)
    for index, name in enumerate(sorted(NAMES)):
        assert_same_item(from_lmdb[index], from_files[index])
        assert from_lmdb[index]['lq_path'] == name


def test_lmdb_gives_the_same_lr_images_made_on_the_fly(files, lmdb_roots):
    made = {'random_kernel': {'family': 'line'}}
    items = dataset(files, dataroot_gt=lmdb_roots['dataroot_gt'], io_backend={'type': 'lmdb'}, **made)
    for index in range(3):
        assert_same_item(items[index], dataset(files, 'gt', **made)[index])


def test_lmdb_entries_keep_their_folders(files, tmp_path):
    root = tmp_path / 'REDS.lmdb'
    with lmdb.open(str(root), map_size=1 << 20) as environment, environment.begin(write=True) as transaction:
        for folder, name in (('x', 'c'), ('y', 'a.x')):
            transaction.put(f'{folder}/im'.encode(), (files / 'LR' / f'{name}.png').read_bytes())
    (root / 'meta_info.txt').write_text('x/im.png (16,17,3) 1\ny/im.png (16,17,3) 1\n')
    items = dataset(files, dataroot_lq=str(root), io_backend={'type': 'lmdb'})
    assert items.names == [item['lq_path'] for item in items] == ['x/im', 'y/im']
    c, a = dataset(files, 'lq')[2], dataset(files, 'lq')[0]
    assert items[0]['lq'].equal(c['lq']) and items[1]['lq'].equal(a['lq']) and not c['lq'].equal(a['lq'])


# What a file says beside its colours


def test_alpha_channel_comes_beside_the_image(files):
    alpha = np.full((16, 17), 255, np.uint8)
    alpha[2:5, 3:9] = np.arange(6) * 10
    opaque = dataset(files, 'lq')[2]['lq']
    levels = np.dstack([to_uint8(opaque), alpha])
    (files / 'LR' / 'c.png').write_bytes(cv2.imencode('.png', levels)[1].tobytes())
    items = dataset(files, 'lq')
    assert 'alpha' not in items[0] and 'jpeg' not in items[2]
    (batch,) = [batch for batch in DataLoader(items, batch_size=1) if batch['lq_path'][0].endswith('c.png')]
    np.testing.assert_array_equal(batch['alpha'][0, 0].numpy(), alpha / np.float32(255))
    is_visible = torch.from_numpy(alpha == 255)
    assert batch['lq'][0][:, is_visible].equal(opaque[:, is_visible])
    assert not batch['lq'][0].equal(opaque)  # hidden pixels take the colour of what surrounds them


def test_the_coding_of_a_jpeg_comes_beside_the_image(files):
    image = to_uint8(dataset(files, 'lq')[2]['lq'])
    (files / 'LR' / 'c.png').unlink()
    content = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, 60])[1].tobytes()
    (files / 'LR' / 'c.jpg').write_bytes(content)
    codings = [batch.get('jpeg') for batch in DataLoader(dataset(files, 'lq'), batch_size=1)]
    assert codings[:2] == [None, None] and JpegCoding.from_tensor(codings[2][0]) == JpegCoding.standard(60)
    made = dataset(files, 'gt', random_kernel={'jpeg_quality': 35})[0]
    assert JpegCoding.from_tensor(made['jpeg']) == JpegCoding.standard(35)
    assert 'jpeg' not in dataset(files, 'gt', random_kernel={})[0]


def test_what_is_left_out_of_a_file_is_logged_once(files, caplog):
    first, second = (Image.fromarray(np.full((16, 17, 3), level, np.uint8)) for level in (10, 20))
    first.save(files / 'LR' / 'c.png', save_all=True, append_images=[second])
    items = dataset(files, 'lq')
    with caplog.at_level('WARNING', 'basicsr'):
        assert (items[2]['lq'] * 255).round().unique().tolist() == [10] and items[2]
    assert caplog.messages == [f'{files / "LR" / "c.png"}: holds more than one picture, only the first is read']


# What cannot be used


@pytest.mark.parametrize(
    ('keys', 'options', 'message'),
    [
        (['lq'], {'scale': 5}, 'datasets: Tiny: scale: 5 is not allowed: input should be 1, 2, 3, 4 or 8'),
        (['lq'], {'datarot_gt': 'HR'}, 'datasets: Tiny: datarot_gt: unknown key, did you mean dataroot_gt?'),
        (['lq'], {'convention': 'kernelgan'}, "convention: 'kernelgan' is not allowed"),
        (['lq'], {'io_backend': {'type': 'dsk'}}, "io_backend:type: 'dsk' is not allowed"),
        (['lq'], {'random_kernel': {}}, 'got dataroot_lq and random_kernel'),
        (['gt'], {}, 'give dataroot_lq (with or without dataroot_gt and dataroot_kernel)'),
        ([], {}, 'got none'),
        (['gt', 'kernel'], {'random_kernel': {}}, 'got dataroot_gt, dataroot_kernel and random_kernel'),
        (['gt'], {'random_kernel': {'famly': 'line'}}, 'random_kernel:famly: unknown key, did you mean family?'),
        (['gt'], {'random_kernel': {'family': 'box'}}, "'box' is not one of gaussian, motion, line"),
        (['gt'], {'random_kernel': {'kernel_size': 10}}, 'kernel_size: 10 is not an odd number of at least 3'),
        (['gt'], {'random_kernel': {'kernel_size': 0}}, 'kernel_size: 0 is not an odd number of at least 3'),
        (['gt'], {'random_kernel': {'variance_range': [3, 2]}}, 'variance_range: [3.0, 2.0] is not a range'),
        (['gt'], {'random_kernel': {'family': 'line', 'variance_range': [1, 2]}}, 'variance_range'),
    ],
)
def test_bad_options_are_refused_before_any_image_is_read(keys, options, message, files):
    with pytest.raises(OptionError) as error:
        dataset(files, *keys, **options)
    assert message in str(error.value) and '\n' not in str(error.value)


def test_missing_and_empty_folders_are_refused_by_name(files):
    with pytest.raises(OptionError, match=r'^dataroot_lq: .*nowhere is not a folder$'):
        dataset(files, dataroot_lq=str(files / 'nowhere'))
    (files / 'empty').mkdir()
    (files / 'empty' / 'notes.txt').write_text('no image')
    with pytest.raises(OptionError, match=r'^dataroot_lq: .*empty has no file that ends in .png, .jpg'):
        dataset(files, dataroot_lq=str(files / 'empty'))
    with pytest.raises(OptionError, match=r'^dataroot_kernel: .*empty has no file that ends in .mat, .npy'):
        dataset(files, 'lq', dataroot_kernel=str(files / 'empty'))


def test_home_folder_may_be_abbreviated(files, lmdb_roots, monkeypatch):
    monkeypatch.setenv('HOME', str(files.parent))
    assert_same_item(dataset(files, dataroot_lq=f'~/{files.name}/LR')[0], dataset(files, 'lq')[0])
    from_lmdb = dataset(files, dataroot_lq='~/LR.lmdb', io_backend={'type': 'lmdb'})
    assert_same_item(from_lmdb[0], dataset(files, 'lq')[0])


@pytest.mark.parametrize(('key', 'folder', 'suffix'), [('gt', 'HR', '.png'), ('kernel', 'kernels', '.mat')])
def test_unpaired_images_are_listed(key, folder, suffix, files):
    for name in ('b 1', 'c'):
        (files / folder / f'{name}{suffix}').unlink()
    with pytest.raises(OptionError, match=rf'^dataroot_{key}: .*{folder} has no file for b 1, c$'):
        dataset(files, 'lq', key)


def test_truth_without_an_lr_image_is_left_aside(files):
    (files / 'LR' / 'c.png').unlink()
    assert len(dataset(files, 'lq', 'gt', 'kernel')) == 2


@pytest.mark.parametrize('share', [0, 0.5])
def test_broken_image_is_named_and_the_others_are_read(share, files):
    path = files / 'LR' / 'b 1.png'
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    items = dataset(files, 'lq')
    with pytest.raises(ImageError) as error:
        items[1]
    assert str(error.value).startswith(f'{path}: not a readable image')
    assert items[0]['lq'].shape == items[2]['lq'].shape == (3, 16, 17)


def test_broken_kernel_is_named(files):
    path = files / 'kernels' / 'c.mat'
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(KernelError, match=r'kernels/c\.mat: not a readable kernel file'):
        dataset(files, 'lq', 'kernel')[2]


def test_kernel_of_another_convention_is_refused(files):
    with pytest.raises(KernelError, match="'aligned', the option file says 'released'"):
        dataset(files, 'lq', 'kernel', convention='released')[0]


@pytest.mark.parametrize(('height', 'width'), [(31, 34), (34, 34), (32, 36)])
def test_hr_image_that_does_not_fit_is_refused(height, width, files):
    write_image(files / 'HR' / 'c.png', np.zeros((height, width, 3), np.uint8))
    with pytest.raises(ImageError) as error:
        dataset(files, 'lq', 'gt')[2]
    assert str(error.value) == (
        f'{files}/HR/c.png: {width}x{height} pixels do not fit an LR image of 17x16 at scale 2, which needs 34x32'
    )


def test_hr_image_smaller_than_the_kernel_is_refused(files):
    write_image(files / 'HR' / 'c.png', np.zeros((33, 10, 3), np.uint8))
    with pytest.raises(ImageError, match='c: kernel size 11 is larger than the image of 32x10 pixels'):
        dataset(files, 'gt', random_kernel={})[2]
