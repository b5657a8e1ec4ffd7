"""Test data for blind super-resolution: LR images, with ground truth if available."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from basicsr.utils.registry import DATASET_REGISTRY
from pydantic import BaseModel, ConfigDict
from torch import Tensor
from torch.utils.data import Dataset

from dkp_plugin.data.synthesis import RandomKernelOptions, Synthesis
from dkp_plugin.host.errors import ImageError, OptionError, UserError
from dkp_plugin.host.schema import parse_section
from dkp_plugin.io.folders import list_folder
from dkp_plugin.io.formats import IMAGE_SUFFIXES
from dkp_plugin.io.images import image_of
from dkp_plugin.io.kernel_files import KERNEL_SUFFIXES, decode_kernel
from dkp_plugin.io.lmdb_reader import list_lmdb, read_lmdb
from dkp_plugin.io.photo_files import Photo, decode_photo
from dkp_plugin.physics.degradation import SCALES
from dkp_plugin.physics.jpeg_coding import JpegCoding


class IOBackendOptions(BaseModel):
    """BasicSR's block ``io_backend``."""

    model_config = ConfigDict(extra='forbid')
    type: Literal['disk', 'lmdb'] = 'disk'


class BlindSRDatasetOptions(BaseModel):
    """Option keys of :class:`BlindSRDataset`."""

    model_config = ConfigDict(extra='forbid')
    name: str
    type: str
    phase: str
    scale: Literal[SCALES]
    dataroot_lq: Path | None = None
    dataroot_gt: Path | None = None
    dataroot_kernel: Path | None = None
    io_backend: IOBackendOptions = IOBackendOptions()
    convention: Literal['aligned', 'released'] = 'aligned'
    random_kernel: RandomKernelOptions | None = None


def check_sizes(lq_size: Sequence[int], gt_size: Sequence[int], scale: int, gt_path: str) -> None:
    """Refuse an HR image that does not fit its LR image; up to ``scale`` - 1 extra rows and columns are allowed.

    Args:
        lq_size: (h, w).
        gt_size: (H, W).
        scale: Scale factor.
        gt_path: Path of the HR image for the message.

    Raises:
        ImageError: if the sizes do not match; the message names them.
    """
    height, width = (scale * side for side in lq_size)
    if not (0 <= gt_size[0] - height < scale and 0 <= gt_size[1] - width < scale):
        raise ImageError(
            f'{gt_path}: {gt_size[1]}x{gt_size[0]} pixels do not fit an LR image of {lq_size[1]}x{lq_size[0]} at '
            f'scale {scale}, which needs {width}x{height}'
        )


@DATASET_REGISTRY.register()
class BlindSRDataset(Dataset):
    """LR images, with HR images and kernels for the metrics if available.

    For photographs without ground truth, set only ``dataroot_lq``. ``dataroot_gt`` and ``dataroot_kernel`` add the
    ground truth, paired by file name. ``dataroot_gt`` with ``random_kernel`` generates kernels and LR images on the
    fly, rounded to 8 bits, from a seed and the image name. Every root is a folder or, with
    ``io_backend: {type: lmdb}``, a BasicSR lmdb, whose image names include their folders. Keys:
    :class:`BlindSRDatasetOptions`.

    An item holds ``lq`` (C, h, w), ``lq_path`` and, if known, ``gt`` (C, s h, s w), ``gt_path`` and ``kernel``
    (1, K, K): float32, RGB or gray, [0, 1]. HR images are cropped at the top left to s times the size of the LR image.
    If the LR file has an alpha channel, the item also holds ``alpha`` (1, h, w), float32 in [0, 1], and the hidden
    pixels of ``lq`` are filled. If it is a JPEG, the item holds ``jpeg``, the numbers of a
    :class:`~dkp_plugin.physics.jpeg_coding.JpegCoding`, (196,).

    Raises:
        OptionError: if a folder is missing or empty, or an image has no counterpart.
        ImageError, KernelError: from ``__getitem__``, if a file cannot be used; the message names it.
    """

    def __init__(self, opt: dict[str, Any]) -> None:
        self.opt = opt
        self.options = parse_section(BlindSRDatasetOptions, opt, f'datasets: {opt.get("name")}')
        self.roots = {
            key: root.expanduser()
            for key, root in (
                ('lq', self.options.dataroot_lq),
                ('gt', self.options.dataroot_gt),
                ('kernel', self.options.dataroot_kernel),
            )
            if root is not None
        }
        self._check_roots()
        self.synthesis = self._build_synthesis() if self.options.random_kernel else None
        files = {key: self._list_files(key, root) for key, root in self.roots.items()}
        self.main_key = 'lq' if 'lq' in files else 'gt'
        self.names = sorted(files[self.main_key])
        for key in files:
            missing = [name for name in self.names if name not in files[key]]
            if missing:
                raise OptionError(f'dataroot_{key}: {self.roots[key]} has no file for {", ".join(missing)}')
        self.files = files
        self.paths = [files[self.main_key][name] for name in self.names]  # the attribute of BasicSR's data sets
        self.noted: set[str] = set()  # files whose notes are already logged

    def _check_roots(self) -> None:
        makes_lq = self.options.random_kernel is not None
        if makes_lq == ('lq' in self.roots) or (makes_lq and ('gt' not in self.roots or 'kernel' in self.roots)):
            raise OptionError(
                f'datasets: {self.options.name}: give dataroot_lq (with or without dataroot_gt and dataroot_kernel), '
                f'or dataroot_gt with random_kernel; got {", ".join(f"dataroot_{key}" for key in self.roots) or "none"}'
                f'{" and random_kernel" if makes_lq else ""}'
            )

    def _build_synthesis(self) -> Synthesis:
        try:
            return Synthesis.build(self.options.random_kernel, self.options.scale, self.options.convention)
        except (ValueError, UserError) as error:
            raise OptionError(f'datasets: {self.options.name}: random_kernel: {error}') from None

    def _list_files(self, key: str, root: Path) -> dict[str, str]:
        """List the files of a root: a mapping from image name to path or lmdb key."""
        if self.options.io_backend.type == 'lmdb':
            return {name: name for name in list_lmdb(root, f'dataroot_{key}')}
        suffixes = KERNEL_SUFFIXES if key == 'kernel' else IMAGE_SUFFIXES
        return {path.stem: str(path) for path in list_folder(root, f'dataroot_{key}', suffixes)}

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> dict[str, Any]:
        name = self.names[index]
        photos = {key: self._read_photo(key, name) for key in self.roots if key != 'kernel'}
        images = {key: image_of(photo)[0] for key, photo in photos.items()}
        paths = {f'{key}_path': self.files[key][name] for key in photos}
        if self.synthesis is not None:
            gt = self.synthesis.crop(images['gt'])
            lq, kernel = self.synthesis.degrade(gt, name)
            quality = self.synthesis.jpeg_quality
            known = _known(None, None if quality is None else JpegCoding.standard(quality))
            return {'lq': lq, 'gt': gt, 'kernel': kernel, **known, 'lq_path': paths['gt_path'], **paths}
        if 'gt' in images:
            images = self._fit(images['lq'], images['gt'], paths['gt_path'])
        if 'kernel' in self.roots:
            content, path = self._read('kernel', name)
            images['kernel'] = decode_kernel(content, path, self.options.convention)
        return images | _known(image_of(photos['lq'])[1], photos['lq'].jpeg) | paths

    def _read(self, key: str, name: str) -> tuple[bytes, str]:
        """Read a file from its root; return its bytes and its path."""
        path = self.files[key][name]
        if self.options.io_backend.type == 'lmdb':
            return read_lmdb(self.roots[key], path), path
        return Path(path).read_bytes(), path

    def _read_photo(self, key: str, name: str) -> Photo:
        """Read an image; log once which of its contents are ignored."""
        content, path = self._read(key, name)
        photo = decode_photo(content, path)
        if photo.notes and path not in self.noted:
            self.noted.add(path)
            logging.getLogger('basicsr').warning(f'{path}: {"; ".join(photo.notes)}')
        return photo

    def _fit(self, lq: Tensor, gt: Tensor, gt_path: str) -> dict[str, Tensor]:
        """Crop the HR image to s times the LR image; if only one of them is gray, expand it to three channels."""
        check_sizes(lq.shape[-2:], gt.shape[-2:], self.options.scale, gt_path)
        height, width = (self.options.scale * side for side in lq.shape[-2:])
        channels = max(lq.shape[0], gt.shape[0])
        return {'lq': lq.expand(channels, -1, -1), 'gt': gt[:, :height, :width].expand(channels, -1, -1)}


def _known(alpha: Tensor | None, jpeg: JpegCoding | None) -> dict[str, Any]:
    """The optional keys of an item that have a value."""
    keys = {'alpha': alpha, 'jpeg': None if jpeg is None else jpeg.to_tensor()}
    return {key: value for key, value in keys.items() if value is not None}
