"""Training data for image priors: random crops of photographs in one or several folders."""

from pathlib import Path
from typing import Any

import torch
from basicsr.utils.registry import DATASET_REGISTRY
from pydantic import Field, PositiveInt
from torch import Tensor
from torch.utils.data import Dataset

from dkp_plugin.archs.symmetries import NUM_SYMMETRIES, transform
from dkp_plugin.data.basicsr_options import TrainingLoaderOptions
from dkp_plugin.data.training_crops import check_factors, randint, random_crop, resize_photo
from dkp_plugin.host.schema import parse_section
from dkp_plugin.io.folders import list_folder
from dkp_plugin.io.formats import IMAGE_SUFFIXES
from dkp_plugin.io.images import decode_image


class PhotoCropDatasetOptions(TrainingLoaderOptions):
    """Option keys of :class:`PhotoCropDataset`."""

    dataroot_gt: Path
    more_roots_gt: list[Path] = Field(default=[])
    gt_size: PositiveInt
    resize_factors: list[float] = Field(default=[1.0], min_length=1)
    gray_share: float = Field(default=0.0, ge=0, le=1)


@DATASET_REGISTRY.register()
class PhotoCropDataset(Dataset):
    """Random crops, flipped and rotated, of photographs that are kept in memory as 8-bit pixels.

    An item holds ``gt``: float32 RGB (3, gt_size, gt_size) in [0, 1]. Random numbers come from PyTorch's global
    generator, which BasicSR seeds in each of its workers.

    ``resize_factors`` (at most 1) lists the sizes at which each photograph is used; smaller sizes have sharper edges
    and less camera noise. A share ``gray_share`` of the crops is converted to gray. Keys:
    :class:`PhotoCropDatasetOptions`.

    Raises:
        OptionError: if an option is invalid, or the folder is missing or empty.
        ImageError: if a file cannot be read or is smaller than a crop.
    """

    def __init__(self, opt: dict[str, Any]) -> None:
        self.opt = opt
        self.options, paths = self.check_options(opt)
        self.photos = [self._load(path) for path in paths]

    @staticmethod
    def check_options(opt: dict[str, Any]) -> tuple[PhotoCropDatasetOptions, list[Path]]:
        """Check the options and list the photographs without reading them.

        Raises:
            OptionError: if an option is invalid, or the folder is missing or empty.
        """
        options = parse_section(PhotoCropDatasetOptions, opt, f'datasets: {opt.get("name")}')
        check_factors(options.resize_factors, f'datasets: {options.name}')
        folders = options.dataroot_gt, *options.more_roots_gt
        return options, [path for folder in folders for path in list_folder(folder, 'dataroot_gt', IMAGE_SUFFIXES)]

    def _load(self, path: Path) -> list[Tensor]:
        """Read a photograph at all sizes that are large enough for a crop, the largest first."""
        image = decode_image(path.read_bytes(), str(path))
        pixels = (255 * image).round().byte().expand(3, -1, -1)
        return resize_photo(pixels, self.options.resize_factors, self.options.gt_size, str(path), 'gt_size')

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        sizes = self.photos[index]
        crop = random_crop(sizes[randint(len(sizes))], self.options.gt_size)
        if torch.rand(()) < self.options.gray_share:
            crop = crop.mean(0, keepdim=True).expand(3, -1, -1)
        return {'gt': transform(crop, randint(NUM_SYMMETRIES)).contiguous()}
