"""Generate docs/options.md, the reference of all option file keys, from the code.

    python scripts/make_options_reference.py          # write it
    python scripts/make_options_reference.py --check  # fail if the file is not up to date

Keys, types, ranges and defaults come from the models and constructors that check the options. Descriptions come from
the docstrings of the classes and, for the blocks, from ``WORDS`` below. A key without a description is an error.
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

from dkp_plugin.archs.one_shot import OneShotNetwork
from dkp_plugin.data import blind_sr_dataset, kernel_dataset, photo_crop_dataset, synthesis, unpaired_dataset
from dkp_plugin.engine import options
from dkp_plugin.estimators.base import KernelEstimator
from dkp_plugin.evaluation import checks
from dkp_plugin.evaluation.comparison.suites import SuiteEntry
from dkp_plugin.host import schema
from dkp_plugin.models import dasr_model, photo_sr_model, unfolded_model, unpaired_options
from dkp_plugin.restorers.base import Restorer

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / 'docs/options.md'
REQUIRED = 'required'
ADDED_TO_DATASETS = {'phase', 'scale'}

INTRODUCTION = """\
# Option files

All keys of an option file. `scripts/make_options_reference.py` generates this page from the code; a test checks that it
is up to date.

An option file is YAML, read without running code. `--force_yml block:key=value` replaces a value on the command line.
Unknown keys, missing keys and wrong values are reported before a run starts, in one line with the file, the line number
and the allowed values. `~` is YAML for none. Training keys that are not listed here are BasicSR's.
"""

BASICSR = "BasicSR's."
PHOTO_TRAIN = {
    'families': 'Shares of the kernel families: `gaussian`, `disc`, `line`, `motion`.',
    'perturbation': "Largest error, as a share of each parameter's range, of half of the kernels.",
    'clean_share': 'Of the crops that are rounded only; of the others a third each has noise, is a JPEG, is both.',
    'noise_range': 'Standard deviations of the noise, out of 255.',
    'quality_range': 'Qualities of the JPEGs.',
    'precision': 'Of the hidden layers; `auto`: bf16 where it is faster.',
    'max_grad_norm': 'Longest gradient.',
    'ema_decay': 'Of the averaged weights.',
    'optim_g': BASICSR,
    'scheduler': BASICSR,
    'total_iter': BASICSR,
    'warmup_iter': BASICSR,
    'pixel_opt': 'Loss `l_pix`, of the result.',
}
# Descriptions of keys that have none in the code that checks them.
WORDS = {
    'the top level': {
        'name': 'Name of the run; results go to `results/<name>`.',
        'model_type': 'Model that runs the estimator and the restorer.',
        'scale': 'Scale factor s.',
        'num_gpu': '0: the CPU; `auto`: all available GPUs.',
        'manual_seed': 'Seed; with the image names it determines all random numbers. Drawn at random if missing.',
        'datasets': 'Blocks `test_1`, `test_2`, ..., sorted as text, one for each data set, see below. Data sets with '
        'missing folders are skipped; `--only NAME` runs only the named data sets; `~` removes a data set.',
        'network_k': 'The kernel estimator, see below.',
        'network_g': 'The restorer, see below.',
        'degradation': 'The forward model without its kernel.',
        'alternation': 'The loop of estimator and restorer.',
        'early_stopping': 'Criterion for ending the loop early.',
        'restorer': 'Restorer of the final image, which uses the kernel from the alternation.',
        'local_kernels': 'Estimate a kernel for every part of about 96x96 LR pixels, for blur that varies over the '
        'image. Parts of low confidence take the kernels of their neighbours, and the results are blended.',
        'tile': 'Side of the tiles for larger images, in HR pixels, at least 128; `auto`: 1024 with '
        'the compact prior, 2048 with one-pass networks, 768 with other restorers that need the whole image.',
        'path': 'Weights.',
        'val': 'Outputs and metrics.',
        'custom_imports': 'Your modules to import before the file is checked, see [the tutorial](tutorial.md).',
        'logger': "BasicSR's, for trainings; tests ignore it.",
        'dist_params': "BasicSR's, for `--launcher slurm`: `backend` and `port`.",
    },
    'degradation': {
        'convention': 'Position of the kernel centre, see [conventions](conventions.md): `aligned` for photographs, '
        '`released` for the benchmarks of FKP and DKP.',
        'kernel_size': 'Odd side K of the kernel, in HR pixels; `auto`: min(4 s + 3, 21), at scale 1 15; larger '
        'for photographs whose kernel reaches the border.',
        'noise': 'Standard deviation of white noise in the LR image, out of 255; `auto`: estimated from each image.',
        'jpeg': 'JPEG quality of the LR image, 1 to 100, from which its compression error is estimated; `auto`: the '
        'tables of a JPEG file; `off`: none.',
        'border': 'Border condition of the image: `mirror`, or `periodic` as in the benchmarks; `auto`: `mirror` for '
        'the convention `aligned`, `periodic` for `released`.',
    },
    'alternation': {
        'num_iter': 'Iterations. `DIP` requires it; restorers that set their own number of iterations do not allow it.',
        'averaging': "Decay of the exponential average over the restorer's images that is returned; 0: the last image.",
    },
    'early_stopping': {
        'method': 'Keep the image at the minimum of the variance of successive images, over a window (`wmv`) or with '
        'exponential weights (`emv`).',
        'window': 'Number of images in the window.',
        'patience': 'Stop after this many iterations without a new minimum.',
        'min_iter': 'First iteration that may become a minimum.',
    },
    'restorer': {
        'final': 'Name of a restorer, or a block like `network_g`.',
        'pretrain': 'Weights of this restorer.',
        'num_iter': 'Iterations of this restorer, unless it sets its own number.',
    },
    'path': {
        'pretrain_network_g': 'Weights of the restorer, in the format of safetensors or `torch.save`. `~`: the shipped '
        'weights, if any.',
        'strict_load_g': "As in BasicSR's files; weights must always match.",
        'resume_state': 'For trainings. Tests resume automatically.',
    },
    'val': {
        'save_img': 'Save images and kernels.',
        'suffix': 'Suffix of the image file names; `~`: the name of the run.',
        'pbar': 'Show a progress bar.',
        'checkpoint_freq': 'Iterations between saved states, from which an interrupted image resumes; 0: save only '
        'when the run is asked to stop.',
        'curve_freq': "Iterations between rows of an image's trajectory; 0: none.",
        'metrics': 'Metrics, under names of your choice, see below.',
    },
    'BlindSRDataset': {
        'name': 'Name of the data set and of its results folders.',
        'type': '`BlindSRDataset`.',
        'dataroot_lq': 'LR images: a folder or an lmdb.',
        'dataroot_gt': 'HR images, paired with the LR images by name.',
        'dataroot_kernel': 'True kernels (`.mat`, `.npy`), paired by name; used only by metrics and the oracle.',
        'io_backend': '`{type: disk}` or `{type: lmdb}`.',
        'convention': 'Convention of the kernels; must match `degradation`.',
        'random_kernel': 'Generate LR images and kernels from `dataroot_gt`, see below.',
    },
    'random_kernel': {
        'family': '`gaussian`, `motion`, `line`, `levin`, or a folder of kernel files.',
        'kernel_size': 'Odd; `~`: min(4 s + 3, 21), at scale 1 15.',
        'variance_range': 'Variances of `gaussian`, in squared HR pixels; `~`: 0.175 s to min(2.5 s, 10).',
        'length_range': 'Lengths of `motion` and `line`, in HR pixels; `~`: s / 2 to 0.8 K.',
        'seed': 'Seed of kernels and noise, combined with the image name.',
        'noise': 'Standard deviation of Gaussian noise, out of 255.',
        'jpeg_quality': 'JPEG quality of the LR image; `~`: no compression.',
        'shared': 'One kernel for all images, as of one camera.',
    },
    'KernelDataset': {
        'name': 'Name of the data set.',
        'type': '`KernelDataset`.',
        'kernel_family': '`gaussian`, `motion` or `line`.',
        'kernel_size': 'Odd; `~`: min(4 s + 3, 21), at scale 1 15.',
        'variance_range': 'As for `random_kernel`.',
        'length_range': 'As for `random_kernel`.',
        'noise': 'Upper bound of the uniform noise added to each pixel of a kernel.',
        'num_kernels': 'Kernels per epoch.',
        'seed': 'Seed; kernel i depends only on it and on i.',
    },
    'PhotoCropDataset': {
        'name': 'Name of the data set.',
        'type': '`PhotoCropDataset`.',
        'dataroot_gt': 'Folder of photographs.',
        'more_roots_gt': 'Further folders of photographs.',
        'gt_size': 'Side of the crops.',
        'resize_factors': 'Sizes, at most 1, at which each photograph is used.',
        'gray_share': 'Share of the crops that are converted to gray.',
    },
    'UnpairedDataset': {
        'name': 'Of the data set.',
        'type': '`UnpairedDataset`.',
        'dataroot_lq': 'LR images without truth: a folder or an lmdb.',
        'dataroot_exemplar': 'Sharp photographs that have nothing to do with them.',
        'lq_size': 'Side of the LR crops.',
        'exemplar_size': 'Side of the crops of exemplars; `~`: `scale` times `lq_size`.',
        'resize_factors': 'Sizes, at most 1, at which each exemplar is used.',
        'leak_check': 'What happens where a photograph is in both folders, by its name or its content.',
        'io_backend': '`{type: disk}` or `{type: lmdb}`.',
    },
    'UnpairedSRModel: train': {
        'image_crop': 'LR pixels of the crops that S and R see; N sees all of a crop.',
        'num_lq': 'Crops of LR images per step and process.',
        'perturbation': 'How far kernels of the bank are moved, at most, for a third of the pairs.',
        'intermediate_kernels': 'What blurs the exemplars of S; `bank` is for an ablation.',
        'bank': 'When the kernels of the LR images are estimated, and how they are used, see below.',
        'precision': 'Of the hidden layers; `auto`: bf16 where it is faster.',
        'parts': 'Of the network that are trained; the weight head of N belongs to R.',
        'own_shares': "Of the pairs that R restores with N's kernel, at the start and at the end.",
        'max_grad_norm': 'Longest gradient of each of S, N and R.',
        'ema_decay': 'Of the averaged weights, which judge the kernels and teach.',
        'optim_g': BASICSR,
        'scheduler': BASICSR,
        'total_iter': BASICSR,
        'warmup_iter': BASICSR,
        'pixel_opt': 'Loss `l_exemplar`.',
        'intermediate_opt': 'Loss `l_intermediate`.',
        'kernel_opt': 'Loss `l_kernel`: `KernelCrossEntropyLoss`.',
        'distill_opt': 'Loss `l_distill`.',
        'affinity_opt': 'Loss `l_affinity`: `FeatureAffinityLoss`.',
        'aux_opt': 'Loss `l_aux`.',
        'data_opt': 'Loss `l_data`.',
    },
    'PhotoSRModel: train': PHOTO_TRAIN
    | {
        'perturbation': "Largest error, as a share of each parameter's range, of half of the kernels that R gets.",
        'own_share': "Of the pairs that R restores with N's kernel.",
        'mirror_share': 'Of the iterations whose LR crops have a mirrored border, as photographs have it.',
        'parts': 'Of the network that are trained; the weight head of N belongs to R.',
        'max_grad_norm': 'Longest gradient of each of S, N and R.',
        'intermediate_opt': 'Loss `l_intermediate`, of the image of S.',
        'kernel_opt': 'Loss `l_kernel`, of N: `KernelCrossEntropyLoss`.',
    },
    'UnfoldedModel: train': PHOTO_TRAIN
    | {
        'scales': 'Each iteration draws one; a scale that stands there twice is drawn twice as often.',
        'schedule_lr': 'Learning rate of the schedule, a few numbers for each scale.',
    },
    'UnpairedSRModel: train: bank': {
        'start_iter': 'First iteration that uses the kernels of the LR images.',
        'interval': 'Iterations between two estimates from then on.',
        'num_steps': 'Steps of the estimator for a kernel.',
        'share': 'Of the bank among the kernels that N learns; the others are random.',
        'source': '`random` leaves the bank as it starts, for an ablation.',
    },
    'DASRModel: train': {
        'encoder_iter': 'Iterations that train the encoder alone, at the start.',
        'contrast_weight': 'Weight of the contrastive loss, `l_contrast`.',
        'ema_decay': '0, because BasicSR would not average the statistics of the batch norms.',
        'optim_g': BASICSR,
        'scheduler': BASICSR,
        'total_iter': BASICSR,
        'warmup_iter': BASICSR,
        'pixel_opt': 'Loss `l_pix`.',
    },
    'an entry of option_files': {
        'file': 'An option file.',
        'only': 'Names of the data sets to run; by default all.',
        'needs': 'Files, such as weights, without which the entry is left out; the report says so.',
        'variants': 'Changes to the file, by variant name; a block with a `type` replaces the existing block.',
    },
}
OF_LOADER = {
    'use_shuffle',
    'num_worker_per_gpu',
    'batch_size_per_gpu',
    'dataset_enlarge_ratio',
    'prefetch_mode',
    'pin_memory',
    'num_prefetch_queue',
    'persistent_workers',
}
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
            raise SystemExit(f'{__file__}: WORDS lacks {key} of {name}')
        default = REQUIRED if field.is_required() else write_value(field.get_default(call_default_factory=True))
        kind = TYPES_IN_FILE.get((name, key), describe_type(field.annotation, field.metadata))
        rows.append((f'`{key}`', kind, DEFAULTS_IN_FILE.get((name, key), default), meaning))
    if words:
        raise SystemExit(f'{__file__}: WORDS has {", ".join(words)} of {name}, which no longer exists')
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
