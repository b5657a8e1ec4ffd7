"""The model that trains the unfolded network on sharp photographs alone, at several scales at once."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from basicsr.models.sr_model import SRModel
from basicsr.utils.registry import MODEL_REGISTRY
from pydantic import Field
from torch import nn
from torch.utils.data import DataLoader

from dkp_plugin.archs.precision import compute_dtype
from dkp_plugin.archs.unfolded_arch import UnfoldedPrior
from dkp_plugin.host.errors import OptionError
from dkp_plugin.host.schema import parse_section
from dkp_plugin.host.seeds import image_generator
from dkp_plugin.models.photo_synthesis import PhotoSynthesis, PhotoTrain
from dkp_plugin.models.training_options import Block, Number, TrainingOptions, ValBlock, check_training
from dkp_plugin.physics.degradation import SCALES, Degradation
from dkp_plugin.physics.kernels import default_kernel_size

STEP_WEIGHT = 0.1  # of the image after each denoising step, in the loss


class UnfoldedTrain(PhotoTrain):
    """Block ``train``.

    ``scales``: each iteration draws one; scales that stand there twice are drawn twice as often. ``schedule_lr``:
    learning rate of the schedule, a few numbers for each scale.
    """

    scales: list[Literal[SCALES]] = Field(min_length=1)
    schedule_lr: Number = 1e-2


class UnfoldedVal(ValBlock):
    """Block ``val``; the sets need the true kernels."""

    metrics: dict[str, Block] | None = None


class UnfoldedOptions(TrainingOptions):
    """An option file with ``model_type: UnfoldedModel``; ``scale`` is that of the sets under ``val``."""

    scale: Literal[SCALES]
    train: UnfoldedTrain | None = None
    val: UnfoldedVal | None = None


@MODEL_REGISTRY.register()
class UnfoldedModel(SRModel):
    """Trains ``network_g``, an :class:`~dkp_plugin.archs.unfolded_arch.UnfoldedPrior`, on sharp photographs alone.

    Every iteration draws a scale, makes LR crops as :class:`~dkp_plugin.models.photo_synthesis.PhotoSynthesis` does,
    and restores them with kernels of which half are slightly wrong.

    Random numbers depend on ``manual_seed`` and the iteration alone.
    """

    options = UnfoldedOptions

    @classmethod
    def check_options(cls, opt: dict[str, Any]) -> None:
        """Check an option file; see :func:`~dkp_plugin.models.training_options.check_training`."""
        check_training(cls.options, opt, {'network_g': UnfoldedPrior})
        for key, block in opt['datasets'].items():
            if key != 'train' and not (block.get('dataroot_kernel') or block.get('random_kernel')):
                raise OptionError(f'datasets: {key}: dataroot_kernel: missing; {cls.__name__} needs the true kernels')

    def init_training_settings(self) -> None:
        self.train_options = options = parse_section(UnfoldedTrain, self.opt['train'], 'train')
        super().init_training_settings()
        self.dtype = compute_dtype(options.precision, self.device)
        self.syntheses = [
            PhotoSynthesis(options, Degradation(scale, default_kernel_size(scale))) for scale in options.scales
        ]

    def setup_optimizers(self) -> None:
        block = dict(self.opt['train']['optim_g'])
        net = self.get_bare_model(self.net_g)
        schedule = {id(parameter) for parameter in net.schedule.parameters()}
        weights = [parameter for parameter in net.parameters() if id(parameter) not in schedule]
        groups = {'params': weights}, {'params': list(net.schedule.parameters()), 'lr': self.train_options.schedule_lr}
        self.optimizer_g = self.get_optimizer(block.pop('type'), list(groups), **block)
        self.optimizers.append(self.optimizer_g)

    def feed_data(self, data: Mapping[str, Any]) -> None:
        """Take sharp crops, ``gt``, or an image of a set under ``val`` with its kernel."""
        if 'lq' in data:
            images = {key: data[key] for key in ('lq', 'gt') if key in data}
            super().feed_data({key: image.expand(-1, 3, -1, -1).contiguous() for key, image in images.items()})
            self.kernel = data['kernel'].to(self.device)
        else:
            self.gt = data['gt'].to(self.device)

    def optimize_parameters(self, current_iter: int) -> None:
        """Take one step on the crops that were fed."""
        options = self.train_options
        generator = image_generator(self.opt['manual_seed'], f'iteration {current_iter}/{self.opt["rank"]}')
        synthesis = self.syntheses[int(torch.randint(len(self.syntheses), (), generator=generator))]
        lq, noise, _, estimates = synthesis(self.gt, generator)
        *steps, result = self.net_g(lq, estimates, synthesis.degradation, noise, self.dtype)
        losses = {'l_pix': self.cri_pix(result, self.gt), 'l_steps': sum(self.cri_pix(x, self.gt) for x in steps)}
        self.optimizer_g.zero_grad()
        (losses['l_pix'] + STEP_WEIGHT * losses['l_steps']).backward()
        nn.utils.clip_grad_norm_(self.net_g.parameters(), options.max_grad_norm)
        self.optimizer_g.step()
        self.log_dict = self.reduce_loss_dict({name: loss.detach() for name, loss in losses.items()})
        self.model_ema(decay=min(self.ema_decay, (1 + current_iter) / (10 + current_iter)))

    def nondist_validation(self, dataloader: DataLoader, *arguments: Any) -> None:
        """Validate with the true kernels of a set, in the set's convention."""
        self.convention = dataloader.dataset.opt.get('convention', 'aligned')
        super().nondist_validation(dataloader, *arguments)

    def test(self) -> None:
        """Restore the image that was fed with its true kernel."""
        degradation = Degradation(self.opt['scale'], self.kernel.shape[-1], self.convention)
        with torch.no_grad():
            self.output = self.net_g_ema(self.lq, self.kernel, degradation)[-1]
