"""DKP under the evidence of the innovation, for an HR estimate that carries an error of its own (``Diffusion``).

Notation as in ``docs/evidence.md``, which derives the method: y is the LR image ``lq``, z the HR estimate, k_phi the
kernel of a network with parameters phi, V_p the spectrum of the error of z with parameters p, and J the negative log
evidence of the innovation y - A(z, k).
"""

import math
from typing import Annotated, get_args

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor

from dkp_plugin.estimators.base import KernelEstimator
from dkp_plugin.estimators.kernel_network import KernelNetwork, warm_up
from dkp_plugin.estimators.random_kernels import Family, RandomKernelOptions, Sampler, Weighting, kernel_weights
from dkp_plugin.estimators.residual_descent import descend
from dkp_plugin.estimators.unpaired_kernel_estimator import UnpairedKernel
from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.physics.error_spectrum import power_law
from dkp_plugin.physics.evidence import FrequencyGrid, negative_log_evidence
from dkp_plugin.physics.kernel_families import WIDE_VARIANCES

# Temperature of the weights whose spread shows how far the kernel may be off. The model of the error is not exact, so
# good kernels agree better with each other than with the truth: at the temperature of the estimate, kernels below 60 dB
# were 8 to 17 dB worse than their spread promised. Chosen on 12 images of Set5, Set14 and BSD100.
DOUBT_TEMPERATURE = 0.1
FIRST_ROUNDS = 6  # rounds of random kernels in the first call, from uniform samples to ones that suit the image
ERROR_PARAMS = 3  # parameters p of the error's spectrum: its exponent and the two numbers of its stretch
EVIDENCE_PIXELS = 2**23  # kernels times HR pixels that are judged at once; about half a GiB


@ARCH_REGISTRY.register()
class EvidenceDKP(KernelEstimator):
    """Dynamic kernel prior that judges kernels by the evidence of the innovation (``docs/evidence.md``).

    Each call of :meth:`step` draws random kernels, with a spectrum of the image's error beside each, and weighs them by
    their evidence (RKS). The kernel network then takes ``pke_iters`` steps towards their weighted mean and down the
    negative log evidence of its own kernel (PKE); without PKE, the mean is the kernel. A trained network may propose a
    kernel, to which the random ones are then drawn. For an image that is fitted to the LR image (``DIP``) use ``DKP``.

    Args:
        num_samples: Number L of random kernels.
        weighting: ``inverse``, ``focal`` or ``softmax``; see :func:`~.random_kernels.kernel_weights`.
        temperature: Temperature of ``softmax`` weights and of the samplers ``metropolis`` and ``population``.
        sampler: ``independent``, ``metropolis`` or ``population``; see :class:`~.random_kernels.RandomKernels`.
        proposal_std: Step of the samplers' moves, as a share of each parameter's range.
        kernel_family: ``gaussian``, ``motion``, ``line``, ``disc``; ``auto``: all of them compete; or ``free``: no
            random kernels, the network alone.
        variance_range: Variances of the family ``gaussian``, in squared HR pixels; None: 0.1 to 4 times the scale.
        length_range: Lengths of the families ``motion`` and ``line``, in HR pixels; None: half the scale to 0.8 times
            the kernel size.
        num_layers: Hidden layers of the kernel network.
        num_units: Units per hidden layer.
        lr: Learning rate of Adam.
        warmup_iters: Steps of the network towards the first weighted mean of the random kernels; without RKS, towards
            the mean of the family (for ``free``: of the Gaussians), before the network sees the image.
        rks_weight: Factor on the squared distance to the weighted mean of the random kernels; 0: no RKS.
        pke_weight: Factor on the negative log evidence of the network's own kernel; 0: no PKE and no network, the
            kernel is the average of RKS.
        memory: Decay of the running average of the weighted means. Every call sees an image with other errors, so
            the average is better than the last mean.
        rks_rounds: Rounds of random kernels per call; the last one counts.
        pke_iters: Steps of the network per call.
        error_exponents: Smallest and largest exponent p of the spectra |f|^-p among which that of the image's error is
            sought. Twice the same number fixes it; 0 is white.
        error_stretch: How much more power these spectra may hold in one direction than across it; see
            :func:`~dkp_plugin.physics.error_spectrum.power_law`. 0: the same in all directions.
        proposal: Weights of the network that proposes a kernel: ``unpaired``, ``one_pass`` or a file, as of
            ``UnpairedKernel``. None: no proposal.
        proposal_weight: Factor on the mean squared distance to the proposal, which is added to J.

    Raises:
        ValueError: for a name that is not allowed, for a range that is wrong or of another family, and for a kernel
            that nothing would move.
    """

    paper = 'Yang et al., CVPR 2024'
    kernel_families = get_args(Family)
    search_side = 1024  # a part of 384 pixels saves a second at most, and changes single images by 0.1 dB

    def __init__(
        self,
        num_samples: PositiveInt = 64,
        weighting: Weighting = 'softmax',
        temperature: PositiveFloat = 0.01,
        sampler: Sampler = 'population',
        proposal_std: PositiveFloat = 0.05,
        kernel_family: Family = 'gaussian',
        variance_range: tuple[float, float] | None = None,
        length_range: tuple[float, float] | None = None,
        num_layers: PositiveInt = 1,
        num_units: PositiveInt = 1000,
        lr: PositiveFloat = 1e-3,
        warmup_iters: NonNegativeInt = 100,
        rks_weight: NonNegativeFloat = 1e4,
        pke_weight: NonNegativeFloat = 0.1,
        memory: Annotated[float, Field(ge=0, lt=1)] = 0.8,
        rks_rounds: PositiveInt = 2,
        pke_iters: PositiveInt = 5,
        error_exponents: tuple[float, float] = (0.0, 3.0),
        error_stretch: NonNegativeFloat = 2.0,
        proposal: str | None = None,
        proposal_weight: NonNegativeFloat = 3e4,
    ) -> None:
        super().__init__()
        self.rks = RandomKernelOptions(
            weight=rks_weight,
            num_samples=num_samples,
            weighting=weighting,
            temperature=temperature,
            sampler=sampler,
            proposal_std=proposal_std,
            kernel_family=kernel_family,
            variance_range=variance_range,
            length_range=length_range,
            default_variances=WIDE_VARIANCES,
        )
        self.rks.check_moves(pke_weight)
        self.adapts_size = self.rks.has_rks
        self.num_layers, self.num_units, self.lr, self.warmup_iters = num_layers, num_units, lr, warmup_iters
        self.pke_weight, self.memory, self.rks_rounds, self.pke_iters = pke_weight, memory, rks_rounds, pke_iters
        self.error_exponents, self.error_stretch = tuple(error_exponents), error_stretch
        if proposal is not None and not self.rks.has_rks:
            raise ValueError(f'proposal: {proposal} needs random kernels; set rks_weight and a kernel_family but free')
        self.proposer = None if proposal is None else UnpairedKernel(proposal)
        self.proposal_weight = proposal_weight

    def check(self, degradation: Degradation) -> None:
        """Load the weights that propose a kernel.

        Raises:
            OptionError: for a file that cannot be used, and for weights of another scale.
        """
        if self.proposer is not None:
            self.proposer.check(degradation)

    def reset(self, lq: Tensor, degradation: Degradation, generator: torch.Generator) -> None:
        self.lq, self.degradation, self.iteration = lq, degradation, 0
        self.family = self.rks.build_family(degradation)
        self.grid = FrequencyGrid(lq, degradation.scale, margin=degradation.margin)
        self.network = None
        if self.pke_weight > 0:
            self._start_network(generator)
        num_kernel_params = self.family.num_params if self.rks.has_rks else 0
        self.random = self.rks.start(num_kernel_params + ERROR_PARAMS, generator, lq.device)
        self.prior_kernel = self.spread = self.proposed = None
        if self.proposer is not None:
            self.proposer.reset(lq, degradation, generator)
            self.proposed = self.proposer()

    def _start_network(self, generator: torch.Generator) -> None:
        size, device = self.degradation.kernel_size, self.lq.device
        self.network = KernelNetwork(size, self.num_layers, self.num_units, generator, device)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=self.lr)
        if not self.rks.has_rks:
            warm_up(self.network, self.optimizer, self.family, self.rks.num_samples, self.warmup_iters, generator)

    def forward(self) -> Tensor:
        with torch.no_grad():
            if self.network is not None:
                return self.network.kernel()
            for kernel in (self.prior_kernel, self.proposed):
                if kernel is not None:
                    return kernel
            middle = torch.full((1, self.family.num_params), 0.5, device=self.lq.device)
            return self.family.render(middle)

    def expected_psnr(self) -> float | None:
        """Kernel PSNR, in dB, that the spread of the random kernels suggests, averaged over calls like the kernel."""
        if self.spread is None or self.random.num_fresh < 2:
            return None
        return -10 * math.log10(max(self.spread.item(), 1e-12))

    def step(self, x: Tensor) -> dict[str, Tensor]:
        # 1. draw kernels and spectra (k_l, p_l), l = 1 ... L, and weigh them: omega_l ~ exp(-J(k_l, p_l) / T)
        for _ in range(FIRST_ROUNDS if self.iteration == 0 else self.rks_rounds):
            kernels, weights = self._draw_and_weigh(x)

        # 2. RKS: k_p <- memory k_p + (1 - memory) sum_l omega_l k_l
        if self.rks.has_rks:
            self._update_prior_kernel(kernels, weights)

        # 3. PKE, pke_iters times: phi <- phi - gamma grad [ rks_weight ||k_phi - k_p||^2 + pke_weight J(k_phi) ]
        losses = {'l_k_evidence': self.random.energies.min()} if self.network is None else self._descend(x)
        self.iteration += 1
        return {name: value.detach() for name, value in losses.items()}

    def _descend(self, x: Tensor) -> dict[str, Tensor]:
        """Move the network; J is that under V of the best sample, argmin_l J(k_l, p_l). Return the last losses."""
        spectrum = self._error_spectra(self.random.samples[self.random.energies.argmin()].unsqueeze(0))
        losses = {}
        for _ in range(self.pke_iters):
            kernel, loss = self.network.kernel(), 0.0
            if self.rks.has_rks:
                losses['l_k_rks'] = (kernel - self.prior_kernel).square().mean()
                loss = self.rks.weight * losses['l_k_rks']
            losses['l_k_evidence'] = self._evidence(x, kernel, spectrum).sum()
            descend(self.optimizer, loss + self.pke_weight * losses['l_k_evidence'])
        return losses

    def _draw_and_weigh(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Draw L kernels, (L, 1, K, K), and return them with their weights, (L,).

        Without RKS every kernel is the network's own, and only the spectra of the error are drawn.
        """

        def judge(samples: Tensor) -> tuple[Tensor, Tensor]:
            if self.rks.has_rks:
                kernels = self.family.render(samples[:, : self.family.num_params])
            else:
                kernels = self.network.kernel().expand(len(samples), -1, -1, -1)
            at_a_time = max(1, EVIDENCE_PIXELS // (x.shape[-2] * x.shape[-1]))
            parts = zip(kernels.split(at_a_time), samples.split(at_a_time), strict=True)
            energies = torch.cat([self._evidence(x, k, self._error_spectra(part)) for k, part in parts])
            return kernels, energies + self._distance(kernels)

        with torch.no_grad():
            kernels, energies = self.random.draw(judge)
            return kernels, self.rks.weigh(energies)

    def _update_prior_kernel(self, kernels: Tensor, weights: Tensor) -> None:
        """Average the weighted mean of the random kernels and their spread over the calls; warm up in the first one."""
        mean, spread = (weights.view(-1, 1, 1, 1) * kernels).sum(0, keepdim=True), self._doubtful_spread(kernels)
        if self.iteration == 0:
            self.prior_kernel, self.spread = mean, spread
            for _ in range(self.warmup_iters if self.network is not None else 0):
                descend(self.optimizer, (self.network.kernel() - mean).square().sum())
        self.prior_kernel = self.prior_kernel.lerp(mean, 1 - self.memory)
        self.spread = self.spread.lerp(spread, 1 - self.memory)

    def _doubtful_spread(self, kernels: Tensor) -> Tensor:
        """Variance, averaged over pixels, of this round's uniformly drawn kernels under tempered weights, a scalar.

        The proposal does not count: it would hide how many other kernels explain the image.
        """
        fresh = slice(self.random.num_fresh)
        evidence = (self.random.energies - self._distance(kernels))[fresh]
        weights = kernel_weights(evidence, 'softmax', DOUBT_TEMPERATURE).view(-1, 1, 1, 1)
        return (weights * (kernels[fresh] - (weights * kernels[fresh]).sum(0)).square()).sum(0).mean()

    def _distance(self, kernels: Tensor) -> Tensor | float:
        """What the proposal adds to J of kernels (L, 1, K, K): (L,), or 0 without one."""
        if self.proposed is None:
            return 0.0
        return self.proposal_weight * (kernels - self.proposed).square().mean((1, 2, 3))

    def _evidence(self, x: Tensor, kernels: Tensor, spectra: Tensor) -> Tensor:
        """J(k) = mean_f [ |R_k(f)|^2 / S_k(f) + log S_k(f) ] of each kernel, (L,)."""
        return negative_log_evidence(x, self.lq, kernels, spectra, self.degradation.noise_variance, self.grid)

    def _error_spectra(self, samples: Tensor) -> Tensor:
        """Spectra V_p of the image's error, (L, s m, s n), for the last coordinates of samples (L, P)."""
        low, high = self.error_exponents
        exponents, stretches = samples[:, -ERROR_PARAMS], self.error_stretch * (2 * samples[:, 1 - ERROR_PARAMS :] - 1)
        return power_law(self.grid.rows, self.grid.columns, low + (high - low) * exponents, stretches)
