"""Arrange Set5, Set14, BSD100, Urban100 and RealSRSet from their usual archives in the layout of the option files.

    python scripts/arrange_benchmarks.py ~/Downloads/benchmark.tar ~/Downloads/Set5.zip SelfExSR/data --out datasets

writes datasets/Set5/HR/baby.png and so on. Sources are folders, zip files and tar files with files such as
Set5/baby.png, Set5/{HR,GT,original,GTmod12}/baby.png or Set5/image_SRF_4/img_001_SRF_4_HR.png. If there are several
copies of an image, the script prefers the recorded pixels, then the largest copy. It does not overwrite existing files.
Pixels are recorded for only the first 20 images of Urban100 and for 10 images of RealSRSet; for the others, only the
names are checked.

Exit status: 0 if the sets found are complete and match the recorded pixels; 1 if not; 2 after an error.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from dkp_plugin.data.benchmarks import arrange
from dkp_plugin.host.errors import UserError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('sources', type=Path, nargs='+', metavar='SOURCE', help='folder, zip file or tar file')
    parser.add_argument('--out', type=Path, default=Path('datasets'), help='folder of all sets; default datasets')
    parser.add_argument('--mod12', action='store_true', help='crop HR images at the top left to multiples of 12')
    arguments = parser.parse_args(argv)
    try:
        reports = arrange(arguments.sources, arguments.out, arguments.mod12)
    except (UserError, OSError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    for report in reports:
        print('\n'.join(report.lines()))
    return 0 if all(report.is_complete for report in reports) else 1


if __name__ == '__main__':
    sys.exit(main())
