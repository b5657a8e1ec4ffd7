"""Random kernel sampling (RKS of DKP, CVPR 2024): draw kernels of a family and weigh them by what they explain.

A sample is a point of the unit cube. Its energy is a negative log-likelihood per observed value with the unknown
variance profiled out: the logarithm of the mean squared LR residual, or J of ``evidence.py``, which is the same up to a
constant where all kernels pass on the same share of the error.
"""

from collections.abc import Callable

import torch
from torch import Tensor

WEIGHTINGS = ('inverse', 'focal', 'softmax')
SAMPLERS = ('independent', 'metropolis', 'population')
FRESH_SHARE = 0.25  # of the Metropolis proposals: drawn anew, so that no chain is caught in a local optimum
ANNEALING = 0.9  # factor on the temperature of the chains per move, from 1 down to the one that is set

Judge = Callable[[Tensor], tuple[Tensor, Tensor]]  # of samples (L, P): their kernels (L, 1, K, K) and energies (L,)


def kernel_weights(energies: Tensor, weighting: str, temperature: float = 0.1) -> Tensor:
    """Weights omega_l of random kernels (RKS of DKP; the released program).

    Args:
        energies: (L,), logarithms of losses.
        weighting: ``inverse``, omega ~ 1 / loss, the paper's; ``softmax``, omega ~ loss^(-1 / temperature), of which
            ``inverse`` is the case 1 and the likelihood of Gaussian errors of unknown variance the case 2 / (number of
            LR values); ``focal``, the released program's -(1 - p)^2 log(p + 1e-3) with p the excess of the loss over
            the smallest one as a share of the sum of them all.
        temperature: Of ``softmax``, positive.

    Returns:
        (L,), non-negative; of sum 1 but for ``focal``, whose sum also sets the strength of the update.
    """
    if weighting == 'focal':
        losses = energies.exp()
        excess = losses - losses.min()
        share = excess / excess.sum().clamp_min(1e-20)
        return (1 - share).square() * -(share + 1e-3).log().clamp_max(0)
    return torch.softmax(-energies / (1.0 if weighting == 'inverse' else temperature), dim=0)


def perturb(samples: Tensor, std: float, generator: torch.Generator) -> Tensor:
    """Move samples (L, P) of the unit cube by Gaussian steps, reflected at its faces, so that moves are symmetric."""
    moved = samples + std * torch.randn(samples.shape, generator=generator).to(samples)
    return ((moved + 1).remainder(2) - 1).abs()


class RandomKernels:
    """Draws samples round by round.

    Args:
        num_samples: Number L of samples.
        num_coordinates: Dimension P of the unit cube.
        sampler: ``independent``: all are drawn afresh; ``metropolis``: L Markov chains, which follow the likelihood of
            the current image; ``population``: half are drawn afresh, half around the good ones of the round before.
        temperature: Of the likelihood that ``metropolis`` and ``population`` follow.
        proposal_std: Step of the moves, as a share of each coordinate's range.
        generator: CPU generator.
        device: Where samples go.
    """

    def __init__(
        self,
        num_samples: int,
        num_coordinates: int,
        sampler: str,
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
        """How many samples of the last round, the first ones, are independent of the rounds before; for ``metropolis``,
        whose samples all depend on them, L."""
        return len(self.samples) // 2 if self.sampler == 'population' else len(self.samples)

    def fresh(self, num: int) -> Tensor:
        """Draw samples uniformly, (num, P)."""
        return torch.rand(num, self.num_coordinates, generator=self.generator).to(self.device)

    def draw(self, judge: Judge) -> tuple[Tensor, Tensor]:
        """Go on to the next round.

        Args:
            judge: Gives kernels and energies of samples, under the current image.

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
        """Move every chain once; the image has changed, so its present sample is judged again beside its proposal."""
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
