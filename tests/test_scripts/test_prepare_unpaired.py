import json

import numpy as np
import pytest

from dkp_plugin.io.images import decode_image, write_image
from dkp_plugin.io.kernel_files import read_kernel
from dkp_plugin.physics.degradation import degrade


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    for name in 'abcde':
        write_image(tmp_path / f'photos/{name}.png', rng.integers(0, 256, (22, 25, 3), np.uint8))
    return tmp_path / 'photos'


@pytest.mark.parametrize('kernel', ['each', 'one'])
def test_halves(run_script, photos, tmp_path, kernel):
    out = tmp_path / 'out'
    arguments = photos, '--scale', 2, '--convention', 'released', '--kernel', kernel, '--out', out
    status, text, error = run_script('prepare_unpaired', *arguments)
    assert (status, error) == (0, '') and text.startswith(f'{out}: 2 LR images, 3 exemplars')
    assert sorted(path.name for path in out.iterdir()) == ['LR', 'exemplars', 'truth']
    assert sorted(path.name for path in (out / 'LR').iterdir()) == ['a.png', 'b.png']
    for name in 'cde':
        assert (out / f'exemplars/{name}.png').read_bytes() == (photos / f'{name}.png').read_bytes()
    kernels = [read_kernel(out / f'truth/kernels/{name}.mat', 'released') for name in 'ab']
    assert kernels[0].equal(kernels[1]) == (kernel == 'one')
    for name, true in zip('ab', kernels, strict=True):
        hr, lq = (decode_image((out / folder / f'{name}.png').read_bytes(), name) for folder in ('truth/HR', 'LR'))
        np.testing.assert_allclose(degrade(hr[None, :, :22, :24], true, 2)[0], lq, rtol=0, atol=0.51 / 255)
    assert json.loads((out / 'truth/manifest.json').read_text())['recipe']['shared'] == (kernel == 'one')


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (('--scale', 5), 'scale: 5'),
        (('--family', 'square'), 'kernel_family'),
        (('--convention', 'other'), 'convention'),
    ],
)
def test_mistakes_leave_nothing(run_script, photos, tmp_path, arguments, message):
    status, _, error = run_script('prepare_unpaired', photos, '--out', tmp_path / 'out', *arguments)
    assert status == 2 and error.startswith('error: ') and message in error and len(error.splitlines()) == 1
    assert not (tmp_path / 'out').exists()


def test_one_photograph_is_not_enough(run_script, tmp_path):
    write_image(tmp_path / 'photos/a.png', np.zeros((16, 16, 3), np.uint8))
    status, _, error = run_script('prepare_unpaired', tmp_path / 'photos', '--out', tmp_path / 'out')
    assert status == 2 and 'at least 2' in error
