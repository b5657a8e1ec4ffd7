"""Options of a training of the unpaired network."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from dkp_plugin.archs.precision import PRECISIONS
from dkp_plugin.engine.options import ForwardModelOptions, build_estimator
from dkp_plugin.estimators.base import KernelEstimator
from dkp_plugin.host.errors import OptionError
from dkp_plugin.models.training_options import (
    Block,
    Count,
    MetricsBlock,
    Number,
    TrainBlock,
    TrainingOptions,
    TrainingPaths,
)
from dkp_plugin.physics.degradation import SCALES, Degradation
from dkp_plugin.physics.kernel_families import KERNEL_FAMILIES, WIDE_VARIANCES, KernelFamily, build_family

PARTS = 's', 'n', 'r'  # of the network; their gradients are cut one by one

Share = Annotated[float, Field(ge=0, le=1)]


class BankOptions(BaseModel):
    """Block ``train: bank``: when the kernels of the LR images are estimated, and how they are used.

    ``start_iter``: first iteration that uses them. ``interval``: iterations between two estimates from then on.
    ``num_steps``: steps of the estimator for a kernel. ``share``: of the bank among the kernels that the kernel network
    learns; the others are random. ``source``: ``random`` leaves the bank as it starts, for an ablation.
    """

    model_config = ConfigDict(extra='forbid')
    start_iter: PositiveInt
    interval: PositiveInt = 20
    num_steps: PositiveInt = 4
    share: Share = 0.7
    source: Literal['estimated', 'random'] = 'estimated'


class UnpairedTrain(TrainBlock):
    """Block ``train``; the keys without a word here are BasicSR's, and the losses those of ``docs/unpaired.md``.

    ``image_crop``: LR pixels of the crops that S and R see; N sees all of a crop. ``num_lq``: crops of LR images per
    step and process, at most a batch. ``perturbation``: how far kernels of the bank are moved, at most, for a third of
    the pairs. ``intermediate_kernels``: what blurs the exemplars of S; ``bank`` is for an ablation. ``precision``: of
    the hidden layers. ``max_grad_norm``: of each of S, N and R. ``parts``: of the network that are trained; the weight
    head of N belongs to R. ``own_shares``: of the pairs that R restores with the kernel network's kernel, at the start
    and at the end.
    """

    image_crop: Count
    num_lq: Count = 1
    perturbation: Share = 0.2
    intermediate_kernels: Literal['random', 'bank'] = 'random'
    parts: list[Literal[PARTS]] = Field(default=list(PARTS), min_length=1)
    own_shares: tuple[Share, Share] = (0.33, 0.67)
    bank: BankOptions
    precision: Literal[PRECISIONS] = 'auto'
    max_grad_norm: Number = math.inf
    ema_decay: Annotated[float, Field(gt=0, lt=1)]  # the averaged weights judge the kernels and teach
    pixel_opt: Block
    intermediate_opt: Block
    kernel_opt: Block
    distill_opt: Block | None = None
    affinity_opt: Block | None = None
    aux_opt: Block | None = None
    data_opt: Block | None = None

    @model_validator(mode='after')
    def _uses_its_bank(self) -> 'UnpairedTrain':
        if self.bank.start_iter > self.total_iter:
            raise ValueError(f'bank: start_iter: {self.bank.start_iter} is beyond total_iter, {self.total_iter}')
        return self


class UnpairedPaths(TrainingPaths):
    """Block ``path``; ``pretrain_network_k`` is a bank of kernels."""

    pretrain_network_k: str | None = None
    strict_load_k: bool = True


class UnpairedOptions(TrainingOptions):
    """An option file with ``model_type: UnpairedSRModel``."""

    scale: Literal[SCALES]
    degradation: ForwardModelOptions = ForwardModelOptions()
    network_k: Block
    path: UnpairedPaths = UnpairedPaths()
    train: UnpairedTrain | None = None
    val: MetricsBlock | None = None


def build_training_estimator(block: Mapping[str, Any], degradation: Degradation) -> KernelEstimator:
    """Build the block ``network_k``.

    Raises:
        OptionError: if the block is invalid, and for an estimator that would be given the truth.
        UserError: if the method does not support the degradation.
    """
    estimator = build_estimator(block, degradation)
    if estimator.needs_truth:
        raise OptionError('network_k: source: gt is not possible, a training never sees true kernels')
    return estimator


def random_family(block: Mapping[str, Any], degradation: Degradation) -> KernelFamily:
    """The random kernels of a training: the family of ``network_k``, wide where it is Gaussian.

    An estimator without a family, or with ``free``, gets Gaussian kernels.
    """
    name = block.get('kernel_family', 'gaussian')
    name = name if name in KERNEL_FAMILIES else 'gaussian'
    ranges = {key: block.get(key) for key in ('variance_range', 'length_range')}
    if name == 'gaussian' and ranges['variance_range'] is None:
        ranges['variance_range'] = tuple(degradation.scale * bound for bound in WIDE_VARIANCES)
    size, centre = degradation.kernel_size, degradation.centre
    return build_family(name, degradation.scale, size, centre, **ranges)
