"""The records of a run: a small file for each image, and a summary with the means for each data set."""

import json
import math
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from dkp_plugin.evaluation.evaluate import stage_names
from dkp_plugin.evaluation.provenance import options_hash
from dkp_plugin.host.version import __version__
from dkp_plugin.io.files import write_json

SUMMARY_INTERVAL = 10.0  # seconds between summaries while a run is going on


def peak_memory(device: torch.device) -> float | None:
    """Peak memory use in MiB: of the GPU, or of the whole process on a CPU; None if unknown."""
    if device.type == 'cuda':
        return torch.cuda.max_memory_allocated(device) / 2**20
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == 'darwin' else 2**10)


def protocol(metrics: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The measurement protocol: rounding, cropping, and the channel and border of each metric."""
    return {
        'rounding': '8 bit',
        'gt_crop': 'top left, to scale times the LR image',
        'metrics': {
            name: {
                'type': options['type'],
                'channel': 'Y (BT.601)' if options.get('test_y_channel') else 'all',
                'border': options.get('crop_border', 0),
            }
            for name, options in metrics.items()
        },
    }


def record_path(results_root: Path, dataset_name: str, image_name: str) -> Path:
    """Path of an image's record, which includes its provenance."""
    return results_root / 'records' / dataset_name / f'{image_name}.json'


def read_image_record(results_root: Path, dataset_name: str, image_name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read an image's record.

    Returns:
        The record and its provenance; both are empty if the image is unfinished or failed.
    """
    try:
        content = json.loads(record_path(results_root, dataset_name, image_name).read_text(encoding='utf-8'))
        record, made_from = dict(content['record']), dict(content['made_from'])
    except (OSError, ValueError, KeyError, TypeError):  # missing or damaged
        return {}, {}
    return ({}, {}) if 'error' in record else (record, made_from)


class Records:
    """The records of a data set, in the order of its images.

    Args:
        results_root: Folder of the run.
        dataset_name: Name of the data set.
        image_names: Names of its images.
        opt: The options of the run.
    """

    def __init__(
        self, results_root: Path, dataset_name: str, image_names: Sequence[str], opt: Mapping[str, Any]
    ) -> None:
        self.results_root, self.dataset_name, self.image_names, self.opt = results_root, dataset_name, image_names, opt
        self.by_name: dict[str, dict[str, Any]] = {}
        self.last_summary = time.monotonic()
        self.metric_options = (opt.get('val') or {}).get('metrics') or {}

    @property
    def images(self) -> list[dict[str, Any]]:
        """The existing records."""
        return [self.by_name[name] for name in self.image_names if name in self.by_name]

    def add(self, record: dict[str, Any], made_from: Mapping[str, Any]) -> None:
        """Add the record of an image and write its file.

        Args:
            record: The record; its key ``image`` is the name of the image.
            made_from: See :class:`~dkp_plugin.evaluation.provenance.Provenance`; empty for an image that failed.

        Raises:
            OSError: if the file cannot be written.
        """
        self.by_name[record['image']] = record
        content = {'record': record, 'made_from': made_from}
        write_json(record_path(self.results_root, self.dataset_name, record['image']), content)

    def adopt(self, made_from: Mapping[str, Mapping[str, Any]]) -> None:
        """Add records that other processes have written in the meantime.

        Args:
            made_from: Expected provenance by image name; other records are ignored.
        """
        for name in made_from.keys() - self.by_name.keys():
            record, found = read_image_record(self.results_root, self.dataset_name, name)
            if record and found == made_from[name]:
                self.by_name[name] = record

    def write_summary_sometimes(self) -> None:
        """Write the summary unless it was written in the last ``SUMMARY_INTERVAL`` seconds: it grows with the images.

        Raises:
            OSError: if the file cannot be written.
        """
        if time.monotonic() - self.last_summary >= SUMMARY_INTERVAL:
            self.write_summary()

    def write_summary(self) -> None:
        """Write ``metrics/<data set>.json``.

        Raises:
            OSError: if the file cannot be written.
        """
        versions = {name: version(name) for name in ('basicsr', 'torch', 'numpy')}
        content = {
            'images': self.images,
            'means': self.means(),
            'protocol': protocol(self.metric_options),
            'options_hash': options_hash(self.opt, self.dataset_name),
            'versions': {'dkp_plugin': __version__, **versions},
        }
        write_json(self.results_root / 'metrics' / f'{self.dataset_name}.json', content)
        self.last_summary = time.monotonic()

    def means(self) -> dict[str, float]:
        """Mean of each metric, of its stages, and of the seconds, over the images with a finite value."""
        means = {}
        names = [name for metric in self.metric_options for name in (*stage_names(metric), metric)]
        for name in (*names, 'seconds'):
            values = [record[name] for record in self.images if record.get(name) is not None]  # read back, inf is None
            values = [value for value in values if math.isfinite(value)]
            if values:
                means[name] = sum(values) / len(values)
        return means
