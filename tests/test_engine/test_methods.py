"""The table of methods, from the class attributes of the methods."""

import dataclasses

import pytest
from basicsr.utils.registry import ARCH_REGISTRY

import dkp_plugin
from dkp_plugin.engine.methods import format_methods, list_methods
from dkp_plugin.estimators.base import KernelEstimator
from dkp_plugin.host.errors import UserError
from dkp_plugin.physics.degradation import SCALES, Degradation
from dkp_plugin.physics.kernels import default_kernel_size

ESTIMATORS = (
    'BSRDM',
    'DKP',
    'DoubleDIP',
    'EvidenceDKP',
    'FKP',
    'FixedKernel',
    'KernelGAN',
    'Softmax',
    'UnpairedKernel',
)
RESTORERS = (
    'Bicubic',
    'ClosedForm',
    'DASR',
    'DCLS',
    'DIP',
    'Diffusion',
    'OnePass',
    'USRNet',
    'Unfolded',
    'Unpaired',
    'ZSSR',
)


def test_ours_are_listed():
    methods = [method for method in dkp_plugin.list_methods() if method.package == 'dkp_plugin']
    names = {kind: {method.name for method in methods if method.kind == kind} for kind in ('estimator', 'restorer')}
    assert names['estimator'] >= set(ESTIMATORS) and names['restorer'] == set(RESTORERS)
    for method in methods:
        assert method.summary.endswith('.') and '``' not in method.summary
        assert set(method.scales) <= set(SCALES)
    assert {method.name for method in methods if method.needs_weights} == {
        *('FKP', 'UnpairedKernel'),
        *('DASR', 'DCLS', 'Diffusion', 'OnePass', 'USRNet', 'Unfolded', 'Unpaired'),
    }
    with pytest.raises(dataclasses.FrozenInstanceError):
        methods[0].name = 'other'


@pytest.mark.parametrize('method', list_methods(), ids=lambda method: method.name)
def test_scales_are_those_that_check_accepts(method):
    if method.kind == 'restorer':
        return
    required = {'FixedKernel': {'source': 'delta'}}
    estimator = ARCH_REGISTRY.get(method.name)(**required.get(method.name, {}))
    accepted = []
    for scale in SCALES:
        try:
            estimator.check(Degradation(scale, default_kernel_size(scale)))
            accepted.append(scale)
        except UserError:
            continue
    assert method.scales == tuple(accepted)


def test_a_method_of_another_package_is_listed(monkeypatch):
    class Delta(KernelEstimator):
        """A pixel.

        More.
        """

        scales = (2,)

    Delta.__module__ = 'my_project.delta'
    monkeypatch.setitem(ARCH_REGISTRY._obj_map, 'Delta', Delta)
    (method,) = (method for method in list_methods() if method.name == 'Delta')
    assert (method.package, method.scales, method.summary, method.paper) == ('my_project', (2,), 'A pixel.', '')
    (line,) = (line for line in format_methods().splitlines() if line.startswith('Delta '))
    assert line.split() == ['Delta', 'estimator', '-', '2', 'no', 'my_project', '-', 'A', 'pixel.']
