"""Generate docs/options.md, the reference of all option file keys, from the code.

    python scripts/make_options_reference.py          # write it
    python scripts/make_options_reference.py --check  # fail if the file is not up to date

Keys, types, ranges and defaults come from the models and constructors that check the options. Descriptions come from
the docstrings of the classes and, for the blocks, from ``option_words.py``. A key without a description is an error.
"""

import argparse
import inspect
import re
import sys
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from option_words import BASICSR, OF_LOADER, WORDS
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from dkp_plugin.archs.one_shot import OneShotNetwork
from dkp_plugin.data import blind_sr_dataset, kernel_dataset, photo_crop_dataset, synthesis, unpaired_dataset
from dkp_plugin.engine import options
from dkp_plugin.estimators.base import KernelEstimator
from dkp_plugin.evaluation import checks
from dkp_plugin.evaluation.comparison.suites import SuiteEntry
from dkp_plugin.evaluation.provenance import ADDED_TO_DATASETS
from dkp_plugin.host import schema
from dkp_plugin.models import dasr_model, photo_sr_model, unfolded_model, unpaired_options
from dkp_plugin.restorers.base import Restorer

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / 'docs/options.md'
REQUIRED = 'required'

INTRODUCTION = """\
# Option files

All keys of an option file. `scripts/make_options_reference.py` generates this page from the code; a test checks that it
is up to date.

An option file is YAML, read without running code. `--force_yml block:key=value` replaces a value on the command line.
Unknown keys, missing keys and wrong values are reported before a run starts, in one line with the file, the line number
and the allowed values. `~` is YAML for none. Training keys that are not listed here are BasicSR's.
"""

# Types and defaults in option files that differ from those in the models, because the entry point completes the files.
TYPES_IN_FILE = {('the top level', 'num_gpu'): 'integer >= 0, or `auto`'}
DEFAULTS_IN_FILE = {('the top level', 'manual_seed'): 'drawn'}

Row = tuple[str, str, str, str]


def write_value(value: Any) -> str:
    """Format a default as YAML."""
    if isinstance(value, BaseModel):
        return 'its defaults'
    if isinstance(value, tuple):
        value = list(value)
    text = '~' if value is None else yaml.safe_dump(value, default_flow_style=True, width=1000)
    return f'`{text.removesuffix(chr(10)).removesuffix("...").strip()}`'


def describe_constraint(constraint: Any) -> str:
    """Describe a constraint of pydantic as text that follows a type; empty if it is irrelevant to users."""
    for name, sign in (('gt', '>'), ('ge', '>='), ('lt', '<'), ('le', '<=')):
        if getattr(constraint, name, None) is not None:
            return f'{sign} {getattr(constraint, name)}'
    return 'without / and \\' if getattr(constraint, 'pattern', None) == options.PART_OF_NAME else ''


def flatten_metadata(metadata: Any) -> Iterator[Any]:
    """Yield the constraints in an annotation's metadata, including those in pydantic's ``Field``."""
    for item in metadata:
        yield from item.metadata if isinstance(item, FieldInfo) else [item]


def describe_type(annotation: Any, metadata: Any = ()) -> str:
    """Describe a type hint in words."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return ', or '.join('`~`' if part is types.NoneType else describe_type(part, metadata) for part in arguments)
    constraints = ' and '.join(filter(None, map(describe_constraint, flatten_metadata(metadata))))
    if constraints:
        return f'{describe_type(annotation)} {constraints}'
    if origin is typing.Annotated:
        return describe_type(arguments[0], annotation.__metadata__)
    if origin is typing.Literal:
        return 'one of ' + ', '.join(map(write_value, arguments)) if len(arguments) > 1 else write_value(arguments[0])
    if annotation is types.NoneType:
        return '`~`'
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return 'block'
    if origin is dict or annotation is dict:
        return 'block'
    if origin in (tuple, list) or (origin and issubclass(origin, typing.Sequence)):
        if origin is tuple and arguments[-1] is not Ellipsis:
            return f'{len(arguments)} of: {describe_type(arguments[0])}'
        return f'list of: {describe_type(arguments[0])}'
    names = {int: 'integer', float: 'number', str: 'text', bool: 'true or false', Path: 'path'}
    return names.get(annotation, 'anything')


def to_markdown(text: str) -> str:
    """Convert the reStructuredText of a docstring to Markdown, one line per paragraph."""
    text = re.sub(r':\w+:`~?\.?(?:[\w.]*\.)?(\w+)`', r'`\1`', inspect.cleandoc(text)).replace('``', '`')
    text = re.sub(r'\bNone\b', '`~`', text)
    return '\n\n'.join(' '.join(paragraph.split()) for paragraph in text.split('\n\n'))


def split_docstring(text: str) -> tuple[str, dict[str, str]]:
    """The text of a docstring before its first section, and the description of each argument."""
    text = inspect.cleandoc(text)
    body, *sections = re.split(r'\n(?=(?:Args|Raises|Returns|Attributes):\n)', '\n' + text)
    arguments: dict[str, str] = {}
    for section in sections:
        if not section.startswith('Args:'):
            continue
        for entry in re.split(r'\n {4}(?=\w+: )', section)[1:]:
            name, meaning = entry.split(': ', 1)
            arguments[name] = to_markdown(inspect.cleandoc(meaning.split('\n\n')[0]))
    return to_markdown(body.strip()), arguments


def table(rows: list[Row]) -> str:
    """Format rows of key, type, default and meaning as a Markdown table."""
    lines = ['| key | value | default | meaning |', '|---|---|---|---|']
    for row in rows:
        lines.append('| ' + ' | '.join(' '.join(cell.split()).replace('|', r'\|') for cell in row) + ' |')
    return '\n'.join(lines) + '\n'


def block_rows(name: str, model: type[BaseModel]) -> list[Row]:
    """List the keys of a block from its model."""
    words = dict(WORDS[name])
    rows = []
    for key, field in model.model_fields.items():
        if key in (ADDED_TO_DATASETS if 'phase' in model.model_fields else schema.ADDED_KEYS):
            continue
        meaning = words.pop(key, BASICSR if key in OF_LOADER else None)
        if meaning is None:
            raise SystemExit(f'option_words.py: WORDS lacks {key} of {name}')
        default = REQUIRED if field.is_required() else write_value(field.get_default(call_default_factory=True))
        kind = TYPES_IN_FILE.get((name, key), describe_type(field.annotation, field.metadata))
        rows.append((f'`{key}`', kind, DEFAULTS_IN_FILE.get((name, key), default), meaning))
    if words:
        raise SystemExit(f'option_words.py: WORDS has {", ".join(words)} of {name}, which no longer exists')
    return rows


def constructor_rows(network: type, where: str) -> list[Row]:
    """List the arguments of a constructor, which are the keys of its block."""
    owner = next(base for base in network.__mro__ if '__init__' in vars(base))  # whose docstring has the arguments
    _, meanings = split_docstring(owner.__doc__ or '')
    rows = []
    for parameter in inspect.signature(network).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.name not in meanings:
            raise SystemExit(f'{where}: the docstring does not describe {parameter.name}')
        default = REQUIRED if parameter.default is parameter.empty else write_value(parameter.default)
        meaning = meanings[parameter.name]
        rows.append((f'`{parameter.name}`', describe_type(parameter.annotation), default, meaning))
    return rows


def networks(kind: schema.Kind) -> dict[str, type]:
    """The registered networks of a kind in this package, by name."""
    ours = {name: network for name, network in schema.ARCH_REGISTRY if network.__module__.startswith('dkp_plugin.')}
    return {name: ours[name] for name in sorted(ours, key=str.lower) if issubclass(ours[name], kind)}


def network_section(name: str, network: type) -> str:
    """Describe a network and its keys."""
    rows = constructor_rows(network, name)
    text = f'### {name}\n\n{split_docstring(network.__doc__ or "")[0]}\n\n'
    return text + (table(rows) if rows else 'Only the key `type`.\n')


def metric_section() -> str:
    """The metrics with their keys and required data."""
    lines = ['| type | keys | needs | |', '|---|---|---|---|']
    chosen = [
        name for name, _ in checks.METRIC_REGISTRY if name in ('calculate_psnr', 'calculate_ssim', 'calculate_niqe')
    ]
    chosen += [name for name, metric in checks.METRIC_REGISTRY if metric.__module__.startswith('dkp_plugin.')]
    sources = {'img2': 'HR image', 'kernel_gt': 'true kernel'}
    for name in chosen:
        metric = checks.METRIC_REGISTRY.get(name)
        parameters = [p for p in inspect.signature(metric).parameters.values() if p.kind is not p.VAR_KEYWORD]
        keys = ', '.join(
            f'`{p.name}`' + (' (required)' if p.default is p.empty else f': {write_value(p.default)}')
            for p in parameters
            if p.name not in checks.METRIC_DATA
        )
        needs = ', '.join(sources[p.name] for p in parameters if p.name in sources)
        doc = to_markdown((metric.__doc__ or '').split('\n\n')[0])
        lines.append(f'| `{name}` | {keys or "-"} | {needs or "-"} | {doc} |')
    return '\n'.join(lines) + '\n'


def training_sections() -> Iterator[str]:
    """The models, data sets and networks of a training."""
    for name, model in checks.MODEL_REGISTRY:
        if model.__module__.startswith('dkp_plugin.') and name != 'BlindSRModel':
            yield f'### model_type: {name}\n\n{split_docstring(model.__doc__)[0]}\n'
    datasets = {
        'KernelDataset': kernel_dataset,
        'PhotoCropDataset': photo_crop_dataset,
        'UnpairedDataset': unpaired_dataset,
    }
    for name, module in datasets.items():
        doc = split_docstring(getattr(module, name).__doc__)[0].partition(' Keys:')[0]
        yield f'### {name}\n\n{doc}\n\n{table(block_rows(name, getattr(module, name + "Options")))}'
    blocks = {
        'UnpairedSRModel: train': unpaired_options.UnpairedTrain,
        'UnpairedSRModel: train: bank': unpaired_options.BankOptions,
        'PhotoSRModel: train': photo_sr_model.PhotoSRTrain,
        'UnfoldedModel: train': unfolded_model.UnfoldedTrain,
        'DASRModel: train': dasr_model.DASRTrain,
    }
    for title, block in blocks.items():
        yield f'### {title}\n\n{table(block_rows(title, block))}'
    for name in ('CompactPrior', 'KernelFlow', 'MomentumContrast', 'UnfoldedPrior', 'UnpairedSR'):
        yield network_section(name, schema.ARCH_REGISTRY.get(name))


def reference() -> str:
    """The whole page."""
    blocks: Mapping[str, type[BaseModel]] = {
        'degradation': options.DegradationOptions,
        'alternation': options.AlternationOptions,
        'early_stopping': options.EarlyStoppingOptions,
        'restorer': options.FinalRestorerOptions,
        'path': options.PathOptions,
        'val': options.ValOptions,
    }
    dataset = split_docstring(blind_sr_dataset.BlindSRDataset.__doc__)[0].partition(' Keys:')[0]
    parts = [INTRODUCTION, '## Top level\n\n' + table(block_rows('the top level', options.BlindSROptions))]
    parts += [f'## {name}\n\n{table(block_rows(name, model))}' for name, model in blocks.items()]
    parts += [
        '## val: metrics\n\nEach entry is a block with a `type`. `better: higher` or `lower` is allowed everywhere. A '
        'metric without the required data is skipped with one warning. `type: pyiqa:<name>`, such as `pyiqa:lpips`, '
        'is a metric of [pyiqa](https://github.com/chaofengc/IQA-PyTorch) with its options. It needs `pip install '
        'pyiqa`; some of its metrics download weights. Its Y channel has the full range, so that its '
        '`psnr` is 1.3 dB below `calculate_psnr`.\n\n' + metric_section(),
        f"## datasets\n\nBasicSR's `PairedImageDataset` and `SingleImageDataset` are also supported.\n\n"
        f'### BlindSRDataset\n\n{dataset}\n\n'
        + table(block_rows('BlindSRDataset', blind_sr_dataset.BlindSRDatasetOptions)),
        '### random_kernel\n\n' + table(block_rows('random_kernel', synthesis.RandomKernelOptions)),
        '## network_k: kernel estimators\n\nThe key `type` names one of these classes; the others are its arguments.\n',
        *(network_section(*entry) for entry in networks(KernelEstimator).items()),
        '## network_g: restorers\n\nThe key `type` names one of these classes; the others are its arguments.\n',
        *(network_section(*entry) for entry in networks(Restorer | OneShotNetwork).items()),
        '## Training\n',
        *training_sections(),
        '## Suites of `scripts/compare.py`\n\n`options/suites/<name>.yml` holds a list `option_files`. An entry is the '
        'name of an option file, or a block:\n\n'
        + table(block_rows('an entry of option_files', SuiteEntry))
        + '\nThe file may also hold `quoted`, the data set or the table of the paper (`table1`, `table4`) whose '
        'figures stand beside the measured ones, by default those of each data set, and `notes`, sentences for the '
        'report.\n',
    ]
    return '\n'.join(parts)


def main() -> int:
    parser = argparse.ArgumentParser(description='Write docs/options.md from the code.')
    parser.add_argument('--check', action='store_true', help='only check whether the file is up to date')
    if not parser.parse_args().check:
        TARGET.write_text(reference(), encoding='utf-8')
    elif not TARGET.is_file() or TARGET.read_text(encoding='utf-8') != reference():
        print(
            f'{TARGET.relative_to(ROOT)} is not up to date: python scripts/make_options_reference.py', file=sys.stderr
        )
        return 1
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
