"""Kernel files: those of a run, which name their convention, and those of any origin."""

import io

import cv2
import numpy as np
import pytest
import scipy.io
import torch

from dkp_plugin.host.errors import KernelError, UserError
from dkp_plugin.io.images import write_image
from dkp_plugin.io.kernel_files import decode_any_kernel, decode_kernel, write_kernel

BOX = np.full((5, 5), 1 / 25)


def mat(**fields):
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, fields)
    return buffer.getvalue()


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def test_kernel_file_round_trip(tmp_path, rng):
    kernel = torch.rand(1, 1, 7, 7, generator=rng, dtype=torch.float64)
    kernel /= kernel.sum()
    write_kernel(tmp_path / 'k.mat', kernel, 'released', 4)
    fields = scipy.io.loadmat(tmp_path / 'k.mat')
    assert fields['Kernel'].dtype == np.float64
    np.testing.assert_array_equal(fields['Kernel'], kernel[0, 0].numpy())
    assert fields['convention'].tolist() == ['released']
    assert fields['scale'].tolist() == [[4]]
    assert decode_kernel((tmp_path / 'k.mat').read_bytes(), 'k.mat', 'released').equal(kernel[0].float())
    assert cv2.imread(str(tmp_path / 'k.png')).shape == (56, 56, 3)


@pytest.mark.parametrize('dtype', [np.float32, np.float64])
def test_kernel_of_npy_or_without_convention_is_taken_as_it_is(dtype, rng):
    kernel = torch.rand(5, 5, generator=rng).numpy().astype(dtype)
    kernel /= kernel.sum()
    for content in (npy(kernel), mat(Kernel=kernel)):
        decoded = decode_kernel(content, 'k', 'aligned')
        assert decoded.dtype == torch.float32 and decoded.shape == (1, 5, 5)
        np.testing.assert_array_equal(decoded[0].numpy(), kernel.astype(np.float32))


@pytest.mark.parametrize(
    ('content', 'reason'),
    [
        (mat(kernel=BOX, other=1), "has no key Kernel; it has ['kernel', 'other']"),
        (npy(np.full((4, 4), 1 / 16)), 'the kernel has shape (4, 4), not an odd square'),
        (npy(np.full((3, 5), 1 / 15)), 'the kernel has shape (3, 5), not an odd square'),
        (npy(BOX[None]), 'the kernel has shape (1, 5, 5), not an odd square'),
        (npy(BOX * 0.9), 'the kernel has sum 0.9 and minimum 0.036; allowed are sum 1 and minimum 0, within 0.001'),
        (npy(np.diag([-0.5, 1, 0.5])), 'the kernel has sum 1 and minimum -0.5; allowed are'),
        (npy(np.where(np.eye(5), np.nan, BOX)), 'the kernel has sum nan and minimum nan; allowed are'),
        (mat(Kernel=BOX + 0j), 'the kernel is of type complex128, not of real numbers'),
        (mat(Kernel='box'), 'the kernel is of type <U3, not of real numbers'),
        (mat(Kernel=BOX, convention='released'), "convention 'released', the option file says 'aligned'"),
        (mat(Kernel=BOX, convention=''), "convention '', the option file says 'aligned'"),
        (mat(Kernel=BOX, convention=3), "convention '3', the option file says 'aligned'"),
        (b'', 'not a readable kernel file'),
        (b'hello ' * 50, 'not a readable kernel file'),
        (npy(np.array([{}])), 'not a readable kernel file'),
    ],
    ids=lambda value: value if isinstance(value, str) else 'file',
)
def test_bad_kernel_is_refused_by_name_and_reason(content, reason):
    with pytest.raises(KernelError) as error:
        decode_kernel(content, 'folder/k.mat', 'aligned')
    message = str(error.value)
    assert message.startswith('folder/k.mat: ') and reason in message and '\n' not in message


@pytest.mark.parametrize('content', [mat(Kernel=BOX), npy(BOX)], ids=['mat', 'npy'])
def test_truncated_kernel_file_is_refused_wherever_it_ends(content):
    for length in range(len(content)):
        with pytest.raises(KernelError, match=r'^k\.mat: ') as error:
            decode_kernel(content[:length], 'k.mat', 'aligned')
        assert '\n' not in str(error.value)


def test_kernel_files_of_every_kind(tmp_path):
    matrix = np.array([[1, 2, 3], [2, 0, 0]])
    scipy.io.savemat(tmp_path / 'key.mat', {'Kernel': matrix, 'other': np.ones((4, 4)), 'scale': 2})
    scipy.io.savemat(tmp_path / 'single.mat', {'k': matrix.astype(np.uint8), 'scale': 2, 'convention': 'released'})
    np.save(tmp_path / 'array.npy', matrix - 1e-9)
    write_image(tmp_path / 'gray.png', (20 * matrix).astype(np.uint8))
    for file in ('key.mat', 'single.mat', 'array.npy', 'gray.png'):
        kernel = decode_any_kernel((tmp_path / file).read_bytes(), file)
        assert kernel.dtype == np.float64
        np.testing.assert_allclose(kernel, matrix / 8, atol=1e-7)


@pytest.mark.parametrize(
    ('fields', 'message'),
    [
        ({'a': np.ones((2, 2)), 'b': np.ones((2, 2))}, "neither a key Kernel nor a single matrix; it has ['a', 'b']"),
        ({'Kernel': np.zeros((3, 3))}, 'the kernel has sum 0; allowed are positive, finite numbers'),
        ({'Kernel': np.full((3, 3), np.nan)}, 'the kernel has sum nan'),
        ({'Kernel': np.ones((3, 3)) * 1j}, 'the kernel is of type complex128, not of real numbers'),
        ({'Kernel': np.ones((3, 3, 2))}, 'the kernel has shape (3, 3, 2), not that of a matrix'),
    ],
)
def test_files_without_a_kernel(fields, message, tmp_path):
    scipy.io.savemat(tmp_path / 'x.mat', fields)
    with pytest.raises(UserError) as error:
        decode_any_kernel((tmp_path / 'x.mat').read_bytes(), 'x.mat')
    assert str(error.value).startswith('x.mat: ') and message in str(error.value)
