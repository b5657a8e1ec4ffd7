"""The choices of ``restore`` and ``dkp-restore`` as options."""

import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, NonNegativeFloat

from dkp_plugin.engine.options import BlindSROptions
from dkp_plugin.host.errors import OptionError
from dkp_plugin.host.imports import import_custom
from dkp_plugin.host.schema import nearest
from dkp_plugin.io.kernel_files import KERNEL_SUFFIXES
from dkp_plugin.physics.degradation import SCALES
from dkp_plugin.restorers.one_pass_restorer import OnePass

PRESETS = ('fast', 'balanced', 'best', 'paper')
FAMILIES = ('gaussian', 'disc', 'line', 'motion', 'free')

BLOCKS = (  # blocks of an option file that apply to photographs
    *('model_type', 'scale', 'manual_seed', 'degradation', 'network_k', 'network_g', 'alternation'),
    *('early_stopping', 'restorer', 'tile', 'local_kernels', 'path', 'val'),
)
KEYS = {'path': ('pretrain_network_g',), 'val': ('checkpoint_freq',)}  # the only keys that apply in these blocks

Options = dict[str, Any]

DIFFUSION: dict[str, Options] = {
    'fast': {'network_g': {'type': 'Diffusion', 'num_steps': 25, 'num_final_steps': 5}},
    'balanced': {'network_g': {'type': 'Diffusion'}},
    'paper': {'network_g': {'type': 'Diffusion', 'num_chains': 4}},
}
DIP: dict[str, Options] = {
    'fast': {
        'network_g': {'type': 'DIP'},
        'alternation': {'num_iter': 250, 'averaging': 0.95},
    },
    'balanced': {
        'network_g': {'type': 'DIP'},
        'alternation': {'num_iter': 500, 'averaging': 0.98},
    },
    'paper': {
        'network_g': {'type': 'DIP', 'precision': 'float32'},
        'alternation': {'num_iter': 1000},
    },
}
ZSSR: dict[str, Options] = {
    'fast': {'network_g': {'type': 'ZSSR', 'num_steps': 300}},
    'balanced': {'network_g': {'type': 'ZSSR'}},
    'paper': {'network_g': {'type': 'ZSSR', 'num_steps': 3000}},
}
ONE_PASS: dict[str, Options] = {
    'fast': {'network_g': {'type': 'OnePass', 'kernel_iters': 1}},
    'balanced': {'network_g': {'type': 'OnePass', 'kernel_iters': 4}},
    'best': {'network_g': {'type': 'OnePass', 'kernel_iters': 4, 'ensemble': 8}},
}
JUDGE = {'type': 'OnePass', 'kernel_iters': 4, 'stage': 'intermediate'}  # of the kernels alone
UNFOLDED: dict[str, Options] = {
    'fast': ONE_PASS['fast'],
    'balanced': {'network_g': JUDGE, 'restorer': {'final': {'type': 'Unfolded'}}},
    'best': {'network_g': JUDGE, 'restorer': {'final': {'type': 'Unfolded', 'ensemble': 8}}},
}
UNPAIRED: dict[str, Options] = {
    name: {'network_g': preset['network_g'] | {'type': 'Unpaired'}} for name, preset in ONE_PASS.items()
}


@dataclass(frozen=True)
class Method:
    """An estimator and a restorer.

    Attributes:
        network_k: Block of the estimator.
        presets: Blocks of the restorer and the loop, by preset.
        families: Supported kernel families, the default first.
        has_family: Whether the estimator has the option ``kernel_family``; otherwise it supports only one family.
        restorer_options: Options of the restorer in addition to the preset, by family.
        with_weights: Presets with a file of weights, if they differ: the file is of the whole network.
        fast: Block of the estimator that replaces ``network_k`` in the preset ``fast`` with ``kernel: auto``.
    """

    network_k: Options
    presets: dict[str, Options]
    families: tuple[str, ...]
    has_family: bool = False
    restorer_options: dict[str, Options] = field(default_factory=dict)
    with_weights: dict[str, Options] | None = None
    fast: Options | None = None


METHODS = {
    'diff-dkp': Method(
        {'type': 'EvidenceDKP'},
        DIFFUSION,
        FAMILIES,
        has_family=True,
        restorer_options={'motion': {'freeze_sigma': 0.06}},  # motion blur shows in details that appear late
    ),
    'dip-dkp': Method({'type': 'DKP'}, DIP, FAMILIES, has_family=True),
    'dip-fkp': Method({'type': 'FKP'}, DIP, ('gaussian', 'motion'), has_family=True),
    'double-dip': Method({'type': 'DoubleDIP', 'lr': 1e-4}, DIP, ('free',)),
    'bsrdm': Method({'type': 'BSRDM'}, DIP, ('gaussian',)),
    'fast-dkp': Method(
        {'type': 'EvidenceDKP', 'pke_weight': 0.0, 'proposal': 'one_pass'},
        UNFOLDED,
        ('auto', 'gaussian', 'disc', 'line', 'motion'),
        has_family=True,
        with_weights=ONE_PASS,
    ),
    'unpaired': Method(
        {'type': 'EvidenceDKP', 'pke_weight': 0.0},
        UNPAIRED,
        ('gaussian', 'disc', 'line', 'motion'),
        has_family=True,
        fast={'type': 'UnpairedKernel', 'pretrained': 'unpaired'},  # one pass of the network
    ),
    'kernelgan-zssr': Method({'type': 'KernelGAN', 'num_iter': 3000}, ZSSR, ('free',)),
}
METHOD_NAMES = 'auto', *METHODS


class Choices(BaseModel):
    """The arguments of ``restore`` that select the method and its settings; :func:`default_method` is ``auto``."""

    model_config = ConfigDict(extra='forbid')
    scale: Literal[SCALES] = 4
    method: Literal[METHOD_NAMES] = 'auto'
    kernel: str = 'auto'
    noise: NonNegativeFloat | Literal['auto'] = 'auto'
    preset: Literal[PRESETS] = 'balanced'
    seed: int = 0
    convention: Literal['aligned', 'released'] = 'aligned'
    weights: str | None = None
    local_kernels: bool = False


def default_method(scale: int) -> str:
    """The method for photographs at a scale: fast DKP where the package has weights for the scale."""
    return 'fast-dkp' if scale in OnePass.scales else 'diff-dkp'


def make_options(choices: Choices) -> Options:
    """Convert choices to the content of an option file without data sets.

    Raises:
        OptionError: if the method does not support the kernel, or does not have the preset.
    """
    name = default_method(choices.scale) if choices.method == 'auto' else choices.method
    method = METHODS[name]
    if choices.preset not in method.presets:
        allowed = ', '.join(method.presets)
        raise OptionError(f'preset: {choices.preset} is not possible with {name}; allowed: {allowed}')
    presets = method.presets if choices.weights is None else method.with_weights or method.presets
    network_k, preset = _kernel_options(name, choices), copy.deepcopy(presets[choices.preset])
    for key in ('pretrained', 'proposal'):  # of the same network
        if choices.weights is not None and key in network_k:
            network_k = network_k | {key: choices.weights}
    final = preset.get('restorer', {}).get('final')
    if network_k['type'] == 'FixedKernel' and final is not None:  # there is nothing to search
        preset = {'network_g': final}
    network_g = preset['network_g'] | method.restorer_options.get(network_k.get('kernel_family'), {})
    return {
        'name': name,
        'model_type': 'BlindSRModel',
        'scale': choices.scale,
        'num_gpu': 0,
        'manual_seed': choices.seed,
        'datasets': {},
        'degradation': {'convention': choices.convention, 'noise': choices.noise},
        'network_k': network_k,
        **preset,
        'network_g': network_g,
        'path': {'pretrain_network_g': choices.weights},
        'local_kernels': choices.local_kernels,
    }


def take_options(options: Options, changes: Options) -> Options:
    """Import an option file's ``custom_imports``; return the options that apply to photographs, with changes.

    Args:
        options: Content of the file.
        changes: Choices that override the file: ``scale``, ``seed``, ``local_kernels``, ``noise``, ``convention``.

    Raises:
        OptionError: for an unknown key, and for a value where a block is required.
    """
    import_custom(options)
    for key in options:
        if key not in BlindSROptions.model_fields:
            raise OptionError(f'{key}: unknown key, {nearest(str(key), BlindSROptions.model_fields)}')
    taken = {key: options[key] for key in BLOCKS if options.get(key) is not None}
    for key in ('degradation', *KEYS):
        if not isinstance(block := taken.setdefault(key, {}), dict):
            raise OptionError(f'{key}: {block!r} is not a block of options')
    taken |= {block: {key: taken[block][key] for key in keys if key in taken[block]} for block, keys in KEYS.items()}
    taken |= {'name': 'photographs', 'num_gpu': 0, 'datasets': {}, 'manual_seed': taken.get('manual_seed', 0)}
    names = {'scale': 'scale', 'manual_seed': 'seed', 'local_kernels': 'local_kernels'}
    taken |= {key: changes[name] for key, name in names.items() if name in changes}
    taken['degradation'] = taken['degradation'] | {
        key: changes[key] for key in ('noise', 'convention') if key in changes
    }
    return taken


def _kernel_options(name: str, choices: Choices) -> Options:
    method = METHODS[name]
    if choices.preset == 'fast' and method.fast is not None and choices.kernel == 'auto':
        return method.fast
    kernel = method.families[0] if choices.kernel == 'auto' else choices.kernel
    if Path(kernel).suffix.lower() in KERNEL_SUFFIXES:
        return {'type': 'FixedKernel', 'source': kernel}
    if kernel not in method.families:
        raise OptionError(
            f'kernel: {kernel} is not possible with {name}; '
            f'allowed: {", ".join(method.families)}, or a file {" or ".join(KERNEL_SUFFIXES)}'
        )
    return method.network_k | ({'kernel_family': kernel} if method.has_family else {})
