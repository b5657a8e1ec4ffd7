"""Check the models, data sets and metrics of an option file before a run starts."""

import copy
import inspect
import re
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any, Literal

import torch
from basicsr.models.sr_model import SRModel
from basicsr.utils.registry import DATASET_REGISTRY, METRIC_REGISTRY, MODEL_REGISTRY
from pydantic import BaseModel, ConfigDict, Field

from dkp_plugin.evaluation.evaluate import METRIC_DATA
from dkp_plugin.evaluation.pyiqa_metric import is_pyiqa, register_pyiqa
from dkp_plugin.evaluation.stock_network import check_stock_weights
from dkp_plugin.host.errors import OptionError, UserError
from dkp_plugin.host.schema import PART_OF_NAME, get_registered, nearest, parse_section
from dkp_plugin.physics.degradation import Degradation


class MetricOptions(BaseModel):
    """The options of BasicSR's metrics; the signature of a metric shows which of them it accepts."""

    model_config = ConfigDict(extra='allow')
    better: Literal['higher', 'lower'] = 'higher'
    crop_border: int = Field(default=0, ge=0)
    test_y_channel: bool = False
    input_order: Literal['HWC', 'CHW'] = 'HWC'
    convert_to: Literal['y', 'gray'] = 'y'


def check_options(opt: Mapping[str, Any]) -> Any:
    """Check a whole option file without writing anything.

    Args:
        opt: The options, completed as by BasicSR's ``parse_options``. A model class with a class method
            ``check_options(opt)`` checks its own options; BasicSR checks those of other models.

    Returns:
        The result of the model's ``check_options``, for the argument ``checked`` of its constructor, such as networks
        that are already built.

    Raises:
        OptionError: for the first invalid option.
    """
    model = get_registered(MODEL_REGISTRY, {'type': opt.get('model_type')}, 'model_type')
    for name, metric in ((opt.get('val') or {}).get('metrics') or {}).items():
        if isinstance(metric, Mapping) and is_pyiqa(metric):  # for models that check no metrics, such as BasicSR's own
            register_pyiqa(metric, f'val: metrics: {name}')
    logger = opt.get('logger')
    if isinstance(logger, Mapping) and logger.get('use_tb_logger') and find_spec('tensorboard') is None:
        raise OptionError('logger: use_tb_logger: True needs tensorboard: pip install tensorboard, or set it to false')
    _check_num_gpu(opt['num_gpu'])
    if hasattr(model, 'check_options'):
        return model.check_options(opt)
    if issubclass(model, SRModel) and opt.get('network_g') is not None:
        check_stock_weights(opt)
    return None


def _check_num_gpu(num_gpu: Any) -> None:
    """Raise an OptionError if the machine has fewer GPUs."""
    if not isinstance(num_gpu, int) or not 0 <= num_gpu <= torch.cuda.device_count():
        raise OptionError(
            f'num_gpu: {num_gpu!r} is not allowed, this machine has {torch.cuda.device_count()} CUDA devices; '
            'allowed: 0 (CPU), auto, or up to that number'
        )


def check_metrics(metrics: Mapping[str, Mapping[str, Any]] | None) -> None:
    """Check the block ``val: metrics``; an undetected error would leave every image without a value.

    Raises:
        OptionError: for the first invalid option.
    """
    for name, metric in (metrics or {}).items():
        _check_metric(metric, f'val: metrics: {name}')


def check_datasets(datasets: Mapping[str, Mapping[str, Any]], degradation: Degradation) -> None:
    """Open the data sets of a test without reading an image.

    Raises:
        OptionError: for the first invalid option.
    """
    seen: dict[str, str] = {}
    for key, dataset in datasets.items():
        _check_dataset(dataset, f'datasets: {key}', degradation)
        if dataset['name'] in seen:
            raise OptionError(f'datasets: {key}: name: {dataset["name"]} is also the name of {seen[dataset["name"]]}')
        seen[dataset['name']] = key


def _check_metric(metric: Mapping[str, Any], where: str) -> None:
    """Check the options of a metric against its function."""
    if is_pyiqa(metric):
        parse_section(MetricOptions, metric, where)
        register_pyiqa(metric, where)
        return
    function = get_registered(METRIC_REGISTRY, metric, where)
    parameters = inspect.signature(function).parameters.values()
    own = {p.name: p.default for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD and p.name not in METRIC_DATA}
    for key in metric.keys() - own.keys() - {'type', 'better'}:
        raise OptionError(f'{where}: {key}: unknown key of {metric["type"]}, {nearest(key, own)}')
    for key, default in own.items():
        if default is inspect.Parameter.empty and key not in metric:
            raise OptionError(f'{where}: missing key {key}')
    parse_section(MetricOptions, metric, where)


def _check_dataset(dataset: Mapping[str, Any], where: str, degradation: Degradation) -> None:
    """Open a data set without reading an image."""
    name = dataset.get('name')
    if name is None:
        raise OptionError(f'{where}: missing key name')
    if not isinstance(name, str) or not re.match(PART_OF_NAME, name) or not name.strip('.'):
        raise OptionError(f'{where}: name: {name!r} is not allowed; allowed: a folder name without / and \\')
    if dataset.get('phase', 'test') not in ('test', 'val'):
        raise OptionError(f'{where}: not the key of a data set for a test; allowed: test, test_1, test_2, ...')
    dataset_class = get_registered(DATASET_REGISTRY, dataset, where)
    try:
        built = dataset_class(copy.deepcopy(dict(dataset)))
    except (AssertionError, KeyError, TypeError, ValueError) as error:  # BasicSR's ways to refuse options
        raise OptionError(f'{where}: {type(error).__name__}: {error}') from None
    except UserError as error:
        raise OptionError(f'{where}: {str(error).removeprefix(f"datasets: {name}: ")}') from None
    convention = built.options.convention if hasattr(built, 'options') else degradation.convention
    if convention != degradation.convention:
        raise OptionError(
            f'{where}: convention: {convention} differs from degradation: convention: {degradation.convention}'
        )
