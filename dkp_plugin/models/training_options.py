"""Check the option file of a training before it starts, using blocks shared by all trainings.

A model adds its own keys by subclassing the blocks and checks them with one call::

    class MyTrain(TrainBlock):  # block ``train``
        pixel_opt: Block  # a loss, like every key that ends in _opt
        max_grad_norm: Number | None = None

    class MyOptions(TrainingOptions):  # the whole file
        train: MyTrain | None = None  # None in a test file

    @MODEL_REGISTRY.register()
    class MyModel(SRModel):
        options = MyOptions

        @classmethod
        def check_options(cls, opt):
            check_training(cls.options, opt, {'network_g': MyNetwork})

A second network ``network_d`` is another field of ``MyOptions``, and its optimiser ``optim_d`` one of ``MyTrain``. The
JSON schema of option files is also generated from the attribute ``options``.
"""

import copy
import os
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

import torch
from basicsr.losses.basic_loss import PerceptualLoss
from basicsr.models.lr_scheduler import CosineAnnealingRestartLR, MultiStepRestartLR
from basicsr.utils.registry import DATASET_REGISTRY, LOSS_REGISTRY
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from torch import nn

from dkp_plugin.data.basicsr_options import BASICSR_DATASETS
from dkp_plugin.evaluation.checks import check_metrics
from dkp_plugin.host.errors import OptionError, UserError
from dkp_plugin.host.schema import (
    PART_OF_NAME,
    build_network,
    check_arguments,
    get_registered,
    nearest,
    parse_section,
)

OPTIMISERS = {'Adam': torch.optim.Adam}  # the only optimiser of BasicSR 1.4.2
SCHEDULERS = {
    'MultiStepLR': MultiStepRestartLR,
    'MultiStepRestartLR': MultiStepRestartLR,
    'CosineAnnealingRestartLR': CosineAnnealingRestartLR,
}
LOADER_KEYS = ('num_worker_per_gpu', 'batch_size_per_gpu')  # BasicSR reads them from the block of a training set
REFUSALS = (AssertionError, AttributeError, KeyError, TypeError, ValueError, RuntimeError)  # of constructors


def _no_text(value: Any) -> Any:
    """Refuse text instead of a number, because BasicSR receives the value unconverted."""
    if isinstance(value, str):
        raise ValueError(f'{value!r} is text in YAML; write a number such as 0.0001, 1.0e-4 or !!float 1e-4')
    return value


Block = dict[str, Any]
Number = Annotated[float, BeforeValidator(_no_text), Field(gt=0)]
Count = Annotated[int, BeforeValidator(_no_text), Field(gt=0)]  # a whole number, also one written as 1.0e4


class TrainBlock(BaseModel):
    """Block ``train``."""

    model_config = ConfigDict(extra='forbid')
    ema_decay: Annotated[float, BeforeValidator(_no_text), Field(ge=0, lt=1)] = 0.0
    optim_g: Block
    scheduler: Block
    total_iter: Count
    warmup_iter: Annotated[int, BeforeValidator(_no_text), Field(ge=-1)] = -1


class ValBlock(BaseModel):
    """Block ``val``; only a training needs ``val_freq``."""

    model_config = ConfigDict(extra='forbid')
    val_freq: Count | None = None
    save_img: bool
    suffix: str | None = None  # added to the file of a test, as BasicSR's pipeline needs it


class MetricsBlock(ValBlock):
    """Block ``val`` of a training whose validation takes metrics."""

    metrics: dict[str, Block] | None = None


class LoggerBlock(BaseModel):
    """Block ``logger``; BasicSR has no defaults for the first three keys."""

    model_config = ConfigDict(extra='forbid')
    print_freq: Count
    save_checkpoint_freq: Count
    use_tb_logger: bool
    wandb: Block | None = None


class TrainingPaths(BaseModel):
    """Block ``path``; ``complete_options`` adds the folders."""

    model_config = ConfigDict(extra='forbid')
    pretrain_network_g: str | None = None
    param_key_g: Literal['params', 'params_ema'] = 'params'
    strict_load_g: bool = True
    resume_state: str | None = None
    ignore_resume_networks: list[str] | None = None
    experiments_root: str | None = None
    results_root: str | None = None
    models: str | None = None
    training_states: str | None = None
    log: str | None = None
    visualization: str | None = None


class TrainingOptions(BaseModel):
    """Top level of a training's option file, as ``complete_options`` returns it."""

    model_config = ConfigDict(extra='forbid')
    name: str
    model_type: str
    scale: Count
    num_gpu: int = Field(ge=0)
    manual_seed: int
    datasets: dict[str, Block]
    network_g: Block
    path: TrainingPaths = TrainingPaths()
    train: TrainBlock | None = None
    val: ValBlock | None = None
    logger: LoggerBlock | None = None
    dist_params: Block | None = None
    find_unused_parameters: bool = False
    custom_imports: list[str] = []
    # Added by complete_options:
    dist: bool = False
    rank: int = 0
    world_size: int = 1
    auto_resume: bool = False
    is_train: bool = False


Options = TypeVar('Options', bound=TrainingOptions)


def check_training(options: type[Options], opt: Mapping[str, Any], networks: Mapping[str, type]) -> Options:
    """Check a whole option file without writing anything or changing the state of random generators.

    Args:
        options: Model of the allowed options.
        opt: The options, completed.
        networks: Base class or protocol of each network, such as ``{'network_g': KernelFlow}``.

    Returns:
        The parsed options.

    Raises:
        OptionError: for the first invalid option.
    """
    parsed = parse_section(options, opt, '')
    for key in ('train', 'logger') if parsed.is_train else ():
        if getattr(parsed, key) is None:
            raise OptionError(f'{key}: missing')
    if parsed.is_train and parsed.val is not None and parsed.val.val_freq is None:
        raise OptionError('val: val_freq: missing')
    for key, value in opt['path'].items():
        if key.startswith('pretrain_network') and value is not None and not os.path.isfile(value):
            raise OptionError(f'path: {key}: {value}: no such file')
    with torch.random.fork_rng(devices=[]):
        for key, kind in networks.items():
            build_network(opt[key], key, kind)
        if parsed.train is not None:
            check_train_block(opt['train'])
    check_metrics((opt.get('val') or {}).get('metrics'))
    check_training_sets(opt['datasets'], parsed.is_train)
    return parsed


def check_train_block(train: Mapping[str, Any]) -> None:
    """Check the optimisers (``optim_*``), the scheduler and the losses (``*_opt``) of a block ``train``.

    Raises:
        OptionError: for an unknown type or key, or a value that the constructor refuses.
    """
    parameter = nn.Parameter(torch.zeros(1))
    optimisers = {}
    for key, block in train.items():
        if key.startswith('optim_'):
            optimisers[key] = _build(OPTIMISERS, block, f'train: {key}', [parameter])
        elif key.endswith('_opt') and block is not None:
            _check_loss(block, f'train: {key}')
    if optimisers:
        _build(SCHEDULERS, train['scheduler'], 'train: scheduler', next(iter(optimisers.values())))


def _check_loss(block: Mapping[str, Any], where: str) -> None:
    constructor = get_registered(LOSS_REGISTRY, block, where)
    if issubclass(constructor, PerceptualLoss):
        check_arguments(constructor, block, where)  # not built, because that would load VGG
    else:
        _build({block['type']: constructor}, block, where)


def _build(constructors: Mapping[str, type], block: Mapping[str, Any], where: str, *given: Any) -> Any:
    """Build an object from a block without converting its values, as BasicSR does, with readable errors."""
    if 'type' not in block:
        raise OptionError(f'{where}: missing key type')
    if block['type'] not in constructors:
        raise OptionError(f'{where}: type: {block["type"]} is unknown, {nearest(str(block["type"]), constructors)}')
    constructor = constructors[block['type']]
    check_arguments(constructor, block, where, len(given))
    arguments = {key: value for key, value in block.items() if key != 'type'}
    for key, value in arguments.items():
        if isinstance(value, str) and re.fullmatch(r'[-+]?\d+(\.\d*)?[eE][-+]?\d+', value):
            raise OptionError(
                f'{where}: {key}: {value!r} is text in YAML; write a number such as 0.0001, 1.0e-4 or !!float 1e-4'
            )
    try:
        return constructor(*given, **arguments)
    except REFUSALS as error:
        raise OptionError(f'{where}: {error}') from None


def check_training_sets(datasets: Mapping[str, Mapping[str, Any]], is_train: bool) -> None:
    """Check the datasets of a training, or of a test of its model.

    If the dataset class has a class method ``check_options(opt)``, this checks the block; otherwise the dataset is
    built.

    Raises:
        OptionError: for a key other than ``train``, ``val``, ``val_2``, ...; for unknown keys and types, and for values
            that the dataset refuses.
    """
    if is_train and 'train' not in datasets:
        raise OptionError(f'datasets: train: missing; found: {", ".join(datasets) or "none"}')
    allowed = 'train, val, val_2, ...' if is_train else 'test, test_1, test_2, ...'
    for key, block in datasets.items():
        where = f'datasets: {key}'
        if not re.fullmatch(r'train|val(_.*)?' if is_train else r'(test|val)(_.*)?', str(key)):
            raise OptionError(f'{where}: not the key of a dataset; allowed: {allowed}')
        name = block.get('name')
        if not isinstance(name, str) or not re.match(PART_OF_NAME, name) or not name.strip('.'):
            raise OptionError(f'{where}: name: {name!r} is not allowed; allowed: a folder name without / and \\')
        _check_training_set(block, where)
        for required in LOADER_KEYS if key == 'train' else ():
            if block.get(required) is None:
                raise OptionError(f'{where}: {required}: missing')


def _check_training_set(block: Mapping[str, Any], where: str) -> None:
    dataset_class = get_registered(DATASET_REGISTRY, block, where)
    if block['type'] in BASICSR_DATASETS:
        parse_section(BASICSR_DATASETS[block['type']], block, where)
    try:
        getattr(dataset_class, 'check_options', dataset_class)(copy.deepcopy(dict(block)))
    except UserError as error:
        own = f'datasets: {block["name"]}: '  # a dataset's message has its name; the key is more useful
        raise OptionError(f'{where}: {str(error).removeprefix(own)}') from None
    except REFUSALS as error:
        raise OptionError(f'{where}: {type(error).__name__}: {error}') from None
