"""Which images of a data set are finished, and which are to be restored."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from basicsr.utils import get_root_logger
from torch.utils.data import Dataset

from dkp_plugin.evaluation.provenance import Provenance, differences
from dkp_plugin.evaluation.records import Records, read_record
from dkp_plugin.host.errors import ImageError, OptionError, UserError
from dkp_plugin.host.processes import is_main

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
        ImageError: for whatever BasicSR's data sets raise for an image that cannot be read.
        UserError: as ours do.
    """
    try:
        return dataset[index]
    except UserError:
        raise
    except Exception as error:
        path = getattr(dataset, 'paths', {index: f'image {index + 1}'})[index]
        raise ImageError(f'{_lq_path(path)}: cannot be read ({type(error).__name__}: {error})') from None


def _lq_path(path: Any) -> str:
    return path['lq_path'] if isinstance(path, dict) else path  # as PairedImageDataset keeps them


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
        record, found = read_record(records.results_root, records.dataset_name, name)
        changes = differences(found, expected) if found else []
        files = outputs(name)
        if found and not all(path.is_file() for path in files):
            changes.append('its files are not all there')
        if found and not files and found.get('figures') != expected['figures']:
            changes.append('the metrics or the truth are others, and no image was saved that could be measured')
        if record and not changes and found.get('figures') != expected['figures']:
            try:
                record |= measure_again(item, name)
                records.add(record, expected)
            except UserError as error:  # a damaged file
                changes.append(str(error))
        if record and not changes:
            records.by_name[name] = record
            num_kept += 1
            continue
        stock.unfinished.append(index)
        if changes:
            reasons['; '.join(changes)].append(name)
    if num_kept:
        folder, total = records.results_root, len(records.image_names)
        get_root_logger().info(
            f'{records.dataset_name}: {num_kept} of {total} images are finished in {folder} and kept'
        )
    for reason, names in reasons.items():
        get_root_logger().info(f'{records.dataset_name}: restored again: {", ".join(names)}: {reason}')
    return stock
