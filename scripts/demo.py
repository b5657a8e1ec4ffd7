"""The start and the end of the demo: generate an LR image from a photograph, and compare the result with the original.

python scripts/demo.py prepare              writes HR, LR and kernel under datasets/demo
python scripts/demo.py report FastDKP_demo_x4    reads results/FastDKP_demo_x4, prints a table, draws comparison.png
"""

import argparse
import json
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import scipy.io
import skimage.data
import torch
from torch import Tensor

from dkp_plugin.evaluation.evaluate import evaluate, metric_data, to_uint8_bgr
from dkp_plugin.host.seeds import image_generator
from dkp_plugin.io.images import decode_image, write_image
from dkp_plugin.io.kernel_files import write_kernel
from dkp_plugin.physics.borders import crop_border
from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.physics.kernel_families import build_family
from dkp_plugin.physics.kernels import default_kernel_size

matplotlib.use('Agg')
from matplotlib import pyplot as plt

SCALE, NAME = 4, 'astronaut'
ROWS, COLUMNS = slice(16, 208), slice(128, 320)  # the face: 192x192 pixels
MARGIN = 16  # pixels around the crop that the blur reaches
DATA = Path('datasets/demo')
METRICS = {
    'psnr': {'type': 'calculate_psnr', 'crop_border': SCALE, 'test_y_channel': True},
    'ssim': {'type': 'calculate_ssim', 'crop_border': SCALE, 'test_y_channel': True},
}


def prepare(seed: int) -> None:
    """Blur a photograph with a random Gaussian kernel, subsample it by 4, round it to 8 bits and crop the face.

    Args:
        seed: Seed of the kernel.
    """
    rows, columns = (slice(part.start - MARGIN, part.stop + MARGIN) for part in (ROWS, COLUMNS))
    hr = to_tensor(skimage.data.astronaut()[rows, columns, ::-1])
    degradation = Degradation(SCALE, default_kernel_size(SCALE), 'aligned')
    family = build_family('gaussian', SCALE, degradation.kernel_size, degradation.centre)
    kernel = family.render(family.sample(1, image_generator(seed, f'random_kernel/{NAME}')))
    write_image(DATA / 'HR' / f'{NAME}.png', to_uint8_bgr(crop_border(hr, MARGIN)))
    write_image(DATA / 'LR' / f'{NAME}.png', to_uint8_bgr(crop_border(degradation.A(hr, kernel), MARGIN // SCALE)))
    write_kernel(DATA / 'kernels' / f'{NAME}.mat', kernel, degradation.convention, SCALE)


def to_tensor(image: np.ndarray) -> Tensor:
    """Convert uint8 (H, W, 3), BGR, to (1, 3, H, W), RGB in [0, 1]."""
    return torch.from_numpy(image[..., ::-1] / np.float32(255)).permute(2, 0, 1).unsqueeze(0)


def read_image(path: Path) -> Tensor:
    """Read an image as (1, C, H, W) in [0, 1]."""
    return decode_image(path.read_bytes(), str(path)).unsqueeze(0)


def bicubic(lq: Tensor) -> Tensor:
    """Enlarge by bicubic interpolation on the grid of the LR image (1, C, h, w), rounded to 8 bits."""
    return to_tensor(cv2.resize(to_uint8_bgr(lq), None, fx=SCALE, fy=SCALE, interpolation=cv2.INTER_CUBIC))


def report(run: str) -> None:
    """Print the metrics of bicubic enlargement and of a run, and draw their images side by side.

    Args:
        run: Name of the option file and of its results folder: method, ``demo`` and scale.
    """
    method, results = run.split('_')[0].replace('DKP', '-DKP'), Path('results') / run
    lq, gt = (read_image(DATA / folder / f'{NAME}.png') for folder in ('LR', 'HR'))
    restored = read_image(results / 'visualization' / 'demo' / f'{NAME}_{run}.png')
    kernel, kernel_gt = (
        scipy.io.loadmat(folder / f'{NAME}.mat')['Kernel']
        for folder in (results / 'kernels' / 'demo', DATA / 'kernels')
    )
    record = json.loads((results / 'metrics' / 'demo.json').read_text())['images'][0]
    baseline, _ = evaluate(METRICS, metric_data({'result': bicubic(lq), 'gt': gt}, SCALE))

    print(f'{"":10s} {"PSNR-Y":>8s} {"SSIM-Y":>8s} {"kernel PSNR":>12s} {"kernel NCC":>11s} {"seconds":>8s}')
    print(f'{"bicubic":10s} {baseline["psnr"]:8.2f} {baseline["ssim"]:8.4f} {"-":>12s} {"-":>11s} {"-":>8s}')
    print(
        f'{method:10s} {record["psnr"]:8.2f} {record["ssim"]:8.4f} {record["kernel_psnr"]:12.2f} '
        f'{record["kernel_ncc"]:11.4f} {record["seconds"]:8.1f}'
    )
    draw(
        {
            f'LR, bicubic: {baseline["psnr"]:.2f} dB': bicubic(lq),
            f'{method}: {record["psnr"]:.2f} dB': restored,
            'truth': gt,
        },
        {f'estimated kernel: NCC {record["kernel_ncc"]:.3f}': kernel, 'true kernel': kernel_gt},
        results / 'comparison.png',
    )
    print(f'restored image, kernel, metrics and comparison.png: {results}')


def draw(images: dict[str, Tensor], kernels: dict[str, np.ndarray], path: Path) -> None:
    """Draw images and kernels in one row, the kernels on one colour scale.

    Args:
        images: (1, C, H, W) in [0, 1], by title.
        kernels: (K, K), by title.
        path: The PNG file.
    """
    figure, axes = plt.subplots(1, len(images) + len(kernels), figsize=(15, 3.4), layout='constrained')
    for axis, (title, image) in zip(axes, images.items(), strict=False):
        axis.imshow(image[0].permute(1, 2, 0).numpy(), interpolation='nearest')
        axis.set_title(title)
    peak = max(kernel.max() for kernel in kernels.values())
    for axis, (title, kernel) in zip(axes[len(images) :], kernels.items(), strict=True):
        axis.imshow(kernel, vmin=0, vmax=peak, interpolation='nearest')
        axis.set_title(title)
    for axis in axes:
        axis.set_axis_off()
    figure.savefig(path, dpi=110)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(dest='part', required=True)
    parts.add_parser('prepare').add_argument('--seed', type=int, default=0, help='seed of the kernel')
    parts.add_parser('report').add_argument('run', help='name of the option file')
    arguments = parser.parse_args()
    prepare(arguments.seed) if arguments.part == 'prepare' else report(arguments.run)


if __name__ == '__main__':
    main()
