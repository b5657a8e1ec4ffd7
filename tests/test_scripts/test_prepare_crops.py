import cv2
import numpy as np
import pytest
import scipy.io
import torch

from dkp_plugin.io.images import write_image
from dkp_plugin.io.kernel_files import write_kernel


@pytest.fixture
def benchmark(tmp_path):
    rng = np.random.default_rng(0)
    write_image(tmp_path / 'set/HR/a.png', rng.integers(0, 256, (20, 27, 3), np.uint8))
    kernel = torch.zeros(1, 1, 5, 5)
    kernel[..., 2, 2], kernel[..., 1, 4] = 0.75, 0.25
    write_kernel(tmp_path / 'set/motion_x2/kernels/a.mat', kernel, 'released', 2)
    return tmp_path / 'set'


ARGUMENTS = ('--size', 12, '--scale', 2, '--convention', 'released')


def test_crops_and_what_the_kernel_makes_of_them(run_script, benchmark, tmp_path):
    out = tmp_path / 'out'
    status, text, error = run_script('prepare_crops', benchmark, 'motion_x2', '--out', out, *ARGUMENTS)
    assert (status, text, error) == (0, f'{out}: 1 HR images of 12x12, LR images and kernels\n', '')
    hr = cv2.imread(str(out / 'HR/a.png'))
    assert np.array_equal(hr, cv2.imread(str(benchmark / 'HR/a.png'))[4:16, 7:19])
    # Correlation by hand: 0.75 of the pixel itself, 0.25 of the one a row up and two columns on, round the edge.
    blurred = 0.75 * hr + 0.25 * np.roll(hr, (1, -2), (0, 1))
    lr = cv2.imread(str(out / 'motion_x2/LR/a.png'))
    assert lr.shape == (6, 6, 3) and np.abs(lr - blurred[::2, ::2]).max() <= 0.5
    saved = scipy.io.loadmat(out / 'motion_x2/kernels/a.mat')
    assert saved['Kernel'][1, 4] == 0.25 and saved['convention'][0] == 'released' and saved['scale'] == 2


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (('--size', 13, '--scale', 2), '--size: 13 is not a multiple of the scale, 2'),
        (('--size', 24, *ARGUMENTS[2:]), 'a.png: 27x20 pixels are fewer than the crop, 24x24'),
        (('--size', 12, '--scale', 2), "a.mat: the kernel has convention 'released', the option file says 'aligned'"),
        (('--size', 4, *ARGUMENTS[2:]), 'kernel size 5 is larger than the image of 4x4 pixels'),
    ],
)
def test_mistakes_are_one_line_and_nothing_is_written(run_script, benchmark, tmp_path, arguments, message):
    status, text, error = run_script('prepare_crops', benchmark, 'motion_x2', '--out', tmp_path / 'out', *arguments)
    assert (status, text, error.count('\n')) == (2, '', 1) and error.startswith('error: ') and message in error
    assert not (tmp_path / 'out').exists()


def test_what_is_missing_is_named(run_script, benchmark, tmp_path):
    write_image(benchmark / 'HR/b.png', np.zeros((20, 20, 3), np.uint8))
    status, _, error = run_script('prepare_crops', benchmark, 'motion_x2', '--out', tmp_path / 'out', *ARGUMENTS)
    assert status == 2 and error.endswith('kernels: has no kernel for b\n')
    status, _, error = run_script('prepare_crops', benchmark, 'line_x2', '--out', tmp_path / 'out', *ARGUMENTS)
    assert status == 2 and 'is not a folder' in error
