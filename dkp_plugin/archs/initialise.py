"""Build networks with initial weights that depend only on a generator."""

import math
from collections.abc import Callable

import torch
from torch import nn


def build_initialised(build: Callable[[], nn.Module], generator: torch.Generator, device: torch.device) -> nn.Module:
    """Build a network with PyTorch's default initialisation, drawn from ``generator`` instead of the global state.

    Args:
        build: Returns the network; its layers with parameters must be convolutions, linear layers and batch norms.
        generator: CPU generator, so that every device gets the same numbers.
        device: Device of the returned network.

    Returns:
        The network; its parameters depend only on the state of the generator.

    Raises:
        TypeError: for a layer with parameters of another type.
    """
    with torch.device('meta'):  # spends no memory and no random numbers on weights that are replaced below
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
