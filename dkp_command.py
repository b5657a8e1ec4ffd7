"""``dkp``: every command of the package under one name.

The module stands beside the package, like ``dkp_restore.py``, and parses the command line before it imports it: torch
and BasicSR take seconds, and ``--help`` or a typing error needs neither.
"""

import importlib
import importlib.util
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import dkp_doctor
import dkp_restore

EXIT_USER_ERROR, EXIT_INTERRUPTED = dkp_restore.EXIT_USER_ERROR, dkp_restore.EXIT_INTERRUPTED


@dataclass(frozen=True)
class Command:
    """A command whose parser is a function of ``host/arguments.py`` and whose work is a function of the package.

    Attributes:
        help: One line.
        parser: Name of the function that makes the parser.
        work: The function that takes the parsed arguments and returns the exit status, ``module:function``.
    """

    help: str
    parser: str
    work: str


COMMANDS = {
    'test': Command("run BasicSR's test pipeline", 'make_test_parser', 'models.pipelines:run_test'),
    'train': Command("run BasicSR's train pipeline", 'make_train_parser', 'models.pipelines:run_train'),
    'compare': Command(
        'run option files, write one report', 'make_compare_parser', 'evaluation.comparison.command:run'
    ),
    'options': Command('list or print the option files of the package', 'make_options_parser', ''),
    'data benchmarks': Command('arrange downloaded benchmarks', 'make_benchmarks_parser', 'data.commands:benchmarks'),
    'data blur': Command('make LR images and kernels', 'make_blur_parser', 'data.commands:blur'),
    'data crops': Command('make a small benchmark from a large one', 'make_crops_parser', 'data.commands:crops'),
    'data lmdb': Command('copy a folder to an lmdb', 'make_lmdb_parser', 'data.commands:lmdb'),
    'data unpaired': Command('make data for unpaired training', 'make_unpaired_parser', 'data.commands:unpaired'),
}
OTHERS: dict[str, tuple[str, Callable[..., int]]] = {
    'restore': ('restore photographs whose blur is unknown', dkp_restore.main),
    'doctor': ('find out what is broken in an installation; list the methods', dkp_doctor.main),
}
ORDER = ('restore', 'test', 'train', 'compare', 'options', *(name for name in COMMANDS if ' ' in name), 'doctor')


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    name = next((name for name in ORDER if words[: len(name.split())] == name.split()), None)
    if name is None:  # then the parser ends the program, with help, the version or an error
        make_parser().parse_args(words[:2] if words[:1] == ['data'] else words[:1])
    rest = words[len(name.split()) :]
    return OTHERS[name][1](rest, prog=f'dkp {name}') if name in OTHERS else run(name, rest)


def make_parser() -> ArgumentParser:
    """The parser of the first words, which prints the list of commands."""
    parser = ArgumentParser('dkp', description='unsupervised blind super-resolution', epilog='dkp COMMAND --help')
    parser.add_argument('--version', action='version', version=dkp_restore.read_version())
    commands = parser.add_subparsers(metavar='COMMAND', required=True)
    groups = {}
    for name in ORDER:
        group, _, command = name.rpartition(' ')
        text = OTHERS[name][0] if name in OTHERS else COMMANDS[name].help
        if group and group not in groups:
            parent = commands.add_parser(group, help='prepare data sets: ' + _commands_of(group))
            groups[group] = parent.add_subparsers(metavar='COMMAND', required=True)
        (groups[group] if group else commands).add_parser(command, help=text)
    return parser


def _commands_of(group: str) -> str:
    return ', '.join(name.removeprefix(f'{group} ') for name in ORDER if name.startswith(f'{group} '))


def run(name: str, argv: Sequence[str] | None = None) -> int:
    """Run one of :data:`COMMANDS`; return the exit status.

    Args:
        name: The command, such as ``compare``.
        argv: Its arguments; None: those of the process.
    """
    command = COMMANDS[name]
    arguments = getattr(load_light('arguments'), command.parser)(f'dkp {name}').parse_args(argv)
    if not command.work:
        return print_options(arguments)
    module, _, function = command.work.partition(':')
    try:
        work = getattr(importlib.import_module(f'dkp_plugin.{module}'), function)
    except ImportError as error:
        print(f'error: {error} (dkp-doctor finds out what is broken)', file=sys.stderr)
        return EXIT_USER_ERROR
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        return EXIT_INTERRUPTED
    return work(arguments)


def print_options(arguments: Namespace) -> int:
    """Print the option file ``arguments.name``, or the names of all; return the exit status."""
    folder = load_light('shipped_options').options_folder()
    files = {path.stem: path for path in sorted(folder.glob('*/*.yml'))}
    if arguments.name is None:
        for kind in ('test', 'train', 'suites'):
            names = ' '.join(name for name, path in files.items() if path.parent.name == kind)
            print(f'{kind}: {names}')
        return 0
    path = files.get(arguments.name.removesuffix('.yml'))
    if path is None:
        print(f'error: {arguments.name}: not one of {", ".join(files)}', file=sys.stderr)
        return EXIT_USER_ERROR
    print(path.read_text(encoding='utf-8'), end='')
    return 0


def load_light(name: str) -> ModuleType:
    """A module of ``host`` that needs the standard library alone, without importing the package."""
    package = importlib.util.find_spec('dkp_plugin')
    folder = Path(package.origin if package and package.origin else 'dkp_plugin/__init__.py').parent
    spec = importlib.util.spec_from_file_location(f'dkp_{name}', folder / 'host' / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == '__main__':
    sys.exit(main())
