"""The option file of a restoration: its blocks, and the estimator and restorers that they describe."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, NonNegativeFloat, PositiveInt

from dkp_plugin.engine.early_stopping import METHODS, EarlyStopping
from dkp_plugin.estimators.base import KernelEstimator
from dkp_plugin.host.errors import OptionError, UserError
from dkp_plugin.host.schema import PART_OF_NAME, build_network
from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.physics.kernels import default_kernel_size
from dkp_plugin.restorers.base import Restorer

MIN_TILE = 128  # HR pixels


class DegradationOptions(BaseModel):
    """Block ``degradation``: what is known of the forward model before an image is seen.

    ``border``: the forward model is periodic. ``mirror`` surrounds the image by its mirror image before the work and
    cuts that off afterwards, as photographs need; ``periodic`` suits benchmarks, whose LR images were made that way.
    ``auto`` is ``mirror`` for the convention ``aligned`` and ``periodic`` for ``released``.
    """

    model_config = ConfigDict(extra='forbid')
    convention: Literal['aligned', 'released'] = 'aligned'
    kernel_size: int | Literal['auto'] = 'auto'
    noise: NonNegativeFloat | Literal['auto'] = 0.0  # standard deviation, of 255
    border: Literal['auto', 'periodic', 'mirror'] = 'auto'


class AlternationOptions(BaseModel):
    """Block ``alternation``: how long the loop runs and what it returns."""

    model_config = ConfigDict(extra='forbid')
    num_iter: PositiveInt | None = None
    averaging: float = Field(default=0.0, ge=0, lt=1)


class FinalRestorerOptions(BaseModel):
    """Block ``restorer``: a restorer that makes the final image with the kernel that the alternation found.

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
    resume_state: None = None  # BasicSR's examples have it; a test resumes from its records
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
    tile: Annotated[int, Field(ge=MIN_TILE)] | Literal['auto'] = 'auto'  # side of the tiles of large images, HR pixels
    path: PathOptions = PathOptions()
    val: ValOptions = ValOptions()
    dist_params: dict[str, Any] | None = None
    custom_imports: list[str] = []  # modules, imported before the file is checked
    # Added by parse_options:
    dist: bool = False
    rank: int = 0
    world_size: int = 1
    auto_resume: bool = False
    is_train: bool = False

    def build_degradation(self) -> Degradation:
        """The forward model; ``kernel_size: auto`` is the default of the scale, ``noise: auto`` is set for each image.

        Raises:
            OptionError: for values that contradict each other.
        """
        block = self.degradation
        size = default_kernel_size(self.scale) if block.kernel_size == 'auto' else block.kernel_size
        noise = 0.0 if block.noise == 'auto' else block.noise / 255
        try:
            return Degradation(self.scale, size, block.convention, noise)
        except ValueError as error:
            raise OptionError(f'degradation: {error}') from None

    @property
    def mirrors_border(self) -> bool:
        """Whether images are surrounded by their mirror image; see :class:`DegradationOptions`."""
        block = self.degradation
        return block.border == 'mirror' or (block.border == 'auto' and block.convention == 'aligned')

    def build_early_stopping(self) -> EarlyStopping:
        """A new watch over the outputs of one image."""
        return EarlyStopping(**self.early_stopping.model_dump())


def build_estimator(options: BlindSROptions, degradation: Degradation) -> KernelEstimator:
    """Build the kernel estimator of the block ``network_k``.

    Raises:
        OptionError: for a mistake in the block.
        UserError: for a degradation that the method does not support.
    """
    estimator = build_network(options.network_k, 'network_k', KernelEstimator)
    estimator.check(degradation)
    return estimator


def build_restorer(options: BlindSROptions) -> Restorer:
    """Build the restorer of the block ``network_g``; ``path: pretrain_network_g`` names its weights.

    Raises:
        OptionError: for a mistake in the block, for weights that the restorer does not use, and for weights that cannot
            be loaded.
    """
    path = options.path.pretrain_network_g
    return _build_with_weights(options.network_g, 'network_g', path, 'path: pretrain_network_g')


def build_final_restorer(options: BlindSROptions) -> Restorer | None:
    """Build the restorer of the block ``restorer``, if the file has one, with its weights.

    Raises:
        OptionError: as :func:`build_restorer`.
    """
    block = options.restorer
    if block is None:
        return None
    return _build_with_weights(block.final, 'restorer: final', block.pretrain, 'restorer: pretrain')


def _build_with_weights(block: Mapping[str, Any], where: str, path: str | None, key: str) -> Restorer:
    """Build a restorer and load the weights that the option ``key`` names."""
    restorer = build_network(block, where, Restorer)
    if restorer.has_weights:
        try:
            restorer.load(path)
        except UserError as error:
            raise OptionError(f'{key}: {error}') from None
    elif path is not None:
        raise OptionError(f'{key}: {path} is not used, {block["type"]} has no weights')
    return restorer


def count_steps(restorer: Restorer, num_iter: int | None, where: str) -> int:
    """Number of steps of a restorer: its own or the option file's, exactly one of which must be set.

    Args:
        restorer: The restorer; its ``num_iter`` is None where the option file decides.
        num_iter: What the option file says.
        where: Names the block in the message.

    Raises:
        OptionError: if both or neither is set.
    """
    if (restorer.num_iter is None) == (num_iter is None):
        raise OptionError(
            f'{where}: num_iter: {num_iter} is not allowed: {type(restorer).__name__} '
            + ('needs a number of iterations' if restorer.num_iter is None else 'sets it by its own options')
        )
    return num_iter if restorer.num_iter is None else restorer.num_iter
