"""Crops, kernels and curves of a comparison, small enough to embed in one file."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from basicsr.utils import tensor2img
from torch import Tensor

from dkp_plugin.evaluation.comparison import baseline
from dkp_plugin.evaluation.comparison.results import Result
from dkp_plugin.evaluation.comparison.table import Table, read_figure
from dkp_plugin.evaluation.pages import Curve, make_curves, png_uri
from dkp_plugin.host.errors import UserError
from dkp_plugin.io.images import decode_image, kernel_picture
from dkp_plugin.io.kernel_files import read_kernel

CROP = 128  # pixels


@dataclass(frozen=True)
class Cell:
    """A method or the ground truth on one image.

    Args:
        title: Method, HR image or LR image.
        crop: Centre crop as a data URI; None without an image.
        kernel: Kernel as a data URI; None without a kernel.
        figures: Metrics of the image; empty for the ground truth.
        is_oracle: Whether the true kernel was given.
        curves: Loss curves.
    """

    title: str
    crop: str | None
    kernel: str | None
    figures: Mapping[str, float | None] = field(default_factory=dict)
    is_oracle: bool = False
    curves: Sequence[Curve] = ()


def page_crop(image: np.ndarray, size: int = CROP, step: int = 1) -> np.ndarray:
    """Crop the centre of an image.

    Args:
        image: (H, W) or (H, W, C).
        size: Side of the crop; smaller images are not cropped.
        step: The corner is a multiple of it, so that LR and HR crops show the same content.

    Returns:
        (h, w) or (h, w, C), h and w at most ``size``.
    """
    corner = [max(side - size, 0) // 2 // step * step for side in image.shape[:2]]
    return image[corner[0] : corner[0] + size, corner[1] : corner[1] + size]


def gallery(table: Table, num_images: int) -> dict[str, list[Cell]]:
    """Cells of the first images of a table: the ground truth, the LR image, then the first seed of each method.

    Args:
        table: The table.
        num_images: Maximum number of images.

    Returns:
        Cells by image name.
    """
    members = {}
    for result, name in table.results:
        members.setdefault(result.run.method, (result, name))
    cells = {}
    for index, image in enumerate(table.data_set.images[:num_images]):
        truth, kernel = _truth_cells(table, index)
        cells[image] = truth + [
            _bicubic_cell(table, index, result)
            if result.run.method == baseline.METHOD
            else _result_cell(result, name, image, kernel)
            for result, name in members.values()
        ]
    return cells


def _truth_cells(table: Table, index: int) -> tuple[list[Cell], Tensor | None]:
    """HR image, LR image and true kernel if known; and this kernel, (1, 1, K, K)."""
    scale = table.data_set.scale
    try:
        item = table.data_set.data[index]
    except (UserError, OSError, ValueError, TypeError, cv2.error):  # the run has reported an unreadable image
        return [], None
    kernel = item.get('kernel')
    kernel_uri = None if kernel is None else png_uri(kernel_picture(kernel.reshape(kernel.shape[-2:]).numpy()))
    cells = []
    if 'gt' in item:
        cells.append(Cell('truth', png_uri(page_crop(tensor2img(item['gt']), step=scale)), kernel_uri))
    crop = tensor2img(item['lq']).repeat(scale, axis=0).repeat(scale, axis=1)
    cells.append(Cell('LR image', png_uri(page_crop(crop, step=scale)), None if cells else kernel_uri))
    return cells, None if kernel is None else kernel.reshape(1, 1, *kernel.shape[-2:])


def _result_cell(result: Result, data_set: str, image: str, true_kernel: Tensor | None) -> Cell:
    """The result of a run for an image; the kernel has the colour scale of the true one."""
    run, record = result.run, result.records[data_set].get(image, {})
    crop = kernel_uri = None
    curves = []
    if record:
        restored = run.folder / 'visualization' / data_set / f'{image}_{run.image_suffix}.png'
        kernel = run.folder / 'kernels' / data_set / f'{image}.mat'
        crop = _crop_of_file(restored, run.options['scale'])
        kernel_uri = _kernel_of_file(kernel, run.options, true_kernel)
        curves = _curves_of_file(run.folder / 'curves' / data_set / f'{image}.json')
    figures = {name: read_figure(record, name, run.metrics) for name in run.metrics}
    return Cell(run.method, crop, kernel_uri, figures, bool(record.get('oracle')), curves)


def _bicubic_cell(table: Table, index: int, result: Result) -> Cell:
    """Bicubic enlargement, computed here since no run saves it."""
    (data_set,), metrics = result.data_sets, result.run.metrics
    record = result.records[data_set.name].get(data_set.images[index])
    if record is None:
        return Cell(result.run.method, None, None)
    image = tensor2img(baseline.enlarge(data_set, data_set.data[index]['lq'][None]))
    figures = {name: read_figure(record, name, metrics) for name in metrics}
    return Cell(result.run.method, png_uri(page_crop(image, step=data_set.scale)), None, figures)


def _crop_of_file(path: Path, scale: int) -> str | None:
    try:
        image = decode_image(path.read_bytes(), str(path))
    except (OSError, UserError):  # not saved or deleted; the metrics still exist
        return None
    return png_uri(page_crop(tensor2img(image), step=scale))


def _kernel_of_file(path: Path, options: Mapping[str, Any], true_kernel: Tensor | None) -> str | None:
    convention = (options.get('degradation') or {}).get('convention', 'aligned')
    try:
        kernel = read_kernel(path, convention)[0, 0].numpy()
    except UserError:
        return None
    return png_uri(kernel_picture(kernel, None if true_kernel is None else true_kernel.max().item()))


def _curves_of_file(path: Path) -> list[Curve]:
    try:
        return make_curves(json.loads(path.read_text(encoding='utf-8')))
    except (OSError, ValueError, KeyError, TypeError):
        return []
