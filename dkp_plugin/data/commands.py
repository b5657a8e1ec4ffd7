"""The work of ``dkp data``, whose command lines are in ``host/arguments.py``."""

from argparse import Namespace
from collections.abc import Callable
from functools import partial, wraps

from dkp_plugin.data.benchmarks import arrange
from dkp_plugin.data.blur_manifest import BlurRecipe, prepare, verify
from dkp_plugin.data.crops import prepare_crops
from dkp_plugin.data.lmdb_writer import create_lmdb
from dkp_plugin.data.unpaired_split import prepare_unpaired
from dkp_plugin.host.command import run_command
from dkp_plugin.host.errors import OptionError
from dkp_plugin.host.schema import parse_section

Work = Callable[[Namespace], int]

KEPT = 'rerun the same command'


def _command(work: Work) -> Work:
    """Let :func:`run_command` run a command: errors and interruptions end in one line."""

    @wraps(work)
    def run(arguments: Namespace) -> int:
        return run_command(partial(work, arguments), KEPT)

    return run


@_command
def benchmarks(arguments: Namespace) -> int:
    """Arrange downloaded benchmarks; return 1 if one is incomplete or differs from what is recorded."""
    reports = arrange(arguments.sources, arguments.out, arguments.mod12)
    for report in reports:
        print('\n'.join(report.lines()))
    return 0 if all(report.is_complete for report in reports) else 1


@_command
def blur(arguments: Namespace) -> int:
    """Make LR images and kernels, or compare them with their manifest; return 1 if they differ."""
    given = {key: value for key, value in vars(arguments).items() if key not in ('hr_folder', 'out', 'verify')}
    if not arguments.verify:
        count = prepare(arguments.hr_folder, arguments.out, parse_section(BlurRecipe, given, ''))
        print(f'{arguments.out}: {count} LR images and kernels, manifest.json')
        return 0
    if given.keys() - {'family'}:
        raise OptionError(f'--verify takes the recipe from the manifest; got {", ".join(sorted(given))}')
    differences = verify(arguments.hr_folder, arguments.out, given.get('family'))
    print('\n'.join(differences) or f'{arguments.out}: as made by its manifest')
    return 1 if differences else 0


@_command
def crops(arguments: Namespace) -> int:
    """Make a small benchmark from a large one."""
    try:
        count = prepare_crops(**vars(arguments))
    except ValueError as error:  # a kernel that does not fit the crop
        raise OptionError(str(error)) from None
    print(f'{arguments.out}: {count} HR images of {arguments.size}x{arguments.size}, LR images and kernels')
    return 0


@_command
def lmdb(arguments: Namespace) -> int:
    """Copy a folder to an lmdb."""
    count = create_lmdb(arguments.input, arguments.output, arguments.overwrite)
    print(f'{arguments.output}: {count} entries')
    return 0


@_command
def unpaired(arguments: Namespace) -> int:
    """Make data for unpaired training."""
    given = {key: value for key, value in vars(arguments).items() if key not in ('photos', 'out', 'kernel')}
    recipe = parse_section(BlurRecipe, given | {'shared': arguments.kernel == 'one'}, '')
    num_lq, num_exemplars = prepare_unpaired(arguments.photos, arguments.out, recipe)
    print(f'{arguments.out}: {num_lq} LR images, {num_exemplars} exemplars; truth/ is for scoring alone')
    return 0
