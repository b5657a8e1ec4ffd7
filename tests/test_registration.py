"""Importing the package registers everything that it brings, and nothing twice."""

import pkgutil
import re
import sys
from pathlib import Path

import pytest
from basicsr.utils.registry import (
    ARCH_REGISTRY,
    DATASET_REGISTRY,
    LOSS_REGISTRY,
    METRIC_REGISTRY,
    MODEL_REGISTRY,
)
from mmengine.registry import MODELS

import dkp_plugin
from dkp_plugin.estimators.base import KernelEstimator
from dkp_plugin.registration import SCANNED, register_all
from dkp_plugin.restorers.base import Restorer

REGISTRIES = {
    'ARCH': ARCH_REGISTRY,
    'DATASET': DATASET_REGISTRY,
    'LOSS': LOSS_REGISTRY,
    'METRIC': METRIC_REGISTRY,
    'MODEL': MODEL_REGISTRY,
}
PACKAGE = Path(dkp_plugin.__file__).parent
MARKED = [
    (path, registry, name)
    for path in sorted(PACKAGE.rglob('*.py'))
    for registry, name in re.findall(
        r'^@(\w+)_REGISTRY\.register\(\)\n(?:class|def) (\w+)', path.read_text(encoding='utf-8'), re.MULTILINE
    )
]


@pytest.mark.parametrize(('path', 'registry', 'name'), MARKED, ids=[name for *_, name in MARKED])
def test_what_is_marked_is_registered(path, registry, name):
    entry = REGISTRIES[registry].get(name)
    assert Path(sys.modules[entry.__module__].__file__) == path
    assert path.stem.endswith(SCANNED[path.parent.name])  # so that its folder's scan finds it


def test_the_methods_of_the_contract_are_there():
    names = {name for *_, name in MARKED}
    assert {'DKP', 'EvidenceDKP', 'FKP', 'DoubleDIP', 'Softmax', 'BSRDM', 'KernelGAN', 'FixedKernel'} <= names
    assert {'DIP', 'Diffusion', 'USRNet', 'ZSSR', 'ClosedForm', 'BlindSRModel', 'BlindSRDataset'} <= names


def test_methods_are_registered_with_mmengine_too():
    ours = {name: entry for name, entry in ARCH_REGISTRY if issubclass(entry, KernelEstimator | Restorer)}
    assert len(ours) >= 13
    for name, entry in ours.items():
        if entry.__module__.startswith('dkp_plugin.'):
            assert MODELS.get(name) is entry


def test_registering_again_changes_nothing():
    before = {key: dict(iter(registry)) for key, registry in REGISTRIES.items()}
    register_all()
    assert before == {key: dict(iter(registry)) for key, registry in REGISTRIES.items()}


def test_no_module_of_a_scanned_folder_is_overlooked():
    """A file whose name has the suffix of another folder would be imported by none."""
    for folder, suffix in SCANNED.items():
        for module in pkgutil.iter_modules([str(PACKAGE / folder)]):
            others = tuple(set(SCANNED.values()) - {suffix})
            assert not module.name.endswith(others), module.name
