"""The row that stands in every table: bicubic enlargement of the same LR images."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dkp_plugin.evaluation.comparison.results import Result
from dkp_plugin.evaluation.comparison.runs import DataSet, Run
from dkp_plugin.evaluation.evaluate import evaluate, metric_data
from dkp_plugin.evaluation.stock import load_item
from dkp_plugin.host.errors import UserError
from dkp_plugin.host.option_files import OptionFile
from dkp_plugin.physics.degradation import SCALES, Degradation
from dkp_plugin.physics.kernels import default_kernel_size
from dkp_plugin.restorers.bicubic_restorer import Bicubic

METHOD = 'bicubic enlargement'


def enlarge(data_set: DataSet, lq: Tensor) -> Tensor:
    """Enlarge an LR image of a data set, (1, C, h, w) in [0, 1], on the data set's HR grid: (1, C, s h, s w)."""
    scale = data_set.scale
    degradation = Degradation(scale, default_kernel_size(scale), data_set.convention)
    restorer = Bicubic()
    restorer.reset(lq, degradation, torch.Generator())
    return restorer()


def bicubic_result(data_set: DataSet, metrics: Mapping[str, Mapping[str, Any]]) -> Result:
    """Measure bicubic enlargement.

    Args:
        data_set: Its images are enlarged; without result are those that cannot be read, and all at a scale that is not
            one of ``SCALES``.
        metrics: Metric options by name; those that need a kernel have no figure.

    Returns:
        Records by image, as those of a run that is named ``METHOD`` and has no option file.
    """
    options = {'name': METHOD, 'network_g': {'type': 'Bicubic'}, 'val': {'metrics': dict(metrics)}}
    result = Result(Run(Path(), OptionFile(options), METHOD), [data_set], {data_set.name: {}})
    for index, image in enumerate(data_set.images if data_set.scale in SCALES else ()):
        try:
            item = load_item(data_set.data, index)
        except UserError:  # the runs have reported it
            continue
        lq = item['lq'][None]
        truth = {} if item.get('gt') is None else {'gt': item['gt'][None]}
        data = metric_data({'lq': lq, 'result': enlarge(data_set, lq), **truth}, data_set.scale)
        result.records[data_set.name][image] = {'image': image, **evaluate(metrics, data)[0]}
    return result
