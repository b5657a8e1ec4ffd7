"""What ``dkp_plugin.test`` and ``dkp_plugin.train`` share: BasicSR's pipelines, where a mistake ends in one line."""

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
from dkp_plugin.host.command import EXIT_FAILED_IMAGES, run_command
from dkp_plugin.host.imports import import_custom
from dkp_plugin.host.interruption import stopping_gently
from dkp_plugin.host.option_files import choose_data_sets, complete_options, parse_arguments, read_option_file
from dkp_plugin.host.processes import process_group
from dkp_plugin.io.weight_files import read_weights
from dkp_plugin.models.blind_sr_model import BlindSRModel

KEPT_BY_TEST = 'what is finished is kept, the same command continues'
KEPT_BY_TRAIN = 'the last checkpoint is kept, --auto_resume continues from it'


def run_pipeline(module: ModuleType, is_train: bool) -> int:
    """Check the option file of the command line, then run a pipeline of BasicSR with it.

    Results go to ``results/<name>``, or ``experiments/<name>``, under the current folder.

    Args:
        module: ``basicsr.test`` or ``basicsr.train``.
        is_train: Which of the two.

    Returns:
        Exit status: 0 if all went well, 1 if images failed, 2 after a mistake in the options,
        130 after Ctrl-C, 143 after SIGTERM.
    """
    return run_command(lambda: _run(module, is_train), KEPT_BY_TRAIN if is_train else KEPT_BY_TEST)


def _run(module: ModuleType, is_train: bool) -> int:
    root = Path.cwd()
    pipeline = module.train_pipeline if is_train else module.test_pipeline
    args = parse_arguments()
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
    """Functions for BasicSR's pipeline in place of its own."""
    functions = {
        'parse_options': lambda *_, **__: (opt, args),  # what was checked is what the pipeline gets
        'dict2str': lambda options: '\n'.join([dict2str(options), *skipped]),  # what the log begins with
        'get_root_logger': _get_root_logger,
    }
    if opt['is_train']:
        functions['load_resume_state'] = load_resume_state
        return functions
    functions['build_dataset'] = partial(_build_test_set, opt, build_dataset)
    if opt['model_type'] == 'BlindSRModel':
        functions['make_exp_dirs'] = _make_folders
        functions['build_model'] = lambda opt: BlindSRModel(opt, checked)  # whose networks are built and loaded
        if opt['world_size'] > 1:  # one log for each process
            functions['get_time_str'] = lambda: f'{get_time_str()}_{opt["rank"]}'
    return functions


def _build_test_set(opt: dict[str, Any], build: Callable[..., Dataset], dataset_opt: dict[str, Any]) -> Dataset:
    """Build a data set as BasicSR does; refuse one in which two images would share their results.

    The pipeline builds all of them before the model, so this comes before any work.

    Raises:
        OptionError: naming both files.
    """
    dataset = build(dataset_opt)
    if not hasattr(dataset, 'paths'):  # a data set of one's own
        return dataset
    if opt['model_type'] == 'BlindSRModel':
        image_names(dataset)
    elif (opt.get('val') or {}).get('save_img'):
        file_stems(dataset)
    return dataset


def _get_root_logger(*args: Any, **kwargs: Any) -> logging.Logger:
    """BasicSR's logger, for messages that name any file: bytes that are no text are written as escapes."""
    logger = get_root_logger(*args, **kwargs)
    for handler in logger.handlers:
        if isinstance(handler, logging.FileHandler):
            handler.stream.reconfigure(errors='backslashreplace')
    return logger


def _make_folders(opt: dict[str, Any]) -> None:
    """Make the folder of results, or keep the one that exists, which BasicSR's function would rename."""
    Path(opt['path']['results_root']).mkdir(parents=True, exist_ok=True)


@contextmanager
def _functions_of(module: ModuleType, functions: dict[str, Callable[..., Any]]) -> Iterator[None]:
    """Replace functions of a module for the time of the block."""
    originals = {name: getattr(module, name) for name in functions}
    vars(module).update(functions)
    try:
        yield
    finally:
        vars(module).update(originals)


def _stopping(opt: dict[str, Any]) -> AbstractContextManager[None]:
    """How Ctrl-C ends the block: at once in a training, whose loop is BasicSR's."""
    return nullcontext() if opt['is_train'] else stopping_gently(KEPT_BY_TEST)


def load_resume_state(opt: dict[str, Any]) -> dict[str, Any] | None:
    """Load the training state to go on from, as BasicSR's function of this name does, which needs a GPU for it.

    Args:
        opt: The options; ``--auto_resume`` takes the latest state of the experiment, if there is one. What BasicSR
            derives from the state is written into ``opt``: the paths of the networks' weights.

    Returns:
        The state, its tensors on the CPU, or None for a training from the start.

    Raises:
        UserError: for a state that cannot be read.
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
    """Print which data sets are skipped; the first process speaks for all."""
    for line in lines if opt['rank'] == 0 else ():
        print(line, file=sys.stderr)


def _check_writable(folder: Path) -> None:
    """Raise an OSError that names the folder unless files can be written there."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass


def _report_failures(opt: dict[str, Any]) -> int:
    """Say which images failed, from the records that the model wrote; return the exit status."""
    if opt['dist'] and opt['rank'] > 0:  # the first process speaks for all
        return 0
    failed = []
    for dataset in opt['datasets'].values():
        path = Path(opt['path']['results_root'], 'metrics', f'{dataset["name"]}.json')
        if path.is_file():
            failed += [record for record in json.loads(path.read_text())['images'] if 'error' in record]
    for record in failed:
        print(f'failed: {record["error"]}', file=sys.stderr)
    return EXIT_FAILED_IMAGES if failed else 0
