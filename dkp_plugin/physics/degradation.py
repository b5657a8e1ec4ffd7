"""The forward model of blind super-resolution: y = (x correlated with k) subsampled by s.

The rest of the package relies on these conventions:

- The blur is a *correlation*, as in :func:`torch.nn.functional.conv2d`: the kernel is not flipped.
- The kernel has odd size K and is anchored at index K // 2. Borders are periodic.
- Subsampling keeps pixels 0, s, 2s, ... of the blurred image.

In symbols, ``y[i] = sum_m k[m] x[s i + m - K // 2]``. ``kernels.py`` defines where the centre of mass of k lies in
its grid.

Every function broadcasts over the batch: it takes images (B, C, H, W) and kernels (L, 1, K, K) with B == L, or with
one of them equal to 1. One image and L kernels therefore cost one convolution with L output channels.
"""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from dkp_plugin.physics.coding_noise import CodingNoise, NoiseModel, rgb_to_ycc, ycc_to_rgb
from dkp_plugin.physics.kernels import CONVENTIONS, check_kernel_size, cubic_kernel, kernel_centre

SCALES = (1, 2, 3, 4, 8)  # 1: deblurring at the same size
ROUNDING_VARIANCE = 2e-6  # between the errors of rounding, (1 / 255)^2 / 12, and of truncation, (1 / 255)^2 / 3


def _correlate(x: Tensor, kernel: Tensor, stride: int) -> Tensor:
    """Correlate (B, C, H, W) with (L, 1, K, K) under periodic borders; keep every stride-th pixel."""
    batch, pad = x.shape[0], kernel.shape[-1] // 2
    if kernel.shape[-1] % 2 == 0:
        raise ValueError(f'kernel size {kernel.shape[-1]} is not odd')
    if kernel.shape[-1] > min(x.shape[-2:]):
        raise ValueError(
            f'kernel size {kernel.shape[-1]} is larger than the image of {x.shape[-2]}x{x.shape[-1]} pixels'
        )
    if batch != 1 and kernel.shape[0] not in (1, batch):
        raise ValueError(f'a batch of {batch} images needs 1 or {batch} kernels, got {kernel.shape[0]}')
    x = F.pad(x, (pad,) * 4, mode='circular')
    kernel = kernel.expand(max(batch, kernel.shape[0]), -1, -1, -1)
    # Channels move to the batch axis because they share the kernel of their image; each image becomes a group.
    return F.conv2d(x.transpose(0, 1), kernel, stride=stride, groups=batch).transpose(0, 1)


def degrade(x: Tensor, kernel: Tensor, scale: int) -> Tensor:
    """Blur and subsample: the operator A of the forward model.

    Args:
        x: HR images, (B, C, H, W), H and W multiples of ``scale``.
        kernel: Blur kernels, (L, 1, K, K), K odd, in HR pixels; B == L or either is 1.
        scale: Subsampling factor s.

    Returns:
        LR images, (max(B, L), C, H / s, W / s), in the units of x.

    Raises:
        ValueError: if the kernel size is even or exceeds the image, or if the batch sizes do not match.
    """
    return _correlate(x, kernel, scale)


def degrade_adjoint(y: Tensor, kernel: Tensor, scale: int) -> Tensor:
    """Insert zeros and convolve: the adjoint of :func:`degrade`.

    Args:
        y: LR images, (B, C, h, w).
        kernel: Blur kernels, (L, 1, K, K), K odd; B == L or either is 1.
        scale: Subsampling factor s.

    Returns:
        HR images, (max(B, L), C, s h, s w), with <A x, y> = <x, A_adjoint y>.

    Raises:
        ValueError: if the kernel size is even or exceeds the HR image, or if the batch sizes do not match.
    """
    zero_inserted = y.new_zeros(*y.shape[:2], y.shape[2] * scale, y.shape[3] * scale)
    zero_inserted[..., ::scale, ::scale] = y
    return _correlate(zero_inserted, kernel.flip(-2, -1), 1)


def kernel_to_otf(kernel: Tensor, size: tuple[int, int]) -> Tensor:
    """Transfer function of the periodic blur: ``blur(x) = ifft2(otf * fft2(x))``.

    Args:
        kernel: Blur kernels, (L, 1, K, K), K odd.
        size: (H, W) of the HR grid, both at least K.

    Returns:
        Complex tensor (L, 1, H, W) on the full frequency grid of :func:`torch.fft.fft2`.
    """
    kernel_size = kernel.shape[-1]
    padded = F.pad(kernel, (0, size[1] - kernel_size, 0, size[0] - kernel_size))
    centred = padded.roll((-(kernel_size // 2),) * 2, dims=(-2, -1))
    return torch.fft.fft2(centred).conj()  # conjugated because A correlates


def aliased_power(spectrum: Tensor, scale: int) -> Tensor:
    """Average an HR power spectrum over the s * s frequencies that alias onto each LR frequency.

    Args:
        spectrum: (..., H, W), real, on the grid of :func:`torch.fft.fft2`.
        scale: Subsampling factor s.

    Returns:
        (..., H / s, W / s). For |otf|^2 these are the eigenvalues of A A_adjoint.
    """
    height, width = spectrum.shape[-2:]
    return spectrum.unflatten(-1, (scale, width // scale)).unflatten(-3, (scale, height // scale)).mean((-4, -2))


def data_step(
    z: Tensor, y: Tensor, kernel: Tensor, scale: int, alpha: float | Tensor, spectrum: Tensor | None = None
) -> Tensor:
    """Closed form of ``argmin_x ||A(x, k) - y||^2 + alpha ||x - z||^2`` (Zhao et al., TIP 2016).

    In terms of the innovation y - A z, it is ``x = z + V A_adjoint (A V A_adjoint + alpha)^-1 (y - A z)``.
    A V A_adjoint is diagonal in the Fourier basis of the LR grid; V = 1 without a spectrum.

    Args:
        z: Prior HR images, (B, C, H, W).
        y: LR images, (B or 1, C, H / s, W / s).
        kernel: Blur kernels, (L, 1, K, K); B == L or either is 1.
        scale: Subsampling factor s.
        alpha: Weight of the prior, positive; a number or a tensor that broadcasts to (max(B, L), C, H / s, W / s), on
            the grid of :func:`torch.fft.fft2`.
        spectrum: V(f), (H, W), positive, on the grid of :func:`torch.fft.fft2`: the spectrum of the error of z. Its
            inverse weights the distance to z at each frequency.

    Returns:
        The minimisers, (max(B, L), C, H, W).
    """
    otf = kernel_to_otf(kernel, z.shape[-2:])
    spread = otf.conj() if spectrum is None else otf.conj() * spectrum  # V A_adjoint after zero insertion
    eigenvalues = aliased_power((spread * otf).real, scale)
    innovation = torch.fft.fft2(y - degrade(z, kernel, scale)) / (eigenvalues + alpha)
    zero_inserted = innovation.repeat(1, 1, scale, scale)  # inserting zeros repeats the spectrum
    return z + torch.fft.ifft2(spread * zero_inserted).real


def round_to_levels(y: Tensor) -> Tensor:
    """Round images of any shape to 8 bits and clip them to [0, 1]."""
    return (255 * y).round().clamp(0, 255) / 255


@dataclass(frozen=True)
class Degradation:
    """The known part of the forward model: everything except the kernel.

    Args:
        scale: Subsampling factor, one of ``SCALES``.
        kernel_size: Odd K of the kernel grid, at least 3.
        convention: Convention for the kernel's centre of mass, one of ``kernels.CONVENTIONS``.
        noise: Standard deviation of the noise in the LR image, in the units of [0, 1], without the rounding error. A
            JPEG error counts as white noise of about half its strength here.
        margin: Width of the frame of the LR image, in LR pixels, in which the model does not hold, since the border is
            not periodic.
        coding: Sensor noise and JPEG error of the LR image, for methods that distinguish them; None: ``noise`` is all.

    Raises:
        ValueError: for a value that is not allowed; the message names the field, the value and the allowed values.
    """

    scale: int
    kernel_size: int
    convention: str = 'aligned'
    noise: float = 0.0
    margin: int = 0
    coding: CodingNoise | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise ValueError(f'scale: {self.scale!r} is not one of {", ".join(map(str, SCALES))}')
        if self.convention not in CONVENTIONS:
            raise ValueError(f'convention: {self.convention!r} is not one of {", ".join(CONVENTIONS)}')
        if not 0 <= self.noise < 1:
            raise ValueError(f'noise: {self.noise!r} is not in [0, 1)')
        check_kernel_size(self.kernel_size)

    @property
    def noise_variance(self) -> float:
        """Variance of an LR value about A(x): the noise plus the error of rounding or truncating to 8 bits."""
        return self.noise**2 + ROUNDING_VARIANCE

    def noise_model(self, lq: Tensor) -> NoiseModel | None:
        """The noise of an LR image (1, C, h, w), on its device; None if there is none."""
        if self.coding is None and self.noise == 0:
            return None
        white = self.noise if self.coding is None else self.coding.white
        return NoiseModel.of(tuple(lq.shape[-2:]), [white], [self.coding]).to(lq.device)

    @property
    def reach(self) -> int:
        """How far a kernel reaches from a border that is not periodic, in LR pixels, and 2 more."""
        return -(-self.kernel_size // (2 * self.scale)) + 2

    @property
    def centre(self) -> float:
        """Index of the kernel's centre of mass, the same for row and column, counted from 0."""
        return kernel_centre(self.kernel_size, self.scale, self.convention)

    def A(self, x: Tensor, kernel: Tensor) -> Tensor:
        """See :func:`degrade`."""
        return degrade(x, kernel, self.scale)

    def A_adjoint(self, y: Tensor, kernel: Tensor) -> Tensor:
        """See :func:`degrade_adjoint`."""
        return degrade_adjoint(y, kernel, self.scale)

    def enlarge(self, y: Tensor) -> Tensor:
        """Enlarge LR images bicubically, on the HR grid of the convention.

        Args:
            y: (B, C, h, w).

        Returns:
            (B, C, s h, s w), periodic at the borders.
        """
        kernel_size = 5 * self.scale + (self.scale + 1) % 2  # large enough for the cubic under every convention
        cubic = cubic_kernel(self.scale, kernel_size, kernel_centre(kernel_size, self.scale, self.convention))
        return self.scale**2 * self.A_adjoint(y, cubic.to(y))

    def data_step(
        self, z: Tensor, y: Tensor, kernel: Tensor, alpha: float | Tensor, spectrum: Tensor | None = None
    ) -> Tensor:
        """See :func:`data_step`."""
        return data_step(z, y, kernel, self.scale, alpha, spectrum)

    def data_step_by_channel(
        self, z: Tensor, y: Tensor, kernel: Tensor, alpha: Tensor, spectrum: Tensor | None = None
    ) -> Tensor:
        """:func:`data_step` with weights that differ between luma and chroma.

        Args:
            z: Prior RGB images, (B, 3, H, W).
            y: RGB LR images, (B, 3, h, w).
            kernel: (L, 1, K, K).
            alpha: Weights of luma and chroma, which broadcast to (B, 3, h, w), on the grid of :func:`torch.fft.fft2`.
            spectrum: See :func:`data_step`.
        """
        return ycc_to_rgb(self.data_step(rgb_to_ycc(z), rgb_to_ycc(y), kernel, alpha, spectrum))
