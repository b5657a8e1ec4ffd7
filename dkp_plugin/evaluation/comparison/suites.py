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
    option file; see :func:`merge_options`. ``needs`` names files, such as weights that cannot be shipped, without which
    the entry is left out.
    """

    model_config = ConfigDict(extra='forbid')
    file: Path
    only: list[str] = []
    variants: dict[VariantName, dict[str, Any] | None] = {}
    needs: list[Path] = []


class Suite(BaseModel):
    """A suite: ``options/suites/<name>.yml``.

    ``option_files`` lists names of option files and blocks of a :class:`SuiteEntry`. ``quoted`` says which published
    figures stand beside the measured ones, a data set or a table of the paper, such as ``table1``; None: those of each
    data set. ``notes`` are sentences for the report.
    """

    model_config = ConfigDict(extra='forbid')
    option_files: list[SuiteEntry] = []
    quoted: str | None = None
    notes: list[str] = []


def read_suite(name: str) -> Suite:
    """Read ``options/suites/<name>.yml``, here or in the package; each entry that lacks a file it needs becomes a note.

    Args:
        name: Of the file in ``options/suites``, without its suffix.

    Raises:
        OptionError: if the suite does not exist or is malformed.
    """
    here = SUITES_FOLDER / f'{name}.yml'
    path = next(iter([here] if here.is_file() else find_shipped(name, 'suites')), None)
    if path is None:
        folders = (SUITES_FOLDER, options_folder() / 'suites')
        suites = ', '.join(sorted({file.stem for folder in folders for file in folder.glob('*.yml')}))
        raise OptionError(f'--suite: {name} is not one of {suites}')
    content = read_option_file(path)
    entries = content.options.get('option_files')
    if not (isinstance(entries, list) and entries and all(isinstance(entry, str | dict) for entry in entries)):
        raise OptionError(f'{path}: option_files: not a list of option files')
    with content.naming_places():
        entries = [
            parse_section(SuiteEntry, {'file': entry} if isinstance(entry, str) else entry, f'option_files: {index}')
            for index, entry in enumerate(entries)
        ]
        suite = parse_section(Suite, content.options | {'option_files': []}, '')
    missing = [(entry, file) for entry in entries for file in entry.needs if not file.is_file()]
    notes = [f'{entry.file.stem}: not run, because {file} is missing' for entry, file in missing]
    left_out = [entry for entry, _ in missing]
    kept = [entry for entry in entries if entry not in left_out]
    return suite.model_copy(update={'option_files': kept, 'notes': [*suite.notes, *dict.fromkeys(notes)]})


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


def expand_suite(entries: Sequence[SuiteEntry], folder: Path) -> list[Path]:
    """Write an option file for each variant.

    Args:
        entries: Of the suite.
        folder: Where they go, as ``<name>.yml``. The ``name`` of a variant is ``<name of the option file>_<variant>``;
            an option file with a selection of its data sets keeps its name.

    Returns:
        The option files of the suite, in its order.

    Raises:
        OptionError: if an option file cannot be used.
    """
    files = []
    for entry in entries:
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


def option_files(suite: Suite, files: Sequence[Path], folder: Path) -> list[Path]:
    """The option files of a suite and further ones, without duplicates; see :func:`expand_suite`."""
    return list(dict.fromkeys([*expand_suite(suite.option_files, folder), *files]))
