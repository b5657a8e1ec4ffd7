"""Write docs/options.md, the reference of every key of an option file, from the code.

    python scripts/make_options_reference.py          # write it
    python scripts/make_options_reference.py --check  # fail if the file is not up to date

Keys, types, ranges and defaults come from the models and constructors that check the options; what they mean comes from
the docstrings of the classes and, for the blocks, from ``WORDS`` below. A key without words is an error.
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
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from dkp_plugin.data import blind_sr_dataset, kernel_dataset, photo_crop_dataset, synthesis
from dkp_plugin.engine import options
from dkp_plugin.estimators.base import KernelEstimator
from dkp_plugin.evaluation import checks
from dkp_plugin.evaluation.comparison.suites import SuiteEntry
from dkp_plugin.host import schema
from dkp_plugin.restorers.base import Restorer

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / 'docs/options.md'
REQUIRED = 'required'
ADDED_TO_DATASETS = {'phase', 'scale'}

INTRODUCTION = """\
# Option files

Every key that an option file can have. This page is made from the code by `scripts/make_options_reference.py`; a test
checks that it is up to date.

An option file is YAML, read without running code. `--force_yml block:key=value` replaces a value on the command line.
A key that is unknown, missing or of a wrong value is refused before any work, in one line with file, line number and
what is allowed. `~` is YAML for none. For a training, keys that are not named here are BasicSR's.
"""

# What the keys of the blocks mean, which is not said where they are checked.
WORDS = {
    'the top level': {
        'name': 'Of the run; results go to `results/<name>`.',
        'model_type': 'The model that runs estimator and restorer.',
        'scale': 'Enlargement s.',
        'num_gpu': '0: the CPU; `auto`: all GPUs there are.',
        'manual_seed': 'All random numbers follow from it and from the names of the images. If missing, it is drawn.',
        'datasets': 'Blocks `test_1`, `test_2`, ..., sorted as text; each a data set, see below.',
        'network_k': 'The kernel estimator, see below.',
        'network_g': 'The restorer, see below.',
        'degradation': 'What is known of the forward model before an image is seen.',
        'alternation': 'How long estimator and restorer take turns.',
        'early_stopping': 'When the loop ends early.',
        'restorer': 'A restorer that makes the final image with the kernel that the alternation found.',
        'tile': 'Side of the tiles in which larger images are restored, in HR pixels, at least 128; `auto`: 1024 with '
        'the diffusion prior, 768 with restorers that need the whole image.',
        'path': 'Weights.',
        'val': 'What is saved and measured.',
        'custom_imports': 'Modules of your own to import before the file is checked, see [the tutorial](tutorial.md).',
        'dist_params': "BasicSR's, for `--launcher slurm`: `backend` and `port`.",
    },
    'degradation': {
        'convention': 'Where the centre of the kernel lies, see [conventions](conventions.md). For photographs '
        '`aligned`; the benchmarks of FKP and DKP are `released`.',
        'kernel_size': 'Odd side K of the kernel, in pixels of the result; `auto`: min(4 s + 3, 21).',
        'noise': 'Standard deviation of the noise in the LR image, of 255; `auto`: estimated from each image and, of a '
        'JPEG file, from its quality.',
        'border': 'How the image continues beyond its border: `mirror`, or `periodic` as benchmarks are made; `auto`: '
        '`mirror` for the convention `aligned`, `periodic` for `released`.',
    },
    'alternation': {
        'num_iter': 'Iterations. Required by `DIP`; not allowed where the restorer sets it by options of its own.',
        'averaging': "Decay of the average over the restorer's images that is the result; 0: the last one.",
    },
    'early_stopping': {
        'method': 'Watch the variance of successive images over a window (`wmv`) or with exponential weights (`emv`), '
        'and keep the image at its minimum.',
        'window': 'Images that count.',
        'patience': 'Stop after so many iterations without a new minimum.',
        'min_iter': 'Iterations before the first minimum is looked for.',
    },
    'restorer': {
        'final': 'A restorer: its name, or a block like `network_g`.',
        'pretrain': 'Its weights.',
        'num_iter': 'Its iterations, where it does not set them itself.',
    },
    'path': {
        'pretrain_network_g': 'Weights of the restorer: `.safetensors`, or what `torch.save` writes. `~`: those of the '
        'package, where there are some.',
        'strict_load_g': "As in BasicSR's files; weights must fit.",
        'resume_state': 'Of a training. A test resumes by itself.',
    },
    'val': {
        'save_img': 'Save images and kernels.',
        'suffix': 'Of the file names of images; `~`: the name of the run.',
        'pbar': 'Show progress.',
        'checkpoint_freq': 'Iterations between saved states, from which an interrupted image resumes; 0: saved only '
        'when the run is asked to stop.',
        'curve_freq': "Iterations between rows of an image's trajectory; 0: none.",
        'metrics': 'By any name, a metric, see below.',
    },
    'BlindSRDataset': {
        'name': 'Of the data set; names the folders of its results.',
        'type': '`BlindSRDataset`.',
        'dataroot_lq': 'LR images: a folder or an lmdb.',
        'dataroot_gt': 'HR images, paired with the LR images by name.',
        'dataroot_kernel': 'True kernels (`.mat`, `.npy`), paired by name; for metrics and the oracle only.',
        'io_backend': '`{type: disk}` or `{type: lmdb}`.',
        'convention': 'Of the kernels; must be that of `degradation`.',
        'random_kernel': 'Make LR images and kernels from `dataroot_gt`, see below.',
    },
    'random_kernel': {
        'family': '`gaussian`, `motion`, `line`, `levin`, or a folder of kernel files.',
        'kernel_size': 'Odd; `~`: min(4 s + 3, 21).',
        'variance_range': 'Of `gaussian`, in squared HR pixels; `~`: 0.175 s to min(2.5 s, 10).',
        'length_range': 'Of `motion` and `line`, in HR pixels; `~`: s / 2 to 0.8 K.',
        'seed': 'Of kernels and noise, together with the name of the image.',
        'noise': 'Standard deviation of Gaussian noise, of 255.',
        'jpeg_quality': 'Of the LR image; `~`: no compression.',
    },
    'KernelDataset': {
        'name': 'Of the data set.',
        'type': '`KernelDataset`.',
        'kernel_family': '`gaussian`, `motion` or `line`.',
        'kernel_size': 'Odd; `~`: min(4 s + 3, 21).',
        'variance_range': 'As for `random_kernel`.',
        'length_range': 'As for `random_kernel`.',
        'noise': 'Upper end of the uniform noise added to each pixel of a kernel.',
        'num_kernels': 'Kernels in an epoch.',
        'seed': 'Kernel number i depends on it and on i alone.',
    },
    'PhotoCropDataset': {
        'name': 'Of the data set.',
        'type': '`PhotoCropDataset`.',
        'dataroot_gt': 'Folder of photographs.',
        'gt_size': 'Side of the crops.',
        'resize_factors': 'Sizes, at most 1, at which each photograph serves.',
        'gray_share': 'Share of the crops that lose their colour.',
    },
    'an entry of option_files': {
        'file': 'An option file.',
        'only': 'Names of the data sets to run; by default all.',
        'variants': 'By name, what changes in the file; a block that names a `type` replaces the one that is there.',
    },
}
BASICSR = "BasicSR's."
OF_LOADER = {
    'use_shuffle',
    'num_worker_per_gpu',
    'batch_size_per_gpu',
    'dataset_enlarge_ratio',
    'prefetch_mode',
    'pin_memory',
}
# What option files may hold before the entry point completes them, against what the models receive.
TYPES_IN_FILE = {('the top level', 'num_gpu'): 'integer >= 0, or `auto`'}
DEFAULTS_IN_FILE = {('the top level', 'manual_seed'): 'drawn'}

Row = tuple[str, str, str, str]


def write_value(value: Any) -> str:
    """A default as YAML."""
    if isinstance(value, BaseModel):
        return 'its defaults'
    if isinstance(value, tuple):
        value = list(value)
    text = '~' if value is None else yaml.safe_dump(value, default_flow_style=True, width=1000)
    return f'`{text.removesuffix(chr(10)).removesuffix("...").strip()}`'


def describe_constraint(constraint: Any) -> str:
    """A constraint of pydantic's, as text that follows a type; empty for one that says nothing to a user."""
    for name, sign in (('gt', '>'), ('ge', '>='), ('lt', '<'), ('le', '<=')):
        if getattr(constraint, name, None) is not None:
            return f'{sign} {getattr(constraint, name)}'
    return 'without / and \\' if getattr(constraint, 'pattern', None) == options.PART_OF_NAME else ''


def flatten_metadata(metadata: Any) -> Iterator[Any]:
    """The constraints in an annotation's metadata, those inside pydantic's ``Field`` among them."""
    for item in metadata:
        yield from item.metadata if isinstance(item, FieldInfo) else [item]


def describe_type(annotation: Any, metadata: Any = ()) -> str:
    """A type hint in words."""
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
    """Turn the reStructuredText of a docstring into Markdown, on one line for each paragraph."""
    text = re.sub(r':\w+:`~?\.?(?:[\w.]*\.)?(\w+)`', r'`\1`', inspect.cleandoc(text)).replace('``', '`')
    text = re.sub(r'\bNone\b', '`~`', text)
    return '\n\n'.join(' '.join(paragraph.split()) for paragraph in text.split('\n\n'))


def split_docstring(text: str) -> tuple[str, dict[str, str]]:
    """The text of a docstring before its first section, and what it says about each argument."""
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
    """Rows of key, type, default and meaning as a Markdown table."""
    lines = ['| key | value | default | meaning |', '|---|---|---|---|']
    for row in rows:
        lines.append('| ' + ' | '.join(' '.join(cell.split()).replace('|', r'\|') for cell in row) + ' |')
    return '\n'.join(lines) + '\n'


def block_rows(name: str, model: type[BaseModel]) -> list[Row]:
    """The keys of a block, from the model that checks it."""
    words = dict(WORDS[name])
    rows = []
    for key, field in model.model_fields.items():
        if key in (ADDED_TO_DATASETS if 'phase' in model.model_fields else schema.ADDED_KEYS):
            continue
        meaning = words.pop(key, BASICSR if key in OF_LOADER else None)
        if meaning is None:
            raise SystemExit(f'{__file__}: WORDS has none for {key} of {name}')
        default = REQUIRED if field.is_required() else write_value(field.get_default(call_default_factory=True))
        kind = TYPES_IN_FILE.get((name, key), describe_type(field.annotation, field.metadata))
        rows.append((f'`{key}`', kind, DEFAULTS_IN_FILE.get((name, key), default), meaning))
    if words:
        raise SystemExit(f'{__file__}: WORDS has some for {", ".join(words)} of {name}, which there is no more')
    return rows


def constructor_rows(network: type, where: str) -> list[Row]:
    """The arguments of a constructor, which are the keys of its block."""
    _, meanings = split_docstring(network.__doc__ or '')
    rows = []
    for parameter in inspect.signature(network).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.name not in meanings:
            raise SystemExit(f'{where}: the docstring has no word on {parameter.name}')
        default = REQUIRED if parameter.default is parameter.empty else write_value(parameter.default)
        meaning = meanings[parameter.name]
        rows.append((f'`{parameter.name}`', describe_type(parameter.annotation), default, meaning))
    return rows


def networks(kind: type) -> dict[str, type]:
    """The registered networks of a kind that are in this package, by name."""
    ours = {name: network for name, network in schema.ARCH_REGISTRY if network.__module__.startswith('dkp_plugin.')}
    return {name: ours[name] for name in sorted(ours, key=str.lower) if issubclass(ours[name], kind)}


def network_section(name: str, network: type) -> str:
    """What a network is and which keys it has."""
    rows = constructor_rows(network, name)
    text = f'### {name}\n\n{split_docstring(network.__doc__ or "")[0]}\n\n'
    return text + (table(rows) if rows else 'No keys but `type`.\n')


def metric_section() -> str:
    """The metrics, with the keys of each and what it needs."""
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
    for name, module in (('KernelDataset', kernel_dataset), ('PhotoCropDataset', photo_crop_dataset)):
        doc = split_docstring(getattr(module, name).__doc__)[0].partition(' Keys:')[0]
        yield f'### {name}\n\n{doc}\n\n{table(block_rows(name, getattr(module, name + "Options")))}'
    for name in ('CompactPrior', 'KernelFlow'):
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
        'metric whose data are not known is skipped with one warning.\n\n' + metric_section(),
        f"## datasets\n\nBasicSR's `PairedImageDataset` and `SingleImageDataset` work, too.\n\n### BlindSRDataset\n\n"
        f'{dataset}\n\n' + table(block_rows('BlindSRDataset', blind_sr_dataset.BlindSRDatasetOptions)),
        '### random_kernel\n\n' + table(block_rows('random_kernel', synthesis.RandomKernelOptions)),
        '## network_k: kernel estimators\n\nThe key `type` names one of these classes; the others are its arguments.\n',
        *(network_section(*entry) for entry in networks(KernelEstimator).items()),
        '## network_g: restorers\n\nThe key `type` names one of these classes; the others are its arguments.\n',
        *(network_section(*entry) for entry in networks(Restorer).items()),
        '## Training\n',
        *training_sections(),
        '## Suites of `scripts/compare.py`\n\n`options/suites/<name>.yml` holds a list `option_files`. An entry is the '
        'name of an option file, or a block:\n\n' + table(block_rows('an entry of option_files', SuiteEntry)),
    ]
    return '\n'.join(parts)


def main() -> int:
    parser = argparse.ArgumentParser(description='Write docs/options.md from the code.')
    parser.add_argument('--check', action='store_true', help='only say whether the file is up to date')
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
