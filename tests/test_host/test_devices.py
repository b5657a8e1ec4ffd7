"""Names of devices, on machines that are made up."""

import mmap
import os
from pathlib import Path

import pytest
import torch

from dkp_plugin.host.devices import available_memory, choose_device, used_memory
from dkp_plugin.host.errors import OptionError


@pytest.fixture
def machine(monkeypatch):
    """Pretend that the machine has so many CUDA devices, and perhaps Apple's GPU."""

    def pretend(num_cuda, has_mps=False):
        monkeypatch.setattr(torch.cuda, 'device_count', lambda: num_cuda)
        monkeypatch.setattr(torch.backends.mps, 'is_available', lambda: has_mps)

    return pretend


@pytest.mark.parametrize(
    ('num_cuda', 'has_mps', 'rank', 'expected'),
    [
        (0, False, 0, 'cpu'),
        (0, False, 3, 'cpu'),
        (0, True, 1, 'mps'),
        (2, False, 0, 'cuda:0'),
        (2, False, 1, 'cuda:1'),
        (2, False, 5, 'cuda:1'),  # more processes than GPUs share them
    ],
)
def test_auto_is_a_gpu_of_the_process_where_there_is_one(machine, num_cuda, has_mps, rank, expected):
    machine(num_cuda, has_mps)
    assert choose_device('auto', rank) == torch.device(expected)


@pytest.mark.parametrize(('name', 'num_cuda'), [('cpu', 0), ('cpu', 2), ('cuda:1', 2), ('cuda', 1)])
def test_a_device_that_is_there_is_taken_whatever_the_rank(machine, name, num_cuda):
    machine(num_cuda)
    assert choose_device(name, 1) == torch.device(name)


@pytest.mark.parametrize(
    ('name', 'num_cuda', 'allowed'),
    [
        ('cuda', 0, 'auto, cpu'),
        ('cuda:2', 2, 'auto, cpu, cuda:0, cuda:1'),
        ('mps', 0, 'auto, cpu'),
        ('gpu', 1, 'auto, cpu, cuda:0'),
    ],
)
def test_a_device_that_is_not_there_is_refused(machine, name, num_cuda, allowed):
    machine(num_cuda)
    with pytest.raises(OptionError) as error:
        choose_device(name)
    assert str(error.value) == f'device: {name} is not available on this machine; allowed: {allowed}'


@pytest.mark.skipif(not Path('/proc/meminfo').exists(), reason='only Linux has /proc')
def test_free_and_used_memory():
    cpu = torch.device('cpu')
    total = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
    assert 0 < available_memory(cpu) < total
    before = used_memory(cpu)
    with mmap.mmap(-1, 2**26) as block:  # 64 MiB of the system, where the allocator could reuse what was freed
        block.write(b'x' * 2**26)
        assert 0.9 * 2**26 < used_memory(cpu) - before < 2.5 * 2**26
