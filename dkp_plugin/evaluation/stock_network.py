"""The network and the weights of one of BasicSR's own models, checked before a run starts."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn

from dkp_plugin.archs.one_shot import OneShotNetwork
from dkp_plugin.estimators.base import KernelEstimator
from dkp_plugin.host.errors import OptionError, UserError
from dkp_plugin.host.schema import get_registered
from dkp_plugin.io.weight_files import read_weights
from dkp_plugin.restorers.base import Restorer


def build_stock_network(block: Any) -> nn.Module:
    """Build a network from the block ``network_g``.

    Raises:
        OptionError: for a block without a type, an unknown type, one of ours, or arguments that do not fit.
    """
    if not isinstance(block, Mapping):
        raise OptionError(f'network_g: {block!r} is not a block of options')
    constructor = get_registered(ARCH_REGISTRY, block, 'network_g')
    if issubclass(constructor, KernelEstimator | Restorer):
        raise OptionError(f'network_g: type: {block["type"]} needs model_type: BlindSRModel')
    try:
        return constructor(**{key: value for key, value in block.items() if key != 'type'})
    except Exception as error:  # a constructor may raise anything
        raise OptionError(f'network_g: {type(error).__name__}: {error}') from None


def check_stock_weights(opt: Mapping[str, Any]) -> None:
    """Check that the weights of ``path: pretrain_network_g``, if any, are those of ``network_g``.

    BasicSR would load them after it has opened every data set, and fail with a list of all names.

    Args:
        opt: The options, completed as BasicSR's ``parse_options`` does.

    Raises:
        OptionError: if the file is missing or damaged, or if its names or shapes differ from the network's.
    """
    path = opt['path'].get('pretrain_network_g')
    if path is None:
        return
    where = f'path: pretrain_network_g: {path}'
    if not Path(path).is_file():
        raise OptionError(f'{where} does not exist')
    if not opt['path'].get('strict_load_g', True):
        return
    try:
        content, _ = read_weights(Path(path))
    except UserError as error:
        raise OptionError(f'path: pretrain_network_g: {error}') from None
    weights = _select(content, opt['path'].get('param_key_g', 'params'), path)
    with torch.random.fork_rng(devices=[]):
        network = build_stock_network(opt['network_g'])
    if reason := _difference(network, weights):
        raise OptionError(f'{where}: not the weights of this {opt["network_g"]["type"]}: {reason}')


def _select(content: Any, key: str | None, path: str) -> dict[str, Tensor]:
    """The state dict of a checkpoint, as BasicSR's ``load_network`` selects it."""
    if not isinstance(content, Mapping):
        raise OptionError(f'path: pretrain_network_g: {path}: not a file of weights')
    if key is not None:
        key = 'params' if key not in content and 'params' in content else key
        if key not in content:
            groups = [name for name, value in content.items() if isinstance(value, Mapping)]
            allowed = ', '.join(groups) or '~, because the file holds bare weights'
            raise OptionError(f'path: param_key_g: {key} is not in {path}; allowed: {allowed}')
        content = content[key]
    return {name.removeprefix('module.'): value for name, value in content.items()}


def _difference(network: nn.Module, weights: Mapping[str, Tensor]) -> str:
    """Why weights do not fit a network; empty if they do."""
    if isinstance(network, OneShotNetwork):
        try:
            scale = network.sizes(weights)['scale']
        except (KeyError, ValueError, TypeError, ZeroDivisionError):
            scale = network.scale  # the names tell more
        if scale != network.scale:
            return f'they are for scale {scale}, not {network.scale}'
    expected = network.state_dict()
    for name in [*expected, *(name for name in weights if name not in expected)]:
        if name not in weights:
            return f'{name} is missing'
        if name not in expected:
            return f'{name} is unknown'
        if expected[name].shape != weights[name].shape:
            return f'{name} has shape {tuple(weights[name].shape)} instead of {tuple(expected[name].shape)}'
    return ''
