"""The blocks of a restoration's option file, and the estimator and restorers built from them."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, NonNegativeFloat, PositiveInt

from dkp_plugin.archs.one_shot import OneShotNetwork
from dkp_plugin.engine.early_stopping import METHODS, EarlyStopping
from dkp_plugin.estimators.base import KernelEstimator
from dkp_plugin.host.errors import OptionError, UserError
from dkp_plugin.host.schema import ALLOW_OFF, PART_OF_NAME, build_network
from dkp_plugin.physics.degradation import SCALES, Degradation
from dkp_plugin.physics.kernels import default_kernel_size
from dkp_plugin.restorers.base import Restorer
from dkp_plugin.restorers.one_shot_restorer import OneShot

MIN_TILE = 128  # HR pixels


class ForwardModelOptions(BaseModel):
    """The forward model without its kernel, in a block ``degradation``; ``kernel_size: auto`` depends on the scale."""

    model_config = ConfigDict(extra='forbid')
    convention: Literal['aligned', 'released'] = 'aligned'
    kernel_size: int | Literal['auto'] = 'auto'
    noise: NonNegativeFloat = 0.0  # standard deviation, out of 255

    def build(self, scale: int) -> Degradation:
        """The forward model at a scale; ``noise: auto``, which is estimated for each image, counts as 0.

        Raises:
            OptionError: for a value that is not allowed.
        """
        size = default_kernel_size(scale) if self.kernel_size == 'auto' else self.kernel_size
        noise = 0.0 if self.noise == 'auto' else self.noise / 255
        try:
            return Degradation(scale, size, self.convention, noise)
        except ValueError as error:
            raise OptionError(f'degradation: {error}') from None


class DegradationOptions(ForwardModelOptions):
    """Block ``degradation`` of a restoration.

    ``jpeg``: the quality of the JPEG file that the LR image comes from, 1 to 100; ``auto`` reads the tables of
    a JPEG file, ``off`` ignores the compression error.
    ``border``: the forward model has periodic borders. ``mirror`` pads the image with its mirror image and crops the
    result, which suits photographs; ``periodic`` suits benchmarks whose LR images were made with periodic borders.
    ``auto`` is ``mirror`` for the convention ``aligned`` and ``periodic`` for ``released``.
    """

    noise: NonNegativeFloat | Literal['auto'] = 0.0
    jpeg: Annotated[Annotated[int, Field(ge=1, le=100)] | Literal['auto', 'off'], ALLOW_OFF] = 'auto'
    border: Literal['auto', 'periodic', 'mirror'] = 'auto'


class AlternationOptions(BaseModel):
    """Block ``alternation``: the number of iterations and the averaging of their images."""

    model_config = ConfigDict(extra='forbid')
    num_iter: PositiveInt | None = None
    averaging: float = Field(default=0.0, ge=0, lt=1)


class FinalRestorerOptions(BaseModel):
    """Block ``restorer``: a restorer that computes the final image with the kernel from the alternation.

    ``final`` is the name of a restorer or, to set its options, a block like ``network_g``.
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
    method: Annotated[Literal[METHODS], ALLOW_OFF] = 'off'
    window: int = Field(default=50, ge=2)
    patience: PositiveInt = 200
    min_iter: int = Field(default=100, ge=0)


class PathOptions(BaseModel):
    """Block ``path``: weights; ``parse_options`` adds the folders."""

    model_config = ConfigDict(extra='forbid')
    pretrain_network_g: str | None = None
    strict_load_g: Literal[True] = True
    resume_state: None = None  # allowed because BasicSR's examples have it; a test resumes from its records
    results_root: str | None = None
    log: str | None = None
    visualization: str | None = None


class ValOptions(BaseModel):
    """Block ``val``."""

    model_config = ConfigDict(extra='forbid')
    save_img: bool = True
    suffix: Annotated[str, Field(pattern=PART_OF_NAME)] | None = None
    pbar: bool = True
    checkpoint_freq: int = Field(default=200, ge=0)  # iterations between saved states; 0: only on Ctrl-C
    curve_freq: int = Field(default=0, ge=0)  # iterations between rows of the trajectory; 0: none
    metrics: dict[str, dict[str, Any]] | None = None


class BlindSROptions(BaseModel):
    """Top level of an option file with ``model_type: BlindSRModel``, as BasicSR's ``parse_options`` returns it."""

    model_config = ConfigDict(extra='forbid')
    name: str
    model_type: Literal['BlindSRModel']
    scale: Literal[SCALES]
    num_gpu: int = Field(ge=0)
    manual_seed: int
    datasets: dict[str, dict[str, Any]]
    network_k: dict[str, Any]
    network_g: dict[str, Any]
    degradation: DegradationOptions = DegradationOptions()
    alternation: AlternationOptions = AlternationOptions()
    early_stopping: EarlyStoppingOptions = EarlyStoppingOptions()
    restorer: FinalRestorerOptions | None = None
    tile: Annotated[int, Field(ge=MIN_TILE)] | Literal['auto'] = 'auto'  # side of the tiles of large images, HR pixels
    local_kernels: bool = False  # one kernel per part of the image; see ``engine/local_kernels.py``
    path: PathOptions = PathOptions()
    val: ValOptions = ValOptions()
    logger: dict[str, Any] | None = None  # BasicSR's files have it; a test needs none of it
    dist_params: dict[str, Any] | None = None
    custom_imports: list[str] = []  # modules, imported before the file is checked
    # Added by parse_options:
    dist: bool = False
    rank: int = 0
    world_size: int = 1
    auto_resume: bool = False
    is_train: bool = False

    @property
    def mirrors_border(self) -> bool:
        """Whether images are padded with their mirror image; see :class:`DegradationOptions`."""
        block = self.degradation
        return block.border == 'mirror' or (block.border == 'auto' and block.convention == 'aligned')

    def build_early_stopping(self) -> EarlyStopping:
        """Early stopping for one image."""
        return EarlyStopping(**self.early_stopping.model_dump())


def build_estimator(block: Mapping[str, Any], degradation: Degradation) -> KernelEstimator:
    """Build the kernel estimator of a block ``network_k``.

    Raises:
        OptionError: if the block is invalid.
        UserError: if the method does not support the degradation.
    """
    estimator = build_network(block, 'network_k', KernelEstimator)
    estimator.check(degradation)
    return estimator


def build_restorer(options: BlindSROptions) -> Restorer:
    """Build the restorer of the block ``network_g``; ``path: pretrain_network_g`` names its weights.

    Raises:
        OptionError: if the block is invalid, the restorer does not use weights, the weights cannot be loaded, or the
            restorer does not support the scale.
    """
    path = options.path.pretrain_network_g
    return _build_with_weights(options.network_g, 'network_g', path, 'path: pretrain_network_g', options.scale)


def build_final_restorer(options: BlindSROptions) -> Restorer | None:
    """Build the restorer of the block ``restorer`` and load its weights; None if the file has no such block.

    Raises:
        OptionError: see :func:`build_restorer`.
    """
    block = options.restorer
    if block is None:
        return None
    return _build_with_weights(block.final, 'restorer: final', block.pretrain, 'restorer: pretrain', options.scale)


def _build_with_weights(block: Mapping[str, Any], where: str, path: str | None, key: str, scale: int) -> Restorer:
    """Build a restorer for a scale and load the weights that the option ``key`` names."""
    restorer = build_network(block, where, Restorer | OneShotNetwork)
    if isinstance(restorer, OneShotNetwork):
        if 'convention' in block:
            raise OptionError(f'{where}: convention: not allowed here; set it in the block degradation')
        restorer = OneShot(type(restorer), {key: value for key, value in block.items() if key != 'type'})
    if restorer.has_weights:
        try:
            restorer.load(path)
        except UserError as error:
            raise OptionError(f'{key}: {error}') from None
    elif path is not None:
        raise OptionError(f'{key}: {path} is not allowed: {block["type"]} has no weights')
    if scale not in restorer.scales:
        allowed = ', '.join(map(str, restorer.scales))
        raise OptionError(f'scale: {scale} is not possible with {block["type"]}; allowed: {allowed}')
    return restorer


def count_steps(restorer: Restorer, num_iter: int | None, where: str) -> int:
    """Number of steps of a restorer; either the restorer or the option file must set it.

    Args:
        restorer: The restorer; its ``num_iter`` is None if the option file must set the number.
        num_iter: The number in the option file, or None.
        where: Name of the block for the message.

    Raises:
        OptionError: if both or neither of them set it.
    """
    if (restorer.num_iter is None) == (num_iter is None):
        raise OptionError(
            f'{where}: num_iter: {num_iter} is not allowed: {type(restorer).__name__} '
            + ('needs a number of iterations' if restorer.num_iter is None else 'sets its own number of iterations')
        )
    return num_iter if restorer.num_iter is None else restorer.num_iter
