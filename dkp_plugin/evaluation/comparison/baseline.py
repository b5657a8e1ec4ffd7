"""The baseline of every table: bicubic enlargement of the same LR images."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from dkp_plugin.engine.restoration import Restoration
from dkp_plugin.evaluation.comparison.results import Result
from dkp_plugin.evaluation.comparison.runs import DataSet, Run
from dkp_plugin.evaluation.evaluate import evaluate, metric_data
from dkp_plugin.evaluation.stock import load_item
from dkp_plugin.host.errors import UserError
from dkp_plugin.host.option_files import OptionFile
from dkp_plugin.physics.degradation import SCALES

METHOD = 'bicubic enlargement'


def enlarge(data_set: DataSet, lq: Tensor) -> Tensor:
    """Enlarge an LR image bicubically on the HR grid of its data set.

    Args:
        data_set: Provides the scale, one of ``SCALES``, and the convention; ``aligned`` if it is unknown.
        lq: (1, C, h, w) in [0, 1].

    Returns:
        (1, C, s h, s w) in [0, 1].

    Raises:
        ImageError: if the image is too small for the scale.
    """
    options = {
        'name': METHOD,
        'model_type': 'BlindSRModel',
        'scale': data_set.scale,
        'num_gpu': 0,
        'manual_seed': 0,  # nothing is random
        'datasets': {},
        'network_k': {'type': 'FixedKernel', 'source': 'bicubic'},
        'network_g': {'type': 'Bicubic'},
        'degradation': {'convention': data_set.convention or 'aligned'},
    }
    return Restoration(options, 'cpu')(lq, METHOD).x


def bicubic_result(data_set: DataSet, metrics: Mapping[str, Mapping[str, Any]]) -> Result:
    """Measure bicubic enlargement.

    Args:
        data_set: Provides the images; unreadable ones are skipped, and all if the scale is not in ``SCALES``.
        metrics: Metric options by name; metrics that need a kernel have no value.

    Returns:
        Records by image, like those of a run named ``METHOD`` without an option file.
    """
    options = {'name': METHOD, 'network_g': {'type': 'Bicubic'}, 'val': {'metrics': dict(metrics)}}
    result = Result(Run(Path(), OptionFile(options), METHOD), [data_set], {data_set.name: {}})
    for index, image in enumerate(data_set.images if data_set.scale in SCALES else ()):
        try:
            item = load_item(data_set.data, index)
            enlarged = enlarge(data_set, item['lq'][None])
        except UserError:  # the runs have reported it
            continue
        truth = {} if item.get('gt') is None else {'gt': item['gt'][None]}
        data = metric_data({'lq': item['lq'][None], 'result': enlarged, **truth}, data_set.scale)
        result.records[data_set.name][image] = {'image': image, **evaluate(metrics, data)[0]}
    return result
