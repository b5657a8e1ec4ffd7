"""Write a folder of images or kernels as an lmdb in BasicSR's layout.

BasicSR's own ``make_lmdb_from_imgs`` is not used. It takes names in ASCII only, reads through ``cv2.imread`` (which
some systems deny other paths, too), cannot store kernels, guesses the size of the whole from the first image, leaves
half an lmdb behind when it fails and ends the program when the output exists.
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

COMPRESSION = 1  # of the images, as BasicSR has it: quick to write, and little larger than the best
INITIAL_MAP_SIZE = 1 << 24  # bytes; doubled when it is full, since Windows reserves all of it on the disk


def create_lmdb(folder: Path, root: Path, overwrite: bool = False) -> int:
    """Copy a folder of images or of kernels to an lmdb that ``BlindSRDataset`` and BasicSR's datasets read.

    Images are stored as PNG with the same decoded numbers, of 8 or 16 bits, with their alpha channel, but not with the
    quality of a JPEG; kernel files (``.mat``, ``.npy``) byte by byte. In a folder that has kernel files, pictures are
    passed over.

    Args:
        folder: The images or kernels.
        root: The lmdb's folder; its name ends in ``.lmdb``.
        overwrite: Whether an lmdb that is there already is replaced.

    Returns:
        Number of entries.

    Raises:
        UserError: for an unusable folder or file, or if ``root`` is there and shall or can not be replaced.
    """
    if root.suffix != '.lmdb':
        raise UserError(f'OUTPUT: {root} does not end in .lmdb, which BasicSR expects')
    if overwrite and root.exists() and not (root / META_FILE).is_file():
        raise UserError(f'OUTPUT: {root} is no BasicSR lmdb, so it is not replaced')
    paths = list_images_or_kernels(folder, 'INPUT')
    with staged_folder(root, overwrite) as staging:
        try:
            # The lmdb comes into being beside its place, so there is no need to wait for the disk after each entry.
            with lmdb.open(str(staging), map_size=INITIAL_MAP_SIZE, sync=False) as environment:
                lines = [_copy(path, environment) for path in paths]
                environment.sync(True)
        except lmdb.Error as error:  # such as a full disk
            raise UserError(f'OUTPUT: {root}: {error}') from None
        (staging / META_FILE).write_text(''.join(lines), encoding='utf-8')
    return len(paths)


def _copy(path: Path, environment: lmdb.Environment) -> str:
    """Store a file under its stem; return its line of the list."""
    content = path.read_bytes()
    if path.suffix.lower() in KERNEL_SUFFIXES:
        height, width = decode_any_kernel(content, str(path)).shape
        name, channels, compression = path.name, 1, 0
    else:
        pixels = to_levels(to_tensor(decode_photo(content, str(path)).pixels)[0])  # of 8 bits where they suffice
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
