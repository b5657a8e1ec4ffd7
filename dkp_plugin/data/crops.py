"""A small benchmark from a large one: centre crops of the HR images, degraded by the kernels of the set."""

from pathlib import Path

from torch import Tensor

from dkp_plugin.host.errors import ImageError, OptionError
from dkp_plugin.io.files import write_bytes
from dkp_plugin.io.folders import list_folder
from dkp_plugin.io.formats import IMAGE_SUFFIXES
from dkp_plugin.io.images import decode_image
from dkp_plugin.io.kernel_files import KERNEL_SUFFIXES, read_kernel, write_kernel
from dkp_plugin.io.pixels import to_levels
from dkp_plugin.io.png import encode_png
from dkp_plugin.io.staged_folder import staged_folder
from dkp_plugin.physics.degradation import degrade


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


def prepare_crops(source: Path, blurred: str, out: Path, size: int, scale: int, convention: str) -> int:
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
