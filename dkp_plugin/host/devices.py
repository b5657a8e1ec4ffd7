"""Choice of the compute device."""

import os
from pathlib import Path

import torch

from dkp_plugin.host.errors import OptionError


def choose_device(name: str, local_rank: int = 0) -> torch.device:
    """The device with a given name; ``auto`` is a GPU if the machine has one, otherwise the CPU.

    Raises:
        OptionError: if the device does not exist; the message lists the available devices.
    """
    present = ['cpu', *(f'cuda:{index}' for index in range(torch.cuda.device_count()))]
    present += ['mps'] if torch.backends.mps.is_available() else []
    if name == 'auto':
        gpus = [device for device in present if device != 'cpu']
        return torch.device(gpus[local_rank % len(gpus)] if gpus else 'cpu')
    if name not in present and not (name == 'cuda' and 'cuda:0' in present):
        raise OptionError(f'device: {name} is not available on this machine; allowed: auto, {", ".join(present)}')
    return torch.device(name)


def available_memory(device: torch.device) -> int | None:
    """Bytes of memory that are free on a device; None if unknown.

    For the CPU, the limit of a container (cgroup v2) counts as well.
    """
    if device.type == 'cuda':
        return torch.cuda.mem_get_info(device)[0]
    try:
        rows = dict(row.split(':', 1) for row in Path('/proc/meminfo').read_text().splitlines())
        free = 1024 * int(rows['MemAvailable'].split()[0])
    except (OSError, KeyError, ValueError):
        try:
            free = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
        except (AttributeError, OSError, ValueError):  # Windows
            return None
    try:
        limit, used = (int(Path('/sys/fs/cgroup', f'memory.{name}').read_text()) for name in ('max', 'current'))
    except (OSError, ValueError):  # "max" is no limit
        return free
    return min(free, max(limit - used, 0))


def used_memory(device: torch.device) -> int:
    """Bytes of memory that the process occupies on a device; 0 if unknown."""
    if device.type == 'cuda':
        return torch.cuda.memory_allocated(device)
    try:
        return int(Path('/proc/self/statm').read_text().split()[1]) * os.sysconf('SC_PAGE_SIZE')
    except (OSError, ValueError):
        return 0
