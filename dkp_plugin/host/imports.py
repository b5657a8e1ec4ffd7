"""Import the methods of other packages: installed ones by entry point, any module by an option file."""

import importlib
import logging
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from dkp_plugin.host.errors import OptionError

GROUP = 'dkp_plugin.methods'
KEY = 'custom_imports'


def import_entry_points() -> None:
    """Import the modules of the entry-point group ``dkp_plugin.methods``, which register what they define.

    A module that fails costs one warning of the logger ``dkp_plugin``, which names its distribution.
    """
    for point in metadata.entry_points(group=GROUP):
        try:
            importlib.import_module(point.module)
        except (Exception, SystemExit) as error:  # whatever a foreign module does, ours work
            name = point.dist.name if point.dist else 'unknown'
            logging.getLogger('dkp_plugin').warning(
                'warning: %s: entry point %s = %s cannot be imported: %s', name, point.name, point.value, _reason(error)
            )


def import_custom(options: Mapping[str, Any]) -> None:
    """Import the modules that an option file lists under ``custom_imports``.

    Modules in the current folder are found, as ``python -m`` finds them. A module that is loaded already is not loaded
    again.

    Args:
        options: Content of the option file.

    Raises:
        OptionError: for a value that is not a list of names of modules, and for a module that cannot be imported.
    """
    names = options.get(KEY) or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise OptionError(f'{KEY}: {names!r} is not allowed: a list of names of modules is')
    if names and not {'', str(Path.cwd())} & set(sys.path):
        sys.path.insert(0, str(Path.cwd()))
    for index, name in enumerate(names):
        try:
            importlib.import_module(name)
        except (Exception, SystemExit) as error:
            raise OptionError(f'{KEY}:{index}: {name} cannot be imported: {_reason(error)}') from None


def _reason(error: BaseException) -> str:
    """The error in one line."""
    return f'{type(error).__name__}: {" ".join(str(error).split())}'
