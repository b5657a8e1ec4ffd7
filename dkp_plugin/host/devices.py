"""Choice of the compute device."""

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
