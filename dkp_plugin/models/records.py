"""The JSON file with one record per image, the means, and what they depend on."""

import hashlib
import json
import math
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from dkp_plugin import __version__
from dkp_plugin.file_io import write_json

RESULT_OPTIONS = (
    'scale',
    'manual_seed',
    'degradation',
    'network_k',
    'network_g',
    'alternation',
    'early_stopping',
    'restorer',
)


def peak_memory(device: torch.device) -> float | None:
    """Largest memory use so far in MiB: of the device, or on a CPU of the whole process; None where unknown."""
    if device.type == 'cuda':
        return torch.cuda.max_memory_allocated(device) / 2**20
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == 'darwin' else 2**10)


def options_hash(opt: Mapping[str, Any]) -> str:
    """Hash of the options that a result depends on, apart from the image: 16 hexadecimal digits."""
    relevant = {key: opt.get(key) for key in RESULT_OPTIONS}
    return hashlib.sha256(json.dumps(relevant, sort_keys=True, default=str).encode()).hexdigest()[:16]


def protocol(metrics: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """How the figures were measured: rounding, cropping, and channel and border of each metric."""
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


class Records:
    """Collects the records of a dataset and keeps the file up to date, so that an interruption loses none.

    Args:
        path: The JSON file.
        opt: The options of the run.
    """

    def __init__(self, path: Path, opt: Mapping[str, Any]) -> None:
        self.path, self.opt = path, opt
        self.images: list[dict[str, Any]] = []
        self.metric_options = (opt.get('val') or {}).get('metrics') or {}

    def add(self, record: dict[str, Any]) -> None:
        """Append the record of an image and write the file."""
        self.images.append(record)
        content = {
            'images': self.images,
            'means': self.means(),
            'protocol': protocol(self.metric_options),
            'options_hash': options_hash(self.opt),
            'versions': {'dkp_plugin': __version__, **{name: version(name) for name in ('basicsr', 'torch', 'numpy')}},
        }
        write_json(self.path, content)

    def means(self) -> dict[str, float]:
        """Mean of each metric and of the seconds, over the images that have a finite one."""
        means = {}
        for name in (*self.metric_options, 'seconds'):
            values = [record[name] for record in self.images if math.isfinite(record.get(name, math.nan))]
            if values:
                means[name] = sum(values) / len(values)
        return means
