"""Dynamic Kernel Prior (CVPR 2024): random kernel sampling and network-based Langevin dynamics."""

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor

from dkp_plugin.archs.initialise import build_initialised
from dkp_plugin.archs.kernel_fcn_arch import KernelFCN
from dkp_plugin.degradation import Degradation
from dkp_plugin.estimators.base import KernelEstimator
from dkp_plugin.kernels import build_family
from dkp_plugin.losses import data_loss

WEIGHTINGS = ('inverse', 'focal', 'softmax')
SAMPLERS = ('independent', 'metropolis')
FRESH_SHARE = 0.25  # of the Metropolis proposals: drawn anew, so that no chain is caught in a local optimum
ANNEALING = 0.9  # factor on the temperature of the chains per move, from 1 down to the one that is set


def residuals(x: Tensor, kernels: Tensor, lq: Tensor, degradation: Degradation) -> Tensor:
    """Mean squared LR residual of each kernel, all in one convolution.

    Args:
        x: HR estimate, (1, C, H, W).
        kernels: (L, 1, K, K).
        lq: LR image, (1, C, h, w).
        degradation: The forward model.

    Returns:
        (L,), the mean of (A(x, k_l) - lq)^2.
    """
    return (degradation.A(x, kernels) - lq).square().mean((1, 2, 3))


def kernel_weights(losses: Tensor, weighting: str, temperature: float = 0.1, delta: float = 1e-8) -> Tensor:
    """Weights omega_l of random kernels from their LR residuals (RKS of DKP; the released program).

    Args:
        losses: (L,), mean squared residuals.
        weighting: ``inverse``, omega ~ 1 / loss, the paper's; ``softmax``, omega ~ loss^(-1 / temperature), of which
            ``inverse`` is the case 1 and the likelihood of Gaussian noise of unknown variance the case 2 / (number of
            LR values); ``focal``, the released program's -(1 - p)^2 log(p + 1e-3) with p the excess of the loss over
            the smallest one as a share of the sum of them all.
        temperature: Of ``softmax``, positive.
        delta: Keeps 1 / loss finite.

    Returns:
        (L,), non-negative; of sum 1 but for ``focal``, whose sum also sets the strength of the update.
    """
    if weighting == 'focal':
        excess = losses - losses.min()
        share = excess / excess.sum().clamp_min(1e-20)
        return (1 - share).square() * -(share + 1e-3).log().clamp_max(0)
    temperature = 1.0 if weighting == 'inverse' else temperature
    return torch.softmax(-(losses + delta).log() / temperature, dim=0)


@ARCH_REGISTRY.register()
class DKP(KernelEstimator):
    """Dynamic kernel prior: random kernel sampling (RKS) guides a kernel network (PKE) fitted to the LR image.

    Every ``rks_interval`` calls of :meth:`step`, random kernels are drawn and weighted by how well they explain the LR
    image, and the network takes a step towards their weighted mean, the random target that plays the part of the noise
    in Langevin dynamics. In between it descends the LR residual, one step every ``residual_interval`` calls with
    the gradients accumulated over them.

    Args:
        num_samples: Number L of random kernels.
        weighting: ``inverse``, ``focal`` or ``softmax``; see :func:`kernel_weights`.
        temperature: Of ``softmax`` weights and of the Metropolis chains.
        sampler: ``independent``: all kernels are drawn afresh; ``metropolis``: L Markov chains in the parameters of the
            family, which follow the likelihood of the current image.
        proposal_std: Step of the Metropolis proposals, as a share of each parameter's range.
        kernel_family: A key of ``kernels.KERNEL_FAMILIES``.
        variance_range: Of the family ``gaussian``, in squared HR pixels. The default, 0.925 s to 5 s, is the released
            program's at x4 (3.7 to 20) and lies above the range of the papers' test kernels (0.7 to 10), since an image
            that is still too smooth speaks for kernels that are too narrow.
        length_range: Of the families ``motion`` and ``line``, in HR pixels.
        num_layers: Hidden layers of the kernel network.
        num_units: Units per hidden layer.
        lr: Learning rate of Adam.
        warmup_iters: Steps on random kernels before the image is looked at.
        rks_interval: Calls of ``step`` per RKS step.
        residual_interval: Calls of ``step`` per residual step.
        ssim_iters: Calls of ``step`` with the residual 1 - SSIM, before the mean squared error takes over. An image
            that is fitted by SSIM has errors of contrast, which the mean squared error would have the kernel explain;
            so it should be the restorer's own number.
        rks_weight: Factor on the loss of the RKS steps, which Adam normalises together with the residual.

    Raises:
        ValueError: for a name that is not among the allowed ones.
    """

    def __init__(
        self,
        num_samples: PositiveInt = 5,
        weighting: str = 'focal',
        temperature: PositiveFloat = 0.1,
        sampler: str = 'independent',
        proposal_std: PositiveFloat = 0.1,
        kernel_family: str = 'gaussian',
        variance_range: tuple[float, float] | None = None,
        length_range: tuple[float, float] | None = None,
        num_layers: PositiveInt = 1,
        num_units: PositiveInt = 1000,
        lr: PositiveFloat = 1e-4,
        warmup_iters: NonNegativeInt = 200,
        rks_interval: PositiveInt = 5,
        residual_interval: PositiveInt = 3,
        ssim_iters: NonNegativeInt = 400,
        rks_weight: NonNegativeFloat = 1.0,
    ) -> None:
        super().__init__()
        for key, value, allowed in (('weighting', weighting, WEIGHTINGS), ('sampler', sampler, SAMPLERS)):
            if value not in allowed:
                raise ValueError(f'{key}: {value!r} is not one of {", ".join(allowed)}')
        self.num_samples, self.weighting, self.temperature = num_samples, weighting, temperature
        self.sampler, self.proposal_std = sampler, proposal_std
        self.kernel_family = kernel_family
        ranges = {'variance_range': variance_range, 'length_range': length_range}
        self.family_options = {key: tuple(value) for key, value in ranges.items() if value is not None}
        build_family(kernel_family, scale=4, kernel_size=19, centre=9, **self.family_options)  # tells mistakes at once
        self.num_layers, self.num_units, self.lr = num_layers, num_units, lr
        self.warmup_iters, self.rks_interval, self.residual_interval = warmup_iters, rks_interval, residual_interval
        self.ssim_iters, self.rks_weight = ssim_iters, rks_weight

    def reset(self, lq: Tensor, degradation: Degradation, generator: torch.Generator) -> None:
        self.lq, self.degradation, self.generator, self.iteration = lq, degradation, generator, 0
        scale, kernel_size = degradation.scale, degradation.kernel_size
        options = self.family_options
        if self.kernel_family == 'gaussian':
            options = {'variance_range': (0.925 * scale, 5.0 * scale)} | options
        self.family = build_family(self.kernel_family, scale, kernel_size, degradation.centre, **options)
        self.net = build_initialised(
            lambda: KernelFCN(kernel_size, num_units=self.num_units, num_layers=self.num_layers), generator, lq.device
        )
        self.code = self.net.random_code(generator).to(lq.device)
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=self.lr)
        self.chains = self.family.sample(self.num_samples, generator).to(lq)
        for _ in range(self.warmup_iters):
            kernels = self.family.render(self.family.sample(self.num_samples, generator).to(lq))
            self._update((self.net(self.code) - kernels.mean(0)).square().sum())

    def forward(self) -> Tensor:
        with torch.no_grad():
            return self.net(self.code)

    def step(self, x: Tensor) -> dict[str, Tensor]:
        losses = {}
        position_in_round = self.iteration % self.rks_interval
        if position_in_round == 0:
            losses['l_k_rks'] = self.rks_step(x)
        y = self.degradation.A(x, self.net(self.code))
        residual = data_loss(y, self.lq, use_ssim=self.iteration < self.ssim_iters)
        residual.backward()
        losses['l_k_residual'] = residual.detach()
        if (position_in_round + 1) % self.residual_interval == 0:
            self.optimizer.step()
            self.optimizer.zero_grad()
        self.iteration += 1
        return losses

    def rks_step(self, x: Tensor) -> Tensor:
        """Draw and weigh random kernels, step towards them, and return the loss before the step.

        The gradient of sum_l omega_l ||k_l - k||^2 is that of the squared distance to the weighted mean k_p, the target
        of the paper, times the sum of the weights. The distance is a mean over the pixels of the kernel: their sum is
        as strong as the residual and holds the kernel back (measured: 55 in place of 61 dB on butterfly).
        """
        kernels, residual = self._random_kernels(x)
        weights = kernel_weights(residual, self.weighting, self.temperature)
        distances = (self.net(self.code) - kernels).square().mean((1, 2, 3))
        return self._update(self.rks_weight * (weights * distances).sum())

    def _random_kernels(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Draw L kernels, (L, 1, K, K), and return them with their residuals, (L,)."""
        if self.sampler == 'independent':
            kernels = self.family.render(self.family.sample(self.num_samples, self.generator).to(x))
            return kernels, residuals(x, kernels, self.lq, self.degradation)
        return self._metropolis_kernels(x)

    def _metropolis_kernels(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Move every chain once; the image has changed, so its present kernel is judged again beside its proposal."""
        num, generator = len(self.chains), self.generator
        moved = self.chains + self.proposal_std * torch.randn(self.chains.shape, generator=generator).to(x)
        moved = ((moved + 1).remainder(2) - 1).abs()  # reflected at 0 and 1, so that proposals stay symmetric
        is_fresh = torch.rand(num, 1, generator=generator).to(x) < FRESH_SHARE
        proposals = torch.where(is_fresh, self.family.sample(num, generator).to(x), moved)

        kernels = self.family.render(torch.cat([self.chains, proposals]))
        old, new = residuals(x, kernels, self.lq, self.degradation).chunk(2)
        temperature = max(self.temperature, ANNEALING ** (self.iteration // self.rks_interval))
        accept = torch.rand(num, generator=generator).to(x).log() < (old.log() - new.log()) / temperature
        self.chains = torch.where(accept.unsqueeze(1), proposals, self.chains)
        old_kernels, new_kernels = kernels.chunk(2)
        return torch.where(accept.view(-1, 1, 1, 1), new_kernels, old_kernels), torch.where(accept, new, old)

    def _update(self, loss: Tensor) -> Tensor:
        """Step on one loss alone; gradients still waiting are of a round that is over."""
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.detach()
