"""``dkp data blur``, from a copy of the repository: python scripts/prepare_blur_dataset.py HR_FOLDER --out DIR"""

import sys
from functools import partial

from dkp_command import run

main = partial(run, 'data blur')

if __name__ == '__main__':
    sys.exit(main())
