"""The work of ``dkp-restore``, whose command line is parsed by ``dkp_restore.py`` beside the package."""

import argparse
import json
import logging
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import torch
from tqdm import tqdm

from dkp_plugin.archs.package_weights import package_weights_digest
from dkp_plugin.engine.checkpoints import Checkpoints
from dkp_plugin.engine.confidence import Inspection
from dkp_plugin.engine.observer import Observer
from dkp_plugin.evaluation.pages import check_template_engine
from dkp_plugin.host.command import EXIT_FAILED_IMAGES
from dkp_plugin.host.devices import choose_device
from dkp_plugin.host.errors import ImageError, OptionError, UserError
from dkp_plugin.host.interruption import stop_if_requested
from dkp_plugin.host.jobs import Say, one_thread, run_jobs
from dkp_plugin.host.option_files import find_option_file, read_option_file
from dkp_plugin.host.schema import parse_section
from dkp_plugin.host.sharding import rank_and_world, share
from dkp_plugin.host.version import __version__
from dkp_plugin.io.files import remove_leftovers, write_json
from dkp_plugin.io.fingerprint import fingerprint
from dkp_plugin.io.formats import describe_unreadable
from dkp_plugin.io.kernel_files import write_kernel
from dkp_plugin.io.photo_files import check_format, describe_loss, photo_size, read_photo, write_photo
from dkp_plugin.photos.api import PhotoRestorer
from dkp_plugin.photos.forecast import describe_forecast, make_forecast
from dkp_plugin.photos.inputs import (
    Item,
    check_names,
    claim,
    find_items,
    find_unreadable,
    output_folder,
    read_record,
)
from dkp_plugin.photos.masks import read_mask
from dkp_plugin.photos.presets import Choices, make_options, take_options
from dkp_plugin.photos.progress import ImageProgress, Progress, format_seconds
from dkp_plugin.photos.report import write_report

STATUSES = ('done', 'skipped', 'failed')
REPORT = 'report.html'
LONG = ('kernel', 'curve', 'field')  # parts of a record that only the report wants

_Image = tuple[Item, tuple[int, int]]  # with height and width; 0 and 0 for one that cannot be read


def run(arguments: argparse.Namespace) -> int:
    """Restore all images of a command line; return the exit status.

    Raises:
        UserError: for a mistake, before any work.
    """
    _silence_libraries()
    if arguments.report:
        check_template_engine()
    items = find_items(arguments.inputs, arguments.output, arguments.overwrite, arguments.save_kernel)
    folder = output_folder(arguments.output)
    rank, world = rank_and_world()
    device = choose_device(arguments.device, int(os.environ.get('LOCAL_RANK', rank)))
    restorer, options = make_restorer(arguments, device)
    sizes = [_size(item.source, arguments.max_pixels) for item in items]
    mine = range(len(items)) if world == 1 else share([height * width for height, width in sizes], rank, world)
    if not arguments.quiet:
        tqdm.write(describe(options, len(mine), device, arguments.jobs), file=sys.stderr)
    if (unreadable := describe_unreadable(find_unreadable(arguments.inputs, arguments.output))) and not arguments.quiet:
        tqdm.write(unreadable, file=sys.stderr)
    remove_leftovers([folder / REPORT, *(path for index in mine for path in items[index].files())])
    worker, start = _Worker(arguments, restorer, options), time.monotonic()
    images = [(items[index], sizes[index]) for index in mine]
    progress = _expect(worker, images, not arguments.quiet, arguments.jobs)
    counts = dict.fromkeys(STATUSES, 0)
    restore = _restore_at_once if arguments.jobs > 1 else _restore_in_turn
    with closing(restore(worker, images, progress)) as records:
        for record in records:
            _report(record, arguments)
            counts[record['status']] += 1
    progress.close()
    if arguments.report and rank == 0:
        write_report(folder / REPORT, [read_record(item) for item in items], options)
    if not arguments.quiet and not arguments.json:
        numbers = ', '.join(f'{count} {status}' for status, count in counts.items() if count)
        report = f', {REPORT}' if arguments.report and rank == 0 else ''
        print(f'{numbers} in {format_seconds(time.monotonic() - start)}; results in {folder}{report}')
    return EXIT_FAILED_IMAGES if counts['failed'] else 0


def _restore_in_turn(worker: '_Worker', images: list[_Image], progress: Progress) -> Iterator[dict[str, Any]]:
    """Restore images one after the other; yield their records."""
    for index, (item, _) in enumerate(images):
        stop_if_requested()
        image = progress.begin(index, item.source.name)
        yield worker(item, image)
        image.end()


def _restore_at_once(worker: '_Worker', images: list[_Image], progress: Progress) -> Iterator[dict[str, Any]]:
    """Restore images in several processes, the largest first; yield their records as they are done."""
    order = share([height * width for _, (height, width) in images], 0, 1)
    items, shown = [images[index][0] for index in order], {}
    start, num = partial(_start_worker, worker.arguments), worker.arguments.jobs
    with closing(run_jobs(start, items, num)) as events:
        for event in events:
            if event.kind == 'begun':
                shown[event.task] = progress.begin(order[event.task], items[event.task].source.name)
            elif event.kind == 'said':
                method, *arguments = event.value
                getattr(shown[event.task], method)(*arguments)
            else:
                yield event.value if event.kind == 'done' else _failed(items[event.task], UserError(event.value))
                if event.task in shown:
                    shown[event.task].end()


class _DistantProgress:
    """Sends what an :class:`~dkp_plugin.photos.progress.ImageProgress` shows to the process that shows it."""

    def __init__(self, say: Say) -> None:
        self.step = lambda done, total: say(('step', done, total))
        self.skip = lambda: say(('skip',))
        self.write = lambda line: say(('write', line))


def _start_worker(arguments: argparse.Namespace, number: int, say: Say) -> Callable[[Item], dict[str, Any]]:
    """What each of several processes does: build the restorer, and restore the images that it is given."""
    _silence_libraries()
    restorer, options = make_restorer(arguments, choose_device(arguments.device, number))
    return partial(_Worker(arguments, restorer, options), progress=_DistantProgress(say))


def _silence_libraries() -> None:
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # our own lines report damaged images
    warnings.filterwarnings('ignore', module='PIL')  # about files that it repaired


def make_restorer(arguments: argparse.Namespace, device: torch.device) -> tuple[PhotoRestorer, dict[str, Any]]:
    """Build what a command line asks for; return it with its options.

    Raises:
        OptionError: for a mistake in them.
        ImageError: for a mask that cannot be read.
    """
    tile, strength = arguments.tile, arguments.strength
    if tile is not None and tile.isdecimal():
        tile = int(tile)
    names = ('scale', 'method', 'kernel', 'noise', 'preset', 'seed', 'convention', 'weights', 'local_kernels')
    given = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    mask = None if arguments.mask is None else read_mask(arguments.mask, arguments.max_pixels)
    choices = parse_section(Choices, given, '')
    if arguments.opt is None:
        options = make_options(choices)
        return PhotoRestorer(options, device, tile, strength, mask), options
    for name in ('method', 'kernel', 'preset', 'weights'):
        if name in given:
            raise OptionError(f'--{name}: not allowed together with --opt, whose file says it')
    file = read_option_file(find_option_file(arguments.opt, 'test'))
    with file.naming_places():
        options = take_options(file.options, {name: getattr(choices, name) for name in given})
        return PhotoRestorer(options, device, tile, 1.0 if strength == 'auto' else strength, mask), options


def describe(options: Mapping[str, Any], num_images: int, device: torch.device, jobs: int = 1) -> str:
    """The first line of the output: method, device, number of images."""

    def name(block: Mapping[str, Any] | str) -> str:
        block = {'type': block} if isinstance(block, str) else block
        return ' '.join([block['type'], *(str(block[key]) for key in ('kernel_family', 'source') if key in block)])

    methods = f'{name(options["network_k"])} with {name(options["network_g"])}'
    if options.get('restorer'):
        methods += f', then {name(options["restorer"]["final"])}'
    where = f'cpu (threads: {torch.get_num_threads()})' if device.type == 'cpu' else str(device)
    where = where if jobs == 1 else f'{device.type}, in {jobs} processes'
    return f'dkp-restore {__version__}: x{options["scale"]}, {methods}, on {where}; images: {num_images}'


def _size(source: Path, max_pixels: int) -> tuple[int, int]:
    """Height and width of a photograph; 0 and 0 for one that cannot be read, which is reported when its turn comes."""
    try:
        return photo_size(source, max_pixels)
    except ImageError:
        return 0, 0


def _expect(worker: '_Worker', images: list[_Image], is_shown: bool, jobs: int) -> Progress:
    """Show what is expected of images that are large enough; return their progress."""
    sizes = [size for _, size in images]
    unfinished = [size for item, size in images if size != (0, 0) and not worker.find_finished(item)]
    with one_thread() if jobs > 1 else nullcontext():
        forecast = make_forecast(worker.restoration, unfinished) if is_shown else None
    if forecast is None:
        return Progress([height * width for height, width in sizes], is_shown)
    for line in describe_forecast(forecast, unfinished, jobs=jobs):
        tqdm.write(line, file=sys.stderr)
    seconds = [forecast.seconds(size) if size != (0, 0) else 0.0 for size in sizes]
    return Progress(seconds, is_shown, lambda index, done, total: forecast.share(sizes[index], done))


def _reason(error: Exception, source: Path) -> str:
    """Why an image failed, in one line that names its file."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        reason = f'{error.filename}: {error.strerror}'
    else:
        reason = str(error) if isinstance(error, UserError) else f'{type(error).__name__}: {error}'
    reason = ' '.join(reason.split())
    return reason if str(source) in reason else f'{source}: {reason}'


def _failed(item: Item, error: Exception) -> dict[str, Any]:
    """The record of an image that failed."""
    return {'status': 'failed', 'input': str(item.source), 'error': _reason(error, item.source)}


def _report(record: Mapping[str, Any], arguments: argparse.Namespace) -> None:
    """Print what became of an image."""
    if arguments.json:
        print(json.dumps({key: value for key, value in record.items() if key not in LONG}), flush=True)
    if record['status'] == 'failed':
        tqdm.write(f'failed: {record["error"]}', file=sys.stderr)
    elif not arguments.quiet and not arguments.json:
        doubts = record['inspection']['doubts'] + record['confidence']['doubts']
        confidence = f'low ({"; ".join(doubts)})' if doubts else 'good'
        confidence += f', strength {record["strength"]:g}' if record['strength'] < 1 else ''
        size = f'{record["width"]}x{record["height"]}'
        done = 'skipped, finished before' if record['status'] == 'skipped' else format_seconds(record['seconds'])
        tqdm.write(f'{record["input"]} -> {record["outputs"][0]}, {size}, {done}, confidence {confidence}')


class _Lines(logging.Handler):
    """Writes log messages between the lines of the progress."""

    def __init__(self, progress: ImageProgress) -> None:
        super().__init__()
        self.progress = progress

    def emit(self, record: logging.LogRecord) -> None:
        self.progress.write(record.getMessage())


class _Watch(Observer):
    """Shows the steps of one image and what makes its result unreliable."""

    def __init__(self, name: str, progress: ImageProgress) -> None:
        self.name, self.progress = name, progress

    def inspected(self, inspection: Inspection) -> None:
        for doubt in inspection.doubts:
            self.progress.write(f'{self.name}: the kernel estimate may be unreliable: {doubt}')

    def stepped(self, done: int, total: int) -> None:
        self.progress.step(done, total)

    def warned(self, message: str) -> None:
        self.progress.write(message)


class _Worker:
    """Restores one image after the other and records what was done."""

    def __init__(self, arguments: argparse.Namespace, restorer: PhotoRestorer, options: dict[str, Any]) -> None:
        self.arguments, self.restorer, self.options = arguments, restorer, options
        self.restoration = restorer.restoration
        blocks = (options.get(name) or {} for name in ('network_k', 'network_g', 'restorer', 'path'))
        files = [value for block in blocks for value in block.values() if isinstance(value, str)]
        files += [] if arguments.mask is None else [arguments.mask]
        self.files = [Path(file).expanduser() for file in files if os.path.isfile(file)]

    def __call__(self, item: Item, progress: ImageProgress) -> dict[str, Any]:
        """Restore an image, or find it finished, or record why it failed."""
        try:
            if record := self.find_finished(item):
                progress.skip()
                return record | {'status': 'skipped'}
            return self._restore(item, self._wanted(item), progress)
        except BrokenPipeError:
            raise
        except Exception as error:  # whatever is wrong with one image, the others are done
            return _failed(item, error)

    def find_finished(self, item: Item) -> dict[str, Any]:
        """The record of an image that need not be restored again; empty if it must be."""
        record = read_record(item)
        if not record:
            return {}
        try:
            wanted = self._wanted(item)
        except OSError:  # reported when its turn comes
            return {}
        is_same = record.get('fingerprint') == wanted['fingerprint'] and set(wanted['outputs']) <= set(
            record['outputs']
        )
        return record if is_same and all(map(os.path.exists, record['outputs'])) else {}

    def _wanted(self, item: Item) -> dict[str, Any]:
        """What the record of a finished image says of its origin and its files."""
        options = {key: value for key, value in self.options.items() if key != 'val'}  # it changes no result
        content = [item.source, item.source.stem, options, self.restoration.tile, self.restorer.strength]
        content += [self.arguments.strip_metadata, __version__, package_weights_digest(), *self.files]
        outputs = [str(path) for path in item.outputs(self.arguments.save_kernel)]
        return {'fingerprint': fingerprint(*content), 'outputs': outputs}

    def _restore(self, item: Item, wanted: dict[str, Any], progress: ImageProgress) -> dict[str, Any]:
        check_names(item)
        photo = read_photo(item.source, self.arguments.max_pixels)
        check_format(item.target, photo.pixels)
        metadata = None if self.arguments.strip_metadata else photo.metadata
        for note in photo.notes:
            progress.write(f'{item.source.name}: {note}')
        if metadata and (loss := describe_loss(item.target, photo.icc_profile, metadata)):
            progress.write(f'{item.target.name}: {loss}')

        folder = item.record.with_suffix('.state')
        freq = self.restoration.options.val.checkpoint_freq
        logger = logging.Logger('dkp-restore')
        logger.addHandler(_Lines(progress))
        checkpoints = Checkpoints(folder, wanted['fingerprint'], freq, logger)
        watch = _Watch(item.source.name, progress)
        result = self.restorer(photo.pixels, item.source.stem, photo.jpeg, watch, checkpoints)
        wanted['written'] = claim(item, wanted['outputs'])
        if self.arguments.save_kernel:
            degradation = self.restoration.degradation
            kernel = torch.from_numpy(result.kernel)[None, None]
            write_kernel(item.kernel, kernel, degradation.convention, degradation.scale)
        write_photo(item.target, result.image, photo.icc_profile, metadata)
        record = {
            **wanted,
            'status': 'done',
            'input': str(item.source),
            'width': result.image.shape[1],
            'height': result.image.shape[0],
            'seconds': result.seconds,
            'noise': result.noise,
            'strength': result.strength,
            'inspection': result.inspection.record(),
            'confidence': asdict(result.confidence),
            'kernel': result.kernel.tolist(),
            'curve': result.curve,
            **({} if result.field is None else {'field': result.field.record()}),
        }
        write_json(item.record, record)
        checkpoints.remove()
        return record
