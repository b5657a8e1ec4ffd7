"""Build networks whose initial weights depend on a generator alone."""

import math
from collections.abc import Callable

import torch
from torch import nn


def build_initialised(build: Callable[[], nn.Module], generator: torch.Generator, device: torch.device) -> nn.Module:
    """Build a network with PyTorch's default initialisation, drawn from ``generator`` instead of the global state.

    Args:
        build: Makes the network; its layers with parameters are convolutions, linear layers and batch norms.
        generator: CPU generator; the same numbers then serve every device.
        device: Where the network goes.

    Returns:
        The network, its parameters a function of the generator's state only.

    Raises:
        TypeError: for a layer with parameters that it does not know how to initialise.
    """
    with torch.device('meta'):  # no memory and no random numbers are spent on weights that are replaced below
        network = build()
    network.to_empty(device='cpu')
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            bound = 1 / math.sqrt(module.weight[0].numel())
            nn.init.uniform_(module.weight, -bound, bound, generator=generator)
            if module.bias is not None:
                nn.init.uniform_(module.bias, -bound, bound, generator=generator)
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
        elif next(module.parameters(recurse=False), None) is not None:
            raise TypeError(f'no rule to initialise a layer of type {type(module).__name__}')
    return network.to(device)
