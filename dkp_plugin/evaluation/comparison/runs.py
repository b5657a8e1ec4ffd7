"""The runs of a comparison: which results are there already, and how those that are not come about."""

import copy
import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from basicsr.utils.registry import DATASET_REGISTRY
from torch.utils.data import Dataset

from dkp_plugin.evaluation.provenance import Provenance, options_hash
from dkp_plugin.evaluation.records import protocol, read_record
from dkp_plugin.evaluation.stock import load_item
from dkp_plugin.host.errors import OptionError, UserError
from dkp_plugin.host.imports import import_custom
from dkp_plugin.host.option_files import read_option_file
from dkp_plugin.host.schema import get_registered

NEEDED_KEYS = ('name', 'scale', 'manual_seed', 'datasets', 'network_k', 'network_g')


@dataclass(frozen=True)
class Run:
    """One option file with one seed.

    Args:
        file: The option file.
        options: Its content, with ``name`` and ``manual_seed`` of this run.
        method: ``name`` in the option file: what the runs of several seeds share.
        seed: Seed that replaces that of the option file; None: the file's own.
    """

    file: Path
    options: Mapping[str, Any]
    method: str
    seed: int | None = None

    @property
    def name(self) -> str:
        """Name of the results folder."""
        return self.options['name']

    @property
    def folder(self) -> Path:
        """Where BasicSR's test pipeline puts the results."""
        return Path('results', self.name)

    @property
    def metrics(self) -> Mapping[str, Mapping[str, Any]]:
        """Block ``val: metrics``."""
        return (self.options.get('val') or {}).get('metrics') or {}

    @property
    def image_suffix(self) -> str:
        """What follows the image's name in the name of a restored image."""
        return (self.options.get('val') or {}).get('suffix') or self.name


@dataclass(frozen=True)
class DataSet:
    """A data set of a run.

    Args:
        name: As in the option file; results lie in folders of this name.
        label: Tells data sets apart that share a name: scale, folder, how kernels were made.
        family: Kernel family, where the options tell it: of ``random_kernel``, or by the folder's name.
        scale: Scale factor.
        images: Names of the images.
        data: The data set itself; item n belongs to image n.
    """

    name: str
    label: str
    family: str | None
    scale: int
    images: tuple[str, ...]
    data: Dataset = field(repr=False)


@dataclass
class Result:
    """What is known of a run.

    Args:
        run: The run.
        data_sets: Its data sets.
        records: For each of them, by its name, the record of each image by the image's name; without failed images.
        versions: Of the packages that made the results.
        failures: One line for each thing that went wrong.
    """

    run: Run
    data_sets: list[DataSet] = field(default_factory=list)
    records: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)


def read_runs(files: Sequence[Path], seeds: Sequence[int] = ()) -> list[Run]:
    """Read option files.

    Args:
        files: The option files.
        seeds: Each file makes one run for each, named ``<name>_seed<seed>``; none: one run, as the file says.

    Raises:
        OptionError: for a file that cannot be read or lacks a key, and for two files of one name.
    """
    runs: dict[str, Run] = {}
    for file in files:
        options = read_options(file)
        for seed in seeds or [None]:
            changes = {} if seed is None else {'name': f'{options["name"]}_seed{seed}', 'manual_seed': seed}
            run = Run(file, options | changes, str(options['name']), seed)
            if run.name in runs:
                raise OptionError(f'{file}: name: {run.name} is the name in {runs[run.name].file}, too')
            runs[run.name] = run
    return list(runs.values())


def read_options(file: Path) -> dict[str, Any]:
    """Read an option file and import its ``custom_imports``.

    Raises:
        OptionError: for a file that cannot be read, lacks a key, or has something else where a block belongs.
    """
    content = read_option_file(file)
    options = content.options
    with content.naming_places():
        import_custom(options)
    missing = [key for key in NEEDED_KEYS if options.get(key) is None]
    if missing:
        raise OptionError(f'{file}: not an option file of a test: {", ".join(missing)} missing')
    metrics = (options.get('val') or {}).get('metrics') or {}
    groups = {'datasets': options['datasets'], 'val: metrics': metrics}
    blocks = groups | {key: options[key] for key in ('network_k', 'network_g')}
    for where, group in groups.items():
        blocks |= {f'{where}: {key}': block for key, block in (group.items() if isinstance(group, dict) else ())}
    for where, block in blocks.items():
        if not isinstance(block, dict) or (where not in groups and 'type' not in block):
            raise OptionError(f'{file}: {where}: {block!r} is not a block of options with a type')
    return options


def build_data_sets(run: Run) -> list[DataSet]:
    """Open the data sets of a run without reading an image.

    Raises:
        OptionError: for one that cannot be opened.
    """
    data_sets = []
    for key, block in sorted(run.options['datasets'].items()):  # in the order of BasicSR's pipeline
        where = f'{run.file}: datasets: {key}'
        options = copy.deepcopy(block) | {'phase': 'test', 'scale': run.options['scale']}
        dataset_class = get_registered(DATASET_REGISTRY, options, where)
        try:
            data = dataset_class(options)
            images = getattr(data, 'names', None) or [_stem(path) for path in data.paths]
            name = str(block['name'])
        except (AssertionError, AttributeError, KeyError, TypeError, ValueError) as error:  # BasicSR's refusals
            raise OptionError(f'{where}: {type(error).__name__}: {error}') from None
        except UserError as error:
            raise OptionError(f'{run.file}: {error}') from None
        label = f'{name} x{run.options["scale"]}, {_origin(block)}'
        data_sets.append(DataSet(name, label, _family(block), run.options['scale'], tuple(images), data))
    return data_sets


def _stem(path: Any) -> str:
    return Path(path['lq_path'] if isinstance(path, dict) else path).stem


def _origin(block: Mapping[str, Any]) -> str:
    """Say where the LR images come from: their folder, or how they are made from the HR images."""
    random_kernel = block.get('random_kernel')
    if random_kernel is None:
        return str(block.get('dataroot_lq') or block.get('dataroot_gt'))
    recipe = ', '.join(f'{key} {value}' for key, value in random_kernel.items())
    return f'{block.get("dataroot_gt")}, random kernels ({recipe})'


def _family(block: Mapping[str, Any]) -> str | None:
    """The kernel family gaussian or motion, by ``random_kernel`` or the name of the folder, such as gaussian_x4."""
    random_kernel = block.get('random_kernel')
    text = (
        Path(str(block.get('dataroot_lq'))).parent.name
        if random_kernel is None
        else str(random_kernel.get('family', 'gaussian'))
    )
    return next((family for family in ('gaussian', 'motion') if text.split('_')[0] == family), None)


def run_test(run: Run) -> str | None:
    """Run ``python -m dkp_plugin.test`` in a process of its own; what it reports is passed on as it comes.

    Returns:
        None, or why it failed: the last line that it reported.
    """
    command = [sys.executable, '-m', 'dkp_plugin.test', '-opt', str(run.file)]
    if run.seed is not None:
        command += ['--force_yml', f'name={run.name}', f'manual_seed={run.seed}']
    last = 'nothing was reported'
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            sys.stderr.write(line)
            if line.strip() and '%|' not in line:  # a progress bar, which may be written after the reason
                last = line.strip()
    return None if process.returncode == 0 else f'exit status {process.returncode}: {last}'


def obtain(run: Run, start: Callable[[Run], str | None] = run_test) -> Result:
    """Take the results of a run that are there, complete and of these options and images; otherwise make them first.

    The test pipeline keeps what is finished and restores only what is missing or was made from something else.

    Args:
        run: The run.
        start: Makes the results; returns None or why it failed.

    Returns:
        The result; what went wrong is among its ``failures``.

    Raises:
        OptionError: for results of these options that were measured by another protocol.
    """
    result = Result(run)
    try:
        result.data_sets = build_data_sets(run)
    except OptionError as error:
        result.failures.append(str(error))
        return result
    reason = None
    if any(_missing(run, data_set) for data_set in result.data_sets):
        reason = start(run)
    for data_set in result.data_sets:
        content = read_metrics(run, data_set.name)
        result.versions |= content.get('versions', {})
        result.records[data_set.name] = _good_records(content, data_set)
        result.failures += [
            f'{run.name}: {data_set.name}: {record["error"]}'
            for record in content.get('images', [])
            if 'error' in record
        ]
    if reason is not None and not result.failures:  # otherwise the images say more
        result.failures.append(f'{run.name}: {reason}')
    if not result.failures:
        result.failures += [
            f'{run.name}: {data_set.name}: no result for {", ".join(missing)}'
            for data_set in result.data_sets
            if (missing := [image for image in data_set.images if image not in result.records[data_set.name]])
        ]
    return result


def read_metrics(run: Run, data_set: str) -> dict[str, Any]:
    """Read the metrics of a data set, by its name; empty where there are none, or those of other options.

    Raises:
        OptionError: if they were measured by another protocol than the option file asks for.
    """
    path = run.folder / 'metrics' / f'{data_set}.json'
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
        if content['options_hash'] != options_hash(run.options):
            return {}
        differences = protocol_differences(content['protocol'], protocol(run.metrics))
    except (OSError, ValueError, KeyError, TypeError):  # none, or cut off in the middle: to be made again
        return {}
    if differences:
        raise OptionError(f'{path}: its protocol differs from that of {run.file}: {"; ".join(differences)}')
    return content


def _good_records(content: Mapping[str, Any], data_set: DataSet) -> dict[str, dict[str, Any]]:
    """The records without an error, by image, in the order of the data set."""
    records = {record['image']: record for record in content.get('images', []) if 'error' not in record}
    return {image: records[image] for image in data_set.images if image in records}


def _missing(run: Run, data_set: DataSet) -> bool:
    """Whether an image or a metric is not there, or was made from something else than now."""
    content = read_metrics(run, data_set.name)
    if len(_good_records(content, data_set)) < len(data_set.images):
        return True
    provenance = Provenance(run.options)
    for index, image in enumerate(data_set.images):
        try:
            expected = provenance.of(load_item(data_set.data, index))
        except UserError:  # the test will tell
            return True
        _, made_from = read_record(run.folder, data_set.name, image)
        if made_from != expected:
            return True
    return False


def protocol_differences(found: Mapping[str, Any], expected: Mapping[str, Any], where: str = '') -> list[str]:
    """Compare two protocols; a metric that only one of them has is no difference.

    Returns:
        A line for each difference: the key, the value found and the one expected.
    """
    differences = []
    for key in sorted(found.keys() | expected.keys()):
        path = f'{where}: {key}' if where else key
        if where == 'metrics' and (key not in found or key not in expected):
            continue
        values = found.get(key), expected.get(key)
        if all(isinstance(value, Mapping) for value in values):
            differences += protocol_differences(*values, path)
        elif values[0] != values[1]:
            differences.append(f'{path}: {values[0]} instead of {values[1]}')
    return differences


def check_same_protocol(runs: Sequence[Run]) -> None:
    """Refuse, before any work, runs whose figures could not stand in one table, and results of another protocol.

    Raises:
        OptionError: naming what differs.
    """
    for index, run in enumerate(runs):
        for other in runs[:index]:
            differences = protocol_differences(protocol(run.metrics), protocol(other.metrics))
            if differences:
                raise OptionError(
                    f'{run.file}: its protocol differs from that of {other.file}: {"; ".join(differences)}'
                )
        for block in run.options['datasets'].values():
            read_metrics(run, str(block.get('name')))
