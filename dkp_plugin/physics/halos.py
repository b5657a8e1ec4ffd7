"""Find the halos that sharpening leaves beside edges."""

import torch
from torch import Tensor

REACH = 4  # pixels from an edge to the crest of its halo
BEYOND = 4  # pixels from the crest in which the plateau lies
CONTRAST = 24 / 255  # smaller steps say little
UNEVEN = 0.2  # range of a plateau relative to the step, above which it is texture
HALO = 0.06  # relative to the step
MIN_EDGES = 15


def halo_share(image: Tensor) -> float:
    """Share of the edges that overshoot on both sides, as an unsharp mask makes them.

    An edge is a place where rows or columns change fastest. On each side the values run on to a crest, and then to a
    plateau. Without sharpening few edges have crests of ``HALO`` above the bright plateau and below the dark one; a
    line has one on one side only. Places whose plateaus are not even are left out.

    Args:
        image: (1, C, H, W) in [0, 1].

    Returns:
        0 to 1; 0 if there are fewer than ``MIN_EDGES`` such edges.
    """
    gray = image.mean((0, 1))
    halos = torch.cat([_halos(view) for view in (gray, gray.T)])
    return (halos > HALO).float().mean().item() if len(halos) >= MIN_EDGES else 0.0


def _halos(gray: Tensor) -> Tensor:
    """The smaller of the two overshoots at each edge that crosses a row, relative to its step."""
    far = REACH + BEYOND
    if min(gray.shape) < 2 * far + 3:
        return gray.new_zeros(0)
    along, across = torch.zeros_like(gray), torch.zeros_like(gray)
    along[:, 1:-1] = gray[:, 2:] - gray[:, :-2]
    across[1:-1] = gray[2:] - gray[:-2]
    slope = along.abs()
    is_edge = (slope > CONTRAST / 2) & (slope > 2 * across.abs())
    is_edge[:, 1:-1] &= (slope[:, 1:-1] >= slope[:, :-2]) & (slope[:, 1:-1] > slope[:, 2:])
    is_edge[:, :far] = is_edge[:, -far:] = False
    rows, columns = is_edge.nonzero(as_tuple=True)
    offsets = torch.arange(-far, far + 1, device=gray.device)
    profiles = gray[rows[:, None], columns[:, None] + offsets] * along[rows, columns].sign()[:, None]
    up, down = _follow(profiles[:, far:]), _follow(-profiles[:, : far + 1].flip(1))
    step = up[0] + down[0]
    is_even = torch.maximum(up[2], down[2]) < UNEVEN * step
    is_used = is_even & (step > CONTRAST)
    overshoot = torch.minimum(up[0] - up[1], down[0] - down[1]) / step.clamp_min(1e-6)
    return overshoot[is_used]


def _follow(profiles: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Follow profiles (N, L) uphill from their first value: value of the crest, of the plateau, and its range."""
    stops = profiles.diff(dim=1)[:, :REACH] <= 0
    crest = torch.where(stops.any(1), stops.float().argmax(1), REACH)
    places = crest[:, None] + torch.arange(2, BEYOND + 1, device=profiles.device)
    plateau = profiles.gather(1, places.clamp_max(profiles.shape[1] - 1))
    value = profiles.gather(1, crest[:, None])[:, 0]
    return value, plateau.median(1).values, plateau.amax(1) - plateau.amin(1)
