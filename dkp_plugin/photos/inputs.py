"""The photographs that a command line names, and the files of their results."""

import glob
import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dkp_plugin.host.errors import UserError
from dkp_plugin.io.files import write_json
from dkp_plugin.io.formats import HINTS, IMAGE_SUFFIXES, describe_unreadable

STARTED = 'started'  # status of a record while the files are written
MAX_NAME = 255  # bytes of a file name, on every file system of today


@dataclass(frozen=True)
class Item:
    """A photograph and its files.

    Attributes:
        source: The photograph.
        target: Its result.
        record: What was done, a file in the folder ``.dkp`` beside the result.
        kernel: The kernel's ``.mat`` file, if requested.
    """

    source: Path
    target: Path
    record: Path
    kernel: Path

    def outputs(self, with_kernel: bool) -> list[Path]:
        """The files for the user: the result and, if requested, the kernel and its picture."""
        return [self.target, *([self.kernel, self.kernel.with_suffix('.png')] if with_kernel else [])]

    def files(self) -> list[Path]:
        """All files that a run may write for the photograph."""
        return [*self.outputs(True), self.record]


def output_folder(output: Path) -> Path:
    """The folder of results: ``output``, or its parent if its suffix is that of an image."""
    output = Path(os.path.abspath(output))
    return output.parent if output.suffix.lower() in IMAGE_SUFFIXES and not output.is_dir() else output


def find_items(
    patterns: Sequence[str], output: Path, overwrite: bool = False, with_kernels: bool = False
) -> list[Item]:
    """Find the photographs of a command line.

    Args:
        patterns: Files, folders, which are searched recursively, or patterns of either.
        output: A folder; or, for a single photograph, a file, whose suffix selects the format.
        overwrite: Whether results may replace files that are not results of an earlier run.
        with_kernels: Whether the kernels are written as well.

    Returns:
        The photographs, in the order of ``patterns``, each once. Their results are PNG files of the same names in the
        same subfolders; where two would have the same name, both keep their old suffix as well.

    Raises:
        UserError: if there is nothing to restore; or a result would leave ``output``, replace a photograph that is to
            be restored or, unless ``overwrite`` is set, any file that this program did not write.
    """
    output, folder = Path(os.path.abspath(output)), output_folder(output)
    sources: dict[Path, Path] = {}  # the photograph and its name below the output folder
    for path in _expand(patterns):
        if path.is_dir():
            for file in _files_below(path, output):
                if file.suffix.lower() in IMAGE_SUFFIXES:
                    sources.setdefault(file.absolute(), file.relative_to(path))
        else:
            sources.setdefault(path.absolute(), Path(path.name))
    if not sources:
        unreadable = describe_unreadable(find_unreadable(patterns, output))
        reason = unreadable or f'formats: {", ".join(IMAGE_SUFFIXES)}'
        raise UserError(f'no images in {", ".join(patterns)}; {reason}')
    if folder != output and len(sources) > 1:
        raise UserError(f'-o {output}: a file, but there are {len(sources)} images; name a folder')
    names = _target_names(list(sources.values())) if folder == output else [Path(output.name)]
    items = []
    for source, name in zip(sources, names, strict=True):
        target = folder / name
        if not target.resolve().is_relative_to(folder.resolve()):
            raise UserError(f'{source}: its result would leave the folder {folder}')
        record = folder / '.dkp' / name.with_name(f'{name.name}.json')
        items.append(Item(source, target, record, target.with_name(f'{target.stem}_kernel.mat')))
    _check_outputs(items, overwrite, with_kernels)
    _check_writable(folder)
    return items


def check_names(item: Item) -> None:
    """Raise a UserError, before the work, if the files of a photograph would have names that are too long."""
    names = [item.record, item.kernel, item.target]
    longest = max(len(os.fsencode(f'.{path.name}.{os.getpid()}.tmp')) for path in names)  # while they are written
    if longest > MAX_NAME:
        raise UserError(f'{item.source}: the names of its results would have {longest} bytes; allowed: {MAX_NAME}')


def _check_writable(folder: Path) -> None:
    """Raise a UserError, before the work, if nothing can be written to a folder."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not existing.is_dir():
        raise UserError(f'-o {folder}: {existing} is a file; name a folder')
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise UserError(f'-o {folder}: cannot write to {existing} ({error.strerror})') from None


def _check_outputs(items: Sequence[Item], overwrite: bool, with_kernels: bool) -> None:
    """Raise a UserError if a file to be written would replace another one; see :func:`find_items`."""
    sources, taken = {item.source.resolve() for item in items}, {}
    for item in items:
        own = None
        for path in item.outputs(with_kernels):
            if path.resolve() in sources:
                raise UserError(f'{item.source}: its result would replace {path}; name another folder with -o')
            other = taken.setdefault(str(path).lower(), item)  # without regard to case, as some file systems are
            if other is not item:
                raise UserError(f'{item.source} and {other.source}: both would write {path}; restore them apart')
            if overwrite or not os.path.lexists(path):
                continue
            own = written_before(item) if own is None else own
            if path.name not in own:
                raise UserError(f'{path}: already exists and is not from an earlier run; --overwrite replaces it')


def read_record(item: Item) -> dict[str, Any]:
    """The record of a finished image; empty if it is not finished."""
    record = _load_record(item)
    return {} if record.get('status') == STARTED else record


def _load_record(item: Item) -> dict[str, Any]:
    try:
        record = json.loads(item.record.read_text(encoding='utf-8'))
        return record if isinstance(record, dict) else {}
    except (OSError, ValueError):
        return {}


def written_before(item: Item) -> set[str]:
    """Names of the files that earlier runs wrote for a photograph, or were about to write."""
    record = _load_record(item)
    paths = [*(record.get('written') or ()), *(record.get('outputs') or ())]
    return {Path(path).name for path in paths if isinstance(path, str)}


def claim(item: Item, outputs: Iterable[str | Path]) -> list[str]:
    """Record that files are about to be written.

    So the next run recognises the files of a run that was killed between a result and its record.

    Args:
        item: The photograph.
        outputs: The files.

    Returns:
        Names of all files ever written for it, for the key ``written`` of its record.
    """
    names = sorted(written_before(item) | {Path(path).name for path in outputs})
    write_json(item.record, {'status': STARTED, 'written': names})
    return names


def find_unreadable(patterns: Sequence[str], output: Path) -> list[Path]:
    """Find images of unsupported kinds in the folders of a command line.

    :func:`~dkp_plugin.io.formats.describe_unreadable` turns them into a message.
    """
    folders = [path for path in _expand(patterns) if path.is_dir()]
    files = dict.fromkeys(file for folder in folders for file in _files_below(folder, output))
    return [file for file in files if file.suffix.lower() in HINTS]


def _expand(patterns: Sequence[str]) -> list[Path]:
    """Files and folders that patterns match; a missing one stays, and fails when its turn comes."""
    paths = []
    for pattern in patterns:
        found = [pattern] if os.path.exists(pattern) else sorted(glob.glob(pattern, recursive=True))
        paths += map(Path, found or [pattern])
    return paths


def _files_below(folder: Path, output: Path) -> list[Path]:
    """Files in a folder and below, except hidden ones and those in the output folder."""
    found = []
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(
            name for name in folders if name[0] != '.' and os.path.abspath(os.path.join(parent, name)) != str(output)
        )
        found += [Path(parent, name) for name in sorted(files) if name[0] != '.']
    return found


def _target_names(names: list[Path]) -> list[Path]:
    """PNG file names, all different (without regard to case, as some file systems are)."""
    short = [name.with_name(f'{name.stem}.png') for name in names]
    counts = Counter(str(name).lower() for name in short)
    chosen = [
        brief if counts[str(brief).lower()] == 1 else name.with_name(f'{name.name}.png')
        for brief, name in zip(short, names, strict=True)
    ]
    taken: Counter[str] = Counter()
    for index, name in enumerate(chosen):  # files of one name from several folders
        taken[str(name).lower()] += 1
        if taken[str(name).lower()] > 1:
            chosen[index] = name.with_name(f'{name.stem}-{taken[str(name).lower()]}.png')
    return chosen
