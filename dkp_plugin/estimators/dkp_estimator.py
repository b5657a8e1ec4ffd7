"""Dynamic Kernel Prior (CVPR 2024): random kernel sampling and network-based Langevin dynamics."""

import math
from typing import Annotated, Any, Literal

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor

from dkp_plugin.archs.initialise import build_initialised
from dkp_plugin.archs.kernel_fcn_arch import KernelFCN
from dkp_plugin.estimators.base import KernelEstimator
from dkp_plugin.estimators.random_kernels import SAMPLERS, WEIGHTINGS, RandomKernels, kernel_weights
from dkp_plugin.physics.data_loss import data_loss
from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.physics.error_spectrum import power_law
from dkp_plugin.physics.evidence import FrequencyGrid, negative_log_evidence
from dkp_plugin.physics.kernel_families import KERNEL_FAMILIES, KernelFamily, build_family
from dkp_plugin.physics.kernels import centre_of_mass

# Temperature of the weights whose spread says how far the kernel may be off. Kernels that are judged good agree better
# than they are right, for the model of the error is not exact: at the temperature of the estimate the spread promised 8
# to 17 dB too much for kernels below 60 dB. Chosen on 12 images of Set5, Set14 and BSD100.
DOUBT_TEMPERATURE = 0.1
FIRST_ROUNDS = 6  # of random kernels in the first call, from uniform samples to ones that suit the image
ERROR_PARAMS = 3  # of the spectrum of the image's error: its exponent and the two numbers of its stretch
EVIDENCE_PIXELS = 2**23  # kernels times HR pixels that are judged at once; about half a GiB
# What an argument that is None stands for, which depends on the likelihood; variances in units of the scale.
DEFAULTS: dict[str, dict[str, Any]] = {
    'residual': {
        'num_samples': 5,
        'weighting': 'focal',
        'temperature': 0.1,
        'sampler': 'independent',
        'proposal_std': 0.1,
        'variance_range': (0.925, 5.0),
        'lr': 1e-4,
        'warmup_iters': 200,
        'rks_weight': 1.0,
        'pke_weight': 1.0,
    },
    'evidence': {
        'num_samples': 64,
        'weighting': 'softmax',
        'temperature': 0.01,
        'sampler': 'population',
        'proposal_std': 0.05,
        'variance_range': (0.1, 4.0),
        'lr': 1e-3,
        'warmup_iters': 100,
        'rks_weight': 1e4,
        'pke_weight': 0.1,
    },
}


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


@ARCH_REGISTRY.register()
class DKP(KernelEstimator):
    """Dynamic kernel prior: random kernel sampling (RKS) guides a kernel network (PKE) fitted to the LR image.

    Random kernels are drawn and weighted by how well they explain the LR image, and the network takes a step towards
    their weighted mean, the random target that plays the part of the noise in Langevin dynamics. It also descends the
    negative log-likelihood of its own kernel.

    ``likelihood: residual`` is the paper's, for an image that is fitted to the LR image (``DIP``): an RKS step every
    ``rks_interval`` calls of :meth:`step`, and in between a step on the LR residual every ``residual_interval`` calls,
    with the gradients accumulated over them. ``likelihood: evidence`` is for an image with errors of its own
    (``Diffusion``): every call judges the random kernels by the evidence of the innovation (``docs/evidence.md``), with
    the spectrum of the image's error drawn beside each kernel, and takes ``pke_iters`` steps on RKS and evidence.

    Arguments that are None depend on the likelihood; see ``DEFAULTS``.

    Args:
        likelihood: ``residual`` or ``evidence``.
        num_samples: Number L of random kernels.
        weighting: ``inverse``, ``focal`` or ``softmax``; see :func:`~.random_kernels.kernel_weights`.
        temperature: Of ``softmax`` weights and of the samplers that follow the likelihood.
        sampler: ``independent``, ``metropolis`` or ``population``; see :class:`~.random_kernels.RandomKernels`.
        proposal_std: Step of the samplers' moves, as a share of each parameter's range.
        kernel_family: A key of ``kernels.KERNEL_FAMILIES``, or ``free``: no random kernels, the network alone.
        variance_range: Of the family ``gaussian``, in squared HR pixels. For ``residual`` the default is the released
            program's at x4 (3.7 to 20) and lies above the range of the papers' test kernels (0.7 to 10), since an image
            that is still too smooth speaks for kernels that are too narrow (butterfly: 53 in place of 62 dB with 0.7 to
            10).
        length_range: Of the families ``motion`` and ``line``, in HR pixels.
        num_layers: Hidden layers of the kernel network.
        num_units: Units per hidden layer.
        lr: Learning rate of Adam.
        warmup_iters: With ``residual``: steps on random kernels before the image is looked at. With ``evidence``: steps
            towards the first weighted mean of the random kernels.
        rks_weight: Factor on the loss of the RKS steps, which Adam normalises together with the likelihood; 0: no RKS.
        pke_weight: Factor on the likelihood of the network's own kernel; 0: no PKE, the network follows RKS alone.
        centre_weight: With ``residual``: factor on the squared distance, in HR pixels, of the centre of mass of the
            network's kernel from where the convention has it. The residual leaves it open, since a fitted image moves
            along; 0, as in the paper, leaves kernels 0.2 to 0.4 pixels off.
        memory: With ``evidence``: decay of the average over calls of the weighted mean of the random kernels. Each call
            sees an image with other errors, so that the average is better than the last.
        rks_rounds: With ``evidence``: rounds of random kernels per call, of which the last counts.
        pke_iters: With ``evidence``: steps of the network per call.
        error_exponents: With ``evidence``: least and largest exponent of the spectra |f|^-exponent among which that of
            the image's error is sought; twice the same takes it for known, 0 for white.
        error_stretch: With ``evidence``: how much more these spectra may hold in one direction than across it, see
            :func:`~dkp_plugin.physics.error_spectrum.power_law`; 0: the same in all directions.
        rks_interval: With ``residual``: calls of ``step`` per RKS step.
        residual_interval: With ``residual``: calls of ``step`` per step on the residual.
        ssim_iters: With ``residual``: calls of ``step`` with 1 - SSIM, before the mean squared error takes over. An
            image that is fitted by SSIM has errors of contrast, which the mean squared error would have the kernel
            explain; so it should be the restorer's own number.

    Raises:
        ValueError: for a name that is not among the allowed ones.
    """

    paper = 'Yang et al., CVPR 2024'
    kernel_families = (*KERNEL_FAMILIES, 'free')

    def __init__(
        self,
        likelihood: Literal['residual', 'evidence'] = 'residual',
        num_samples: PositiveInt | None = None,
        weighting: str | None = None,
        temperature: PositiveFloat | None = None,
        sampler: str | None = None,
        proposal_std: PositiveFloat | None = None,
        kernel_family: str = 'gaussian',
        variance_range: tuple[float, float] | None = None,
        length_range: tuple[float, float] | None = None,
        num_layers: PositiveInt = 1,
        num_units: PositiveInt = 1000,
        lr: PositiveFloat | None = None,
        warmup_iters: NonNegativeInt | None = None,
        rks_weight: NonNegativeFloat | None = None,
        pke_weight: NonNegativeFloat | None = None,
        centre_weight: NonNegativeFloat = 0.03,
        memory: Annotated[float, Field(ge=0, lt=1)] = 0.8,
        rks_rounds: PositiveInt = 2,
        pke_iters: PositiveInt = 5,
        error_exponents: tuple[float, float] = (0.0, 3.0),
        error_stretch: NonNegativeFloat = 2.0,
        rks_interval: PositiveInt = 5,
        residual_interval: PositiveInt = 3,
        ssim_iters: NonNegativeInt = 400,
    ) -> None:
        super().__init__()
        defaults = DEFAULTS[likelihood]
        given = {'num_samples': num_samples, 'weighting': weighting, 'temperature': temperature, 'sampler': sampler}
        given |= {'proposal_std': proposal_std, 'lr': lr, 'warmup_iters': warmup_iters}
        given |= {'rks_weight': rks_weight, 'pke_weight': pke_weight}
        for key, value in given.items():
            setattr(self, key, defaults[key] if value is None else value)
        for key, allowed in (('weighting', WEIGHTINGS), ('sampler', SAMPLERS)):
            if getattr(self, key) not in allowed:
                raise ValueError(f'{key}: {getattr(self, key)!r} is not one of {", ".join(allowed)}')
        self.likelihood, self.kernel_family = likelihood, kernel_family
        ranges = {'variance_range': variance_range, 'length_range': length_range}
        self.family_options = {key: tuple(value) for key, value in ranges.items() if value is not None}
        self._build_family(Degradation(scale=4, kernel_size=19))  # tells mistakes at once
        if self.pke_weight == 0 and not self._has_rks:
            raise ValueError('pke_weight: 0 is not allowed without RKS, since nothing would move the kernel')
        self.num_layers, self.num_units = num_layers, num_units
        self.error_exponents, self.error_stretch = tuple(error_exponents), error_stretch
        self.rks_rounds, self.pke_iters, self.memory, self.centre_weight = rks_rounds, pke_iters, memory, centre_weight
        self.rks_interval, self.residual_interval, self.ssim_iters = rks_interval, residual_interval, ssim_iters

    def _build_family(self, degradation: Degradation) -> KernelFamily:
        scale, options = degradation.scale, self.family_options
        if self.kernel_family not in (*KERNEL_FAMILIES, 'free'):
            allowed = ', '.join((*KERNEL_FAMILIES, 'free'))
            raise ValueError(f'kernel_family: {self.kernel_family!r} is not one of {allowed}')
        name = 'gaussian' if self.kernel_family == 'free' else self.kernel_family  # free: for the warm-up only
        if name == 'gaussian':
            default = tuple(scale * bound for bound in DEFAULTS[self.likelihood]['variance_range'])
            options = {'variance_range': default} | options
        return build_family(name, scale, degradation.kernel_size, degradation.centre, **options)

    def reset(self, lq: Tensor, degradation: Degradation, generator: torch.Generator) -> None:
        self.lq, self.degradation, self.generator, self.iteration = lq, degradation, generator, 0
        self.family = self._build_family(degradation)
        self.net = build_initialised(
            lambda: KernelFCN(degradation.kernel_size, num_units=self.num_units, num_layers=self.num_layers),
            generator,
            lq.device,
        )
        self.code = self.net.random_code(generator).to(lq.device)
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=self.lr)
        if self.likelihood == 'residual' or not self._has_rks:
            for _ in range(self.warmup_iters):
                kernels = self.family.render(self.family.sample(self.num_samples, generator).to(lq))
                self._update((self.net(self.code) - kernels.mean(0)).square().sum())
        coordinates = self.family.num_params if self._has_rks else 0
        if self.likelihood == 'evidence':
            coordinates += ERROR_PARAMS
            self.grid = FrequencyGrid(lq, degradation.scale)
        self.random = RandomKernels(
            self.num_samples, coordinates, self.sampler, self.temperature, self.proposal_std, generator, lq.device
        )
        self.spread = None

    def forward(self) -> Tensor:
        with torch.no_grad():
            return self.net(self.code)

    def expected_psnr(self) -> float | None:
        """From the spread of the random kernels under weights of ``DOUBT_TEMPERATURE``, averaged as the kernel is."""
        if self.spread is None or self.random.num_fresh < 2:
            return None
        return -10 * math.log10(max(self.spread.item(), 1e-12))

    def step(self, x: Tensor) -> dict[str, Tensor]:
        losses = self._evidence_step(x) if self.likelihood == 'evidence' else self._residual_step(x)
        self.iteration += 1
        return losses

    def _residual_step(self, x: Tensor) -> dict[str, Tensor]:
        losses = {}
        position_in_round = self.iteration % self.rks_interval
        if position_in_round == 0 and self._has_rks:
            losses['l_k_rks'] = self.rks_step(x)
        kernel = self.net(self.code)
        residual = data_loss(self.degradation.A(x, kernel), self.lq, use_ssim=self.iteration < self.ssim_iters)
        off_centre = (centre_of_mass(kernel) - self.degradation.centre).square().sum()
        (self.pke_weight * residual + self.centre_weight * off_centre).backward()
        losses['l_k_residual'] = residual.detach()
        if (position_in_round + 1) % self.residual_interval == 0:
            self.optimizer.step()
            self.optimizer.zero_grad()
        return losses

    def _evidence_step(self, x: Tensor) -> dict[str, Tensor]:
        losses = {}
        for _ in range(FIRST_ROUNDS if self.iteration == 0 else self.rks_rounds):
            kernels, weights = self._weigh_random_kernels(x)
        if self._has_rks:
            mean = (weights.view(-1, 1, 1, 1) * kernels).sum(0, keepdim=True)
            spread = self._doubtful_spread(kernels)
            if self.iteration == 0:
                self.prior_kernel, self.spread = mean, spread
            self.prior_kernel = self.prior_kernel.lerp(mean, 1 - self.memory)
            self.spread = self.spread.lerp(spread, 1 - self.memory)
            for _ in range(self.warmup_iters if self.iteration == 0 else 0):
                self._update((self.net(self.code) - mean).square().sum())
        # The network's own kernel is judged with the spectrum of the best of the random ones.
        spectrum = self._error_spectra(self.random.samples[self.random.energies.argmin()].unsqueeze(0))
        for _ in range(self.pke_iters):
            kernel = self.net(self.code)
            loss = 0.0
            if self._has_rks:
                losses['l_k_rks'] = (kernel - self.prior_kernel).square().mean()
                loss = loss + self.rks_weight * losses['l_k_rks']
            if self.pke_weight > 0:
                losses['l_k_evidence'] = self._evidence(x, kernel, spectrum).sum()
                loss = loss + self.pke_weight * losses['l_k_evidence']
            self._update(loss)
        return {name: value.detach() for name, value in losses.items()}

    @property
    def _has_rks(self) -> bool:
        return self.rks_weight > 0 and self.kernel_family != 'free'

    def _evidence(self, x: Tensor, kernels: Tensor, spectra: Tensor) -> Tensor:
        return negative_log_evidence(x, self.lq, kernels, spectra, self.degradation.noise_variance, self.grid)

    def _error_spectra(self, samples: Tensor) -> Tensor:
        """Spectra of the error of the image, (L, s m, s n), from the last coordinates of samples (L, P)."""
        low, high = self.error_exponents
        exponents, stretches = samples[:, -ERROR_PARAMS], self.error_stretch * (2 * samples[:, 1 - ERROR_PARAMS :] - 1)
        return power_law(self.grid.rows, self.grid.columns, low + (high - low) * exponents, stretches)

    def _weigh_random_kernels(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Draw L kernels, (L, 1, K, K), and return them with their weights, (L,).

        Without RKS all are the network's own, and only the spectra of the error are drawn.
        """

        def judge(samples: Tensor) -> tuple[Tensor, Tensor]:
            if self._has_rks:
                kernels = self.family.render(samples[:, : self.family.num_params])
            else:
                kernels = self.net(self.code).expand(len(samples), -1, -1, -1)
            if self.likelihood == 'residual':
                return kernels, (residuals(x, kernels, self.lq, self.degradation) + 1e-8).log()
            at_a_time = max(1, EVIDENCE_PIXELS // (x.shape[-2] * x.shape[-1]))
            parts = zip(kernels.split(at_a_time), samples.split(at_a_time), strict=True)
            return kernels, torch.cat([self._evidence(x, k, self._error_spectra(part)) for k, part in parts])

        with torch.no_grad():
            kernels, energies = self.random.draw(judge)
            return kernels, kernel_weights(energies, self.weighting, self.temperature)

    def _doubtful_spread(self, kernels: Tensor) -> Tensor:
        """Mean over the pixels of the variance of the kernels (L, 1, K, K) of this round that were drawn uniformly."""
        fresh = slice(self.random.num_fresh)
        weights = kernel_weights(self.random.energies[fresh], 'softmax', DOUBT_TEMPERATURE).view(-1, 1, 1, 1)
        return (weights * (kernels[fresh] - (weights * kernels[fresh]).sum(0)).square()).sum(0).mean()

    def rks_step(self, x: Tensor) -> Tensor:
        """Draw and weigh random kernels, step towards them, and return the loss before the step.

        The gradient of sum_l omega_l ||k_l - k||^2 is that of the squared distance to the weighted mean k_p, the target
        of the paper, times the sum of the weights. The distance is a mean over the pixels of the kernel: their sum is
        as strong as the residual and holds the kernel back (measured: 55 in place of 61 dB on butterfly).
        """
        kernels, weights = self._weigh_random_kernels(x)
        distances = (self.net(self.code) - kernels).square().mean((1, 2, 3))
        return self._update(self.rks_weight * (weights * distances).sum())

    def _update(self, loss: Tensor) -> Tensor:
        """Step on one loss alone; gradients still waiting are of a round that is over."""
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.detach()
