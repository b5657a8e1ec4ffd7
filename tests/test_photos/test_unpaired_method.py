"""The unpaired network restores photographs with the weights of the package."""

import numpy as np
import pytest
import skimage.data
import torch

import dkp_plugin
from dkp_plugin.archs.unpaired_arch import UnpairedSR
from dkp_plugin.host.errors import UserError
from dkp_plugin.io.photo_files import read_photo, write_photo
from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.physics.kernel_families import GaussianFamily
from dkp_restore import main


def psnr(found, true):
    return -10 * np.log10(np.mean((found[8:-8, 8:-8] / 255.0 - true[8:-8, 8:-8] / 255.0) ** 2))


@pytest.fixture(scope='module')
def pair():
    """A photograph and its LR image, blurred by a Gaussian of variance 4."""
    hr = skimage.data.astronaut()[8:136, 160:288]
    degradation = Degradation(4, 19)
    kernel = GaussianFamily(4, 19, degradation.centre, (4.0, 4.0)).render(torch.full((1, 3), 0.5))
    x = torch.from_numpy(hr.copy()).permute(2, 0, 1)[None] / 255
    y = degradation.A(x, kernel)
    levels = (255 * y[0]).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
    bicubic = (255 * degradation.enlarge(y)[0]).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
    return hr, levels, bicubic


@pytest.mark.parametrize('preset', ['fast', 'balanced'])
def test_it_beats_bicubic_enlargement(pair, preset):
    hr, lq, bicubic = pair
    result = dkp_plugin.restore(lq, method='unpaired', preset=preset, noise=0)
    assert result.image.shape == hr.shape and result.image.dtype == np.uint8
    assert psnr(result.image, hr) > psnr(bicubic, hr) + 1


@pytest.mark.parametrize(('preset', 'sigma'), [('fast', 5), ('balanced', 10)])
def test_it_beats_bicubic_enlargement_of_a_noisy_photograph(pair, preset, sigma):
    hr, lq, bicubic = pair
    noise = np.random.default_rng(0).normal(0, sigma, lq.shape)
    noisy = (lq + noise).round().clip(0, 255).astype(np.uint8)
    large = Degradation(4, 19).enlarge(torch.from_numpy(noisy).permute(2, 0, 1)[None] / 255)[0]
    large = (255 * large).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
    assert psnr(large, hr) < psnr(bicubic, hr)
    assert psnr(dkp_plugin.restore(noisy, method='unpaired', preset=preset, noise=sigma).image, hr) > psnr(large, hr)


def test_its_weights_are_for_one_scale(pair):
    with pytest.raises(UserError, match='scale: 2 is not possible with Unpaired; allowed: 4') as error:
        dkp_plugin.restore(pair[1], scale=2, method='unpaired')
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('preset', ['fast', 'balanced'])
def test_weights_of_ones_own_bring_their_scale(pair, preset, tmp_path):
    torch.manual_seed(0)
    net = UnpairedSR(2, num_feat=4, num_block=1, num_block_refine=1, num_feat_kernel=4, num_block_kernel=1)
    torch.save(net.state_dict(), tmp_path / 'x2.pth')
    result = dkp_plugin.restore(
        pair[1], scale=2, method='unpaired', preset=preset, noise=0, weights=tmp_path / 'x2.pth'
    )
    assert result.image.shape == (64, 64, 3)
    with pytest.raises(UserError, match=r'allowed: 2|for scale 2, not 4'):
        dkp_plugin.restore(pair[1], method='unpaired', preset=preset, weights=tmp_path / 'x2.pth')


@pytest.mark.parametrize(
    ('method', 'message'),
    [('unpaired', 'no.pth: No such file'), ('diff-dkp', 'no.pth: No such file'), ('dip-dkp', 'DIP has no weights')],
)
def test_wrong_weights_are_one_line(pair, method, message):
    with pytest.raises(UserError, match=message) as error:
        dkp_plugin.restore(pair[1], method=method, weights='no.pth')
    assert '\n' not in str(error.value)


PIXELS = skimage.data.astronaut()[100:124, 200:220]
KINDS = {  # of files, each with the shape and type of its result
    'gray.png': (PIXELS[..., :1], (96, 80, 1), np.uint8),
    'deep.tif': (PIXELS * np.uint16(257), (96, 80, 3), np.uint16),
    'alpha.png': (np.dstack([PIXELS, np.full((24, 20), 200, np.uint8)]), (96, 80, 4), np.uint8),
    'small.png': (PIXELS[:16, :16], (64, 64, 3), np.uint8),
}


@pytest.mark.parametrize('preset', ['fast', 'balanced'])
def test_the_command_takes_every_kind_of_photograph(tmp_path, preset):
    for name, (pixels, _, _) in KINDS.items():
        write_photo(tmp_path / 'photos' / name, pixels)
    command = [str(tmp_path / 'photos'), '-o', str(tmp_path / 'out'), '--method', 'unpaired', '--preset', preset]
    assert main(command) == 0
    for name, (_, shape, kind) in KINDS.items():
        (path,) = (tmp_path / 'out').glob(f'{name.split(".")[0]}.*')
        found = read_photo(path).pixels
        assert found.shape == shape and found.dtype == kind
