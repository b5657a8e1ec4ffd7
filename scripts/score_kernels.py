"""Score estimated kernels against true ones of the same names.

python scripts/score_kernels.py experiments/train_UnpairedSR_small_x4/kernels datasets/unpaired_BSDS400/truth/kernels
"""

import argparse
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

from dkp_plugin.evaluation.kernel_scores import score_kernels
from dkp_plugin.host.command import EXIT_USER_ERROR
from dkp_plugin.host.errors import UserError


def main(argv: Sequence[str] | None = None) -> int:
    """Print mean, median and the worst; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('estimates', type=Path, metavar='ESTIMATES')
    parser.add_argument('truths', type=Path, metavar='TRUTHS')
    parser.add_argument('--convention', default='released', help='of both; default released')
    arguments = parser.parse_args(argv)
    try:
        scores = score_kernels(arguments.estimates, arguments.truths, arguments.convention)
    except (UserError, OSError) as error:
        print(f'error: {error}', file=sys.stderr)
        return EXIT_USER_ERROR
    values = list(scores.values())
    worst = ', '.join(f'{name} {scores[name]:.1f}' for name in sorted(scores, key=scores.get)[:3])
    print(
        f'{len(values)} kernels: mean {statistics.mean(values):.2f} dB, median {statistics.median(values):.2f} dB, '
        f'worst {worst}'
    )
    return 0


if __name__ == '__main__':
    sys.exit(main())
