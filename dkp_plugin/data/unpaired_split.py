"""Data for unpaired training: LR images of one half of a folder of photographs, and the other half as exemplars."""

import shutil
from pathlib import Path

from dkp_plugin.data.blur_manifest import BlurRecipe, prepare
from dkp_plugin.host.errors import OptionError
from dkp_plugin.io.folders import list_folder
from dkp_plugin.io.formats import IMAGE_SUFFIXES
from dkp_plugin.io.staged_folder import staged_folder


def prepare_unpaired(photos: Path, out: Path, recipe: BlurRecipe) -> tuple[int, int]:
    """Make the data set.

    Args:
        photos: Folder of at least two photographs.
        out: Folder of the data set; must not exist. It gets ``LR``, ``exemplars`` and ``truth``.
        recipe: How LR images are made.

    Returns:
        Numbers of LR images and exemplars.

    Raises:
        UserError: if a file or value cannot be used; nothing is written then.
    """
    recipe.build()  # reports mistakes before any work
    paths = list_folder(photos, 'PHOTOS', IMAGE_SUFFIXES)
    if len(paths) < 2:
        raise OptionError(f'PHOTOS: {photos} holds {len(paths)} image; LR images and exemplars need at least 2')
    half = len(paths) // 2
    with staged_folder(out) as staging:
        for folder, part in (('truth/HR', paths[:half]), ('exemplars', paths[half:])):
            (staging / folder).mkdir(parents=True)
            for path in part:
                shutil.copy(path, staging / folder / path.name)
        made = staging / 'made'
        prepare(staging / 'truth/HR', made, recipe)
        (made / 'LR').rename(staging / 'LR')
        for name in ('kernels', 'manifest.json'):
            (made / name).rename(staging / 'truth' / name)
        made.rmdir()
    return half, len(paths) - half
