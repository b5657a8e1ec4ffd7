"""The results of runs: read existing ones and produce missing ones."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dkp_plugin.evaluation.comparison.runs import DataSet, Run
from dkp_plugin.evaluation.comparison.stock_models import measure_saved_images
from dkp_plugin.evaluation.provenance import Provenance, options_hash
from dkp_plugin.evaluation.records import Records, protocol
from dkp_plugin.evaluation.stock import find_finished, load_item
from dkp_plugin.host.errors import OptionError, UserError


@dataclass
class Result:
    """The results of a run.

    Args:
        run: The run.
        data_sets: Its data sets.
        records: Records by data set name and image name, without failed images.
        versions: Versions of the packages that produced the results.
        failures: Failures, one line each.
    """

    run: Run
    data_sets: list[DataSet] = field(default_factory=list)
    records: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)


def run_test(run: Run) -> str | None:
    """Run ``python -m dkp_plugin.test`` in a separate process and forward its output.

    Returns:
        None, or the last line of its output if it failed.
    """
    command = [sys.executable, '-m', 'dkp_plugin.test', '-opt', str(run.file)]
    command += ['--only', *(str(block['name']) for block in run.options['datasets'].values())]
    if run.seed is not None:
        command += ['--force_yml', f'name={run.name}', f'manual_seed={run.seed}']
    last = 'nothing was reported'
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            sys.stderr.write(line)
            if line.strip() and '%|' not in line:  # skip a progress bar after the reason
                last = line.strip()
    return None if process.returncode == 0 else f'exit status {process.returncode}: {last}'


def obtain(result: Result, start: Callable[[Run], str | None] = run_test) -> Result:
    """Read the results of a run; produce them first unless they are complete and match the options and images.

    The test pipeline keeps finished images and restores only missing or outdated ones. Models that write no records,
    such as BasicSR's own, leave images; these are measured here.

    Args:
        result: The run and its data sets; this function fills in the other fields.
        start: Runs an option file; returns None or the reason of a failure.

    Returns:
        The result; its ``failures`` list what failed.

    Raises:
        OptionError: if existing results of these options use another protocol.
    """
    run, reason = result.run, None
    if any(_is_incomplete(run, data_set) for data_set in result.data_sets):
        reason = start(run)
        for data_set in result.data_sets:
            if reason is None and not (run.folder / 'metrics' / f'{data_set.name}.json').is_file():
                records = Records(run.folder, data_set.name, data_set.images, run.options)
                measure_saved_images(records, data_set.data, data_set.scale, run.image_suffix)
    for data_set in result.data_sets:
        content = read_metrics(run, data_set.name)
        result.versions |= content.get('versions', {})
        result.records[data_set.name] = _good_records(content, data_set)
        result.failures += [
            f'{run.name}: {data_set.name}: {record["error"]}'
            for record in content.get('images', [])
            if 'error' in record
        ]
    if reason is not None and not result.failures:  # failures of images are more specific
        result.failures.append(f'{run.name}: {reason}')
    if not result.failures:
        result.failures += [
            f'{run.name}: {data_set.name}: no result for {", ".join(missing)}'
            for data_set in result.data_sets
            if (missing := [image for image in data_set.images if image not in result.records[data_set.name]])
        ]
    return result


def read_metrics(run: Run, data_set: str) -> dict[str, Any]:
    """Read the metrics of a data set by name; empty if they do not exist or belong to other options.

    Raises:
        OptionError: if their protocol differs from that of the option file.
    """
    path = run.folder / 'metrics' / f'{data_set}.json'
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
        if content['options_hash'] != options_hash(run.options, data_set):
            return {}
        differences = protocol_differences(content['protocol'], protocol(run.metrics))
    except (OSError, ValueError, KeyError, TypeError):  # missing or truncated
        return {}
    if differences:
        raise OptionError(f'{path}: its protocol differs from that of {run.file}: {"; ".join(differences)}')
    return content


def _good_records(content: Mapping[str, Any], data_set: DataSet) -> dict[str, dict[str, Any]]:
    """The records without an error, by image, in the order of the data set."""
    records = {record['image']: record for record in content.get('images', []) if 'error' not in record}
    return {image: records[image] for image in data_set.images if image in records}


def _is_incomplete(run: Run, data_set: DataSet) -> bool:
    """Whether an image or a metric is missing or outdated."""
    content = read_metrics(run, data_set.name)
    if len(_good_records(content, data_set)) < len(data_set.images):
        return True
    provenance = Provenance(run.options)
    for index, image in enumerate(data_set.images):
        try:
            expected = provenance.of(load_item(data_set.data, index))
        except UserError:  # the run reports it
            return True
        finished = find_finished(run.folder, data_set.name, image, expected)
        if not (finished.stands and finished.is_measured):
            return True
    return False


def protocol_differences(found: Mapping[str, Any], expected: Mapping[str, Any], where: str = '') -> list[str]:
    """Compare two protocols; a metric that only one of them has does not count as a difference.

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
    """Before any run, refuse runs whose metrics are not comparable, and results of another protocol.

    Raises:
        OptionError: if they differ; the message names the differences.
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
