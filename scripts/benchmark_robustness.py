"""PSNR gained over bicubic enlargement under noise and JPEG compression, for kernels of several families.

python scripts/benchmark_robustness.py PHOTOGRAPHS [--method fast-dkp] [--kernel auto] [--count 10] [--csv rows.csv]
python scripts/benchmark_robustness.py --csv rows.csv --plot robustness.png  # of an earlier run

Every photograph is blurred and subsampled by 4 with a random kernel, cut so that its border is not periodic, and
gets noise and JPEG errors. The method sees that image and, of a JPEG, its quality; everything else it estimates.
"""

import argparse
import csv
import itertools
import math
import statistics
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
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


class Row(NamedTuple):
    """The figures of one image: PSNR of luma and of the kernel in dB, and whether the result was warned about."""

    image: str
    quality: int
    noise: int
    family: str
    bicubic: float
    result: float
    kernel_psnr: float
    is_doubted: bool


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


def measure(paths: list[Path], restoration: Restoration, cases: Iterable[Case]) -> Iterator[list[Row]]:
    """Restore every photograph under every case; yield the rows of one case after the other."""
    for case in cases:
        rows = []
        for path in paths:
            gt, lq, kernel = degrade(decode_image(path.read_bytes(), str(path))[None], path.stem, case)
            bicubic = restoration.enlarge(lq)
            result = restoration(lq, path.stem, JpegCoding.standard(case.quality) if case.quality else None)
            kernel_psnr = calculate_kernel_psnr(result.kernel[0, 0].numpy(), kernel[0, 0].numpy())
            found = psnr(bicubic, gt), psnr(result.x, gt), kernel_psnr, result.confidence.is_low
            rows.append(Row(path.stem, case.quality, case.noise, case.family, *found))
        yield rows


def describe(rows: list[Row]) -> str:
    """The row of the table for one case."""
    bicubic, result, kernel = (
        statistics.mean(getattr(row, name) for row in rows) for name in ('bicubic', 'result', 'kernel_psnr')
    )
    worst = min(row.result - row.bicubic for row in rows)
    first = rows[0]
    return (
        f'| {first.quality or "none"} | {first.noise} | {first.family} | {bicubic:.2f} | {result:.2f} | '
        f'{result - bicubic:+.2f} | {worst:+.2f} | {kernel:.1f} |'
    )


def read_rows(path: Path) -> list[Row]:
    """Read what ``--csv`` has written."""
    with path.open(newline='') as file:
        return [
            Row(
                row['image'], int(row['quality']), int(row['noise']), row['family'], float(row['bicubic']),
                float(row['result']), float(row['kernel_psnr']), row['is_doubted'] == 'True',
            )
            for row in csv.DictReader(file)
        ]  # fmt: skip


def plot(rows: list[Row], path: Path) -> None:
    """Draw the gain over bicubic enlargement: a panel per family, a line per noise, the worst image below it.

    Args:
        rows: Of all cases.
        path: Picture to write; its suffix sets the format: .png, .svg, .pdf.
    """
    from matplotlib.figure import Figure

    families, noises = (list(dict.fromkeys(getattr(row, key) for row in rows)) for key in ('family', 'noise'))
    qualities = sorted({row.quality for row in rows}, key=lambda quality: -(quality or 101))
    figure = Figure(figsize=(4 * len(families), 3.6), layout='constrained')
    panels = figure.subplots(1, len(families), sharey=True, squeeze=False)[0]
    for panel, family in zip(panels, families, strict=True):
        for index, noise in enumerate(noises):
            gains = [
                [row.result - row.bicubic for row in rows if (row.family, row.noise, row.quality) == (family, noise, q)]
                for q in qualities
            ]
            x, colour = range(len(qualities)), f'C{index}'
            panel.plot(x, [statistics.mean(values) for values in gains], 'o-', color=colour, label=f'noise {noise}')
            panel.plot(x, [min(values) for values in gains], ':', color=colour)
        panel.axhline(0, color='gray', linewidth=0.8)
        panel.set_xticks(range(len(qualities)), [str(quality or 'none') for quality in qualities])
        panel.set(title=family, xlabel='JPEG quality')
    panels[0].set_ylabel('gain over bicubic, dB\n(dotted: worst image)')
    panels[-1].legend(fontsize='small')
    figure.savefig(path)


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('photographs', type=Path, nargs='?', help='folder; photographs that no training has seen; none: --csv is read')
    add('--method', choices=METHODS, default='fast-dkp')
    add('--kernel', default='auto')
    add('--weights', help='file of weights; default: those of the package')
    add('--count', type=int, default=10, help='photographs, the first of the folder')
    add('--qualities', type=int, nargs='+', default=QUALITIES, help='of JPEG; 0: no JPEG')
    add('--noises', type=int, nargs='+', default=NOISES, help='standard deviations out of 255')
    add('--csv', type=Path, help='write a row for every image')
    add('--plot', type=Path, help='draw the gains, .png, .svg or .pdf')
    return parser


def main(argv: list[str] | None = None) -> None:
    """Run every case, or read the rows of an earlier run; print a table and draw it."""
    parser = make_parser()
    arguments = parser.parse_args(argv)
    if arguments.photographs is None and arguments.csv is None:
        parser.error('name a folder of PHOTOGRAPHS, or with --csv the rows of an earlier run')
    print('| JPEG | noise | kernel | bicubic | result | gain | worst gain | kernel PSNR |')
    print('|---' * 8 + '|')
    if arguments.photographs is None:
        rows = read_rows(arguments.csv)
        for _, group in itertools.groupby(rows, key=lambda row: (row.quality, row.noise, row.family)):
            print(describe(list(group)))
    else:
        paths = list_folder(arguments.photographs, 'photographs', IMAGE_SUFFIXES)[: arguments.count]
        choices = Choices(method=arguments.method, kernel=arguments.kernel, weights=arguments.weights)
        cases = itertools.starmap(Case, itertools.product(arguments.qualities, arguments.noises, FAMILIES))
        rows = []
        for group in measure(paths, Restoration(make_options(choices), 'cpu'), cases):
            print(describe(group), flush=True)
            rows += group
        if arguments.csv:
            with arguments.csv.open('w', newline='') as file:
                writer = csv.writer(file)
                writer.writerow(Row._fields)
                writer.writerows(rows)
    if arguments.plot:
        plot(rows, arguments.plot)


if __name__ == '__main__':
    main()
