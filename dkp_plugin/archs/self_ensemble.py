"""The self-ensemble of a network: the mean over the symmetries of the square (Timofte et al., CVPR 2016)."""

from collections.abc import Callable

import torch
from torch import Tensor

from dkp_plugin.archs.symmetries import NUM_SYMMETRIES, transform, transform_back, transform_kernel
from dkp_plugin.archs.unpaired_arch import Look, Restored, UnpairedSR
from dkp_plugin.physics.coding_noise import NoiseModel

STAGES = ('intermediate', 'variational', 'result')  # the images of ``Restored``


def finish_ensemble(net: UnpairedSR, look: Look, kernel: Tensor | None, num: int = NUM_SYMMETRIES) -> Restored:
    """Refine an LR image turned and mirrored, turn the images back and average them.

    A network of ordinary convolutions answers slightly differently in each orientation, and the mean of the answers has
    a smaller error than any of them.

    Args:
        net: The network.
        look: What it makes of the LR image before it takes a kernel.
        kernel: (B or 1, 1, K, K) in the convention of the network; None: each orientation has the kernel network's.
        num: Number of orientations, 1 to 8; the first is the image as it is.

    Returns:
        The mean of every image, in the convention of the network, with the kernel of the first orientation.
    """
    if num == 1:
        return net.finish(look, kernel)
    inside = net.finish_inside(look, None if kernel is None else net.kernel_inside(kernel))

    def restore(index: int) -> Tensor:
        turned = None if kernel is None else transform_kernel(inside.kernel, index, net.degradation.scale)
        restored = net.finish_inside(_turn(net, look, index), turned) if index else inside
        return torch.stack([getattr(restored, stage) for stage in STAGES])

    kernel_outside = net.kernel_outside(inside.kernel) if kernel is None else kernel
    return Restored(kernel_outside, *map(net.image_outside, _mean(restore, num)))


def restore_ensemble(
    restore: Callable[[Tensor, Tensor, NoiseModel | None], Tensor],
    lq: Tensor,
    kernel: Tensor,
    noise: NoiseModel | None,
    scale: int,
    num: int = NUM_SYMMETRIES,
) -> Tensor:
    """Restore an LR image turned and mirrored, turn the images back and average them.

    Args:
        restore: Maps LR images, kernels and noise to HR images, in the convention ``aligned``.
        lq: LR images, (B, C, h, w).
        kernel: (B or 1, 1, K, K) in the convention ``aligned``.
        noise: Of the LR images; None: none.
        scale: s.
        num: Number of orientations, 1 to 8; the first is the image as it is.

    Returns:
        (B, C, s h, s w).
    """

    def restore_turned(index: int) -> Tensor:
        if index == 0:
            return restore(lq, kernel, noise)
        return restore(transform(lq, index), transform_kernel(kernel, index, scale), _turn_noise(noise, index))

    return _mean(restore_turned, num)


def _mean(restore: Callable[[int], Tensor], num: int) -> Tensor:
    """Mean of the images that ``restore`` makes of orientations 0 to ``num`` - 1, turned back."""
    return sum(transform_back(restore(index), index) / num for index in range(num))


def _turn(net: UnpairedSR, look: Look, index: int) -> Look:
    """The look of the transformed LR image."""
    return net.look(transform(look.lq, index), look.features.dtype, _turn_noise(look.noise, index))


def _turn_noise(noise: NoiseModel | None, index: int) -> NoiseModel | None:
    """The noise of the transformed LR image; spectra are even in each direction, so only turns change them."""
    return noise if noise is None or index % 2 == 0 else NoiseModel(noise.levels, noise.spectrum.mT)
