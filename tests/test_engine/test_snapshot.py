"""Whatever iterates resumes from a snapshot bit by bit."""

import io
from collections import deque
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from basicsr.utils.registry import ARCH_REGISTRY

from dkp_plugin.archs.compact_prior_arch import CompactPrior
from dkp_plugin.archs.unfolded_arch import UnfoldedPrior
from dkp_plugin.archs.unpaired_arch import UnpairedSR
from dkp_plugin.archs.usrnet_arch import USRNetwork
from dkp_plugin.engine.early_stopping import EarlyStopping
from dkp_plugin.engine.snapshot import put, take
from dkp_plugin.estimators.base import KernelEstimator
from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.restorers.base import Restorer

KINDS = [
    ('DKP', {'num_units': 9, 'warmup_iters': 2}),
    ('DKP', {'num_units': 9, 'warmup_iters': 2, 'sampler': 'metropolis'}),
    ('EvidenceDKP', {'num_units': 9, 'warmup_iters': 2, 'num_samples': 6, 'pke_iters': 2}),
    ('FKP', {'freeze_iters': 1}),
    ('DoubleDIP', {'num_units': 9}),
    ('KernelGAN', {'num_iter': 2, 'num_feat': 4, 'crop_size': 27}),
    ('DIP', {'num_feat': 4, 'num_skip': 2, 'num_scales': 2, 'non_local_scales': (2,), 'ssim_iters': 4}),
    ('Diffusion', {'num_steps': 6, 'num_final_steps': 2}),
    ('Diffusion', {'num_steps': 7, 'sampler': 'ddpm', 'num_chains': 2}),
    ('ZSSR', {'num_steps': 7, 'num_feat': 4, 'num_hidden': 2}),
]
OURS = {
    name
    for name, network in ARCH_REGISTRY
    if issubclass(network, KernelEstimator | Restorer) and network.__module__.startswith('dkp_plugin')
}
KINDS = [kind for kind in KINDS if kind[0] in OURS]
KINDS += [(name, {}) for name in sorted(OURS - {name for name, _ in KINDS})]
STEPS_BEFORE, STEPS_AFTER = 4, 3
NETS = {  # instead of trained ones
    'Diffusion': lambda: CompactPrior((4, 8), (1, 1), 8),
    'Unfolded': lambda: UnfoldedPrior(num_step=1, lora_rank=1),
    'USRNet': lambda: USRNetwork(2, (2, 3, 4, 5), 1, 4),
    'Unpaired': lambda: UnpairedSR(2, num_feat=4, num_block=1, num_feat_kernel=4, num_block_kernel=1),
}
NETS['UnpairedKernel'] = NETS['OnePass'] = NETS['Unpaired']


def build(name, options):
    """A network as after its reset, with what it takes a step on."""
    network = ARCH_REGISTRY.get(name)(**options)
    generator = torch.Generator().manual_seed(0)
    if name in NETS:
        torch.manual_seed(0)
        network.net = NETS[name]().eval().requires_grad_(False)
    lq, x = torch.rand(1, 3, 14, 12, generator=generator), torch.rand(1, 3, 28, 24, generator=generator)
    network.reset(lq, Degradation(2, 11), generator)
    return network, generator, torch.full((1, 1, 11, 11), 1 / 121) if isinstance(network, Restorer) else x


def through_a_file(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def walk(network, given, num):
    """Iterate as the alternation does: the output is looked at after every step."""
    return [{**network.step(given), 'output': network().clone()} for _ in range(num)]


@pytest.mark.parametrize(('name', 'options'), KINDS, ids=lambda value: value if isinstance(value, str) else '')
def test_every_estimator_and_restorer_continues_bit_by_bit(name, options):
    steps_after = STEPS_AFTER if getattr(ARCH_REGISTRY.get(name), 'num_iter', None) is None else 0
    network, generator, given = build(name, options)
    walk(network, given, STEPS_BEFORE if steps_after else 1)
    state = through_a_file(take({'network': network, 'generator': generator}))
    expected = walk(network, given, steps_after)

    again, generator, given = build(name, options)
    again()  # fills caches that the snapshot must empty
    put({'network': again, 'generator': generator}, state)
    assert torch.equal(again(), network()) if not steps_after else True
    found = walk(again, given, steps_after)
    for row, other in zip(expected, found, strict=True):
        assert row.keys() == other.keys() and all(torch.equal(row[key], other[key]) for key in row)


@pytest.mark.parametrize('method', ['off', 'wmv', 'emv'])
def test_early_stopping_continues(method, rng):
    images = [torch.rand(1, 1, 4, 4, generator=rng) for _ in range(12)]
    watch, again = (EarlyStopping(method, window=3, patience=2, min_iter=2) for _ in range(2))

    def go(watch, indices):
        return [(watch.push(images[i]), watch.is_best(i), watch.is_over(i), watch.best_variance) for i in indices]

    go(watch, range(6))
    put(again, through_a_file(take(watch)))
    assert go(watch, range(6, 12)) == go(again, range(6, 12))


def test_values():
    old = {'n': 1, 'x': None, 'list': [1], 'tuple': (1, 'a'), 'queue': deque([1]), 'gone': 3, 'f': max}
    new = {'n': 2.5, 'x': torch.ones(2), 'list': [4, (5, 6)], 'tuple': (2, 'b'), 'queue': deque([1, 2]), 'f': min}
    restored = put(old, through_a_file(take(new)))
    assert restored is old and torch.equal(old.pop('x'), torch.ones(2))
    assert old == {'n': 2.5, 'list': [4, [5, 6]], 'tuple': (2, 'b'), 'queue': deque([1, 2]), 'f': max}


def test_what_is_shared_stays_shared_and_what_is_not_is_copied():
    weight = torch.ones(3, requires_grad=True)
    object_ = SimpleNamespace(weight=weight, optimizer=torch.optim.Adam([weight], lr=0.1))
    state = take(object_)
    weight.sum().backward()
    object_.optimizer.step()
    assert state['weight']['value'].tolist() == [1, 1, 1]
    put(object_, state)
    assert object_.weight is weight is object_.optimizer.param_groups[0]['params'][0]
    assert weight.tolist() == [1, 1, 1] and weight.grad is None


def test_gathered_gradients_are_kept():
    weight = torch.ones(2, requires_grad=True)
    (3 * weight).sum().backward()
    again = torch.zeros(2, requires_grad=True)
    put([again], through_a_file(take([weight])))
    assert again.tolist() == [1, 1] and again.grad.tolist() == [3, 3]


def test_no_class_is_called_that_is_no_named_tuple():
    with pytest.raises(ValueError, match=r'os\.system is not a named tuple'):
        put(None, {'__named_tuple__': ['os', 'system'], 'fields': ['true']})


def test_trained_networks_do_not_travel():
    frozen = torch.nn.Linear(2, 2).requires_grad_(False)
    state = take(SimpleNamespace(net=frozen, scale=2))
    assert state == {'net': '__unchanged__', 'scale': 2}


class Counter:
    """An object of somebody's own."""

    def __init__(self):
        self.count, self.mean = 0, torch.zeros(2)


def test_what_the_tutorial_says_of_attributes():
    def reset():
        return SimpleNamespace(array=np.zeros(2), set={1}, counter=Counter(), pair=(1, 2), cache=None)

    saved, resumed = reset(), reset()
    saved.array, saved.set, saved.pair, saved.added = np.ones(2), {2}, (3, 4), (5, torch.ones(1))
    saved.counter.count, saved.counter.mean = 7, torch.ones(2)
    saved.cache = 2 * torch.ones(1, requires_grad=True)  # has a graph
    put(resumed, through_a_file(take(saved)))
    assert resumed.array.tolist() == [0, 0] and resumed.set == {1} and resumed.cache is None
    assert resumed.counter.count == 7 and resumed.counter.mean.tolist() == [1, 1]
    assert resumed.pair == (3, 4) and resumed.added == [5, torch.ones(1)]
