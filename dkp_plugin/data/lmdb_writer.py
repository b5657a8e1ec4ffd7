"""Write a folder of images or kernels as an lmdb in BasicSR's layout.

It replaces BasicSR's ``make_lmdb_from_imgs``, which has several limitations. That function accepts only ASCII names,
reads with ``cv2.imread`` (which on some systems also fails for non-ASCII paths), cannot store kernels, estimates the
total size from the first image, leaves an incomplete lmdb behind when it fails, and exits the program if the output
exists.
"""

from pathlib import Path

import lmdb

from dkp_plugin.data.kernel_folder import list_images_or_kernels
from dkp_plugin.host.errors import UserError
from dkp_plugin.io.kernel_files import KERNEL_SUFFIXES, decode_any_kernel
from dkp_plugin.io.lmdb_reader import META_FILE
from dkp_plugin.io.photo_files import decode_photo
from dkp_plugin.io.pixels import to_levels, to_tensor
from dkp_plugin.io.png import encode_png
from dkp_plugin.io.staged_folder import staged_folder

COMPRESSION = 1  # PNG level, as in BasicSR: fast to write and only slightly larger than the best
INITIAL_MAP_SIZE = 1 << 24  # bytes; small and doubled when full, since Windows reserves all of it on disk


def create_lmdb(folder: Path, root: Path, overwrite: bool = False) -> int:
    """Copy a folder of images or kernels to an lmdb for ``BlindSRDataset`` and BasicSR's datasets.

    Images are stored as PNG with identical pixels, of 8 or 16 bits, including the alpha channel; the quality of a JPEG
    is lost. Kernel files (``.mat``, ``.npy``) are stored byte for byte. If the folder contains kernel files, its images
    are skipped.

    Args:
        folder: Folder of images or kernels.
        root: Folder of the lmdb; its name ends in ``.lmdb``.
        overwrite: Whether to replace an existing lmdb.

    Returns:
        Number of entries.

    Raises:
        UserError: if the folder or a file cannot be used, or if ``root`` exists and must not be replaced.
    """
    if root.suffix != '.lmdb':
        raise UserError(f'OUTPUT: {root} does not end in .lmdb, which BasicSR expects')
    if overwrite and root.exists() and not (root / META_FILE).is_file():
        raise UserError(f'OUTPUT: {root} is not a BasicSR lmdb and is not replaced')
    paths = list_images_or_kernels(folder, 'INPUT')
    with staged_folder(root, overwrite) as staging:
        try:
            # A crash can only damage the staging folder, so there is no need to sync after each entry.
            with lmdb.open(str(staging), map_size=INITIAL_MAP_SIZE, sync=False) as environment:
                lines = [_copy(path, environment) for path in paths]
                environment.sync(True)
        except lmdb.Error as error:  # such as a full disk
            raise UserError(f'OUTPUT: {root}: {error}') from None
        (staging / META_FILE).write_text(''.join(lines), encoding='utf-8')
    return len(paths)


def _copy(path: Path, environment: lmdb.Environment) -> str:
    """Store a file under its stem; return its line of the meta file."""
    content = path.read_bytes()
    if path.suffix.lower() in KERNEL_SUFFIXES:
        height, width = decode_any_kernel(content, str(path)).shape
        name, channels, compression = path.name, 1, 0
    else:
        pixels = to_levels(to_tensor(decode_photo(content, str(path)).pixels)[0])  # 8 bits if they suffice
        height, width, channels = pixels.shape
        name, compression, content = f'{path.stem}.png', COMPRESSION, encode_png(pixels, compression=COMPRESSION)
    _put(environment, path.stem.encode(), content)
    return f'{name} ({height},{width},{channels}) {compression}\n'


def _put(environment: lmdb.Environment, key: bytes, content: bytes) -> None:
    while True:
        try:
            with environment.begin(write=True) as transaction:
                transaction.put(key, content)
            return
        except lmdb.MapFullError:
            environment.set_mapsize(2 * environment.info()['map_size'])
