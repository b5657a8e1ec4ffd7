"""Compare what a result is known to be worth with what the method itself says of it.

python scripts/calibrate_confidence.py PHOTOGRAPHS --csv rows.csv [--method diff-dkp] [--scales 1 2 3 4] [--count 24]
python scripts/calibrate_confidence.py --summary rows.csv

Crops of photographs are blurred, subsampled and, in turn, left alone, given noise or JPEG errors, or sharpened by an
unsharp mask as a camera does. Each crop is restored blindly. A row holds the gain over enlargement and the error of the
kernel beside the expected kernel PSNR and the misfit, and the gain with the strength that the method itself calls safe.
The limits in ``engine/confidence.py`` come from the summary.
"""

import argparse
import csv
import itertools
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch
import torch.nn.functional as F
from benchmark_robustness import psnr
from torch import Tensor

from dkp_plugin.data.synthesis import compress
from dkp_plugin.engine.restoration import Restoration
from dkp_plugin.evaluation.kernel_metric import calculate_kernel_psnr
from dkp_plugin.host.seeds import image_generator
from dkp_plugin.io.folders import list_folder
from dkp_plugin.io.formats import IMAGE_SUFFIXES
from dkp_plugin.io.images import decode_image
from dkp_plugin.photos.presets import METHODS, Choices, make_options
from dkp_plugin.physics.borders import crop_border
from dkp_plugin.physics.degradation import Degradation, round_to_levels
from dkp_plugin.physics.jpeg_coding import JpegCoding
from dkp_plugin.physics.kernel_families import build_family
from dkp_plugin.restorers.one_pass_restorer import OnePass

MARGIN = 8  # LR pixels that are cut at each side, more than the kernel reaches
SIDES = {1: 128, 2: 128, 3: 156, 4: 160}  # HR pixels
FAMILIES = 'gaussian', 'gaussian', 'disc', 'motion'  # crop by crop


@dataclass(frozen=True)
class Case:
    """What happens to an LR image: noise out of 255, JPEG quality (0: none), radius and amount of an unsharp mask."""

    noise: int = 0
    quality: int = 0
    radius: float = 0.0
    amount: float = 0.0


DISTURBED = (Case(noise=3), Case(quality=90), Case(noise=8), Case(quality=70))
SHARPENED = tuple(Case(radius=r, amount=a) for r, a in ((1, 0.7), (1, 1.5), (2, 0.7), (2, 1.5), (1.5, 1)))


@dataclass(frozen=True)
class Row(Case):
    """A case with its outcome; PSNR in dB."""

    image: str = ''
    method: str = ''
    scale: int = 0
    family: str = ''
    bicubic: float = 0.0
    result: float = 0.0
    kernel: float = 0.0
    expected: float = 0.0
    misfit: float = 0.0
    halos: float = 0.0
    strength: float = 1.0
    cautious: float = 0.0

    @property
    def gain(self) -> float:
        """Of the whole result over enlargement, in dB."""
        return self.result - self.bicubic

    @property
    def cautious_gain(self) -> float:
        """Of the result with its safe strength over enlargement, in dB."""
        return self.cautious - self.bicubic


def sharpen(image: Tensor, radius: float, amount: float) -> Tensor:
    """Unsharp mask: image + amount (image - Gaussian of standard deviation radius), (1, C, h, w) in [0, 1]."""
    offsets = torch.arange(-(reach := round(3 * radius)), reach + 1)
    line = torch.exp(-0.5 * (offsets / radius).square())
    line = (line / line.sum()).expand(image.shape[1], 1, -1)
    padded = F.pad(image, (reach,) * 4, mode='reflect')
    blurred = F.conv2d(F.conv2d(padded, line[:, :, None], groups=len(line)), line[..., None], groups=len(line))
    return round_to_levels(image + amount * (image - blurred))


def degrade(image: Tensor, name: str, degradation: Degradation, family: str) -> tuple[Tensor, Tensor, Tensor]:
    """The centre of an image as ground truth, its LR image, and the kernel, all as batches of one."""
    scale = degradation.scale
    side = SIDES[scale] + 2 * MARGIN * scale
    top, left = ((length - side) // 2 for length in image.shape[-2:])
    gt = image[None, :, top : top + side, left : left + side]
    kernels = build_family(family, scale, degradation.kernel_size, degradation.centre)
    kernel = kernels.render(kernels.sample(1, image_generator(0, f'confidence/{name}')))
    lq = crop_border(degradation.A(gt, kernel), MARGIN)
    return crop_border(gt, scale * MARGIN), round_to_levels(lq), kernel


def disturb(lq: Tensor, name: str, case: Case) -> Tensor:
    """Apply a case to an LR image (1, 3, h, w)."""
    if case.amount:
        return sharpen(lq, case.radius, case.amount)
    noise = case.noise / 255 * torch.randn(lq.shape, generator=image_generator(1, f'confidence/{name}'))
    return compress(round_to_levels(lq + noise)[0], case.quality or None)[None]


def run(paths: list[Path], plans: Mapping[tuple[str, int], Restoration]) -> Iterator[Row]:
    """Restore every crop in every case."""
    for index, path in enumerate(paths):
        image = decode_image(path.read_bytes(), str(path)).expand(3, -1, -1)
        family = FAMILIES[index % len(FAMILIES)]
        for (method, scale), plan in plans.items():
            gt, clean, kernel = degrade(image, path.stem, plan.degradation, family)
            for case in (Case(), DISTURBED[index % len(DISTURBED)], SHARPENED[index % len(SHARPENED)]):
                lq = disturb(clean, path.stem, case)
                found = plan(lq, path.stem, JpegCoding.standard(case.quality) if case.quality else None)
                kernel_psnr = calculate_kernel_psnr(found.kernel[0, 0].numpy(), kernel[0, 0].numpy())
                told, plain = found.confidence, plan.enlarge(lq)
                cautious = torch.lerp(plain, found.x, told.strength)
                outcome = (psnr(plain, gt), psnr(found.x, gt), kernel_psnr, told.expected_kernel_psnr or 0.0)
                verdict = (told.misfit or 0.0, found.inspection.halos, told.strength, psnr(cautious, gt))
                values = (path.stem, method, scale, family, *outcome, *verdict)
                yield Row(*asdict(case).values(), *values)


def summarise(rows: list[Row]) -> None:
    """Print, for each method and scale, how expected and true kernel PSNR and gain belong together."""
    rows.sort(key=lambda row: (row.method, row.scale))
    for (method, scale), group in itertools.groupby(rows, key=lambda row: (row.method, row.scale)):
        group = list(group)
        print(f'{method} x{scale}')
        plain = [row for row in group if row.amount == 0]
        for name, part in {
            'clean': [row for row in plain if row.noise == row.quality == 0],
            'noise or JPEG': [row for row in plain if row.noise or row.quality],
        }.items():
            bias = statistics.median(row.expected - row.kernel for row in part)
            print(f'  {name}: {len(part)} crops, expected - true kernel PSNR: median {bias:+.1f} dB')
        for limit in range(44, 60):
            low, high = ([row.gain for row in plain if (row.expected < limit) == is_low] for is_low in (True, False))
            if low and high:
                print(
                    f'  expected below {limit} dB: {len(low)} crops, gain {statistics.mean(low):+.2f} dB; '
                    f'others {len(high)}, {statistics.mean(high):+.2f} dB'
                )
        for name, part in {'not sharpened': plain, 'sharpened': [row for row in group if row.amount]}.items():
            whole, cautious = ([getattr(row, kind) for row in part] for kind in ('gain', 'cautious_gain'))
            if part:
                print(
                    f'  {name}: {len(part)} crops, {sum(row.strength < 1 for row in part)} doubted, '
                    f'gain {statistics.mean(whole):+.2f} dB, worst {min(whole):+.2f}; '
                    f'with safe strength {statistics.mean(cautious):+.2f}, worst {min(cautious):+.2f}'
                )


def main() -> None:
    """Restore and write the rows, or summarise a file of rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('photographs', type=Path, nargs='?', help='folder; photographs of no benchmark')
    parser.add_argument('--csv', type=Path, help='write a row for every result')
    parser.add_argument('--summary', type=Path, metavar='CSV', help='summarise rows instead')
    parser.add_argument('--method', choices=METHODS, nargs='+', default=['diff-dkp'])
    parser.add_argument('--preset', default='fast')
    parser.add_argument('--scales', type=int, nargs='+', default=[1, 2, 3, 4])
    parser.add_argument('--count', type=int, default=24, help='photographs, evenly spaced in the folder')
    arguments = parser.parse_args()
    if arguments.summary:
        with arguments.summary.open(newline='') as file:
            kinds = {field.name: field.type for field in fields(Row)}
            summarise([Row(**{key: kinds[key](value) for key, value in row.items()}) for row in csv.DictReader(file)])
        return
    if not (arguments.photographs and arguments.csv):
        parser.error('photographs and --csv, or --summary')
    paths = list_folder(arguments.photographs, 'photographs', IMAGE_SUFFIXES)
    paths = paths[:: max(len(paths) // arguments.count, 1)][: arguments.count]
    plans = {
        (method, scale): Restoration(make_options(Choices(method=method, preset=arguments.preset, scale=scale)), 'cpu')
        for method in arguments.method
        for scale in arguments.scales
        if method != 'fast-dkp' or scale in OnePass.scales
    }
    with arguments.csv.open('w', newline='') as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)])
        writer.writeheader()
        for row in run(paths, plans):
            writer.writerow(asdict(row))
            file.flush()


if __name__ == '__main__':
    main()
