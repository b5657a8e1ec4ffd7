import json
import shutil

import cv2
import numpy as np
import pytest
import scipy.io
import torch
from scipy.ndimage import correlate

from dkp_plugin.data import blur_manifest
from dkp_plugin.data.blind_sr_dataset import BlindSRDataset
from dkp_plugin.data.blur_manifest import BlurRecipe, prepare, verify
from dkp_plugin.host.errors import OptionError, UserError
from dkp_plugin.host.seeds import image_generator
from dkp_plugin.io.images import write_image
from dkp_plugin.io.kernel_files import write_kernel

NAMES = ['Größe 中', 'a.x', 'c']


@pytest.fixture
def hr(tmp_path, photo):
    """Three HR images of 49x51 pixels."""
    pixels = (photo[0] * 255).round().byte().permute(1, 2, 0).numpy()
    for index, name in enumerate(NAMES):
        write_image(tmp_path / 'HR' / f'{name}.png', pixels[10 * index : 10 * index + 49, 5:56, ::-1].copy())
    return tmp_path / 'HR'


@pytest.fixture
def kernels(tmp_path):
    """Kernels of other sizes, sums and kinds of files than a K x K kernel."""
    folder = tmp_path / 'my kernels'
    write_image(folder / 'gray.png', np.pad(np.array([[0, 50], [100, 250]], np.uint8), ((3, 1), (0, 6))))
    write_image(folder / 'long.png', np.pad(np.full((1, 40), 80, np.uint8), 2))
    return folder


def on_the_fly(hr, recipe):
    made = recipe.model_dump(exclude={'scale', 'convention'})
    return BlindSRDataset(
        {
            'name': 'Tiny',
            'type': 'BlindSRDataset',
            'phase': 'test',
            'scale': recipe.scale,
            'convention': recipe.convention,
            'dataroot_gt': str(hr),
            'random_kernel': made,
        }
    )


def from_disk(hr, out, recipe):
    roots = {'dataroot_lq': str(out / 'LR'), 'dataroot_gt': str(hr), 'dataroot_kernel': str(out / 'kernels')}
    base = {'name': 'Tiny', 'type': 'BlindSRDataset', 'phase': 'test'}
    return BlindSRDataset(base | roots | {'scale': recipe.scale, 'convention': recipe.convention})


RECIPES = {
    'gaussian': {'scale': 2},
    'motion': {'family': 'motion', 'convention': 'released', 'seed': 3},
    'line': {'family': 'line', 'scale': 3, 'length_range': (2, 4), 'kernel_size': 7},
    'noise': {'scale': 2, 'noise': 8.5},
    'jpeg': {'family': 'line', 'jpeg_quality': 30, 'noise': 2},
    'folder': {'family': 'my kernels'},
}


@pytest.fixture(params=RECIPES)
def recipe(request, tmp_path, kernels, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return BlurRecipe(**RECIPES[request.param])


def test_data_set_is_what_the_dataset_makes_on_the_fly(recipe, hr, tmp_path):
    assert prepare(hr, tmp_path / 'out', recipe) == 3
    made, read = on_the_fly(hr, recipe), from_disk(hr, tmp_path / 'out', recipe)
    assert len(made) == len(read) == 3
    for first, second in zip(made, read, strict=True):
        for key in ('lq', 'gt', 'kernel'):
            assert first[key].dtype == second[key].dtype == torch.float32
            assert first[key].equal(second[key]), key
    assert verify(hr, tmp_path / 'out') == []


def test_lr_images_are_right_by_scipy(hr, tmp_path):
    recipe = BlurRecipe(scale=3, family='motion')
    prepare(hr, tmp_path / 'out', recipe)
    for name in NAMES:
        kernel = scipy.io.loadmat(tmp_path / 'out/kernels' / f'{name}.mat')['Kernel']
        gt = cv2.imdecode(np.frombuffer((hr / f'{name}.png').read_bytes(), np.uint8), -1)[:48, :51].astype(float)
        expected = np.stack([correlate(gt[..., c], kernel, mode='grid-wrap')[::3, ::3] for c in range(3)], -1)
        lq = cv2.imdecode(np.frombuffer((tmp_path / f'out/LR/{name}.png').read_bytes(), np.uint8), -1)
        assert np.abs(lq - expected).max() < 0.5001


def test_neither_order_nor_subset_matters(hr, tmp_path):
    prepare(hr, tmp_path / 'all', BlurRecipe(noise=3))
    shutil.copytree(hr, tmp_path / 'one')
    for name in NAMES[:2]:
        (tmp_path / 'one' / f'{name}.png').unlink()
    prepare(tmp_path / 'one', tmp_path / 'out', BlurRecipe(noise=3))
    for file in ('LR/c.png', 'kernels/c.mat', 'kernels/c.png'):
        assert (tmp_path / 'out' / file).read_bytes() == (tmp_path / 'all' / file).read_bytes()
    assert (tmp_path / 'all/LR/c.png').read_bytes() != (tmp_path / 'all/LR/a.x.png').read_bytes()


def test_gray_images_stay_gray(tmp_path):
    write_image(tmp_path / 'HR/a.png', np.arange(900, dtype=np.uint16).reshape(30, 30).astype(np.uint8))
    prepare(tmp_path / 'HR', tmp_path / 'out', BlurRecipe(scale=2, noise=1, jpeg_quality=80))
    assert cv2.imread(str(tmp_path / 'out/LR/a.png'), -1).shape == (15, 15)
    assert verify(tmp_path / 'HR', tmp_path / 'out') == []


def test_manifest_is_complete(hr, kernels, tmp_path):
    recipe = BlurRecipe(family=str(kernels), seed=2)
    prepare(hr, tmp_path / 'out', recipe)
    manifest = json.loads((tmp_path / 'out/manifest.json').read_text())
    assert manifest['recipe'] == recipe.model_dump() | {'kernel_size': 19}
    assert set(manifest['versions']) == {'dkp_plugin', 'torch', 'numpy', 'opencv'}
    assert set(manifest['kernel_files']) == {'gray.png', 'long.png'} and set(manifest['images']) == set(NAMES)
    for name, record in manifest['images'].items():
        draw = torch.rand(1, 1, generator=image_generator(2, name)).item()
        assert record['kernel_file'] == ('gray.png' if draw < 0.5 else 'long.png')
        assert record['kernel'] == manifest['kernel_files'][record['kernel_file']]
        assert len(record['hr']) == len(record['lr']) == 64

    prepare(hr, tmp_path / 'gaussian', BlurRecipe())
    manifest = json.loads((tmp_path / 'gaussian/manifest.json').read_text())
    assert manifest['recipe']['variance_range'] == [0.7, 10] and manifest['recipe']['kernel_size'] == 19


# Verification


def change_pixel(path):
    image = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), -1)
    image[0, 0, 0] ^= 1
    path.write_bytes(cv2.imencode('.png', image)[1].tobytes())


def reencode(path):
    image = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), -1)
    path.write_bytes(cv2.imencode('.png', image, [cv2.IMWRITE_PNG_COMPRESSION, 0])[1].tobytes())


def test_every_difference_is_one_line(hr, tmp_path):
    out = tmp_path / 'out'
    prepare(hr, out, BlurRecipe(scale=2))
    reencode(out / 'LR/c.png')  # no difference
    assert verify(hr, out) == []

    change_pixel(out / 'LR/a.x.png')
    (out / 'LR/c.png').unlink()
    (out / 'LR/extra.png').write_bytes(b'')
    write_kernel(out / 'kernels/c.mat', torch.ones(1, 1, 11, 11) / 121, 'aligned', 2)
    (out / 'kernels/a.x.mat').write_bytes(b'no kernel')
    change_pixel(hr / f'{NAMES[0]}.png')
    expected = [
        (hr / f'{NAMES[0]}.png', 'pixels differ from the manifest'),
        (out / 'LR/a.x.png', 'pixels differ from the manifest'),
        (out / 'kernels/a.x.mat', 'not a readable kernel file'),
        (out / 'LR/c.png', 'No such file'),
        (out / 'kernels/c.mat', 'kernel differs from the manifest'),
        (out / 'LR/extra.png', 'not in the manifest'),
    ]
    lines = verify(hr, out)
    assert len(lines) == len(expected) and not any('\n' in line for line in lines)
    for file, message in expected:
        assert any(str(file) in line and message in line for line in lines), (file, message)


def test_other_hr_images_are_differences(hr, tmp_path):
    prepare(hr, tmp_path / 'out', BlurRecipe(scale=2))
    (hr / 'c.png').rename(hr / 'd.png')
    assert verify(hr, tmp_path / 'out') == [f'{hr}: no image c', f'{hr}/d.png: not in the manifest']


def test_a_recipe_that_makes_something_else_is_a_difference(hr, tmp_path):
    out = tmp_path / 'out'
    prepare(hr, out, BlurRecipe(scale=2, noise=2))
    manifest = json.loads((out / 'manifest.json').read_text())
    manifest['recipe']['noise'] = 3
    manifest['versions']['torch'] = '1.0'
    (out / 'manifest.json').write_text(json.dumps(manifest))
    lines = verify(hr, out)
    assert lines[:3] == [f'{name}: the regenerated LR image differs from the manifest' for name in sorted(NAMES)]
    assert lines[3:] == [f'versions: torch 1.0 then, {torch.__version__} now']
    manifest['recipe']['seed'] = 1
    (out / 'manifest.json').write_text(json.dumps(manifest))
    assert verify(hr, out)[:3] == [
        f'{name}: the regenerated kernel differs from the manifest' for name in sorted(NAMES)
    ]


def test_folder_of_kernels_may_move_but_not_change(hr, kernels, tmp_path):
    prepare(hr, tmp_path / 'out', BlurRecipe(family=str(kernels)))
    moved = kernels.rename(tmp_path / 'moved')
    with pytest.raises(OptionError, match='nor a folder of kernels'):
        verify(hr, tmp_path / 'out')
    assert verify(hr, tmp_path / 'out', family=str(moved)) == []
    write_image(moved / 'gray.png', np.eye(9, dtype=np.uint8))
    assert verify(hr, tmp_path / 'out', family=str(moved))[0] == f'{moved}: gray.png differs'


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (None, 'manifest.json: not a readable manifest'),
        ('{', 'manifest.json: not a readable manifest'),
        ('[]', 'manifest.json: not a manifest'),
        ('{"versions": {}, "images": {}}', 'manifest.json: recipe: missing'),
        ('{"recipe": {"scale": 5}, "versions": {}, "images": {}}', 'manifest.json: recipe:scale: 5 is not allowed'),
    ],
)
def test_unreadable_manifest(content, message, hr, tmp_path):
    (tmp_path / 'out').mkdir()
    if content is not None:
        (tmp_path / 'out/manifest.json').write_text(content)
    with pytest.raises(OptionError) as error:
        verify(hr, tmp_path / 'out')
    assert message in str(error.value) and '\n' not in str(error.value)


# What is refused


def test_nothing_is_overwritten(hr, tmp_path):
    (tmp_path / 'out').mkdir()
    with pytest.raises(UserError, match='out: already exists; nothing was written'):
        prepare(hr, tmp_path / 'out', BlurRecipe())
    assert list((tmp_path / 'out').iterdir()) == []


def test_failure_leaves_nothing(hr, tmp_path):
    (hr / 'z.png').write_bytes(b'no image')
    with pytest.raises(UserError, match=r'z\.png: not a readable image'):
        prepare(hr, tmp_path / 'out', BlurRecipe())
    write_image(hr / 'z.png', np.zeros((8, 8), np.uint8))
    with pytest.raises(UserError, match='z: kernel size 19 is larger than the image of 8x8 pixels'):
        prepare(hr, tmp_path / 'out', BlurRecipe())
    assert [path.name for path in tmp_path.iterdir()] == ['HR']


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (
            {'family': 'box'},
            "kernel_family: 'box' is not one of gaussian, motion, line, disc, auto, levin, nor a folder of kernels",
        ),
        ({'family': 'levin'}, 'kernel_family: levin: datasets/kernels/levin must contain the kernels of Levin'),
        ({'family': 'my kernels', 'variance_range': (1, 2)}, 'variance_range: (1.0, 2.0) is not allowed with a folder'),
        ({'kernel_size': 8}, 'kernel_size: 8 is not an odd number'),
        ({'family': 'HR'}, 'is a picture in colour; a kernel is a gray one'),
    ],
)
def test_recipes_that_cannot_be_followed(options, message, hr, kernels, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as error:
        prepare(hr, tmp_path / 'out', BlurRecipe(**options))
    assert message in str(error.value) and '\n' not in str(error.value)
    assert not (tmp_path / 'out').exists()


def test_versions_name_what_the_pixels_depend_on():
    assert blur_manifest.VERSIONS['numpy'] == np.__version__ and blur_manifest.VERSIONS['opencv'] == cv2.__version__
