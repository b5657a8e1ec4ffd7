import importlib
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from types import ModuleType

import pytest
import torch

from dkp_plugin.host import compat

FUNCTIONAL_TENSOR = 'torchvision.transforms.functional_tensor'
BASICSR_MODULES = ['basicsr'] + [
    f'basicsr.{name}' for name in ('archs', 'data', 'losses', 'metrics', 'models', 'ops', 'test', 'train', 'utils')
]

# A torchvision that imports as the real one does: first the compiled operators, then their fake implementations.
FAKE_TORCHVISION = {
    '__init__.py': 'from . import extension, _meta_registrations\n',
    'extension.py': '',
    '_meta_registrations.py': (
        'import torch\n'
        'for name in ("nms", "qnms"):\n'
        '    torch.library.register_fake("torchvision::" + name)(lambda dets, scores, threshold: dets)\n'
    ),
}
LOADED_OPERATORS = (
    'import torch\n'
    'library = torch.library.Library("torchvision", "DEF")\n'
    'for name in ("nms", "qnms"):\n'
    '    library.define(name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")\n'
    '    library.impl(name, lambda dets, scores, threshold: dets + 1, "CPU")\n'
)
# compat.py alone: the package itself imports the real torchvision.
LOAD_COMPAT = (
    'import importlib.util, sys\n'
    f'spec = importlib.util.spec_from_file_location("compat", {str(Path(compat.__file__))!r})\n'
    'compat = importlib.util.module_from_spec(spec)\n'
    'spec.loader.exec_module(compat)\n'
)


def run_with_torchvision(folder, files, code):
    """Runs code in a new process where ``compat`` is loaded and torchvision is made of the given files."""
    package = folder / 'torchvision'
    package.mkdir()
    for name, text in files.items():
        (package / name).write_text(text)
    code = f'import sys\nsys.path.insert(0, {str(folder)!r})\n' + LOAD_COMPAT + code
    return subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=600)


def test_missing_operators_are_declared_once_and_never_computed(tmp_path):
    code = (
        'assert compat.repair_torchvision_operators() is True\n'
        'assert compat.repair_torchvision_operators() is False\n'
        'import gc, torch, torchvision\n'
        'gc.collect()\n'
        'assert torchvision._meta_registrations is sys.modules["torchvision._meta_registrations"]\n'
        'for name in ("nms", "qnms"):\n'
        '    try:\n'
        '        getattr(torch.ops.torchvision, name)(torch.zeros(2, 4), torch.zeros(2), 0.5)\n'
        '    except NotImplementedError:\n'
        '        print(name, "refused")\n'
    )
    result = run_with_torchvision(tmp_path, FAKE_TORCHVISION, code)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split('\n') == ['nms refused', 'qnms refused', '']


def test_loaded_operators_are_left_alone(tmp_path):
    code = (
        'assert compat.repair_torchvision_operators() is False\n'
        'import torch\n'
        'print(torch.ops.torchvision.nms(torch.zeros(1), torch.zeros(1), 0.5).item(), compat._libraries)\n'
    )
    result = run_with_torchvision(tmp_path, {**FAKE_TORCHVISION, 'extension.py': LOADED_OPERATORS}, code)
    assert result.returncode == 0, result.stderr
    assert result.stdout == '1.0 []\n'


def test_other_import_errors_of_torchvision_pass_through(tmp_path):
    files = {'__init__.py': 'raise RuntimeError("something else")\n'}
    result = run_with_torchvision(tmp_path, files, 'compat.repair_torchvision_operators()\n')
    assert result.returncode == 1
    assert result.stderr.endswith('RuntimeError: something else\n')


def test_real_torchvision_works_after_the_package():
    import torchvision

    image = torch.rand(1, 3, 4, 4)
    assert torchvision.transforms.functional.hflip(image).equal(image.flip(-1))
    assert compat.repair_torchvision_operators() is False


def test_removed_functional_tensor_is_brought_back_once(monkeypatch):
    monkeypatch.setitem(sys.modules, FUNCTIONAL_TENSOR, None)  # None makes its import fail
    assert compat.repair_functional_tensor() is True
    assert compat.repair_functional_tensor() is False
    module = importlib.import_module(FUNCTIONAL_TENSOR)
    assert importlib.util.find_spec(FUNCTIONAL_TENSOR) is module.__spec__

    image = torch.rand(2, 3, 4, 5)
    luma = (image * torch.tensor([0.2989, 0.587, 0.114]).view(3, 1, 1)).sum(dim=1, keepdim=True)
    torch.testing.assert_close(module.rgb_to_grayscale(image, num_output_channels=1), luma)


def test_present_functional_tensor_is_left_alone(monkeypatch):
    present = ModuleType(FUNCTIONAL_TENSOR)
    monkeypatch.setitem(sys.modules, FUNCTIONAL_TENSOR, present)
    assert compat.repair_functional_tensor() is False
    assert sys.modules[FUNCTIONAL_TENSOR] is present


def test_functional_tensor_that_lacks_something_else_passes_through(monkeypatch):
    def import_module(name):
        raise ModuleNotFoundError('no numpy', name='numpy')

    monkeypatch.setattr(compat.importlib, 'import_module', import_module)
    with pytest.raises(ModuleNotFoundError, match='no numpy'):
        compat.repair_functional_tensor()


@pytest.mark.parametrize(('installed', 'found'), [(None, 'it is not installed'), ('1.3.5', 'found 1.3.5')])
def test_missing_or_wrong_basicsr_names_the_install_command(monkeypatch, installed, found):
    def version(name):
        if installed is None:
            raise metadata.PackageNotFoundError(name)
        return installed

    monkeypatch.setattr(compat.metadata, 'version', version)
    monkeypatch.setattr(compat.importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(ImportError) as error:
        compat.apply()
    assert str(error.value) == (
        f'dkp_plugin needs BasicSR 1.4.2, {found}: pip install --no-build-isolation --no-deps basicsr==1.4.2'
    )


def test_basicsr_source_tree_is_accepted(monkeypatch):
    def version(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(compat.metadata, 'version', version)
    monkeypatch.setattr(compat.importlib.util, 'find_spec', lambda name: object())
    compat.check_basicsr()


def test_apply_twice_changes_nothing():
    before = dict(sys.modules)
    compat.apply()
    assert dict(sys.modules) == before


def test_the_package_and_stock_basicsr_import_without_warnings_and_slow_modules():
    slow = {'jinja2', 'matplotlib', 'scipy.signal', 'skimage', 'tensorboard'}
    code = (
        'import sys, dkp_plugin\n'
        f'print(sorted({slow} & sys.modules.keys()))\n'  # left to those who need them
        f'import {", ".join(BASICSR_MODULES)}\n'
        "print(basicsr.__version__, 'scipy.ndimage.filters' in sys.modules)"
    )
    result = subprocess.run([sys.executable, '-W', 'error', '-c', code], capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stderr
    assert result.stdout == '[]\n1.4.2 False\n'


def test_functions_that_use_the_repairs():
    from basicsr.data.degradations import random_add_gaussian_noise_pt

    noisy = random_add_gaussian_noise_pt(torch.full((1, 3, 8, 8), 0.5), sigma_range=(10, 10), gray_prob=1)
    difference = noisy - 0.5
    assert difference.abs().max() > 0
    torch.testing.assert_close(difference[:, 0], difference[:, 2])
