"""Suites: named comparisons, lists of option files and of variants of them."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field

from dkp_plugin.host.errors import OptionError
from dkp_plugin.host.option_files import check_shape, choose_data_sets, find_option_file, read_option_file
from dkp_plugin.host.schema import parse_section
from dkp_plugin.host.shipped_options import find_shipped, options_folder
from dkp_plugin.io.files import write_bytes

SUITES_FOLDER = Path('options/suites')
VariantName = Annotated[str, Field(pattern=r'^[\w.+-]+$')]  # it becomes part of a folder's name


class SuiteEntry(BaseModel):
    """An option file, either unchanged or once for each of its variants.

    ``only`` names the data sets to run; empty: all. ``variants`` maps the name of a variant to changes of the
    option file; see :func:`merge_options`.
    """

    model_config = ConfigDict(extra='forbid')
    file: Path
    only: list[str] = []
    variants: dict[VariantName, dict[str, Any] | None] = {}


def read_suite(name: str) -> list[SuiteEntry]:
    """Read ``options/suites/<name>.yml``, here or in the package.

    It holds a list ``option_files`` of file names and of blocks of a :class:`SuiteEntry`.

    Raises:
        OptionError: if the suite does not exist or is malformed.
    """
    here = SUITES_FOLDER / f'{name}.yml'
    path = next(iter([here] if here.is_file() else find_shipped(name, 'suites')), None)
    if path is None:
        folders = (SUITES_FOLDER, options_folder() / 'suites')
        suites = ', '.join(sorted({file.stem for folder in folders for file in folder.glob('*.yml')}))
        raise OptionError(f'--suite: {name} is not one of {suites}')
    suite = read_option_file(path)
    entries = suite.options.get('option_files') if len(suite.options) == 1 else None
    if not (isinstance(entries, list) and entries and all(isinstance(entry, str | dict) for entry in entries)):
        raise OptionError(f'{path}: not a list of option files under the one key option_files')
    with suite.naming_places():
        return [
            parse_section(SuiteEntry, {'file': entry} if isinstance(entry, str) else entry, f'option_files: {index}')
            for index, entry in enumerate(entries)
        ]


def merge_options(options: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Change options key by key and block by block; a block with a ``type`` replaces the existing block.

    Args:
        options: Content of an option file.
        changes: Nested like ``options``, with only the changed keys.

    Returns:
        The changed options; the arguments are not modified.
    """
    merged = dict(copy.deepcopy(options))
    for key, value in changes.items():
        old = merged.get(key)
        is_merged = isinstance(value, Mapping) and isinstance(old, Mapping) and 'type' not in value
        merged[key] = merge_options(old, value) if is_merged else copy.deepcopy(value)
    return merged


def expand_suite(suite: Sequence[SuiteEntry], folder: Path) -> list[Path]:
    """Write an option file for each variant.

    Args:
        suite: The suite.
        folder: Where they go, as ``<name>.yml``. The ``name`` of a variant is ``<name of the option file>_<variant>``;
            an option file with a selection of its data sets keeps its name.

    Returns:
        The option files of the suite, in its order.

    Raises:
        OptionError: if an option file cannot be used.
    """
    files = []
    for entry in suite:
        file = find_option_file(entry.file, 'test')
        if not (entry.variants or entry.only):
            files.append(file)
            continue
        base = read_option_file(file)
        with base.naming_places():
            choose_data_sets(base, entry.only, skip_missing=False)
            check_shape(base.options)
        for variant, changes in (entry.variants or {None: None}).items():
            name = base.options['name'] if variant is None else f'{base.options["name"]}_{variant}'
            title = f'# {entry.file}' if variant is None else f'# {entry.file}, variant {variant}'
            text = yaml.safe_dump(merge_options(base.options, changes or {}) | {'name': name}, sort_keys=False)
            files.append(folder / f'{name}.yml')
            write_bytes(files[-1], f'{title}\n{text}'.encode())
    return files


def option_files(suite: str | None, files: Sequence[Path], folder: Path) -> list[Path]:
    """The option files of a suite, if given, and further ones, without duplicates; see :func:`expand_suite`."""
    of_suite = expand_suite(read_suite(suite), folder) if suite else []
    return list(dict.fromkeys([*of_suite, *files]))
