"""Random numbers that depend only on a seed and a name."""

import hashlib

import torch


def image_generator(manual_seed: int, image_name: str, attempt: int = 0) -> torch.Generator:
    """CPU generator seeded by the run's seed and the image name, so that results do not depend on the other images.

    Args:
        manual_seed: The seed of the option file.
        image_name: File name of the image without folder and extension.
        attempt: Number of the attempt, counted from 0.
    """
    digest = hashlib.sha256(f'{manual_seed}/{image_name}/{attempt}'.encode(errors='surrogateescape')).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], 'big'))
