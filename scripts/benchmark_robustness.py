"""PSNR gained over bicubic enlargement under noise and JPEG compression, for kernels of several families.

python scripts/benchmark_robustness.py PHOTOGRAPHS [--method fast-dkp] [--kernel auto] [--count 10] [--csv rows.csv]

Every photograph is blurred and subsampled by 4 with a random kernel, cut so that its border is not periodic, and
gets noise and JPEG errors. The method sees that image and, of a JPEG, its quality; everything else it estimates.
"""

import argparse
import csv
import itertools
import math
import statistics
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from dkp_plugin.data.synthesis import compress
from dkp_plugin.engine.borders import crop_border, mirror_border
from dkp_plugin.engine.restoration import Restoration
from dkp_plugin.evaluation.kernel_metric import calculate_kernel_psnr
from dkp_plugin.host.seeds import image_generator
from dkp_plugin.io.folders import list_folder
from dkp_plugin.io.formats import IMAGE_SUFFIXES
from dkp_plugin.io.images import decode_image
from dkp_plugin.photos.presets import METHODS, Choices, make_options
from dkp_plugin.physics.coding_noise import rgb_to_ycc
from dkp_plugin.physics.degradation import Degradation, round_to_levels
from dkp_plugin.physics.jpeg_coding import JpegCoding
from dkp_plugin.physics.kernel_families import build_family

SCALE, MARGIN = 4, 8  # MARGIN: LR pixels that are cut at each side, more than the kernel reaches
BORDER = 8  # HR pixels that the PSNR leaves out
QUALITIES = 0, 90, 70, 50, 30  # 0: no JPEG
NOISES = 0, 5, 15, 25
FAMILIES = 'gaussian', 'motion', 'disc'


@dataclass(frozen=True)
class Case:
    """A degradation: JPEG quality (0: no JPEG), noise out of 255, kernel family."""

    quality: int
    noise: int
    family: str


def degrade(gt: Tensor, name: str, case: Case) -> tuple[Tensor, Tensor, Tensor]:
    """Degrade an HR image; return it cut, the LR image, and the kernel, all as batches of one."""
    degradation = Degradation(SCALE, 19)
    family = build_family(case.family, SCALE, 19, degradation.centre)
    generator = image_generator(0, f'robustness/{name}')
    kernel = family.render(family.sample(1, generator))
    height, width = (side - side % SCALE for side in gt.shape[-2:])
    gt = gt[..., :height, :width]
    lq = crop_border(degradation.A(gt, kernel), MARGIN)
    lq = lq + case.noise / 255 * torch.randn(lq.shape, generator=generator)
    lq = compress(round_to_levels(lq)[0], case.quality or None)
    return crop_border(gt, SCALE * MARGIN), lq[None].expand(-1, 3, -1, -1), kernel


def psnr(x: Tensor, gt: Tensor) -> float:
    """PSNR of luma in dB."""
    difference = crop_border(rgb_to_ycc(x.clamp(0, 1) - gt)[:, :1], BORDER) * 219 / 255  # the range of luma in video
    return -10 * math.log10(difference.square().mean().item())


def main() -> None:
    """Run every case and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('photographs', type=Path, help='folder; photographs that no training has seen')
    parser.add_argument('--method', choices=METHODS, default='fast-dkp')
    parser.add_argument('--kernel', default='auto')
    parser.add_argument('--weights', help='file of weights; default: those of the package')
    parser.add_argument('--count', type=int, default=10, help='photographs, the first of the folder')
    parser.add_argument('--qualities', type=int, nargs='+', default=QUALITIES, help='of JPEG; 0: no JPEG')
    parser.add_argument('--noises', type=int, nargs='+', default=NOISES, help='standard deviations out of 255')
    parser.add_argument('--csv', type=Path, help='write a row for every image')
    arguments = parser.parse_args()
    paths = list_folder(arguments.photographs, 'photographs', IMAGE_SUFFIXES)[: arguments.count]
    choices = Choices(method=arguments.method, kernel=arguments.kernel, weights=arguments.weights)
    restoration = Restoration(make_options(choices), 'cpu')
    plain = Degradation(SCALE, 19)
    rows = []
    print('| JPEG | noise | kernel | bicubic | result | gain | worst gain | kernel PSNR |')
    print('|---' * 8 + '|')
    for case in itertools.starmap(Case, itertools.product(arguments.qualities, arguments.noises, FAMILIES)):
        found = []
        for path in paths:
            gt, lq, kernel = degrade(decode_image(path.read_bytes(), str(path))[None], path.stem, case)
            bicubic = crop_border(plain.enlarge(mirror_border(lq, MARGIN)), SCALE * MARGIN)
            result = restoration(lq, path.stem, JpegCoding.standard(case.quality) if case.quality else None)
            kernel_psnr = calculate_kernel_psnr(result.kernel[0, 0].numpy(), kernel[0, 0].numpy())
            found.append((psnr(bicubic, gt), psnr(result.x, gt), kernel_psnr, result.confidence.is_low))
            rows.append((path.stem, case.quality, case.noise, case.family, *found[-1]))
        before, after, kernels, _ = zip(*found, strict=True)
        worst = min(b - a for a, b in zip(before, after, strict=True))
        means = [statistics.mean(values) for values in (before, after, kernels)]
        print(
            f'| {case.quality or "none"} | {case.noise} | {case.family} | {means[0]:.2f} | {means[1]:.2f} | '
            f'{means[1] - means[0]:+.2f} | {worst:+.2f} | {means[2]:.1f} |',
            flush=True,
        )
    if arguments.csv:
        with arguments.csv.open('w', newline='') as file:
            writer = csv.writer(file)
            writer.writerow(['image', 'quality', 'noise', 'family', 'bicubic', 'result', 'kernel_psnr', 'is_doubted'])
            writer.writerows(rows)


if __name__ == '__main__':
    main()
