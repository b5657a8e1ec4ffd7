"""Find the finished and the unfinished images of a data set."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from basicsr.data.paired_image_dataset import PairedImageDataset
from basicsr.data.single_image_dataset import SingleImageDataset
from basicsr.utils import get_root_logger, imfrombytes
from torch import Tensor
from torch.utils.data import Dataset

from dkp_plugin.data.blind_sr_dataset import check_sizes
from dkp_plugin.evaluation.evaluate import STAGES
from dkp_plugin.evaluation.provenance import Provenance, differences
from dkp_plugin.evaluation.records import Records, read_image_record
from dkp_plugin.host.errors import ImageError, OptionError, UserError
from dkp_plugin.host.processes import is_main
from dkp_plugin.io.jpeg_files import read_jpeg_coding

Item = dict[str, Any]


def image_names(dataset: Dataset) -> list[str]:
    """Names of the images of a test data set; for BasicSR's data sets, file names without folder and suffix.

    Raises:
        OptionError: if two images would overwrite each other's results.
    """
    names = getattr(dataset, 'names', None)
    return list(names) if names is not None else file_stems(dataset)


def _lq_paths(dataset: Dataset) -> list[str]:
    """Files of the LR images; a data set that keeps no list of them is asked for every item."""
    if hasattr(dataset, 'paths'):
        return [path['lq_path'] if isinstance(path, dict) else path for path in dataset.paths]
    paths = []
    for index in range(len(dataset)):
        try:
            paths.append(str(load_item(dataset, index)['lq_path']))
        except UserError:  # reported when its turn comes
            paths.append(f'image {index + 1}')
    return paths


def file_stems(dataset: Dataset) -> list[str]:
    """File names of a test data set without folder and suffix, which BasicSR's models use for their results.

    Raises:
        OptionError: if two files would overwrite each other's results.
    """
    seen: dict[str, str] = {}
    for path in _lq_paths(dataset):
        stem = Path(path).stem
        if stem in seen:
            name = dataset.opt['name']
            raise OptionError(f'datasets: {name}: {seen[stem]} and {path} would share their results; rename one')
        seen[stem] = path
    return list(seen)


def load_item(dataset: Dataset, index: int) -> Item:
    """Read an item of any test data set that follows BasicSR's contract: ``lq`` and ``lq_path``, the rest optional.

    Returns:
        The item, its images ``lq``, ``gt`` and ``alpha`` float32 (C, h, w) in [0, 1], ``kernel`` (1, K, K).

    Raises:
        ImageError: for an image that cannot be read or has another form, and for HR images of ``PairedImageDataset``
            that do not fit the scale.
        UserError: as our own data sets do.
    """
    try:
        item = dict(dataset[index])
        _check_pair(dataset, item)
        if isinstance(dataset, PairedImageDataset | SingleImageDataset):  # this package's data sets provide it
            jpeg = read_jpeg_coding(Path(item['lq_path']))
            item |= {} if jpeg is None else {'jpeg': jpeg.to_tensor()}
        item |= {key: _to_image(item[key], key, item['lq_path']) for key in ('lq', 'gt', 'alpha') if key in item}
        if 'kernel' in item:
            kernel = torch.as_tensor(item['kernel'], dtype=torch.float32)
            item['kernel'] = kernel[None] if kernel.ndim == 2 else kernel
        return item
    except UserError:
        raise
    except Exception as error:
        path = dataset.paths[index] if hasattr(dataset, 'paths') else f'image {index + 1}'
        path = path['lq_path'] if isinstance(path, dict) else path  # PairedImageDataset has dictionaries
        raise ImageError(f'{path}: cannot be read ({type(error).__name__}: {error})') from None


def _to_image(value: Any, key: str, path: str) -> Tensor:
    """Turn what a data set gives for an image, an array or a tensor, into float32 (C, h, w) in [0, 1].

    Raises:
        ImageError: for anything else.
    """
    image = torch.as_tensor(value)
    if image.ndim == 2:
        image = image[None]
    if image.ndim != 3 or image.shape[0] not in (1, 3) or not (image.is_floating_point() or image.dtype == torch.uint8):
        raise ImageError(
            f'{path}: {key} has shape {tuple(image.shape)} and type {image.dtype}; '
            'allowed: (h, w) or (C, h, w), C 1 or 3, floating point in [0, 1] or uint8'
        )
    return image.float() / 255 if image.dtype == torch.uint8 else image.float()


def _check_pair(dataset: Dataset, item: Item) -> None:
    """Refuse a pair of BasicSR's ``PairedImageDataset`` that does not fit the scale; BasicSR would silently crop it.

    Raises:
        ImageError: if the sizes do not fit; the message names them.
    """
    if isinstance(dataset, PairedImageDataset):
        gt = imfrombytes(dataset.file_client.get(item['gt_path'], 'gt'))
        check_sizes(item['lq'].shape[-2:], gt.shape[:2], dataset.opt['scale'], item['gt_path'])


@dataclass(frozen=True)
class Finished:
    """The result of an earlier run for an image.

    Args:
        record: Its record; empty if it does not exist or the image failed.
        changes: Reasons why the result is no longer valid, one line each.
        is_measured: Whether the record has values for the current metrics and ground truth.
    """

    record: dict[str, Any]
    changes: list[str]
    is_measured: bool

    @property
    def stands(self) -> bool:
        """Whether the result is still valid."""
        return bool(self.record) and not self.changes


def find_finished(
    results_root: Path, dataset_name: str, image_name: str, expected: Mapping[str, Any], files: Sequence[Path] = ()
) -> Finished:
    """Determine whether an image is finished, for both the test pipeline and comparisons.

    Args:
        results_root: Folder of the run.
        dataset_name: Name of the data set.
        image_name: Name of the image.
        expected: Expected provenance; see :class:`~dkp_plugin.evaluation.provenance.Provenance`.
        files: Files that a finished image must have; empty if no files are saved or only metrics are needed.
    """
    record, found = read_image_record(results_root, dataset_name, image_name)
    if not record:
        return Finished({}, [], False)
    changes = differences(found, expected)
    is_measured = found.get('figures') == expected['figures']
    if not all(path.is_file() for path in files):
        changes.append('files of the result are missing')
    if not files and not is_measured:
        changes.append('the metrics or the ground truth have changed, and no image was saved to measure again')
    return Finished(record, changes, is_measured)


@dataclass
class Stock:
    """The state of a data set.

    Args:
        costs: LR pixels of each image; 0 if it cannot be read.
        unfinished: Indices of the images to restore.
        made_from: Expected provenance of each result, by image name.
    """

    costs: list[int]
    unfinished: list[int]
    made_from: dict[str, dict[str, Any]]


def take_stock(
    dataset: Dataset,
    records: Records,
    provenance: Provenance,
    outputs: Callable[[str], Sequence[Path]],
    measure_again: Callable[[Item, str], dict[str, float]],
) -> Stock:
    """Find the finished images and add their records; log their number and why other results are not kept.

    Args:
        dataset: The data set.
        records: Receives the records of the finished images.
        provenance: Provenance of the results.
        outputs: Returns the files that a finished image must have, given its name; empty if no files are saved.
        measure_again: Computes the metrics of a saved result, if the metrics or the ground truth have changed.

    Returns:
        The stock; empty for all processes of a group but the first.
    """
    stock, reasons, num_kept = Stock([], [], {}), defaultdict(list), 0
    if not is_main():
        return stock
    for index, name in enumerate(records.image_names):
        try:
            item = load_item(dataset, index)
        except UserError:  # reported when the image is restored
            stock.costs.append(0)
            stock.unfinished.append(index)
            continue
        stock.costs.append(item['lq'].numel())
        expected = stock.made_from[name] = provenance.of(item)
        finished = find_finished(records.results_root, records.dataset_name, name, expected, outputs(name))
        if finished.stands and not finished.is_measured:
            try:
                old = {key: value for key, value in finished.record.items() if not key.endswith(STAGES)}
                records.add(old | measure_again(item, name), expected)  # the images of the stages were not saved
            except UserError as error:  # a damaged file
                finished.changes.append(str(error))
        if finished.stands:
            records.by_name.setdefault(name, finished.record)
            num_kept += 1
            continue
        stock.unfinished.append(index)
        if finished.changes:
            reasons['; '.join(finished.changes)].append(name)
    if num_kept:
        folder, total = records.results_root, len(records.image_names)
        get_root_logger().info(
            f'{records.dataset_name}: {num_kept} of {total} images are finished in {folder} and kept'
        )
    for reason, names in reasons.items():
        get_root_logger().info(f'{records.dataset_name}: restored again: {", ".join(names)}: {reason}')
    return stock
