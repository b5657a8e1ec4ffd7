"""Which photographs a command line means, and where their results go."""

import glob
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dkp_plugin.host.errors import UserError
from dkp_plugin.io.formats import IMAGE_SUFFIXES


@dataclass(frozen=True)
class Item:
    """A photograph and its files.

    Attributes:
        source: The photograph.
        target: Its result.
        record: What was done; it lies beside the result in the folder ``.dkp``.
        kernel: The kernel's ``.mat`` file, if it is wanted.
    """

    source: Path
    target: Path
    record: Path
    kernel: Path


def output_folder(output: Path) -> Path:
    """The folder of results: ``output``, or where it lies, if its suffix makes it an image."""
    output = Path(os.path.abspath(output))
    return output.parent if output.suffix.lower() in IMAGE_SUFFIXES and not output.is_dir() else output


def find_items(patterns: Sequence[str], output: Path) -> list[Item]:
    """Find the photographs of a command line.

    Args:
        patterns: Files, folders, which are searched with all that is below them, or patterns of either.
        output: A folder; or, for a single file, a file, whose suffix says the format.

    Returns:
        The photographs, in the order of ``patterns``, each once. Their results are PNG files that keep the names, and
        the folders below those that were named; where two would have one name, both keep their old suffix as well.

    Raises:
        UserError: if there is nothing to restore, or a result would replace a photograph or leave ``output``.
    """
    output, folder = Path(os.path.abspath(output)), output_folder(output)
    sources: dict[Path, Path] = {}  # the photograph and its name below the output folder
    for pattern in patterns:
        paths = [Path(pattern)] if os.path.exists(pattern) else sorted(map(Path, glob.glob(pattern, recursive=True)))
        for path in paths or [Path(pattern)]:  # a file that is not there is told when its turn comes
            if path.is_dir():
                for file in _images_below(path, output):
                    sources.setdefault(file.absolute(), file.relative_to(path))
            else:
                sources.setdefault(path.absolute(), Path(path.name))
    if not sources:
        raise UserError(f'no images in {", ".join(patterns)}; formats: {", ".join(IMAGE_SUFFIXES)}')
    if folder != output and len(sources) > 1:
        raise UserError(f'-o {output}: a file, but there are {len(sources)} images; name a folder')
    names = _target_names(list(sources.values())) if folder == output else [Path(output.name)]
    items, resolved_sources = [], {source.resolve() for source in sources}
    for source, name in zip(sources, names, strict=True):
        target = folder / name
        if not target.resolve().is_relative_to(folder.resolve()):
            raise UserError(f'{source}: its result would leave the folder {folder}')
        if target.resolve() in resolved_sources:
            raise UserError(f'{source}: its result would replace {target}; name another folder with -o')
        record = folder / '.dkp' / name.with_name(f'{name.name}.json')
        items.append(Item(source, target, record, target.with_name(f'{target.stem}_kernel.mat')))
    return items


def _images_below(folder: Path, output: Path) -> list[Path]:
    """Images in a folder and its folders, but for hidden ones and those in the output folder."""
    found = []
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(
            name for name in folders if name[0] != '.' and os.path.abspath(os.path.join(parent, name)) != str(output)
        )
        found += [Path(parent, name) for name in sorted(files) if name[0] != '.']
    return [path for path in found if path.suffix.lower() in IMAGE_SUFFIXES]


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
