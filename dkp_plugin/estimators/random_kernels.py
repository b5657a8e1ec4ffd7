"""Random kernel sampling (RKS of DKP, CVPR 2024): draw kernels of a family and weigh them by how well they fit.

A sample is a point of the unit cube, which a kernel family maps to a kernel. Its energy is a negative log-likelihood
per observed value with the unknown variance profiled out: the logarithm of the mean squared LR residual, or J of
``physics/evidence.py``. The two agree up to a constant where every kernel passes the same share of the image's error.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.physics.kernel_families import KernelFamily, build_family
from dkp_plugin.physics.kernels import default_kernel_size

Weighting = Literal['inverse', 'focal', 'softmax']
Sampler = Literal['independent', 'metropolis', 'population']
Family = Literal['gaussian', 'motion', 'line', 'disc', 'auto', 'free']
FRESH_SHARE = 0.25  # share of Metropolis proposals drawn anew, so that no chain is caught in a local optimum
ANNEALING = 0.9  # factor on the chains' temperature per move, from 1 down to the temperature that is set

Judge = Callable[[Tensor], tuple[Tensor, Tensor]]  # maps samples (L, P) to kernels (L, 1, K, K) and energies (L,)


def kernel_weights(energies: Tensor, weighting: Weighting, temperature: float = 0.1) -> Tensor:
    """Weights omega_l of random kernels.

    Args:
        energies: Logarithms of the losses L_l, (L,).
        weighting: ``inverse``: omega_l ~ 1 / L_l, as in the paper. ``softmax``: omega_l ~ L_l^(-1 / temperature);
            temperature 1 gives ``inverse``, and 2 / (number of LR values) gives the likelihood of Gaussian errors of
            unknown variance. ``focal``: omega_l = -(1 - p_l)^2 log(p_l + 1e-3) as in the released program, where
            p_l = (L_l - min L) / (1e-5 + sum_m (L_m - min L)).
        temperature: Temperature of ``softmax``, positive.

    Returns:
        (L,), non-negative. They sum to 1, except those of ``focal``, whose sum also sets the strength of the update.
    """
    if weighting == 'focal':
        losses = energies.exp()
        excess = losses - losses.min()
        share = excess / (1e-5 + excess.sum())
        return (1 - share).square() * -(share + 1e-3).log().clamp_max(0)
    return torch.softmax(-energies / (1.0 if weighting == 'inverse' else temperature), dim=0)


def perturb(samples: Tensor, std: float | Tensor, generator: torch.Generator) -> Tensor:
    """Move samples (L, P) of the unit cube by Gaussian steps; reflection at the faces keeps the moves symmetric.

    ``std`` is a number, or a tensor (L, 1) on the device of the samples.
    """
    moved = samples + std * torch.randn(samples.shape, generator=generator).to(samples)
    return ((moved + 1).remainder(2) - 1).abs()


class RandomKernels:
    """Draws the samples of one image, round by round.

    Args:
        num_samples: Number L of samples.
        num_coordinates: Dimension P of the unit cube.
        sampler: ``independent``: every round draws all samples afresh. ``metropolis``: L Markov chains that follow the
            likelihood of the current image. ``population``: half of the samples are drawn afresh, the other half
            around good samples of the round before.
        temperature: Temperature of the likelihood that ``metropolis`` and ``population`` follow.
        proposal_std: Standard deviation of the moves, as a share of each coordinate's range.
        generator: CPU generator.
        device: Device of the samples.
    """

    def __init__(
        self,
        num_samples: int,
        num_coordinates: int,
        sampler: Sampler,
        temperature: float,
        proposal_std: float,
        generator: torch.Generator,
        device: torch.device,
    ) -> None:
        self.num_coordinates, self.sampler, self.temperature = num_coordinates, sampler, temperature
        self.proposal_std, self.generator, self.device = proposal_std, generator, device
        self.samples = self.fresh(num_samples)
        self.energies: Tensor | None = None  # of the round before
        self.rounds = 0

    @property
    def num_fresh(self) -> int:
        """How many samples of the last round, counted from the first, are independent of the rounds before.

        For ``metropolis`` it is L, although all samples depend on the rounds before.
        """
        return len(self.samples) // 2 if self.sampler == 'population' else len(self.samples)

    def fresh(self, num: int) -> Tensor:
        """Draw samples uniformly, (num, P)."""
        return torch.rand(num, self.num_coordinates, generator=self.generator).to(self.device)

    def draw(self, judge: Judge) -> tuple[Tensor, Tensor]:
        """Draw the samples of the next round.

        Args:
            judge: Returns the kernels and the energies of samples, given the current image.

        Returns:
            Kernels (L, 1, K, K) and energies (L,) of ``self.samples``.
        """
        if self.sampler == 'metropolis':
            kernels, energies = self._move_chains(judge)
        else:
            self.samples = self._propose()
            kernels, energies = judge(self.samples)
        self.energies = energies
        self.rounds += 1
        return kernels, energies

    def _propose(self) -> Tensor:
        num = len(self.samples)
        if self.sampler == 'independent' or self.energies is None:
            return self.fresh(num)
        weights = kernel_weights(self.energies, 'softmax', self.temperature).cpu()
        parents = torch.multinomial(weights, num - num // 2, replacement=True, generator=self.generator)
        children = perturb(self.samples[parents.to(self.device)], self.proposal_std, self.generator)
        return torch.cat([self.fresh(num // 2), children])

    def _move_chains(self, judge: Judge) -> tuple[Tensor, Tensor]:
        """Move every chain once. The image has changed, so the current samples are judged again with the proposals."""
        num = len(self.samples)
        moved = perturb(self.samples, self.proposal_std, self.generator)
        is_fresh = torch.rand(num, 1, generator=self.generator).to(moved) < FRESH_SHARE
        proposals = torch.where(is_fresh, self.fresh(num), moved)

        kernels, energies = judge(torch.cat([self.samples, proposals]))
        old, new = energies.chunk(2)
        temperature = max(self.temperature, ANNEALING**self.rounds)
        accept = torch.rand(num, generator=self.generator).to(moved).log() < (old - new) / temperature
        self.samples = torch.where(accept.unsqueeze(1), proposals, self.samples)
        old_kernels, new_kernels = kernels.chunk(2)
        return torch.where(accept.view(-1, 1, 1, 1), new_kernels, old_kernels), torch.where(accept, new, old)


@dataclass(frozen=True)
class RandomKernelOptions:
    """How an estimator draws and weighs random kernels.

    Args:
        weight: Factor on the loss of the RKS steps; 0 turns RKS off.
        num_samples: Number L of random kernels.
        weighting: See :func:`kernel_weights`.
        temperature: Temperature of ``softmax`` weights and of the samplers.
        sampler: See :class:`RandomKernels`.
        proposal_std: See :class:`RandomKernels`.
        kernel_family: A kernel family; or ``free``, which turns RKS off and uses the Gaussians for the warm-up only.
        variance_range: Variances of the Gaussians, in squared HR pixels; None: ``default_variances``.
        length_range: Lengths of motion paths and lines, in HR pixels; None: the family's default.
        default_variances: Variances of the Gaussians in squared HR pixels, divided by the scale.

    Raises:
        ValueError: for a name that is not allowed, and for a range that is wrong or of another family.
    """

    weight: float
    num_samples: int
    weighting: Weighting
    temperature: float
    sampler: Sampler
    proposal_std: float
    kernel_family: Family
    variance_range: tuple[float, float] | None
    length_range: tuple[float, float] | None
    default_variances: tuple[float, float]

    def __post_init__(self) -> None:
        for key, allowed in (('weighting', Weighting), ('sampler', Sampler), ('kernel_family', Family)):
            if getattr(self, key) not in get_args(allowed):
                raise ValueError(f'{key}: {getattr(self, key)!r} is not one of {", ".join(get_args(allowed))}')
        self.build_family(Degradation(scale=4, kernel_size=19))  # a wrong range shows at any scale

    @property
    def has_rks(self) -> bool:
        """Whether random kernels guide the kernel network once the image is looked at."""
        return self.weight > 0 and self.kernel_family != 'free'

    def check_moves(self, pke_weight: float) -> None:
        """Raise a ValueError if neither RKS nor PKE, which has the weight ``pke_weight``, would move the kernel."""
        if pke_weight == 0 and not self.has_rks:
            raise ValueError('pke_weight: 0 is not allowed without RKS, since nothing would move the kernel')

    def build_family(self, degradation: Degradation) -> KernelFamily:
        """Build the family of the random kernels for one image."""
        name = 'gaussian' if self.kernel_family == 'free' else self.kernel_family
        ranges = {'variance_range': self.variance_range, 'length_range': self.length_range}
        if name in ('gaussian', 'auto') and self.variance_range is None:
            low, high = self.default_variances
            growth = max(1.0, degradation.kernel_size / default_kernel_size(degradation.scale)) ** 2
            ranges['variance_range'] = degradation.scale * low, degradation.scale * high * growth
        return build_family(name, degradation.scale, degradation.kernel_size, degradation.centre, **ranges)

    def start(self, num_coordinates: int, generator: torch.Generator, device: torch.device) -> RandomKernels:
        """Start the rounds of one image; see :class:`RandomKernels` for the arguments."""
        return RandomKernels(
            self.num_samples, num_coordinates, self.sampler, self.temperature, self.proposal_std, generator, device
        )

    def weigh(self, energies: Tensor) -> Tensor:
        """Weights of random kernels of the given energies, (L,) to (L,)."""
        return kernel_weights(energies, self.weighting, self.temperature)
