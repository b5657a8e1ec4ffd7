"""The runs of a comparison: read and check option files and open their data sets."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from basicsr.data.paired_image_dataset import PairedImageDataset
from basicsr.utils.registry import DATASET_REGISTRY, MODEL_REGISTRY
from torch.utils.data import Dataset

from dkp_plugin.evaluation.checks import check_options
from dkp_plugin.evaluation.comparison.stock_models import check_stock_model
from dkp_plugin.evaluation.stock import image_names, load_item
from dkp_plugin.host.arguments import make_test_parser
from dkp_plugin.host.errors import OptionError, UserError
from dkp_plugin.host.imports import import_custom
from dkp_plugin.host.option_files import OptionFile, check_shape, choose_data_sets, complete_options, read_option_file
from dkp_plugin.host.schema import get_registered


@dataclass(frozen=True)
class Run:
    """One option file with one seed.

    Args:
        file: The option file.
        content: Its content, with the ``name`` and ``manual_seed`` of this run and without data sets that do not run.
        method: ``name`` in the option file, which the runs of several seeds share.
        seed: Seed that overrides the option file; None: the seed of the file.
        skipped: One line for each data set that is skipped because its folder is missing.
    """

    file: Path
    content: OptionFile
    method: str
    seed: int | None = None
    skipped: tuple[str, ...] = ()

    @property
    def options(self) -> Mapping[str, Any]:
        """Content of the option file."""
        return self.content.options

    @property
    def name(self) -> str:
        """Name of the results folder."""
        return self.options['name']

    @property
    def folder(self) -> Path:
        """Results folder of BasicSR's test pipeline."""
        return Path('results', self.name)

    @property
    def metrics(self) -> Mapping[str, Mapping[str, Any]]:
        """Block ``val: metrics``."""
        return (self.options.get('val') or {}).get('metrics') or {}

    @property
    def image_suffix(self) -> str:
        """Suffix of the image name in the file name of a restored image."""
        return (self.options.get('val') or {}).get('suffix') or self.name


@dataclass(frozen=True)
class DataSet:
    """A data set of a run.

    Args:
        name: Name in the option file and of the results folders.
        label: Distinguishes data sets with the same name, by scale, folder and source of the kernels.
        family: Kernel family if known, from ``random_kernel`` or the name of the folder.
        scale: Scale factor.
        convention: Position of the LR pixels on the HR grid, one of ``kernels.CONVENTIONS``; None: unknown.
        images: Names of the images.
        data: The data set itself; item n belongs to image n.
    """

    name: str
    label: str
    family: str | None
    scale: int
    convention: str | None
    images: tuple[str, ...]
    data: Dataset = field(repr=False)


def read_runs(files: Sequence[Path], seeds: Sequence[int] = (), only: Sequence[str] = ()) -> list[Run]:
    """Read option files and import their ``custom_imports``.

    Args:
        files: The option files.
        seeds: One run for each file and seed, named ``<name>_seed<seed>``; empty: one run with the file's seed.
        only: Names of the data sets to run; empty: all available ones.

    Raises:
        OptionError: if a file cannot be read or lacks a key, or if two files have the same name.
    """
    runs: dict[str, Run] = {}
    for file in files:
        content = read_option_file(file)
        with content.naming_places():
            import_custom(content.options)
            skipped = choose_data_sets(content, only)
            check_shape(content.options)
        method = content.options['name']
        for seed in seeds or [None]:
            changes = {} if seed is None else {'name': f'{method}_seed{seed}', 'manual_seed': seed}
            run = Run(file, OptionFile(content.options | changes, content.places), method, seed, tuple(skipped))
            if run.name in runs:
                raise OptionError(
                    f'{content.place("name")}: name: {run.name} is the name in {runs[run.name].file}, too'
                )
            runs[run.name] = run
    return list(runs.values())


def check_run(run: Run) -> list[DataSet]:
    """Check an option file as the test pipeline does, and open its data sets.

    Raises:
        OptionError: for the first invalid option; the message names its location.
    """
    arguments = make_test_parser().parse_args(['-opt', str(run.file)])
    with run.content.naming_places():
        opt = complete_options(copy.deepcopy(dict(run.options)), arguments, Path.cwd(), is_train=False)
        check_options(opt)
        if MODEL_REGISTRY.get(opt['model_type']).__module__.startswith('basicsr.'):
            check_stock_model(opt)
        elif run.options.get('manual_seed') is None:
            raise OptionError('manual_seed: missing; results without one cannot be found again')
        # In the order of BasicSR's pipeline.
        data_sets = [_open_data_set(opt, key) for key in sorted(opt['datasets'])]
        for data_set in data_sets:
            if isinstance(data_set.data, PairedImageDataset) and data_set.images:
                load_item(data_set.data, 0)  # refuses images that do not fit the scale
        return data_sets


def _open_data_set(opt: Mapping[str, Any], key: str) -> DataSet:
    """Open a data set without reading an image."""
    where, block = f'datasets: {key}', opt['datasets'][key]
    dataset_class = get_registered(DATASET_REGISTRY, block, where)
    try:
        data = dataset_class(copy.deepcopy(block))
        images = image_names(data)
        name = str(block['name'])
    except (AssertionError, AttributeError, KeyError, TypeError, ValueError) as error:  # BasicSR's refusals
        raise OptionError(f'{where}: {type(error).__name__}: {error}') from None
    except (UserError, OSError) as error:
        raise OptionError(f'{where}: {error}') from None
    convention = getattr(getattr(data, 'options', None), 'convention', None)
    convention = convention or (opt.get('degradation') or {}).get('convention')
    label = f'{name} x{opt["scale"]}, {_origin(block)}'
    return DataSet(name, label, _family(block), opt['scale'], convention, tuple(images), data)


def _origin(block: Mapping[str, Any]) -> str:
    """Describe the source of the LR images: their folder, or their synthesis from the HR images."""
    random_kernel = block.get('random_kernel')
    if random_kernel is None:
        return str(block.get('dataroot_lq') or block.get('dataroot_gt'))
    recipe = ', '.join(f'{key} {value}' for key, value in random_kernel.items())
    return f'{block.get("dataroot_gt")}, random kernels ({recipe})'


def _family(block: Mapping[str, Any]) -> str | None:
    """The kernel family gaussian or motion, from ``random_kernel`` or the name of the folder, such as gaussian_x4."""
    random_kernel = block.get('random_kernel')
    text = (
        Path(str(block.get('dataroot_lq'))).parent.name
        if random_kernel is None
        else str(random_kernel.get('family', 'gaussian'))
    )
    return next((family for family in ('gaussian', 'motion') if text.split('_')[0] == family), None)
