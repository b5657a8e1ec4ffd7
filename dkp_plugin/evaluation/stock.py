"""Which images of a data set are finished, and which are to be restored."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from basicsr.data.paired_image_dataset import PairedImageDataset
from basicsr.data.single_image_dataset import SingleImageDataset
from basicsr.utils import get_root_logger, imfrombytes
from torch.utils.data import Dataset

from dkp_plugin.data.blind_sr_dataset import check_sizes
from dkp_plugin.evaluation.provenance import Provenance, differences
from dkp_plugin.evaluation.records import Records, read_image_record
from dkp_plugin.host.errors import ImageError, OptionError, UserError
from dkp_plugin.host.processes import is_main
from dkp_plugin.io.photo_files import jpeg_quality

Item = dict[str, Any]


def image_names(dataset: Dataset) -> list[str]:
    """Names of the images of a test data set: of BasicSR's own their files' without folder and suffix.

    Raises:
        OptionError: if two images would share their results.
    """
    names = getattr(dataset, 'names', None)
    return list(names) if names is not None else file_stems(dataset)


def file_stems(dataset: Dataset) -> list[str]:
    """Names of the files of a test data set without folder and suffix, by which BasicSR's models name their results.

    Raises:
        OptionError: if two files would share their results.
    """
    seen: dict[str, str] = {}
    for path in map(_lq_path, dataset.paths):
        stem = Path(path).stem
        if stem in seen:
            name = dataset.opt['name']
            raise OptionError(f'datasets: {name}: {seen[stem]} and {path} would share their results; rename one')
        seen[stem] = path
    return list(seen)


def load_item(dataset: Dataset, index: int) -> Item:
    """Read an item.

    Raises:
        ImageError: for whatever BasicSR's data sets raise for an image that cannot be read, and for HR images of
            ``PairedImageDataset`` that do not fit the scale.
        UserError: as ours do.
    """
    try:
        item = dataset[index]
        _check_pair(dataset, item)
        if isinstance(dataset, PairedImageDataset | SingleImageDataset):  # ours say it themselves
            quality = jpeg_quality(Path(item['lq_path']))
            item |= {} if quality is None else {'jpeg_quality': quality}
        return item
    except UserError:
        raise
    except Exception as error:
        path = getattr(dataset, 'paths', {index: f'image {index + 1}'})[index]
        raise ImageError(f'{_lq_path(path)}: cannot be read ({type(error).__name__}: {error})') from None


def _lq_path(path: Any) -> str:
    return path['lq_path'] if isinstance(path, dict) else path  # as PairedImageDataset keeps them


def _check_pair(dataset: Dataset, item: Item) -> None:
    """Refuse a pair of BasicSR's ``PairedImageDataset`` that does not fit the scale: it cuts the HR image unasked.

    Raises:
        ImageError: naming the sizes.
    """
    if isinstance(dataset, PairedImageDataset):
        gt = imfrombytes(dataset.file_client.get(item['gt_path'], 'gt'))
        check_sizes(item['lq'].shape[-2:], gt.shape[:2], dataset.opt['scale'], item['gt_path'])


@dataclass(frozen=True)
class Finished:
    """What earlier runs have left of an image.

    Args:
        record: Its record; empty if there is none or the image failed.
        changes: Why the result does not stand any more, a line for each reason.
        is_measured: Whether the record's figures are those of the present metrics and truth.
    """

    record: dict[str, Any]
    changes: list[str]
    is_measured: bool

    @property
    def stands(self) -> bool:
        """Whether the result need not be made again."""
        return bool(self.record) and not self.changes


def find_finished(
    results_root: Path, dataset_name: str, image_name: str, expected: Mapping[str, Any], files: Sequence[Path] = ()
) -> Finished:
    """Find out whether an image is finished: the one rule of test pipeline and comparison.

    Args:
        results_root: Folder of the run.
        dataset_name: Name of the data set.
        image_name: Name of the image.
        expected: What the result is to be made from; see :class:`~dkp_plugin.evaluation.provenance.Provenance`.
        files: The files that a finished image must have; none if none were saved or only the figures are needed.
    """
    record, found = read_image_record(results_root, dataset_name, image_name)
    if not record:
        return Finished({}, [], False)
    changes = differences(found, expected)
    is_measured = found.get('figures') == expected['figures']
    if not all(path.is_file() for path in files):
        changes.append('files of the result are missing')
    if not files and not is_measured:
        changes.append('the metrics or the truth have changed, and no image was saved to be measured again')
    return Finished(record, changes, is_measured)


@dataclass
class Stock:
    """What there is of a data set.

    Args:
        costs: Of each image, its LR pixels; 0 for one that cannot be read.
        unfinished: Indices of the images that are to be restored.
        made_from: By name, what the result of each image is to be made from.
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
    """Find the images that are finished, and take their records; say how many there are and why others are not kept.

    Args:
        dataset: The data set.
        records: Takes the records of the finished images.
        provenance: What results are made from.
        outputs: The files that a finished image must have, by its name; none if none were saved.
        measure_again: Calculates the metrics of a saved result, where the metrics or the truth are others now.

    Returns:
        The stock; an empty one for a process that does not speak for its group.
    """
    stock, reasons, num_kept = Stock([], [], {}), defaultdict(list), 0
    if not is_main():
        return stock
    for index, name in enumerate(records.image_names):
        try:
            item = load_item(dataset, index)
        except UserError:  # told when its turn comes
            stock.costs.append(0)
            stock.unfinished.append(index)
            continue
        stock.costs.append(item['lq'].numel())
        expected = stock.made_from[name] = provenance.of(item)
        finished = find_finished(records.results_root, records.dataset_name, name, expected, outputs(name))
        if finished.stands and not finished.is_measured:
            try:
                records.add(finished.record | measure_again(item, name), expected)
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
