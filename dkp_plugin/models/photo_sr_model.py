"""The model that trains the one-pass network on sharp photographs alone, with random kernels of all families."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import torch
from basicsr.losses import build_loss
from basicsr.utils.registry import MODEL_REGISTRY
from pydantic import Field
from torch import Tensor, nn

from dkp_plugin.archs.unpaired_arch import GIVEN, OWN, Restored, UnpairedSR
from dkp_plugin.host.schema import parse_section
from dkp_plugin.host.seeds import image_generator
from dkp_plugin.models.network_training import check_weights
from dkp_plugin.models.one_pass_training import VARIATIONAL_WEIGHT, OnePassTraining, network_block
from dkp_plugin.models.photo_synthesis import PhotoSynthesis, PhotoTrain
from dkp_plugin.models.training_options import Block, MetricsBlock, TrainingOptions, check_training
from dkp_plugin.models.unpaired_options import PARTS, Share
from dkp_plugin.physics.borders import crop_border, mirror_border
from dkp_plugin.physics.coding_noise import estimate_coding_noise
from dkp_plugin.physics.degradation import SCALES, Degradation
from dkp_plugin.physics.jpeg_coding import JpegCoding
from dkp_plugin.physics.kernels import default_kernel_size


class PhotoSRTrain(PhotoTrain):
    """Block ``train``.

    ``own_share``: share of the pairs that R restores with the kernel network's kernel. ``mirror_share``: share of the
    iterations whose LR crops have a mirrored border, as photographs have it, instead of a periodic one. ``parts``: of
    the network that are trained; the weight head of N belongs to R. ``max_grad_norm``: of each of S, N and R.
    """

    own_share: Share = 0.15
    mirror_share: Share = 0.0
    parts: list[Literal[PARTS]] = Field(default=list(PARTS), min_length=1)
    intermediate_opt: Block
    kernel_opt: Block


class PhotoSROptions(TrainingOptions):
    """An option file with ``model_type: PhotoSRModel``."""

    scale: Literal[SCALES]
    train: PhotoSRTrain | None = None
    val: MetricsBlock | None = None


@MODEL_REGISTRY.register()
class PhotoSRModel(OnePassTraining):
    """Trains ``network_g``, an :class:`~dkp_plugin.archs.unpaired_arch.UnpairedSR`, on sharp photographs alone.

    Every iteration blurs and subsamples crops with random kernels of all families, and adds noise and JPEG errors to
    some. S learns to restore them without a kernel, N to estimate the kernel, and R to restore with a kernel that is
    exact, slightly wrong, or N's own. R does not change S, so that S never learns which kernels to expect.

    Random numbers depend on ``manual_seed`` and the iteration alone.
    """

    options = PhotoSROptions

    @classmethod
    def check_options(cls, opt: dict[str, Any]) -> None:
        """Check the options of an option file, which ``complete_options`` has completed.

        Raises:
            OptionError: for the first mistake.
        """
        options = check_training(cls.options, opt, {'network_g': UnpairedSR})
        degradation = Degradation(options.scale, default_kernel_size(options.scale))
        check_weights(UnpairedSR, network_block(opt['network_g'], degradation), opt['path'])

    def __init__(self, opt: dict[str, Any]) -> None:
        self.degradation = Degradation(opt['scale'], default_kernel_size(opt['scale']))
        opt['network_g'] = network_block(opt['network_g'], self.degradation)
        if opt['is_train']:
            self.train_options = parse_section(PhotoSRTrain, opt['train'], 'train')
        super().__init__(opt)

    def init_training_settings(self) -> None:
        options = self.train_options
        super().init_training_settings()
        self.cri_intermediate, self.cri_kernel = build_loss(options.intermediate_opt), build_loss(options.kernel_opt)
        self.synthesis = PhotoSynthesis(options, self.degradation)

    def feed_data(self, data: Mapping[str, Any]) -> None:
        """Take sharp crops, ``gt``, or an image of a set under ``val``."""
        if 'lq' in data:
            super().feed_data(data)
        else:
            self.gt = data['gt'].to(self.device)

    def optimize_parameters(self, current_iter: int) -> None:
        """Take one step on the crops that were fed."""
        options, net = self.train_options, self.net_g
        generator = image_generator(self.opt['manual_seed'], self.random_name(current_iter))
        lq, noise, kernels, estimates = self.synthesis(self.gt, generator)
        has_border = options.mirror_share > 0 and torch.rand((), generator=generator) < options.mirror_share
        margin = self.degradation.reach if has_border else 0
        lq = mirror_border(crop_border(lq, margin), margin)
        gt = crop_border(self.gt, self.degradation.scale * margin)

        def loss(criterion: nn.Module, image: Tensor) -> Tensor:
            return criterion(crop_border(image, self.degradation.scale * margin), gt)

        losses = {}
        if options.parts != ['n']:
            intermediate, features = net.intermediate_inside(lq, self.dtype, noise)
        if 's' in options.parts:
            losses['l_intermediate'] = loss(self.cri_intermediate, intermediate)
        log_kernel, log_weights = net.estimate_inside(lq, self.dtype, noise)
        if 'n' in options.parts:
            losses['l_kernel'] = self.cri_kernel(log_kernel, net.kernel_inside(kernels))
        if 'r' in options.parts:
            is_own = (torch.rand(len(lq), generator=generator) < options.own_share).to(self.device)
            own = log_kernel.detach().exp()
            chosen = torch.where(is_own.view(-1, 1, 1, 1), own, net.kernel_inside(estimates))
            weight = log_weights.gather(1, torch.where(is_own, OWN, GIVEN).unsqueeze(1)).squeeze(1)
            x_bar, x_hat, _ = net.refine_inside(lq, chosen, intermediate.detach(), features.detach(), weight, noise)
            losses['l_pix'] = loss(self.cri_pix, x_hat) + VARIATIONAL_WEIGHT * loss(self.cri_pix, x_bar)
        self.descend(losses, current_iter)

    def restore_for_validation(self, data: Mapping[str, Any], net: UnpairedSR) -> dict[str, Restored]:
        """Restore with the kernel network's kernel and, where the set has kernels, with the true one (``_oracle``)."""
        lq, degradation = data['lq'].to(self.device), self.degradation
        if 'jpeg' in data:
            coding = estimate_coding_noise(lq, JpegCoding.from_tensor(data['jpeg'][0]))
            degradation = replace(degradation, coding=coding)
        noise = degradation.noise_model(lq)
        ways = {'': net.restore(lq, noise=noise)}
        if 'kernel' in data:
            ways['_oracle'] = net.restore(lq, data['kernel'].to(self.device), noise=noise)
        return ways
