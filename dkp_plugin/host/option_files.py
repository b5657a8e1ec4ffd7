"""Read BasicSR's option files and command line, and track the location of each option.

BasicSR 1.4.2 uses ``exec``, ``eval`` and an unsafe YAML loader. This module only parses, so an option file cannot run
code. Errors name the location of the option: ``FILE:LINE`` or the entry of ``--force_yml``.
"""

import argparse
import os
import random
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml
from basicsr.utils import set_random_seed

from dkp_plugin.host.arguments import FORCED
from dkp_plugin.host.errors import OptionError, UserError
from dkp_plugin.host.schema import nearest
from dkp_plugin.host.sharding import rank_and_world
from dkp_plugin.host.shipped_options import find_shipped, options_folder

MAX_VALUES = 10_000  # an option file has dozens; nested aliases could expand a few lines to millions
DEBUG_FREQ = 8  # iterations between validations and checkpoints with --debug

Keys = tuple[str, ...]


@dataclass
class OptionFile:
    """Options and their locations.

    Args:
        options: Blocks of options, as nested dictionaries.
        places: Location of each key, by its path of keys; ``()`` is the file itself.
    """

    options: dict[str, Any]
    places: dict[Keys, str] = field(default_factory=lambda: {(): ''})

    def force(self, entries: Sequence[str]) -> None:
        """Apply the entries of ``--force_yml``.

        Args:
            entries: Each ``key:sub=value``, the value in YAML. All blocks on the path must exist; the last key may be
                new.

        Raises:
            OptionError: if an entry is malformed or names a block that does not exist.
        """
        for entry in entries:
            path, separator, text = entry.partition('=')
            keys = tuple(key.strip() for key in path.split(':'))
            place = f'{FORCED} {entry}'
            if not separator or not all(keys):
                raise OptionError(f'{place}: not of the form key:sub=value')
            block = self.options
            for depth, key in enumerate(keys[:-1], 1):
                if not isinstance(block.get(key), dict):
                    raise OptionError(f'{place}: there is no block {":".join(keys[:depth])} in {self.places[()]}')
                block = block[key]
            block[keys[-1]] = _parse_value(text.strip(), place)
            self.places = {known: where for known, where in self.places.items() if known[: len(keys)] != keys}
            self.places[keys] = place

    def place(self, message: str) -> str:
        """Location of the option whose colon-separated keys start the message; otherwise the file."""
        keys: Keys = ()
        place = self.places[()]
        for key in re.split(r':\s*', message):
            keys = (*keys, key)
            place = self.places.get(keys, place)
        return place

    @contextmanager
    def naming_places(self) -> Iterator[None]:
        """Prefix the message of every UserError with the location of its option.

        Raises:
            OptionError: instead of the UserError.
        """
        try:
            yield
        except UserError as error:
            raise OptionError(f'{self.place(str(error))}: {error}') from None


def find_option_file(name: str | Path, kind: str) -> Path:
    """Find the option file that a command line or a suite names.

    Args:
        name: A file, or the name of an option file of the package with or without ``.yml``.
        kind: ``test``, ``train`` or ``suites``, for a name.

    Raises:
        OptionError: for a name without suffix that is neither; a missing file is left to :func:`read_option_file`.
    """
    path = Path(name)
    if path.is_file():
        return path
    if shipped := find_shipped(str(path), kind):
        return shipped[0]
    if not path.suffix and path.parent == Path():
        names = [file.stem for file in (options_folder() / kind).glob('*.yml')]
        raise OptionError(f'{name}: no such file, and no option file of the package, {nearest(str(name), names)}')
    return path


def read_option_file(path: Path) -> OptionFile:
    """Read an option file.

    Args:
        path: A YAML file, UTF-8.

    Raises:
        OptionError: if the file cannot be read, is not YAML or not a mapping, repeats a key or requests Python
            objects; the message names the line if it is known.
    """
    try:
        loader = yaml.SafeLoader(path.read_text(encoding='utf-8'))
        root = loader.get_single_node()
        if not isinstance(root, yaml.MappingNode):
            raise OptionError(f'{path}: not a BasicSR option file: it holds no keys')
        places = _find_places(root, str(path))
        return OptionFile(loader.construct_document(root), places)
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f'{path}: {getattr(error, "strerror", None) or error}') from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        parts = ', '.join(part for part in (error.context, error.problem) if part)
        raise OptionError(f'{path}:{mark.line + 1}: {" ".join(parts.split())}') from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:  # ValueError: a date such as 2026-13-01
        raise OptionError(f'{path}: {" ".join(str(error).split())}') from None


def _find_places(root: yaml.MappingNode, name: str) -> dict[Keys, str]:
    """Find the location of each key, ``FILE:LINE``."""
    places: dict[Keys, str] = {(): name}
    waiting: list[tuple[Keys, yaml.Node]] = [((), root)]
    num_values = 0
    while waiting:
        keys, node = waiting.pop()
        num_values += 1
        if num_values > MAX_VALUES:
            raise OptionError(f'{name}: holds more than {MAX_VALUES} values')
        if isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                places[(*keys, str(index))] = f'{name}:{item.start_mark.line + 1}'
                waiting.append(((*keys, str(index)), item))
        elif isinstance(node, yaml.MappingNode):
            for key_node, value in node.value:
                path, place = (*keys, str(key_node.value)), f'{name}:{key_node.start_mark.line + 1}'
                if path in places:
                    raise OptionError(f'{place}: {": ".join(path)}: duplicate key, first in {places[path]}')
                places[path] = place
                waiting.append((path, value))
    return places


def _parse_value(text: str, place: str) -> Any:
    """Parse a value of ``--force_yml``: YAML, except that ``None`` means ``null``, as in BasicSR."""
    if text.lower() == 'none':
        return None
    try:
        return yaml.safe_load(re.sub(r'^!!float\s*', '!!float ', text))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise OptionError(f'{place}: {text!r} is not a YAML value ({str(error).splitlines()[0]})') from None


def choose_data_sets(file: OptionFile, only: Sequence[str] = (), skip_missing: bool = True) -> list[str]:
    """Remove the data sets that will not run.

    These are data sets with the value ``~``, data sets that ``only`` does not name, and data sets whose ``dataroot_*``
    does not exist. Missing folders do not remove a data set that the user chose, nor all data sets at once; the check
    of the options then reports them.

    Args:
        file: The options; ``datasets`` is changed.
        only: Names of the chosen data sets; empty: all.
        skip_missing: Whether to remove data sets with missing folders.

    Returns:
        One line for each data set that is skipped because its folder is missing.

    Raises:
        OptionError: if ``only`` names an unknown data set, or if no data set is left.
    """
    blocks = file.options.get('datasets')
    if not isinstance(blocks, dict) or not blocks:
        return []  # the check of the options reports it
    blocks = {key: block for key, block in blocks.items() if block is not None}
    names = {key: str(block.get('name')) for key, block in blocks.items() if isinstance(block, dict)}
    for name in only:
        if name not in names.values():
            raise OptionError(f'--only {name}: no data set of this name, {nearest(name, names.values())}')
    if only:
        blocks = {key: block for key, block in blocks.items() if names.get(key) in only}
    if not blocks:
        raise OptionError('datasets: no data set is left')
    file.options['datasets'] = blocks
    missing = {} if only or not skip_missing else _missing_roots(file)
    if len(missing) == len(blocks):
        return []
    file.options['datasets'] = {key: block for key, block in blocks.items() if key not in missing}
    lines = []
    for key, root in missing.items():
        message = f'datasets: {key}: {root}: {blocks[key][root]} does not exist'
        lines.append(f'{file.place(message)}: {message}; {names[key]} is skipped')
    return lines


def _missing_roots(file: OptionFile) -> dict[str, str]:
    """The first missing ``dataroot_*`` of each data set, by its key; those set by ``--force_yml`` are not skipped."""
    missing = {}
    for key, block in file.options['datasets'].items():
        for root, value in block.items() if isinstance(block, dict) else ():
            is_forced = file.place(f'datasets: {key}: {root}').startswith(FORCED)
            is_path = str(root).startswith('dataroot') and isinstance(value, str)
            if is_path and not is_forced and not os.path.exists(os.path.expanduser(value)):
                missing.setdefault(key, root)
    return missing


def complete_options(opt: dict[str, Any], args: argparse.Namespace, root: Path, is_train: bool) -> dict[str, Any]:
    """Complete an option file and seed the global generators, as BasicSR's ``parse_options`` does.

    Args:
        opt: Content of the option file; changed in place.
        args: The command line.
        root: Folder that holds ``results`` and ``experiments``.
        is_train: Whether the options are for a training.

    Returns:
        ``opt``, with ``phase`` and ``scale`` in each data set, the output folders in ``path``, ``dist``, ``rank``,
        ``val: save_img`` and ``suffix``, ``world_size``, ``manual_seed``, ``auto_resume`` and ``is_train``.

    Raises:
        OptionError: if a block or key that BasicSR requires is missing or of the wrong type.
    """
    check_shape(opt)
    opt['dist'] = args.launcher != 'none'
    # Without a launcher, tests share their images by environment variables; a training ignores these.
    opt['rank'], opt['world_size'] = (0, 1) if is_train and not opt['dist'] else rank_and_world()
    if opt.get('manual_seed') is None:
        if opt['world_size'] > 1:
            raise OptionError('manual_seed: missing; several processes need a common seed')
        opt['manual_seed'] = random.randint(1, 10000)
    if not isinstance(opt['manual_seed'], int):
        raise OptionError(f'manual_seed: {opt["manual_seed"]!r} is not allowed: input should be a valid integer')
    set_random_seed(opt['manual_seed'] + opt['rank'])
    opt['auto_resume'], opt['is_train'] = args.auto_resume, is_train
    if args.debug and not opt['name'].startswith('debug'):
        opt['name'] = f'debug_{opt["name"]}'
    if opt['num_gpu'] == 'auto':
        opt['num_gpu'] = torch.cuda.device_count()

    for key, dataset in opt['datasets'].items():
        dataset['phase'] = str(key).split('_')[0]
        if 'scale' in opt:
            dataset['scale'] = opt['scale']
        _expand_home(dataset, [name for name in dataset if name in ('dataroot_gt', 'dataroot_lq')])
    path = opt['path']
    _expand_home(path, [name for name in path if 'resume_state' in name or 'pretrain_network' in name])
    folder = root / ('experiments' if is_train else 'results') / opt['name']
    path |= {'log': str(folder), 'visualization': str(folder / 'visualization')}
    if not is_train:
        path['results_root'] = str(folder)
        opt['val'] = {'save_img': True, 'suffix': None} | (opt.get('val') or {})  # BasicSR's pipeline has no defaults
        return opt
    path |= {'experiments_root': str(folder)}
    path |= {name: str(folder / name) for name in ('models', 'training_states')}
    if 'debug' in opt['name']:
        changes = {'val': {'val_freq': DEBUG_FREQ}, 'logger': {'print_freq': 1, 'save_checkpoint_freq': DEBUG_FREQ}}
        for key in changes.keys() & opt.keys():
            opt[key] |= changes[key]
    return opt


def check_shape(opt: dict[str, Any]) -> None:
    """Raise an OptionError unless the blocks and keys exist that BasicSR reads before it knows the model."""
    opt['path'] = opt.get('path') or {}
    for key in ('name', 'model_type', 'num_gpu', 'datasets'):
        if opt.get(key) is None:
            raise OptionError(f'{key}: missing')
    name = opt['name']
    if not isinstance(name, str) or not re.fullmatch(r'[^/\\]*[^/\\.][^/\\]*', name):
        raise OptionError(f'name: {name!r} is not allowed; allowed: a folder name without / and \\')
    blocks = {key: opt[key] for key in ('path', 'datasets')}
    if isinstance(opt['datasets'], dict):
        blocks |= {f'datasets: {key}': block for key, block in opt['datasets'].items()}
    for keys, block in blocks.items():
        if not isinstance(block, dict):
            raise OptionError(f'{keys}: {block!r} is not a block of options')


def _expand_home(block: dict[str, Any], keys: Sequence[str]) -> None:
    block |= {key: os.path.expanduser(block[key]) for key in keys if isinstance(block[key], str)}
