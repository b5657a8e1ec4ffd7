"""Turn a checkpoint of a training of the unpaired network into a file of weights.

python scripts/export_unpaired.py experiments/train_UnpairedSR_small_x4/models/net_g_latest.pth --steps 10000
"""

import argparse
import hashlib
from pathlib import Path

from dkp_plugin.archs.unpaired_arch import UnpairedSR
from dkp_plugin.archs.unpaired_weights import UNPAIRED_WEIGHTS
from dkp_plugin.io.weight_files import read_weights, write_safetensors


def main() -> None:
    """Write the averaged weights in half precision, and print the checksum that belongs in ``unpaired_weights.py``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('checkpoint', type=Path)
    parser.add_argument('--steps', type=int, required=True, help='training steps in all, for the record')
    parser.add_argument('--data', default='BSDS500 train and test: LR images of 200 photographs, 200 others sharp')
    parser.add_argument('--out', type=Path, default=UNPAIRED_WEIGHTS)
    arguments = parser.parse_args()
    weights = read_weights(arguments.checkpoint)[0]['params_ema']
    UnpairedSR.from_weights(weights)  # the right network, or an error
    metadata = {'network': 'UnpairedSR', 'data': arguments.data, 'steps': str(arguments.steps)}
    metadata['license'] = 'Apache-2.0'
    half = {name: weight.half() if weight.is_floating_point() else weight for name, weight in weights.items()}
    write_safetensors(arguments.out, half, metadata)
    content = arguments.out.read_bytes()
    print(f'{arguments.out}: {len(content)} bytes, SHA-256 {hashlib.sha256(content).hexdigest()}')


if __name__ == '__main__':
    main()
