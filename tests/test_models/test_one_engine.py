"""One option file gives one result: through the test pipeline, ``dkp-restore --opt`` and Python."""

import numpy as np
import pytest
import skimage.data
import yaml
from PIL import Image

from dkp_plugin.io.kernel_files import read_kernel
from dkp_plugin.io.photo_files import read_photo
from dkp_plugin.photos.api import PhotoRestorer
from dkp_plugin.photos.presets import take_options
from dkp_restore import main

DIP = {'type': 'DIP', 'num_feat': 4, 'num_skip': 2, 'num_scales': 2, 'non_local_scales': [2]}
METHODS = {
    'Diffusion': {
        'network_k': {'type': 'DKP', 'likelihood': 'evidence', 'num_samples': 8, 'warmup_iters': 2},
        'network_g': {'type': 'Diffusion', 'num_steps': 4, 'num_final_steps': 1},
    },
    'DIP': {
        'network_k': {'type': 'DKP', 'num_units': 10, 'warmup_iters': 2},
        'network_g': DIP,
        'alternation': {'num_iter': 5, 'averaging': 0.5},
        'early_stopping': {'method': 'emv', 'window': 2, 'min_iter': 2},
    },
    'final': {
        'network_k': {'type': 'DoubleDIP', 'num_units': 10},
        'network_g': DIP,
        'alternation': {'num_iter': 3},
        'restorer': {'final': DIP, 'num_iter': 2},
    },
}
NAMES = ('alpha', 'colour', 'compressed', 'gray', 'large')


@pytest.fixture
def photos(tmp_path):
    """A colour PNG, a gray one, one with transparency, a JPEG, and one whose result is larger than the tile."""
    image = skimage.data.astronaut()[100:184, 180:280]
    small = Image.fromarray(image[:24, :28])
    (tmp_path / 'photos').mkdir()
    small.save(tmp_path / 'photos/colour.png')
    small.convert('L').save(tmp_path / 'photos/gray.png')
    small.save(tmp_path / 'photos/compressed.jpg', quality=60)
    alpha = np.clip(np.add.outer(12 * np.arange(24), 9 * np.arange(28)) - 60, 0, 255).astype(np.uint8)
    small.putalpha(Image.fromarray(alpha))
    small.save(tmp_path / 'photos/alpha.png')
    Image.fromarray(image[:40, :70]).save(tmp_path / 'photos/large.png')
    return tmp_path / 'photos'


@pytest.mark.usefixtures('with_tiny_prior')
@pytest.mark.parametrize('method', METHODS)
def test_every_door_leads_to_the_same_pixels_and_kernels(method, photos, tmp_path, run_test):
    dataset = {'name': 'photos', 'type': 'BlindSRDataset', 'dataroot_lq': str(photos)}
    options = {
        'name': 'x',
        'model_type': 'BlindSRModel',
        'scale': 2,
        'num_gpu': 0,
        'manual_seed': 5,
        'datasets': {'test_1': dataset},
        'degradation': {'noise': 'auto'},
        'tile': 128,
        **METHODS[method],
    }
    assert run_test(options) == 0
    pipeline = {
        name: (
            read_photo(tmp_path / f'results/x/visualization/photos/{name}_x.png').pixels,
            read_kernel(tmp_path / f'results/x/kernels/photos/{name}.mat', 'aligned'),
        )
        for name in NAMES
    }

    (tmp_path / 'x.yml').write_text(yaml.safe_dump(options))
    out = tmp_path / 'out'
    arguments = [str(photos), '-o', str(out), '--opt', str(tmp_path / 'x.yml'), '--save-kernel', '--device', 'cpu']
    assert main(arguments) == 0
    command = {
        name: (read_photo(out / f'{name}.png').pixels, read_kernel(out / f'{name}_kernel.mat', 'aligned'))
        for name in NAMES
    }

    restorer, python = PhotoRestorer(take_options(options, {}), 'cpu'), {}
    for path in photos.iterdir():
        photo = read_photo(path)
        result = restorer(photo.pixels, path.stem, photo.jpeg)
        python[path.stem] = result.image, result.kernel[None, None]
        assert (path.suffix == '.jpg') == (result.inspection.jpeg is not None)

    channels = {'alpha': 4, 'gray': 1}
    for name in NAMES:
        height, width = (80, 140) if name == 'large' else (48, 56)
        assert pipeline[name][0].shape == (height, width, channels.get(name, 3))
        for other in (command, python):
            np.testing.assert_array_equal(pipeline[name][0], other[name][0], err_msg=name)
            np.testing.assert_array_equal(np.float32(pipeline[name][1]), np.float32(other[name][1]), err_msg=name)
