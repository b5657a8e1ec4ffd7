"""The model that trains the unfolded network on sharp photographs alone, at several scales at once."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from basicsr.utils.registry import MODEL_REGISTRY
from pydantic import Field
from torch.utils.data import DataLoader

from dkp_plugin.archs.precision import compute_dtype
from dkp_plugin.archs.unfolded_arch import UnfoldedPrior
from dkp_plugin.host.errors import OptionError
from dkp_plugin.host.schema import parse_section
from dkp_plugin.host.seeds import image_generator
from dkp_plugin.models.network_training import NetworkTraining, check_weights
from dkp_plugin.models.photo_synthesis import PhotoSynthesis, PhotoTrain
from dkp_plugin.models.training_options import MetricsBlock, Number, TrainingOptions, check_training
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


class UnfoldedOptions(TrainingOptions):
    """An option file with ``model_type: UnfoldedModel``; ``scale`` is that of the sets under ``val``."""

    scale: Literal[SCALES]
    train: UnfoldedTrain | None = None
    val: MetricsBlock | None = None


@MODEL_REGISTRY.register()
class UnfoldedModel(NetworkTraining):
    """Trains ``network_g``, an :class:`~dkp_plugin.archs.unfolded_arch.UnfoldedPrior`, on sharp photographs alone.

    Every iteration draws a scale, makes LR crops as :class:`~dkp_plugin.models.photo_synthesis.PhotoSynthesis` does,
    and restores them with kernels of which half are slightly wrong.

    Random numbers depend on ``manual_seed`` and the iteration alone.
    """

    options = UnfoldedOptions

    @classmethod
    def check_options(cls, opt: dict[str, Any]) -> None:
        """Check an option file; see :func:`~dkp_plugin.models.training_options.check_training`."""
        options = check_training(cls.options, opt, {'network_g': UnfoldedPrior})
        check_weights(UnfoldedPrior, opt['network_g'], opt['path'])
        for key, block in opt['datasets'].items():
            if key != 'train' and not (block.get('dataroot_kernel') or block.get('random_kernel')):
                raise OptionError(
                    f'datasets: {key}: dataroot_kernel or random_kernel: missing; {cls.__name__} needs the true kernels'
                )
        size = opt['datasets'].get('train', {}).get('gt_size')
        for scale in options.train.scales if options.is_train and size else ():
            if size % scale:
                raise OptionError(f'datasets: train: gt_size: {size} is not a multiple of {scale}, one of the scales')

    def init_training_settings(self) -> None:
        options = self.train_options = parse_section(UnfoldedTrain, self.opt['train'], 'train')
        super().init_training_settings()
        self.dtype = compute_dtype(options.precision, self.device)
        self.syntheses = [
            PhotoSynthesis(options, Degradation(scale, default_kernel_size(scale))) for scale in options.scales
        ]

    def setup_optimizers(self) -> None:
        block = dict(self.opt['train']['optim_g'])
        schedule = list(self.net_g.schedule.parameters())
        known = set(map(id, schedule))
        weights = [parameter for parameter in self.net_g.parameters() if id(parameter) not in known]
        groups = [{'params': weights}, {'params': schedule, 'lr': self.train_options.schedule_lr}]
        self.optimizer_g = self.get_optimizer(block.pop('type'), groups, **block)
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
        generator = image_generator(self.opt['manual_seed'], self.random_name(current_iter))
        synthesis = self.syntheses[int(torch.randint(len(self.syntheses), (), generator=generator))]
        lq, noise, _, estimates = synthesis(self.gt, generator)
        *steps, result = self.net_g(lq, estimates, synthesis.degradation, noise, self.dtype)
        losses = {
            'l_pix': self.cri_pix(result, self.gt),
            'l_steps': STEP_WEIGHT * sum(self.cri_pix(x, self.gt) for x in steps),
        }
        self.descend(losses, current_iter)

    def nondist_validation(self, dataloader: DataLoader, *arguments: Any) -> None:
        """Validate with the true kernels of a set, in the set's convention."""
        self.convention = dataloader.dataset.opt.get('convention', 'aligned')
        super().nondist_validation(dataloader, *arguments)

    def test(self) -> None:
        """Restore the image that was fed with its true kernel."""
        degradation = Degradation(self.opt['scale'], self.kernel.shape[-1], self.convention)
        with torch.no_grad():
            net = getattr(self, 'net_g_ema', self.net_g)
            self.output = net(self.lq, self.kernel, degradation)[-1]
