"""Kernels are scored against the true ones of the same names."""

import numpy as np
import torch

from dkp_plugin.io.kernel_files import write_kernel


def kernel(corner):
    found = torch.full((1, 1, 3, 3), 0.1)
    found[0, 0, 0, 0], found[0, 0, 1, 1] = corner, 0.3 - corner
    return found


def test_means_and_worst(run_script, tmp_path):
    for name, corner in (('a', 0.11), ('b', 0.2), ('unused', 0.1)):
        write_kernel(tmp_path / 'true' / f'{name}.mat', kernel(0.1), 'released', 4)
        if name != 'unused':
            write_kernel(tmp_path / 'found' / f'{name}.mat', kernel(corner), 'released', 4)
    a, b = (-10 * np.log10(2 * error**2 / 9) for error in (0.01, 0.1))
    status, text, _ = run_script('score_kernels', tmp_path / 'found', tmp_path / 'true')
    assert status == 0
    assert text.startswith(f'2 kernels: mean {(a + b) / 2:.2f} dB') and f'worst b {b:.1f}, a {a:.1f}' in text


def test_an_estimate_without_its_truth_is_one_line(run_script, tmp_path):
    write_kernel(tmp_path / 'found/a.mat', kernel(0.1), 'released', 4)
    write_kernel(tmp_path / 'true/b.mat', kernel(0.1), 'released', 4)
    status, _, error = run_script('score_kernels', tmp_path / 'found', tmp_path / 'true')
    assert status == 2 and error == f'error: TRUTHS: {tmp_path}/true has no kernel for a\n'
