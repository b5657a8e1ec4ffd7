"""Score estimated kernels against true ones of the same names.

python scripts/score_kernels.py experiments/train_UnpairedSR_small_x4/kernels datasets/unpaired_BSDS400/truth/kernels
"""

import argparse
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

from dkp_plugin.evaluation.kernel_metric import calculate_kernel_psnr
from dkp_plugin.host.errors import OptionError, UserError
from dkp_plugin.io.folders import list_folder
from dkp_plugin.io.kernel_files import KERNEL_SUFFIXES, read_kernel


def score(estimates: Path, truths: Path, convention: str) -> dict[str, float]:
    """Kernel PSNR in dB by name.

    Raises:
        UserError: for a folder or kernel that cannot be read, and for an estimate without a truth.
    """
    found, true = (
        {path.stem: path for path in list_folder(folder, key, KERNEL_SUFFIXES)}
        for folder, key in ((estimates, 'ESTIMATES'), (truths, 'TRUTHS'))
    )
    missing = sorted(found.keys() - true.keys())
    if missing:
        raise OptionError(f'TRUTHS: {truths} has no kernel for {", ".join(missing[:3])}')
    pairs = {name: (read_kernel(path, convention), read_kernel(true[name], convention)) for name, path in found.items()}
    return {name: calculate_kernel_psnr(*(kernel[0, 0].numpy() for kernel in pair)) for name, pair in pairs.items()}


def main(argv: Sequence[str] | None = None) -> int:
    """Print mean, median and the worst; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('estimates', type=Path, metavar='ESTIMATES')
    parser.add_argument('truths', type=Path, metavar='TRUTHS')
    parser.add_argument('--convention', default='released', help='of both; default released')
    arguments = parser.parse_args(argv)
    try:
        scores = score(arguments.estimates, arguments.truths, arguments.convention)
    except (UserError, OSError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    values = list(scores.values())
    worst = ', '.join(f'{name} {scores[name]:.1f}' for name in sorted(scores, key=scores.get)[:3])
    print(
        f'{len(values)} kernels: mean {statistics.mean(values):.2f} dB, median {statistics.median(values):.2f} dB, '
        f'worst {worst}'
    )
    return 0


if __name__ == '__main__':
    sys.exit(main())
