"""Make a small benchmark from a large one: centre crops of the HR images, degraded by the kernels of the set.

    python scripts/prepare_crops.py datasets/Set5 gaussian_x4 --convention released --out datasets/Set5_crop128

reads HR/ and gaussian_x4/kernels/ and writes HR/, gaussian_x4/LR/ and gaussian_x4/kernels/. The HR crops are degraded
again with periodic borders, because crops of the LR images would contain pixels from outside. Existing files are never
overwritten. Exit status: 0; 2 after an error.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from dkp_plugin.host.errors import ImageError, OptionError, UserError
from dkp_plugin.io.files import write_bytes
from dkp_plugin.io.folders import list_folder
from dkp_plugin.io.formats import IMAGE_SUFFIXES
from dkp_plugin.io.images import decode_image
from dkp_plugin.io.kernel_files import KERNEL_SUFFIXES, read_kernel, write_kernel
from dkp_plugin.io.pixels import to_levels
from dkp_plugin.io.png import encode_png
from dkp_plugin.io.staged_folder import staged_folder
from dkp_plugin.physics.degradation import SCALES, degrade
from dkp_plugin.physics.kernels import CONVENTIONS


def centre_crop(image: Tensor, size: int, name: str) -> Tensor:
    """Crop size x size pixels from the centre of an image (C, H, W).

    Raises:
        ImageError: if the image is smaller.
    """
    top, left = ((side - size) // 2 for side in image.shape[-2:])
    if min(top, left) < 0:
        raise ImageError(f'{name}: {image.shape[-1]}x{image.shape[-2]} pixels are fewer than the crop, {size}x{size}')
    return image[:, top : top + size, left : left + size]


def shrink(image: Tensor, kernel: Tensor, scale: int) -> Tensor:
    """Degrade an image (C, H, W) by a kernel (1, 1, K, K) in float64, for identical results on all machines; round."""
    lq = degrade(image.double().unsqueeze(0), kernel.double(), scale)[0]
    return (255 * lq).round().clamp(0, 255).float() / 255


def prepare(source: Path, blurred: str, out: Path, size: int, scale: int, convention: str) -> int:
    """Make the benchmark; return the number of its images.

    Args:
        source: Folder of the large benchmark.
        blurred: Name of the folder of the kernels, in both benchmarks.
        out: Folder of the new benchmark; must not exist.
        size: Side of the crops, a multiple of the scale.
        scale: Subsampling factor.
        convention: Convention of the kernels.

    Raises:
        UserError: if a file or value cannot be used; nothing is written then.
    """
    if size < 1 or size % scale:
        raise OptionError(f'--size: {size} is not a multiple of the scale, {scale}')
    images = list_folder(source / 'HR', 'HR', IMAGE_SUFFIXES)
    kernels = {path.stem: path for path in list_folder(source / blurred / 'kernels', 'kernels', KERNEL_SUFFIXES)}
    missing = [path.stem for path in images if path.stem not in kernels]
    if missing:
        raise OptionError(f'{source / blurred / "kernels"}: has no kernel for {", ".join(missing)}')
    with staged_folder(out) as staging:
        for path in images:
            crop = centre_crop(decode_image(path.read_bytes(), str(path)), size, str(path))
            kernel = read_kernel(kernels[path.stem], convention)
            write_bytes(staging / 'HR' / f'{path.stem}.png', encode_png(to_levels(crop)))
            lq = shrink(crop, kernel, scale)
            write_bytes(staging / blurred / 'LR' / f'{path.stem}.png', encode_png(to_levels(lq)))
            write_kernel(staging / blurred / 'kernels' / f'{path.stem}.mat', kernel, convention, scale)
    return len(images)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', type=Path, metavar='BENCHMARK', help='folder with HR and BLURRED/kernels')
    parser.add_argument('blurred', metavar='BLURRED', help='such as gaussian_x4')
    parser.add_argument('--out', type=Path, required=True, metavar='DIR', help='folder of the new benchmark')
    parser.add_argument('--size', type=int, default=128, help='side of the crops in HR pixels; default 128')
    parser.add_argument('--scale', type=int, default=4, choices=SCALES, help='default 4')
    parser.add_argument(
        '--convention', default='aligned', choices=CONVENTIONS, help='convention of the kernels; default aligned'
    )
    arguments = parser.parse_args(argv)
    try:
        count = prepare(**vars(arguments))
    except (UserError, OSError, ValueError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    print(f'{arguments.out}: {count} HR images of {arguments.size}x{arguments.size}, LR images and kernels')
    return 0


if __name__ == '__main__':
    sys.exit(main())
