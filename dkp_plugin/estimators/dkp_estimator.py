"""Dynamic Kernel Prior (Yang et al., CVPR 2024, arXiv 2404.15620): RKS and PKE on the LR residual.

Notation: y is the LR image ``lq``, x the current HR estimate, k_phi the kernel of a network with parameters phi.

- RKS (random kernel sampling): random kernels k_l with losses L_l = ||y - A(x, k_l)||^2 + delta get weights omega_l,
  in the paper omega_l ~ 1 / L_l. Their weighted mean is the prior kernel k_p = sum_l omega_l k_l.
- PKE (prior kernel estimation) by NLD (network-based Langevin dynamics), with the random k_p as the noise:
  phi <- phi - gamma grad ||y - A(x, k_phi)||^2 - gamma grad ||k_phi - k_p||^2.

``evidence_dkp_estimator.py`` holds the variant for images that are not fitted to the LR image.
"""

from collections.abc import Mapping
from typing import Any, Literal, get_args

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor

from dkp_plugin.estimators.base import KernelEstimator
from dkp_plugin.estimators.kernel_network import KernelNetwork, Warmup, warm_up
from dkp_plugin.estimators.random_kernels import Family, RandomKernelOptions, Sampler, Weighting
from dkp_plugin.estimators.residual_descent import descend
from dkp_plugin.physics.data_loss import SsimPadding, data_loss
from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.physics.kernels import centre_of_mass

DELTA = 1e-8  # keeps the weight of a perfect kernel finite


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
    """Dynamic kernel prior of the paper, for an image that is fitted to the LR image (``DIP``).

    Random kernels are weighted by how well they explain the LR image (RKS). The kernel network steps towards their
    weighted mean every ``rks_interval`` calls of :meth:`step`. In between it descends the LR residual of its own kernel
    (PKE), one step every ``residual_interval`` calls, with the gradients accumulated over them; those left before an
    RKS step are dropped. For ``Diffusion`` use ``EvidenceDKP``.

    Args:
        num_samples: Number L of random kernels.
        weighting: ``inverse`` (the paper), ``focal`` (the released program) or ``softmax``; see
            :func:`~.random_kernels.kernel_weights`.
        temperature: Temperature of ``softmax`` weights and of the samplers ``metropolis`` and ``population``.
        sampler: ``independent`` (the paper), ``metropolis`` or ``population``; see
            :class:`~.random_kernels.RandomKernels`.
        proposal_std: Step of the samplers' moves, as a share of each parameter's range.
        kernel_family: ``gaussian``, ``motion``, ``line``, or ``free``: no random kernels, the network alone.
        variance_range: Variances of the family ``gaussian``, in squared HR pixels; None: 0.925 to 5 times the scale.
            At x4 this is the released program's range, 3.7 to 20. It exceeds that of the papers' test kernels, 0.7 to
            10, because an image that is still too smooth favours kernels that are too narrow (butterfly: 53 instead of
            62 dB with 0.7 to 10).
        length_range: Lengths of the families ``motion`` and ``line``, in HR pixels; None: half the scale to 0.8 times
            the kernel size.
        num_layers: Hidden layers of the kernel network.
        num_units: Units per hidden layer.
        lr: Learning rate of Adam.
        warmup_iters: Steps on random kernels before the network sees the image.
        warmup: ``mean``: they take the kernel to the mean of the family. ``single``: they leave it nearly flat, as in
            the released program; see :func:`~.kernel_network.warm_up`. The start matters to the end: the kernel moves
            slowly, and the image follows the kernel.
        rks_weight: Factor on the loss of the RKS steps, which share Adam with the residual; 0: no RKS. At 1, as in the
            released program, the random kernels hardly count, and the kernel leaves their family once the image is
            sharp. From 30 on they hold it too wide.
        pke_weight: Factor on the residual of the network's own kernel; 0: no PKE, the network follows RKS alone.
        centre_weight: Factor on the squared distance, in HR pixels, between the centre of mass of the kernel and the
            centre of the convention. The residual does not determine the centre, because a fitted image moves along.
            0, as in the paper, leaves kernels 0.2 to 0.4 pixels off.
        rks_interval: Calls of ``step`` per RKS step.
        residual_interval: Calls of ``step`` per step on the residual.
        residual_count: ``run``: the interval counts all calls, as in the released program. With the interval 3 it gives
            5 steps in 3 rounds of 5 calls. ``round``: it starts anew with every round, which gives one step in a round.
        ssim_iters: Calls of ``step`` that use 1 - SSIM as the residual; later calls use the mean squared error. Set it
            to the restorer's own ``ssim_iters``: an image fitted by SSIM has errors of contrast, and the mean squared
            error would make the kernel explain them.
        ssim_padding: ``zeros`` or ``none``, see ``DIP``. Set it to the restorer's own.

    Raises:
        ValueError: for a name that is not allowed, for a range that is wrong or of another family, and for a kernel
            that nothing would move.
    """

    paper = 'Yang et al., CVPR 2024'
    kernel_families = get_args(Family)

    def __init__(
        self,
        num_samples: PositiveInt = 5,
        weighting: Weighting = 'focal',
        temperature: PositiveFloat = 0.1,
        sampler: Sampler = 'independent',
        proposal_std: PositiveFloat = 0.1,
        kernel_family: Family = 'gaussian',
        variance_range: tuple[float, float] | None = None,
        length_range: tuple[float, float] | None = None,
        num_layers: PositiveInt = 1,
        num_units: PositiveInt = 1000,
        lr: PositiveFloat = 1e-4,
        warmup_iters: NonNegativeInt = 200,
        warmup: Warmup = 'mean',
        rks_weight: NonNegativeFloat = 10.0,
        pke_weight: NonNegativeFloat = 1.0,
        centre_weight: NonNegativeFloat = 0.03,
        rks_interval: PositiveInt = 5,
        residual_interval: PositiveInt = 3,
        residual_count: Literal['run', 'round'] = 'run',
        ssim_iters: NonNegativeInt = 400,
        ssim_padding: SsimPadding = 'zeros',
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
            default_variances=(0.925, 5.0),
        )
        self.rks.check_moves(pke_weight)
        self.num_layers, self.num_units, self.lr = num_layers, num_units, lr
        self.warmup_iters, self.warmup = warmup_iters, warmup
        self.pke_weight, self.centre_weight = pke_weight, centre_weight
        self.rks_interval, self.residual_interval = rks_interval, residual_interval
        self.residual_count = residual_count
        self.ssim_iters, self.ssim_padding = ssim_iters, ssim_padding

    @classmethod
    def translate(cls, options: Mapping[str, Any]) -> tuple[Mapping[str, Any], str | None]:
        """Rewrite a block of options of the time when ``DKP`` had the key ``likelihood``.

        Args:
            options: A block with ``type: DKP``.

        Returns:
            The block in today's form, and a note that names the new form; the block as it is and None if it needs no
            change.
        """
        rest = {key: value for key, value in options.items() if key != 'likelihood'}
        match options.get('likelihood'):
            case 'evidence':
                return rest | {'type': 'EvidenceDKP'}, 'type: DKP with likelihood: evidence is now type: EvidenceDKP'
            case 'residual':
                return rest, 'type: DKP with likelihood: residual is now type: DKP; the key likelihood can go'
        return options, None

    def reset(self, lq: Tensor, degradation: Degradation, generator: torch.Generator) -> None:
        self.lq, self.degradation, self.iteration = lq, degradation, 0
        self.family = self.rks.build_family(degradation)
        self.network = KernelNetwork(degradation.kernel_size, self.num_layers, self.num_units, generator, lq.device)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=self.lr)
        warm_up(
            self.network,
            self.optimizer,
            self.family,
            self.rks.num_samples,
            self.warmup_iters,
            generator,
            self.warmup,
        )
        self.random = self.rks.start(self.family.num_params if self.rks.has_rks else 0, generator, lq.device)

    def forward(self) -> Tensor:
        with torch.no_grad():
            return self.network.kernel()

    def step(self, x: Tensor) -> dict[str, Tensor]:
        losses = {}
        position_in_round = self.iteration % self.rks_interval

        # 1. RKS, once per round: phi <- phi - gamma grad ||k_phi - k_p||^2
        if position_in_round == 0 and self.rks.has_rks:
            losses['l_k_rks'] = self.rks_step(x)

        # 2. PKE: add up grad ||y - A(x, k_phi)||^2, with 1 - SSIM in place of the square at first
        kernel = self.network.kernel()
        y = self.degradation.A(x, kernel)
        residual = data_loss(y, self.lq, self.iteration < self.ssim_iters, self.ssim_padding)
        losses['l_k_residual'] = residual.detach()

        # 3. beyond the paper: hold the centre of mass of k_phi, sum_i i k_phi[i], where the convention has it
        off_centre = (centre_of_mass(kernel) - self.degradation.centre).square().sum()
        (self.pke_weight * residual + self.centre_weight * off_centre).backward()

        # 4. phi <- phi - gamma (sum of the gradients of 2 and 3)
        count = self.iteration if self.residual_count == 'run' else position_in_round
        if (count + 1) % self.residual_interval == 0:
            self.optimizer.step()
            self.optimizer.zero_grad()
        self.iteration += 1
        return losses

    def rks_step(self, x: Tensor) -> Tensor:
        """Draw and weigh random kernels and step towards them.

        The gradient of sum_l omega_l ||k_phi - k_l||^2 is that of ||k_phi - k_p||^2, the paper's loss, times the sum of
        the weights. The distance is a mean over the pixels of the kernel: a sum would be as strong as the residual and
        hold the kernel back (measured on butterfly: 55 instead of 61 dB).

        Args:
            x: The HR estimate, (1, C, s h, s w) in [0, 1].

        Returns:
            The loss before the step, a scalar.
        """

        def judge(samples: Tensor) -> tuple[Tensor, Tensor]:
            kernels = self.family.render(samples)
            return kernels, (residuals(x, kernels, self.lq, self.degradation) + DELTA).log()

        with torch.no_grad():
            # 1. draw k_l, l = 1 ... L; L_l = ||y - A(x, k_l)||^2 + delta
            kernels, energies = self.random.draw(judge)
            # 2. omega_l, in the paper (1 / L_l) / sum_m (1 / L_m)
            weights = self.rks.weigh(energies)

        # 3. phi <- phi - gamma grad sum_l omega_l ||k_phi - k_l||^2
        distances = (self.network.kernel() - kernels).square().mean((1, 2, 3))
        return descend(self.optimizer, self.rks.weight * (weights * distances).sum())
