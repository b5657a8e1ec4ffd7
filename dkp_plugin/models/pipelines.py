"""BasicSR's pipelines for ``dkp_plugin.test`` and ``dkp_plugin.train``, with one-line error messages."""

import json
import logging
import sys
import tempfile
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from basicsr.data import build_dataset
from basicsr.utils import check_resume, get_root_logger, get_time_str
from basicsr.utils.options import dict2str
from torch.utils.data import Dataset

from dkp_plugin.evaluation.checks import check_options
from dkp_plugin.evaluation.stock import file_stems, image_names
from dkp_plugin.host.arguments import make_test_parser, make_train_parser
from dkp_plugin.host.command import EXIT_FAILED_IMAGES, run_command
from dkp_plugin.host.imports import import_custom
from dkp_plugin.host.interruption import stopping_gently
from dkp_plugin.host.option_files import choose_data_sets, complete_options, find_option_file, read_option_file
from dkp_plugin.host.processes import process_group
from dkp_plugin.io.weight_files import read_weights
from dkp_plugin.models.blind_sr_model import BlindSRModel

KEPT_BY_TEST = 'finished results are kept, rerun the same command to resume'
KEPT_BY_TRAIN = 'the last checkpoint is kept, use --auto_resume to resume from it'


def run_test(args: Namespace) -> int:
    """Run the test pipeline with a parsed command line; see :func:`run_pipeline`."""
    import basicsr.test

    return run_pipeline(basicsr.test, False, args)


def run_train(args: Namespace) -> int:
    """Run the train pipeline with a parsed command line; see :func:`run_pipeline`."""
    import basicsr.train

    return run_pipeline(basicsr.train, True, args)


def run_pipeline(module: ModuleType, is_train: bool, args: Namespace | None = None) -> int:
    """Check the option file named on the command line, then run one of BasicSR's pipelines with it.

    Results go to ``results/<name>`` or ``experiments/<name>`` in the current folder.

    Args:
        module: ``basicsr.test`` or ``basicsr.train``.
        is_train: Whether it is ``basicsr.train``.
        args: The parsed command line; None: that of the process.

    Returns:
        Exit status: 0 on success, 1 if images failed, 2 if an option is invalid, 130 after Ctrl-C, 143 after SIGTERM.
    """
    if args is None:
        args = (make_train_parser if is_train else make_test_parser)().parse_args()
    return run_command(lambda: _run(module, is_train, args), KEPT_BY_TRAIN if is_train else KEPT_BY_TEST)


def _run(module: ModuleType, is_train: bool, args: Namespace) -> int:
    root = Path.cwd()
    pipeline = module.train_pipeline if is_train else module.test_pipeline
    args.opt = str(find_option_file(args.opt, 'train' if is_train else 'test'))
    file = read_option_file(Path(args.opt))
    file.force(args.force_yml)
    with file.naming_places():
        import_custom(file.options)
        skipped = choose_data_sets(file, args.only, skip_missing=not is_train)
        opt = complete_options(file.options, args, root, is_train)
        _report_skipped(opt, skipped)
        checked = check_options(opt)
    _check_writable(root / ('experiments' if is_train else 'results'))
    functions = _replacements(opt, args, checked, skipped)
    with process_group(args.launcher, opt), _functions_of(module, functions), _stopping(opt):
        pipeline(str(root))
    return 0 if is_train else _report_failures(opt)


def _replacements(
    opt: dict[str, Any], args: Namespace, checked: Any, skipped: list[str]
) -> dict[str, Callable[..., Any]]:
    """Functions that replace those of BasicSR's pipeline."""
    functions = {
        'parse_options': lambda *_, **__: (opt, args),  # the pipeline gets the options that were checked
        'dict2str': lambda options: '\n'.join([dict2str(options), *skipped]),  # the start of the log
        'get_root_logger': _get_root_logger,
    }
    if opt['is_train']:
        functions['load_resume_state'] = load_resume_state
        return functions
    functions['build_dataset'] = partial(_build_test_set, opt, build_dataset)
    if opt['model_type'] == 'BlindSRModel':
        functions['make_exp_dirs'] = _make_folders
        functions['build_model'] = lambda opt: BlindSRModel(opt, checked)  # avoids building the networks twice
        if opt['world_size'] > 1:  # one log for each process
            functions['get_time_str'] = lambda: f'{get_time_str()}_{opt["rank"]}'
    return functions


def _build_test_set(opt: dict[str, Any], build: Callable[..., Dataset], dataset_opt: dict[str, Any]) -> Dataset:
    """Build a data set as BasicSR does; refuse it if two images would overwrite each other's results.

    The pipeline builds all data sets before the model, so this runs before any restoration.

    Raises:
        OptionError: if two images share a name; the message names both files.
    """
    dataset = build(dataset_opt)
    if not hasattr(dataset, 'paths'):  # a custom data set
        return dataset
    if opt['model_type'] == 'BlindSRModel':
        image_names(dataset)
    elif (opt.get('val') or {}).get('save_img'):
        file_stems(dataset)
    return dataset


def _get_root_logger(*args: Any, **kwargs: Any) -> logging.Logger:
    """BasicSR's logger, changed to escape undecodable bytes of file names."""
    logger = get_root_logger(*args, **kwargs)
    for handler in logger.handlers:
        if isinstance(handler, logging.FileHandler):
            handler.stream.reconfigure(errors='backslashreplace')
    return logger


def _make_folders(opt: dict[str, Any]) -> None:
    """Create the results folder; keep an existing one, which BasicSR's function would rename."""
    Path(opt['path']['results_root']).mkdir(parents=True, exist_ok=True)


@contextmanager
def _functions_of(module: ModuleType, functions: dict[str, Callable[..., Any]]) -> Iterator[None]:
    """Replace functions of a module within the block."""
    originals = {name: getattr(module, name) for name in functions}
    vars(module).update(functions)
    try:
        yield
    finally:
        vars(module).update(originals)


def _stopping(opt: dict[str, Any]) -> AbstractContextManager[None]:
    """Context that handles Ctrl-C; a training stops at once, because BasicSR owns its loop."""
    return nullcontext() if opt['is_train'] else stopping_gently(KEPT_BY_TEST)


def load_resume_state(opt: dict[str, Any]) -> dict[str, Any] | None:
    """Load the training state to resume from; BasicSR's function of this name needs a GPU.

    Args:
        opt: The options; ``--auto_resume`` selects the latest state of the experiment, if any. As in BasicSR, the
            paths of the network weights are written into ``opt``.

    Returns:
        The state, its tensors on the CPU, or None for a training from scratch.

    Raises:
        UserError: if the state cannot be read.
    """
    if opt['auto_resume']:
        states = Path('experiments', opt['name'], 'training_states').glob('*.state')
        latest = max(states, key=lambda path: int(path.stem), default=None)
        opt['path']['resume_state'] = None if latest is None else str(latest)
    if opt['path'].get('resume_state') is None:
        return None
    state, _ = read_weights(Path(opt['path']['resume_state']))
    check_resume(opt, state['iter'])
    return state


def _report_skipped(opt: dict[str, Any], lines: list[str]) -> None:
    """Print on the first process which data sets are skipped."""
    for line in lines if opt['rank'] == 0 else ():
        print(line, file=sys.stderr)


def _check_writable(folder: Path) -> None:
    """Raise an OSError that names the folder if it is not writable."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass


def _report_failures(opt: dict[str, Any]) -> int:
    """Print the images that failed according to the model's records; return the exit status."""
    if opt['dist'] and opt['rank'] > 0:  # only the first process prints
        return 0
    failed = []
    for dataset in opt['datasets'].values():
        path = Path(opt['path']['results_root'], 'metrics', f'{dataset["name"]}.json')
        if path.is_file():
            failed += [record for record in json.loads(path.read_text())['images'] if 'error' in record]
    for record in failed:
        print(f'failed: {record["error"]}', file=sys.stderr)
    return EXIT_FAILED_IMAGES if failed else 0
