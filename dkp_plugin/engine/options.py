"""Check option files before any work: every mistake becomes one line that names the key and the allowed values."""

import copy
import inspect
import re
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Annotated, Any, Literal

import torch
from basicsr.utils.registry import DATASET_REGISTRY, METRIC_REGISTRY, MODEL_REGISTRY
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveInt,
)

from dkp_plugin.engine.early_stopping import METHODS, EarlyStopping
from dkp_plugin.estimators.base import KernelEstimator
from dkp_plugin.host.errors import OptionError, UserError
from dkp_plugin.host.schema import PART_OF_NAME, build_network, get_registered, nearest, parse_section
from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.physics.kernels import default_kernel_size
from dkp_plugin.restorers.base import Restorer

METRIC_DATA = ('img', 'img2', 'lq', 'kernel', 'kernel_gt', 'scale')  # what the model passes to metrics


class DegradationOptions(BaseModel):
    """Block ``degradation``: what is taken for known of the forward model."""

    model_config = ConfigDict(extra='forbid')
    convention: Literal['aligned', 'released'] = 'aligned'
    kernel_size: int | Literal['auto'] = 'auto'
    noise: NonNegativeFloat | Literal['auto'] = 0.0  # standard deviation, of 255


class AlternationOptions(BaseModel):
    """Block ``alternation``: how long the loop runs and what it returns."""

    model_config = ConfigDict(extra='forbid')
    num_iter: PositiveInt | None = None
    averaging: float = Field(default=0.0, ge=0, lt=1)


class FinalRestorerOptions(BaseModel):
    """Block ``restorer``: who restores the image once more when the alternation has found the kernel.

    ``final`` is a restorer's name or, with options of its own, a block like ``network_g``.
    """

    model_config = ConfigDict(extra='forbid')
    final: Annotated[
        dict[str, Any], BeforeValidator(lambda value: {'type': value} if isinstance(value, str) else value)
    ]
    pretrain: str | None = None
    num_iter: PositiveInt | None = None


class EarlyStoppingOptions(BaseModel):
    """Block ``early_stopping``; see :class:`dkp_plugin.engine.early_stopping.EarlyStopping`."""

    model_config = ConfigDict(extra='forbid')
    # YAML reads a bare off as false.
    method: Annotated[Literal[METHODS], BeforeValidator(lambda value: 'off' if value is False else value)] = 'off'
    window: int = Field(default=50, ge=2)
    patience: PositiveInt = 200
    min_iter: int = Field(default=100, ge=0)


class PathOptions(BaseModel):
    """Block ``path``: weights; the folders are added by ``parse_options``."""

    model_config = ConfigDict(extra='forbid')
    pretrain_network_g: str | None = None
    strict_load_g: Literal[True] = True
    resume_state: None = None  # what BasicSR's examples have; a test goes on from its records
    results_root: str | None = None
    log: str | None = None
    visualization: str | None = None


class MetricOptions(BaseModel):
    """The options of BasicSR's metrics; which of them a metric has is seen from its function."""

    model_config = ConfigDict(extra='allow')
    better: Literal['higher', 'lower'] = 'higher'
    crop_border: int = Field(default=0, ge=0)
    test_y_channel: bool = False
    input_order: Literal['HWC', 'CHW'] = 'HWC'
    convert_to: Literal['y', 'gray'] = 'y'


class ValOptions(BaseModel):
    """Block ``val``."""

    model_config = ConfigDict(extra='forbid')
    save_img: bool = True
    suffix: Annotated[str, Field(pattern=PART_OF_NAME)] | None = None
    pbar: bool = True
    checkpoint_freq: int = Field(default=200, ge=0)  # iterations between saved states; 0: only on Ctrl-C
    curve_freq: int = Field(default=0, ge=0)  # iterations between rows of the progress; 0: none
    metrics: dict[str, dict[str, Any]] | None = None


class BlindSROptions(BaseModel):
    """Top level of an option file with ``model_type: BlindSRModel``, as BasicSR's ``parse_options`` returns it."""

    model_config = ConfigDict(extra='forbid')
    name: str
    model_type: Literal['BlindSRModel']
    scale: Literal[2, 3, 4, 8]
    num_gpu: int = Field(ge=0)
    manual_seed: int
    datasets: dict[str, dict[str, Any]]
    network_k: dict[str, Any]
    network_g: dict[str, Any]
    degradation: DegradationOptions = DegradationOptions()
    alternation: AlternationOptions = AlternationOptions()
    early_stopping: EarlyStoppingOptions = EarlyStoppingOptions()
    restorer: FinalRestorerOptions | None = None
    path: PathOptions = PathOptions()
    val: ValOptions = ValOptions()
    dist_params: dict[str, Any] | None = None
    # Added by parse_options:
    dist: bool = False
    rank: int = 0
    world_size: int = 1
    auto_resume: bool = False
    is_train: bool = False

    def build_degradation(self) -> Degradation:
        """The forward model, with the default kernel size of the scale for ``auto``."""
        block = self.degradation
        size = default_kernel_size(self.scale) if block.kernel_size == 'auto' else block.kernel_size
        noise = 0.0 if block.noise == 'auto' else block.noise / 255  # auto: estimated from each image
        return Degradation(self.scale, size, block.convention, noise)

    def build_early_stopping(self) -> EarlyStopping:
        """A new watch over the outputs of one image."""
        return EarlyStopping(**self.early_stopping.model_dump())


def build_restorer(opt: Mapping[str, Any]) -> Restorer:
    """Build ``network_g`` and load its weights, if it has any, from ``path: pretrain_network_g``.

    Args:
        opt: What BasicSR's ``parse_options`` returns.

    Raises:
        OptionError: as :func:`build_network`, and for weights that the restorer has no use for.
        UserError: for weights that cannot be loaded.
    """
    path = (opt.get('path') or {}).get('pretrain_network_g')
    return _build_with_weights(opt['network_g'], 'network_g', path, 'path: pretrain_network_g')


def build_final_restorer(options: FinalRestorerOptions | None) -> Restorer | None:
    """Build the restorer of the block ``restorer``, if there is one, with its weights.

    Raises:
        OptionError, UserError: as :func:`build_restorer`.
    """
    if options is None:
        return None
    return _build_with_weights(options.final, 'restorer: final', options.pretrain, 'restorer: pretrain')


def _build_with_weights(block: Mapping[str, Any], where: str, path: str | None, key: str) -> Restorer:
    """Build a restorer and load the weights that the option ``key`` names."""
    restorer = build_network(block, where, Restorer)
    if restorer.has_weights:
        try:
            restorer.load(path)
        except UserError as error:
            raise OptionError(f'{key}: {error}') from None
    elif path is not None:
        raise OptionError(f'{key}: {path} is of no use, {block["type"]} has no weights')
    return restorer


def _check_num_iter(restorer: Restorer, num_iter: int | None, where: str) -> None:
    """Check that the steps are set once: by the restorer or by the option file."""
    if (restorer.num_iter is None) == (num_iter is None):
        raise OptionError(
            f'{where}: num_iter: {num_iter} is not allowed: {type(restorer).__name__} '
            + ('needs a number of iterations' if restorer.num_iter is None else 'sets it by its own options')
        )


def check_options(opt: Mapping[str, Any]) -> None:
    """Check a whole option file without writing anything: build what it names, once, and throw it away.

    Args:
        opt: What BasicSR's ``parse_options`` returns. Files of other models than ours are left to BasicSR.

    Raises:
        OptionError: for the first mistake.
    """
    get_registered(MODEL_REGISTRY, {'type': opt.get('model_type')}, 'model_type')
    if (opt.get('logger') or {}).get('use_tb_logger') and find_spec('tensorboard') is None:
        raise OptionError('logger: use_tb_logger: True is not possible: pip install tensorboard first, or say false')
    if opt['model_type'] != 'BlindSRModel':
        return
    options = parse_section(BlindSROptions, opt, '')
    if options.num_gpu > torch.cuda.device_count():
        raise OptionError(
            f'num_gpu: {options.num_gpu} is not possible, this machine has {torch.cuda.device_count()} CUDA devices; '
            'allowed: 0 (CPU), auto, or as many as there are'
        )
    try:
        degradation = options.build_degradation()
    except ValueError as error:
        raise OptionError(f'degradation: {error}') from None
    build_network(opt['network_k'], 'network_k', KernelEstimator).check(degradation)
    _check_num_iter(build_restorer(opt), options.alternation.num_iter, 'alternation')
    final = build_final_restorer(options.restorer)
    if final is not None:
        _check_num_iter(final, options.restorer.num_iter, 'restorer')
    for name, metric in (options.val.metrics or {}).items():
        _check_metric(metric, f'val: metrics: {name}')
    seen: dict[str, str] = {}
    for key, dataset in options.datasets.items():
        _check_dataset(dataset, f'datasets: {key}', degradation)
        if dataset['name'] in seen:
            raise OptionError(f'datasets: {key}: name: {dataset["name"]} is the name of {seen[dataset["name"]]}, too')
        seen[dataset['name']] = key


def _check_metric(metric: Mapping[str, Any], where: str) -> None:
    """Check the options of a metric against its function: a mistake would cost every image its figure."""
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
        raise OptionError(f'{where}: name: {name!r} is not allowed: it names a folder, so text without / and \\ is')
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
