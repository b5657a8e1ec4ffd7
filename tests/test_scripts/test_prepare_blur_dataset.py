import json

import numpy as np
import pytest

from dkp_plugin.io.images import write_image


@pytest.fixture
def hr(tmp_path):
    write_image(tmp_path / 'HR/a.png', np.arange(1200, dtype=np.uint16).reshape(20, 20, 3).astype(np.uint8))
    return tmp_path / 'HR'


def test_options_reach_the_manifest(run_script, hr, tmp_path):
    out = tmp_path / 'out'
    arguments = (
        '--scale 2 --family line --convention released --kernel-size 9 --length-range 2 3.5 --seed 7 --noise 1.5'
    )
    status, text, error = run_script('prepare_blur_dataset', hr, '--out', out, *arguments.split(), '--jpeg', 90)
    assert (status, text, error) == (0, f'{out}: 1 LR images and kernels, manifest.json\n', '')
    assert json.loads((out / 'manifest.json').read_text())['recipe'] == {
        'family': 'line',
        'kernel_size': 9,
        'variance_range': None,
        'length_range': [2, 3.5],
        'shared': False,
        'seed': 7,
        'noise': 1.5,
        'jpeg_quality': 90,
        'scale': 2,
        'convention': 'released',
    }


def test_verification_needs_the_manifest_alone(run_script, hr, tmp_path):
    out = tmp_path / 'out'
    arguments = hr, '--out', out
    assert run_script('prepare_blur_dataset', *arguments, '--scale', 2, '--noise', 3)[0] == 0
    assert run_script('prepare_blur_dataset', *arguments, '--verify') == (0, f'{out}: as made by its manifest\n', '')
    assert run_script('prepare_blur_dataset', *arguments, '--verify', '--seed', 1) == (
        2,
        '',
        'error: --verify takes the recipe from the manifest; got seed\n',
    )
    (out / 'LR/extra.png').touch()
    status, text, error = run_script('prepare_blur_dataset', *arguments, '--verify')
    assert (status, text, error) == (1, f'{out}/LR/extra.png: not in the manifest\n', '')


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--noise', '-1'], 'noise: -1.0 is not allowed'),
        (['--noise', 'nan'], 'noise: nan is not allowed'),
        (['--jpeg', '101'], 'jpeg_quality: 101 is not allowed'),
        (['--scale', '5'], 'scale: 5 is not allowed: input should be 1, 2, 3, 4 or 8'),
        (['--convention', 'kernelgan'], "convention: 'kernelgan' is not allowed"),
        (['--verify'], 'manifest.json: not a readable manifest'),
    ],
)
def test_mistakes_are_one_line(arguments, message, run_script, hr, tmp_path):
    status, text, error = run_script('prepare_blur_dataset', hr, '--out', tmp_path / 'out', *arguments)
    assert (status, text) == (2, '') and error.startswith('error: ') and message in error and error.count('\n') == 1
    assert not (tmp_path / 'out').exists()
