"""Training data of unpaired super-resolution: crops of LR images, and crops of sharp photographs unrelated to them."""

from pathlib import Path
from typing import Annotated, Any, Literal

from basicsr.utils import get_root_logger
from basicsr.utils.registry import DATASET_REGISTRY
from pydantic import Field, PositiveInt
from torch import Tensor
from torch.utils.data import Dataset

from dkp_plugin.archs.symmetries import NUM_SYMMETRIES, transform
from dkp_plugin.data.basicsr_options import TrainingLoaderOptions
from dkp_plugin.data.blind_sr_dataset import IOBackendOptions
from dkp_plugin.data.leak_check import find_leaks
from dkp_plugin.data.training_crops import check_factors, check_size, randint, random_crop, resize_photo
from dkp_plugin.host.errors import OptionError
from dkp_plugin.host.schema import ALLOW_OFF, parse_section
from dkp_plugin.io.folders import list_folder
from dkp_plugin.io.formats import IMAGE_SUFFIXES
from dkp_plugin.io.images import decode_image
from dkp_plugin.io.lmdb_reader import list_lmdb, read_lmdb
from dkp_plugin.physics.degradation import SCALES

MAX_WARNINGS = 10  # about pairs that leak; the others are counted


class UnpairedDatasetOptions(TrainingLoaderOptions):
    """Option keys of :class:`UnpairedDataset`."""

    scale: Literal[SCALES]
    dataroot_lq: Path
    dataroot_exemplar: Path
    lq_size: PositiveInt
    exemplar_size: PositiveInt | None = None
    resize_factors: list[float] = Field(default=[1.0], min_length=1)
    leak_check: Annotated[Literal['warn', 'error', 'off'], ALLOW_OFF] = 'warn'
    io_backend: IOBackendOptions = IOBackendOptions()


def list_images(root: Path, key: str, backend: str) -> dict[str, Path]:
    """The images of a folder or of a BasicSR lmdb: paths by name, in the order of the names; in an lmdb no files.

    Args:
        root: The folder.
        key: The option that names it, for messages.
        backend: ``disk`` or ``lmdb``.

    Raises:
        OptionError: for a folder that is missing or empty.
    """
    root = root.expanduser()
    if backend == 'lmdb':
        return {name: root / name for name in sorted(list_lmdb(root, key))}
    return {path.stem: path for path in list_folder(root, key, IMAGE_SUFFIXES)}


def read_images(root: Path, key: str, backend: str) -> dict[str, Tensor]:
    """Read all images of a folder or of a BasicSR lmdb; see :func:`list_images`.

    Returns:
        8-bit RGB pixels (3, H, W) by name.

    Raises:
        OptionError: for a folder that is missing or empty.
        ImageError: for an image that cannot be read.
    """
    images = {}
    for name, path in list_images(root, key, backend).items():
        content = path.read_bytes() if backend == 'disk' else read_lmdb(root.expanduser(), name)
        image = decode_image(content, str(path))
        images[name] = (255 * image).round().byte().expand(3, -1, -1)
    return images


@DATASET_REGISTRY.register()
class UnpairedDataset(Dataset):
    """Crops of two folders that have nothing to do with each other; all images are kept in memory as 8-bit pixels.

    An item holds ``exemplar`` (3, S, S), turned and mirrored at random, ``lq`` (3, s, s), float32 RGB in [0, 1], and
    ``lq_index``, the place of the LR image in the order of the names. There are as many items as exemplars. The numbers
    come from PyTorch's global generator, which BasicSR seeds in each of its workers.

    ``exemplar_size`` is ``scale * lq_size`` by default. ``resize_factors`` (at most 1) lists the sizes at which each
    exemplar is used; smaller sizes have sharper edges and more detail per pixel. ``leak_check`` says what happens where
    a photograph is in both folders: see :func:`~dkp_plugin.data.leak_check.find_leaks`.

    Raises:
        OptionError: for a missing or empty folder, for one folder under both keys, and for a leak with ``error``.
        ImageError: for an image that cannot be read, or that is smaller than its crop.
    """

    def __init__(self, opt: dict[str, Any]) -> None:
        self.opt = opt
        self.options = self.check_options(opt)
        backend = self.options.io_backend.type
        roots = self.options.dataroot_lq, self.options.dataroot_exemplar
        lq, exemplars = (
            read_images(root, key, backend)
            for root, key in zip(roots, ('dataroot_lq', 'dataroot_exemplar'), strict=True)
        )
        self.lq_size = self.options.lq_size
        self.exemplar_size = self.options.exemplar_size or self.options.scale * self.lq_size
        for name, image in lq.items():
            check_size(image, self.lq_size, f'{roots[0]}/{name}', 'lq_size')
        factors, size = self.options.resize_factors, self.exemplar_size
        self.lq_images = list(lq.values())
        self.exemplars = [
            resize_photo(image, factors, size, f'{roots[1]}/{name}', 'exemplar_size')
            for name, image in exemplars.items()
        ]
        if self.options.leak_check != 'off':
            self._check_leaks(lq, exemplars)

    @staticmethod
    def check_options(opt: dict[str, Any]) -> UnpairedDatasetOptions:
        """Check the options without reading an image.

        Raises:
            OptionError: for options that are wrong, a missing or empty folder, and one folder under both keys.
        """
        options = parse_section(UnpairedDatasetOptions, opt, f'datasets: {opt.get("name")}')
        check_factors(options.resize_factors, f'datasets: {options.name}')
        for key in ('dataroot_lq', 'dataroot_exemplar'):
            list_images(getattr(options, key), key, options.io_backend.type)
        if options.dataroot_lq.expanduser().resolve() == options.dataroot_exemplar.expanduser().resolve():
            raise OptionError(
                f'dataroot_exemplar: {options.dataroot_exemplar} is dataroot_lq, too; exemplars must be other images'
            )
        return options

    def _check_leaks(self, lq: dict[str, Tensor], exemplars: dict[str, Tensor]) -> None:
        leaks = find_leaks(lq, exemplars)
        lines = [
            f'leak_check: the LR image {name} and the exemplar {other} show the same (correlation {correlation:.3f})'
            for name, other, correlation in leaks
        ]
        if leaks and self.options.leak_check == 'error':
            raise OptionError(f'{lines[0]}; {len(leaks)} such pairs in all')
        for line in lines[:MAX_WARNINGS]:
            get_root_logger().warning(line)
        if len(lines) > MAX_WARNINGS:
            get_root_logger().warning(f'leak_check: {len(lines)} such pairs in all')

    def __len__(self) -> int:
        return len(self.exemplars)

    def __getitem__(self, index: int) -> dict[str, Any]:
        sizes, lq_index = self.exemplars[index], randint(len(self.lq_images))
        exemplar = random_crop(sizes[randint(len(sizes))], self.exemplar_size)
        return {
            'exemplar': transform(exemplar, randint(NUM_SYMMETRIES)).contiguous(),
            'lq': random_crop(self.lq_images[lq_index], self.lq_size),
            'lq_index': lq_index,
        }
