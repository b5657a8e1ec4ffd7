"""Folders of kernel files, and the family that such a folder makes."""

import hashlib
import struct

import numpy as np
import pytest
import scipy.io
import torch

from dkp_plugin.data import synthesis
from dkp_plugin.data.blur_manifest import BlurRecipe
from dkp_plugin.data.kernel_folder import FolderFamily, kernel_digest, list_images_or_kernels
from dkp_plugin.host.errors import KernelError, OptionError
from dkp_plugin.io.images import write_image
from dkp_plugin.physics.kernels import centre_of_mass


def test_family_of_a_folder_holds_its_kernel_files(tmp_path):
    for name in ('single.mat', 'key.mat'):
        scipy.io.savemat(tmp_path / name, {'Kernel': np.ones((3, 3))})
    np.save(tmp_path / 'array.npy', np.ones((3, 3)))
    write_image(tmp_path / 'gray.png', np.ones((3, 3), np.uint8))
    family = FolderFamily(2, 7, 3.0, tmp_path)
    assert family.names == ('array.npy', 'key.mat', 'single.mat')  # pictures beside kernel files only show them
    params = torch.tensor([[0.0], [0.34], [0.99999], [1.0]])
    assert family.index(params).tolist() == [0, 1, 2, 2]
    assert family.render(params).shape == (4, 1, 7, 7) and family.render(params).dtype == torch.float32


@pytest.mark.parametrize('convention', ['aligned', 'released'])
@pytest.mark.parametrize('scale', [2, 3, 4, 8])
def test_levin_kernels_lie_where_the_convention_has_them(scale, convention, shared_data, monkeypatch):
    monkeypatch.setattr(synthesis, 'LEVIN_FOLDER', shared_data / 'kernels' / 'levin')
    recipe = BlurRecipe(family='levin', scale=scale, convention=convention)
    made = recipe.build()
    assert len(made.family.names) == 8
    kernels = made.family.kernels
    size = {2: 11, 3: 15, 4: 19, 8: 21}[scale]
    assert kernels.shape == (8, 1, size, size)
    centre = size // 2 + (scale - 1) / 2 * {'aligned': 1, 'released': -1}[convention]
    assert (centre_of_mass(kernels) - centre).abs().max() < 1e-9
    assert (kernels.sum((1, 2, 3)) - 1).abs().max() < 1e-12


def test_a_folder_without_kernel_files_is_one_of_pictures(tmp_path):
    for name in ('b.png', 'a.bmp'):
        write_image(tmp_path / name, np.ones((3, 3), np.uint8))
    assert [path.name for path in list_images_or_kernels(tmp_path, 'key')] == ['a.bmp', 'b.png']
    (tmp_path / 'c.NPY').touch()
    assert [path.name for path in list_images_or_kernels(tmp_path, 'key')] == ['c.NPY']


def test_a_folder_that_is_missing_or_empty_is_named_with_its_key(tmp_path):
    with pytest.raises(OptionError, match=r'^key: .*gone is not a folder$'):
        list_images_or_kernels(tmp_path / 'gone', 'key')
    with pytest.raises(OptionError, match=r'^kernel_family: .* has no file that ends in \.png'):
        FolderFamily(2, 7, 3.0, tmp_path)


def test_a_damaged_kernel_is_named(tmp_path):
    (tmp_path / 'a.mat').write_bytes(b'no kernel')
    with pytest.raises(KernelError, match=r'a\.mat: '):
        FolderFamily(2, 7, 3.0, tmp_path)


def test_digest_is_that_of_size_and_values_in_float32():
    kernel = torch.tensor([[[0.0, 0.25, 0.75]]], dtype=torch.float64)
    content = b'1x3 float32' + struct.pack('<3f', 0, 0.25, 0.75)
    assert kernel_digest(kernel) == kernel_digest(kernel.float()) == hashlib.sha256(content).hexdigest()
    assert kernel_digest(kernel.mT) != kernel_digest(kernel)
