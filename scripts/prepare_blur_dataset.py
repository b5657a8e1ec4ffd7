"""Generate LR images, their kernels and a manifest from a folder of HR images, or regenerate and compare them.

    python scripts/prepare_blur_dataset.py datasets/Set5/HR --out datasets/Set5/motion_x4 --scale 4 --family motion
    python scripts/prepare_blur_dataset.py datasets/Set5/HR --out datasets/Set5/motion_x4 --verify

Existing files are never overwritten. Exit status: 0; 1 if --verify finds differences; 2 after an error.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from dkp_plugin.data.blur_manifest import BlurRecipe, prepare, verify
from dkp_plugin.host.errors import OptionError, UserError
from dkp_plugin.host.schema import parse_section


def parse_arguments(argv: Sequence[str] | None) -> tuple[argparse.Namespace, dict[str, object]]:
    """Split the command line into arguments and the given keys of the recipe."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('hr_folder', type=Path, metavar='HR_FOLDER')
    parser.add_argument('--out', type=Path, required=True, metavar='DIR', help='folder of the data set')
    parser.add_argument('--verify', action='store_true', help='regenerate the data set from its manifest and compare')
    recipe = parser.add_argument_group('recipe', argument_default=argparse.SUPPRESS)
    recipe.add_argument('--scale', type=int, help='1, 2, 3, 4 or 8; default 4')
    recipe.add_argument(
        '--family',
        help='gaussian (default), motion, line, levin (kernels in datasets/kernels/levin), or a folder of .mat, .npy '
        'or gray .png kernels; with --verify: where that folder is now',
    )
    recipe.add_argument('--convention', help='aligned (default) or released: position of the kernel centre')
    recipe.add_argument('--kernel-size', type=int, help='odd; default 11, 15, 19, 21 for scale 2, 3, 4, 8')
    recipe.add_argument('--variance-range', type=float, nargs=2, metavar=('LOW', 'HIGH'), help='variances of gaussian')
    recipe.add_argument(
        '--length-range', type=float, nargs=2, metavar=('LOW', 'HIGH'), help='lengths of motion and line'
    )
    recipe.add_argument('--seed', type=int, help='seed of kernels and noise, combined with the image name; default 0')
    recipe.add_argument('--noise', type=float, help='standard deviation of the noise in 8-bit levels; default 0')
    recipe.add_argument('--jpeg', type=int, dest='jpeg_quality', help='quality, 1 to 100; default: no compression')
    arguments = parser.parse_args(argv)
    given = {key: value for key, value in vars(arguments).items() if key not in ('hr_folder', 'out', 'verify')}
    return arguments, given


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    arguments, given = parse_arguments(argv)
    try:
        if not arguments.verify:
            recipe = parse_section(BlurRecipe, given, '')
            count = prepare(arguments.hr_folder, arguments.out, recipe)
            print(f'{arguments.out}: {count} LR images and kernels, manifest.json')
            return 0
        if given.keys() - {'family'}:
            raise OptionError(f'--verify takes the recipe from the manifest; got {", ".join(sorted(given))}')
        differences = verify(arguments.hr_folder, arguments.out, given.get('family'))
    except (UserError, OSError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    print('\n'.join(differences) or f'{arguments.out}: as made by its manifest')
    return 1 if differences else 0


if __name__ == '__main__':
    sys.exit(main())
