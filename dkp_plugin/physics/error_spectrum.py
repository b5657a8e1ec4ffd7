"""Error spectra of an HR estimate: power laws, as for natural images, isotropic or stretched in one direction."""

import torch
from torch import Tensor

FLOOR = 1e-5  # keeps a power law finite at frequency 0


def power_law(rows: Tensor, columns: Tensor, exponents: Tensor, stretches: Tensor | None = None) -> Tensor:
    """Spectra V(f) = (f^T M f + 1e-5)^(-p / 2) with M = exp([[a, b], [b, -a]]), each scaled to mean 1.

    M has determinant 1. Its eigenvalues exp(+-sqrt(a^2 + b^2)) stretch the contours of equal power into ellipses: a
    acts along the axes, b along the diagonals. Images of poles or ripples have much more power in one direction.

    Args:
        rows: Vertical frequencies in cycles per HR pixel, (H,).
        columns: Horizontal frequencies, (W,).
        exponents: p, (L,): 0 for a white error, 1 to 2 for an error concentrated at low frequencies, as in images.
        stretches: (a, b), (L, 2); with a > 0, power falls faster with the vertical frequency. None: no stretch.

    Returns:
        (L, H, W), in the dtype of ``exponents``.
    """
    y, x = rows.to(exponents).unsqueeze(1), columns.to(exponents)
    length = (y.square() + x.square()).expand(len(exponents), -1, -1)  # f^T f, then f^T M f
    if stretches is not None:
        a, b = stretches.to(exponents).T.unflatten(1, (-1, 1, 1))
        strength = torch.hypot(a, b)
        # exp(B) = cosh(r) + sinh(r) / r B, since B^2 = r^2; sinh(r) / r is 1 at 0.
        growth = torch.where(strength > 0, strength.sinh() / strength, 1.0)
        length = strength.cosh() * length + growth * (a * (y.square() - x.square()) + 2 * b * (y * x))
    spectra = torch.exp(-exponents.view(-1, 1, 1) / 2 * (length + FLOOR).log())
    return spectra / spectra.mean((1, 2), keepdim=True)
