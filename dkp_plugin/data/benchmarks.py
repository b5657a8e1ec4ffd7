"""The usual benchmark sets: find them in their archives, check them, and arrange them in one layout.

The layout is ``<set>/HR/<image>.png``, ``RealSRSet/LQ/<image>.png`` for a set without ground truth, and
``kernels/levin/kernel<number>.png`` for the eight camera shakes of Levin et al. (CVPR 2009), pictures of kernels.
``benchmarks.json`` lists the images of each set, their other names and, if known, the checksums of their pixels. The
other names arise because SelfExSR numbers the images of each set alphabetically, and BSD100 uses the numbers of the
Berkeley segmentation data. Copies of a set are cropped differently. The checksum therefore covers the top-left crop to
multiples of 12, which all copies contain.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path, PurePath

from pydantic import BaseModel, ConfigDict
from torch import Tensor

from dkp_plugin.host.errors import ImageError, UserError
from dkp_plugin.io.archives import read_content, walk
from dkp_plugin.io.files import write_bytes
from dkp_plugin.io.formats import IMAGE_SUFFIXES
from dkp_plugin.io.images import decode_image
from dkp_plugin.io.pixels import pixel_digest, to_levels
from dkp_plugin.io.png import encode_png

HR_MULTIPLE = 12
KNOWN_LAYOUTS = 'Set5/baby.png, Set5/HR/baby.png, Set5/original/baby.png, Set5/image_SRF_4/img_001_SRF_4_HR.png'
_ENDINGS_OF_SETS = r'([ _.-](sr|hr|gt|original|master|main|\(\d+\)|zip|tar|gz|tgz))*'
_FOLDERS_OF_HR_IMAGES = r'hr|gt|gtmod\d+|original|image_srf_\d+'


class BenchmarkImage(BaseModel):
    """An image of a set: its names in other copies and, if known, the checksum of its pixels."""

    model_config = ConfigDict(extra='forbid')
    other_names: list[str] = []
    sha256: str | None = None


class Benchmark(BaseModel):
    """A set: its names in other copies, the folder of its images (HR, LQ, or the set's own), and its images by name."""

    model_config = ConfigDict(extra='forbid')
    other_names: list[str] = []
    folder: str
    images: dict[str, BenchmarkImage]

    def find_name(self, stem: str) -> str | None:
        """Name of the image with a given file name without extension; None: not an image of the set."""
        stem = re.sub(r'(_srf_\d+)?_(hr|gt)$', '', stem.lower())
        stem = re.sub(r'^img_?(\d+)$', lambda match: f'img_{int(match[1]):03d}', stem)
        names = (name for name, image in self.images.items() if stem in (name.lower(), *image.other_names))
        return next(names, None)

    def crop(self, image: Tensor) -> Tensor:
        """Crop an HR image (C, H, W) at the top left to multiples of 12; do not crop LQ images."""
        if self.folder != 'HR':
            return image
        height, width = (side - side % HR_MULTIPLE for side in image.shape[-2:])
        return image[:, :height, :width]

    def is_changed(self, name: str, image: Tensor) -> bool:
        """Whether an image's pixels differ from the record."""
        recorded = self.images[name].sha256
        return recorded is not None and pixel_digest(self.crop(image)) != recorded


def load_benchmarks() -> dict[str, Benchmark]:
    """Read ``benchmarks.json``."""
    content = json.loads(files(__package__).joinpath('benchmarks.json').read_text(encoding='utf-8'))
    return {name: Benchmark(**benchmark) for name, benchmark in content.items()}


def locate(path: PurePath, benchmarks: dict[str, Benchmark]) -> str | None:
    """Name of the set whose folder of HR (or LQ) images contains a file; None: no set.

    The last folder or archive on the path with the name of a set decides. Below it, only folders of HR images are
    allowed, which excludes LR images with the same names.
    """
    parts = [part.lower() for part in path.parent.parts]
    for depth in range(len(parts), 0, -1):
        for name, benchmark in benchmarks.items():
            names = '|'.join(map(str.lower, [name, *benchmark.other_names]))
            if re.fullmatch(f'({names}){_ENDINGS_OF_SETS}', parts[depth - 1]):
                allowed = _FOLDERS_OF_HR_IMAGES if benchmark.folder == 'HR' else re.escape(benchmark.folder.lower())
                return name if all(re.fullmatch(allowed, part) for part in parts[depth:]) else None
    return None


@dataclass(frozen=True)
class Candidate:
    """A file with an image of a set."""

    content: bytes
    path: str
    is_changed: bool
    num_pixels: int

    def is_better_than(self, other: 'Candidate | None') -> bool:
        """Whether this copy has the recorded pixels and the other has not or, if they are equal in this, is larger."""
        rank = not self.is_changed, self.num_pixels
        return other is None or rank > (not other.is_changed, other.num_pixels)

    def decode(self) -> Tensor:
        """The image, (C, H, W) in [0, 1]."""
        return decode_image(self.content, self.path)


@dataclass
class Findings:
    """Files of a set in the sources: the best candidate of each image, unreadable files, and unknown file names."""

    candidates: dict[str, Candidate] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)

    def add(self, path: PurePath, name: str, content: bytes, benchmark: Benchmark) -> None:
        """Add a file; keep it if it is the best candidate so far.

        Raises:
            ImageError: if it is not an image.
        """
        image = decode_image(content, str(path))
        num_pixels = image.shape[-2] * image.shape[-1]
        candidate = Candidate(content, str(path), benchmark.is_changed(name, image), num_pixels)
        if candidate.is_better_than(self.candidates.get(name)):
            self.candidates[name] = candidate


def find_images(sources: Iterable[Path], benchmarks: dict[str, Benchmark]) -> dict[str, Findings]:
    """Search folders and archives for the images of the sets.

    Raises:
        UserError: if a source is neither a folder nor a readable archive.
    """
    found: dict[str, Findings] = {}
    for source in sources:
        for path, read in walk(source):
            if path.suffix.lower() not in IMAGE_SUFFIXES or path.name.startswith('.'):
                continue
            if (set_name := locate(path, benchmarks)) is None:
                continue
            findings = found.setdefault(set_name, Findings())
            name = benchmarks[set_name].find_name(path.stem)
            if name is None:
                findings.unknown.append(path.name)
                continue
            try:
                findings.add(path, name, read_content(path, read), benchmarks[set_name])
            except ImageError as error:
                findings.unreadable[name] = str(error)
    return found


@dataclass
class SetReport:
    """The images of a set, grouped by outcome.

    Attributes:
        name: Name of the set.
        folder: Folder of its images.
        num_images: Number of images in the full set.
        written: Images written by this call.
        kept: Images that already existed, with the same pixels as in the sources.
        missing: Images that exist neither in the folder nor in the sources, or the error if a file is unreadable.
        changed: Images in the folder whose pixels differ from the record.
        unrecorded: Images in the folder whose pixels are not recorded.
        unknown: Files in the set's folders of the sources whose names match no image of the set.
    """

    name: str
    folder: Path
    num_images: int
    written: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    unrecorded: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    @property
    def is_complete(self) -> bool:
        """Whether all images exist and none differs from its record."""
        return not (self.missing or self.changed)

    def lines(self) -> list[str]:
        """The report as lines of text."""
        present = len(self.written) + len(self.kept)
        lines = [
            f'{self.folder}: {present} of {self.num_images} images, {len(self.written)} written, {len(self.kept)} kept'
        ]
        if self.missing:
            lines.append(f'  missing: {_enumerate(self.missing)}')
            if self.unknown:
                lines.append(f'  files not recognised: {_enumerate(self.unknown)}')
        if self.changed:
            lines.append(f'  pixels differ from the record, so results are not comparable: {_enumerate(self.changed)}')
        checked = present - len(self.unrecorded)
        lines.append(f'  pixels match the record: {checked - len(self.changed)}')
        if self.unrecorded:
            lines.append(f'  only names checked, pixels not recorded: {_enumerate(self.unrecorded)}')
        return lines


def _enumerate(names: list[str], limit: int = 10) -> str:
    rest = len(names) - limit
    return ', '.join(names[:limit]) + (f' and {rest} more' if rest > 0 else '')


def arrange(sources: Iterable[Path], out: Path, crop: bool = False) -> list[SetReport]:
    """Copy the images of the sets to ``<out>/<set>/<folder>/<image>.png``, losslessly and without alpha channels.

    Args:
        sources: Folders, zip files and tar files in any of the usual layouts.
        out: Parent folder of all sets.
        crop: Whether to crop HR images at the top left to multiples of 12.

    Returns:
        A report for each set with at least one image in the sources.

    Raises:
        UserError: if the sources contain no image or cannot be read, or if existing files have different pixels;
            nothing is written then.
    """
    benchmarks, sources = load_benchmarks(), list(sources)
    found = find_images(sources, benchmarks)
    if not any(findings.candidates for findings in found.values()):
        raise UserError(
            f'{", ".join(map(str, sources))}: no image of {", ".join(benchmarks)}; known layouts: {KNOWN_LAYOUTS}'
        )
    folders = {set_name: out / set_name / benchmarks[set_name].folder for set_name in found}
    conflicts = [
        str(path)
        for set_name, findings in found.items()
        for name, candidate in findings.candidates.items()
        if (path := folders[set_name] / f'{name}.png').exists()
        and pixel_digest(_read(path)) != pixel_digest(_prepare(candidate, benchmarks[set_name], crop))
    ]
    if conflicts:
        raise UserError(f'existing files have different pixels: {_enumerate(conflicts)}; nothing was written')
    return [
        _arrange_set(set_name, benchmarks[set_name], findings, folders[set_name], crop)
        for set_name, findings in found.items()
    ]


def _arrange_set(set_name: str, benchmark: Benchmark, findings: Findings, folder: Path, crop: bool) -> SetReport:
    """Write the missing images of a set, then check all its images."""
    report = SetReport(set_name, folder, len(benchmark.images), unknown=findings.unknown)
    for name, record in benchmark.images.items():
        path = folder / f'{name}.png'
        if path.exists():
            report.kept.append(name)
        elif name in findings.candidates:
            image = _prepare(findings.candidates[name], benchmark, crop)
            write_bytes(path, encode_png(to_levels(image)))
            report.written.append(name)
        else:
            report.missing.append(findings.unreadable.get(name, name))
            continue
        if record.sha256 is None:
            report.unrecorded.append(name)
        elif benchmark.is_changed(name, _read(path)):
            report.changed.append(name)
    return report


def _prepare(candidate: Candidate, benchmark: Benchmark, crop: bool) -> Tensor:
    return benchmark.crop(candidate.decode()) if crop else candidate.decode()


def _read(path: Path) -> Tensor:
    return decode_image(path.read_bytes(), str(path))
