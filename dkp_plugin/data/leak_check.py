"""Find photographs that are among the LR images and among the exemplars of an unpaired data set."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from dkp_plugin.archs.symmetries import transform

THUMBNAIL = 16  # pixels; blur and shrinking leave it as it is
# No two photographs from the two halves of BSDS400 correlate more than 0.908. The photographs of the first half
# correlate at least 0.958 with copies of themselves that were blurred and shrunk by 4.
THRESHOLD = 0.93


def thumbnail(image: Tensor) -> Tensor:
    """A gray picture of 16x16 pixels of mean 0 and norm 1, (16, 16), of an image (C, H, W) of any range."""
    small = F.interpolate(image.float().mean(0)[None, None], (THUMBNAIL,) * 2, mode='area')[0, 0]
    small = small - small.mean()
    return small / small.norm().clamp_min(1e-6)


def find_leaks(lq: Mapping[str, Tensor], exemplars: Mapping[str, Tensor]) -> list[tuple[str, str, float]]:
    """Find pairs of an LR image and an exemplar that show the same, by their names or by their content.

    Args:
        lq: LR images (C, h, w) by name.
        exemplars: Exemplars (C, H, W) by name.

    Returns:
        Names of LR image and exemplar, and the correlation of their thumbnails over the eight symmetries, at most 1.
    """
    images = torch.stack([thumbnail(image) for image in lq.values()])
    turned = torch.stack([transform(images, index) for index in range(8)])  # (8, N, 16, 16)
    others = torch.stack([thumbnail(image) for image in exemplars.values()])
    correlation = torch.einsum('snij,mij->snm', turned, others).amax(0)
    names, other_names = list(lq), list(exemplars)
    pairs = set(map(tuple, (correlation > THRESHOLD).nonzero().tolist()))
    pairs |= {(index, other_names.index(name)) for index, name in enumerate(names) if name in exemplars}
    return [(names[i], other_names[j], correlation[i, j].item()) for i, j in sorted(pairs)]
