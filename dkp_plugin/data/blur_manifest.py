"""Blurred data sets on disk: LR images, kernels, and a manifest from which both can be regenerated.

A data set is a folder::

    LR/<image>.png
    kernels/<image>.mat    keys Kernel, convention, scale; with a preview <image>.png
    manifest.json          recipe, versions, and checksums of pixels and kernels

``BlindSRDataset`` reads it with ``dataroot_lq``, ``dataroot_kernel`` and the HR images as ``dataroot_gt``. With the
same recipe as ``random_kernel``, the dataset generates the same LR images and kernels on the fly.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from pydantic import BaseModel, ConfigDict

from dkp_plugin.data.kernel_folder import FolderFamily, kernel_digest
from dkp_plugin.data.synthesis import RandomKernelOptions, Synthesis
from dkp_plugin.host.errors import OptionError, UserError
from dkp_plugin.host.schema import parse_section
from dkp_plugin.host.version import __version__
from dkp_plugin.io.files import write_bytes, write_json
from dkp_plugin.io.folders import list_folder
from dkp_plugin.io.formats import IMAGE_SUFFIXES
from dkp_plugin.io.images import decode_image
from dkp_plugin.io.kernel_files import decode_kernel, write_kernel
from dkp_plugin.io.pixels import pixel_digest, to_levels
from dkp_plugin.io.png import encode_png
from dkp_plugin.io.staged_folder import staged_folder
from dkp_plugin.physics.degradation import SCALES

MANIFEST_FILE = 'manifest.json'
VERSIONS = {
    'dkp_plugin': __version__,
    'torch': str(torch.__version__),
    'numpy': np.__version__,
    'opencv': cv2.__version__,
}


class BlurRecipe(RandomKernelOptions):
    """The recipe of a data set: the keys of ``random_kernel``, the scale and the convention."""

    scale: Literal[SCALES] = 4
    convention: Literal['aligned', 'released'] = 'aligned'

    def build(self) -> Synthesis:
        """Build the synthesis of this recipe.

        Raises:
            UserError: if two values conflict or the kernel folder cannot be used.
        """
        try:
            return Synthesis.build(self, self.scale, self.convention)
        except ValueError as error:
            raise OptionError(str(error)) from None


class ImageRecord(BaseModel):
    """Checksums of an image's HR pixels (before cropping), LR pixels and kernel, and the file of the kernel, if any."""

    model_config = ConfigDict(extra='forbid')
    hr: str
    lr: str
    kernel: str
    kernel_file: str | None = None


class Manifest(BaseModel):
    """Content of ``manifest.json``; ``kernel_files`` holds the checksums of a folder's kernels on the K x K grid."""

    model_config = ConfigDict(extra='forbid')
    recipe: BlurRecipe
    kernel_files: dict[str, str] = {}
    versions: dict[str, str]
    images: dict[str, ImageRecord]


def prepare(hr_folder: Path, out: Path, recipe: BlurRecipe) -> int:
    """Generate a data set from all images of a folder.

    Args:
        hr_folder: HR images; they are cropped at the top left to multiples of the scale.
        out: Folder of the data set; must not exist.
        recipe: Recipe of the data set.

    Returns:
        Number of images.

    Raises:
        UserError: if a file or value cannot be used; nothing is written then.
    """
    synthesis = recipe.build()
    paths = list_folder(hr_folder, 'HR_FOLDER', IMAGE_SUFFIXES)
    with staged_folder(out) as staging:
        images = {path.stem: _make(path, staging, synthesis) for path in paths}
        manifest = Manifest(
            recipe=_with_defaults(recipe, synthesis),
            kernel_files=_kernel_file_digests(synthesis),
            versions=VERSIONS,
            images=images,
        )
        write_json(staging / MANIFEST_FILE, manifest.model_dump())
    return len(paths)


def _make(path: Path, out: Path, synthesis: Synthesis) -> ImageRecord:
    """Write the LR image and the kernel of an HR image."""
    name, family = path.stem, synthesis.family
    gt = decode_image(path.read_bytes(), str(path))
    lq, kernel = synthesis.degrade(synthesis.crop(gt), name)
    write_bytes(out / 'LR' / f'{name}.png', encode_png(to_levels(lq)))
    degradation = synthesis.degradation
    write_kernel(out / 'kernels' / f'{name}.mat', kernel[None], degradation.convention, degradation.scale)
    picked = family.names[family.index(synthesis.params(name)[0])] if isinstance(family, FolderFamily) else None
    return ImageRecord(hr=pixel_digest(gt), lr=pixel_digest(lq), kernel=kernel_digest(kernel), kernel_file=picked)


def _with_defaults(recipe: BlurRecipe, synthesis: Synthesis) -> BlurRecipe:
    """Replace unset values of the recipe by their current defaults, which later versions may change."""
    ranges = ('variance_range', 'length_range')
    found = {key: getattr(synthesis.family, key) for key in ranges if hasattr(synthesis.family, key)}
    return recipe.model_copy(update=found | {'kernel_size': synthesis.degradation.kernel_size})


def _kernel_file_digests(synthesis: Synthesis) -> dict[str, str]:
    family = synthesis.family
    if not isinstance(family, FolderFamily):
        return {}
    return dict(zip(family.names, map(kernel_digest, family.kernels), strict=True))


def verify(hr_folder: Path, out: Path, family: str | None = None) -> list[str]:
    """Regenerate a data set in memory and compare both the result and the files with the manifest.

    Args:
        hr_folder: The HR images of the data set.
        out: Folder of the data set.
        family: New path of the kernel folder, if it has moved.

    Returns:
        One line for each difference and, if there are any, one line for changed versions.

    Raises:
        UserError: if the manifest cannot be read, or the HR images or kernels do not exist.
    """
    manifest = _read_manifest(out / MANIFEST_FILE)
    recipe = manifest.recipe if family is None else manifest.recipe.model_copy(update={'family': family})
    synthesis = recipe.build()
    paths = {path.stem: path for path in list_folder(hr_folder, 'HR_FOLDER', IMAGE_SUFFIXES)}

    found, recorded = _kernel_file_digests(synthesis), manifest.kernel_files
    names = sorted(found.keys() | recorded.keys())
    lines = [f'{recipe.family}: {name} differs' for name in names if found.get(name) != recorded.get(name)]
    for name in sorted(paths.keys() | manifest.images.keys()):
        if name not in paths:
            lines.append(f'{hr_folder}: no image {name}')
        elif name not in manifest.images:
            lines.append(f'{paths[name]}: not in the manifest')
        else:
            lines += _differences(paths[name], out, manifest.images[name], synthesis)
    files = sorted([*out.glob('LR/*'), *out.glob('kernels/*')])
    lines += [f'{path}: not in the manifest' for path in files if path.stem not in manifest.images]

    changed = [
        f'{key} {old} then, {VERSIONS.get(key)} now'
        for key, old in manifest.versions.items()
        if VERSIONS.get(key) != old
    ]
    return [*lines, f'versions: {"; ".join(changed)}'] if lines and changed else lines


def _read_manifest(path: Path) -> Manifest:
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        raise OptionError(f'{path}: not a readable manifest ({error})') from None
    if not isinstance(content, dict):
        raise OptionError(f'{path}: not a manifest')
    return parse_section(Manifest, content, str(path))


def _differences(path: Path, out: Path, recorded: ImageRecord, synthesis: Synthesis) -> Iterator[str]:
    """Compare the files of an image, and its regenerated LR image and kernel, with the manifest."""
    for check in (_check_lq, _check_kernel, _check_again):
        try:
            yield from check(path, out, recorded, synthesis)
        except (UserError, OSError) as error:
            yield str(error)


def _check_lq(path: Path, out: Path, recorded: ImageRecord, _: Synthesis) -> Iterator[str]:
    lq_path = out / 'LR' / f'{path.stem}.png'
    if pixel_digest(decode_image(lq_path.read_bytes(), str(lq_path))) != recorded.lr:
        yield f'{lq_path}: pixels differ from the manifest'


def _check_kernel(path: Path, out: Path, recorded: ImageRecord, synthesis: Synthesis) -> Iterator[str]:
    kernel_path = out / 'kernels' / f'{path.stem}.mat'
    kernel = decode_kernel(kernel_path.read_bytes(), str(kernel_path), synthesis.degradation.convention)
    if kernel_digest(kernel) != recorded.kernel:
        yield f'{kernel_path}: kernel differs from the manifest'


def _check_again(path: Path, _: Path, recorded: ImageRecord, synthesis: Synthesis) -> Iterator[str]:
    gt = decode_image(path.read_bytes(), str(path))
    if pixel_digest(gt) != recorded.hr:
        yield f'{path}: pixels differ from the manifest'
        return
    lq, kernel = synthesis.degrade(synthesis.crop(gt), path.stem)
    if kernel_digest(kernel) != recorded.kernel:
        yield f'{path.stem}: the regenerated kernel differs from the manifest'
    elif pixel_digest(lq) != recorded.lr:
        yield f'{path.stem}: the regenerated LR image differs from the manifest'
