"""Make a data set for unpaired training of a folder of photographs: LR images of one half, exemplars of the other.

    python scripts/prepare_unpaired.py datasets/BSDS400 --scale 4 --family gaussian --convention released --seed 0 \\
        --out datasets/unpaired_BSDS400
    python scripts/prepare_unpaired.py datasets/BSDS400 --convention released --kernel one \\
        --out datasets/unpaired_one_kernel

The folder then holds::

    LR/          the LR images of the first half, by the order of the names
    exemplars/   the second half as it is
    truth/       HR images and kernels of the first half, and manifest.json: for scoring alone, no training opens it

Nothing that is there is overwritten. Exit status: 0, or 2 after a mistake.
"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from dkp_plugin.data.blur_manifest import BlurRecipe, prepare
from dkp_plugin.host.errors import OptionError, UserError
from dkp_plugin.host.schema import parse_section
from dkp_plugin.io.folders import list_folder
from dkp_plugin.io.formats import IMAGE_SUFFIXES
from dkp_plugin.io.staged_folder import staged_folder


def prepare_unpaired(photos: Path, out: Path, recipe: BlurRecipe) -> tuple[int, int]:
    """Make the data set.

    Args:
        photos: Folder of at least two photographs.
        out: Folder of the data set; must not be there.
        recipe: How LR images are made.

    Returns:
        Numbers of LR images and exemplars.

    Raises:
        UserError: for anything that cannot be used; then nothing is written.
    """
    recipe.build()  # reports mistakes before any work
    paths = list_folder(photos, 'PHOTOS', IMAGE_SUFFIXES)
    if len(paths) < 2:
        raise OptionError(f'PHOTOS: {photos} holds {len(paths)} image; LR images and exemplars need at least 2')
    half = len(paths) // 2
    with staged_folder(out) as staging:
        for folder, part in (('truth/HR', paths[:half]), ('exemplars', paths[half:])):
            (staging / folder).mkdir(parents=True)
            for path in part:
                shutil.copy(path, staging / folder / path.name)
        made = staging / 'made'
        prepare(staging / 'truth/HR', made, recipe)
        (made / 'LR').rename(staging / 'LR')
        for name in ('kernels', 'manifest.json'):
            (made / name).rename(staging / 'truth' / name)
        made.rmdir()
    return half, len(paths) - half


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('photos', type=Path, metavar='PHOTOS', help='folder of sharp photographs')
    parser.add_argument('--out', type=Path, required=True, metavar='DIR', help='folder of the data set')
    parser.add_argument('--kernel', choices=('each', 'one'), default='each', help='one: all LR images share one kernel')
    parser.add_argument('--scale', type=int, default=4, help='2, 3, 4 or 8; default 4')
    parser.add_argument('--family', default='gaussian', help='gaussian (default), motion, line, or a folder of kernels')
    parser.add_argument('--convention', default='aligned', help='aligned (default) or released')
    parser.add_argument('--variance-range', type=float, nargs=2, metavar=('LOW', 'HIGH'), help='of gaussian')
    parser.add_argument('--noise', type=float, default=0.0, help='standard deviation, in levels of 8 bits; default 0')
    parser.add_argument('--seed', type=int, default=0, help='of kernels and noise, with the name of the image')
    arguments = vars(parser.parse_args(argv))
    photos, out, kernel = (arguments.pop(key) for key in ('photos', 'out', 'kernel'))
    try:
        recipe = parse_section(BlurRecipe, arguments | {'shared': kernel == 'one'}, '')
        num_lq, num_exemplars = prepare_unpaired(photos, out, recipe)
    except (UserError, OSError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    print(f'{out}: {num_lq} LR images, {num_exemplars} exemplars; truth/ is for scoring alone')
    return 0


if __name__ == '__main__':
    sys.exit(main())
