"""The model that trains DASR on pairs, its encoder by contrast."""

from typing import Annotated, Any

from basicsr.archs import build_network
from basicsr.models.sr_model import SRModel
from basicsr.utils.registry import MODEL_REGISTRY
from pydantic import Field, NonNegativeFloat, NonNegativeInt
from torch import Tensor

from dkp_plugin.archs.dasr_arch import DASR
from dkp_plugin.archs.momentum_contrast_arch import MomentumContrast
from dkp_plugin.host.errors import OptionError
from dkp_plugin.models.training_options import (
    Block,
    MetricsBlock,
    TrainBlock,
    TrainingOptions,
    TrainingPaths,
    check_training,
)


class DASRTrain(TrainBlock):
    """Block ``train``; see :class:`DASRModel`."""

    encoder_iter: NonNegativeInt = 0
    contrast_weight: NonNegativeFloat = 1.0
    ema_decay: Annotated[float, Field(ge=0, le=0)] = 0.0  # BasicSR averages no running statistics
    pixel_opt: Block


class DASRPaths(TrainingPaths):
    """Block ``path``; ``pretrain_network_e`` is the encoder of the keys with its queue."""

    pretrain_network_e: str | None = None


class DASROptions(TrainingOptions):
    """An option file with ``model_type: DASRModel``."""

    network_e: Block
    path: DASRPaths = DASRPaths()
    train: DASRTrain | None = None
    val: MetricsBlock | None = None


@MODEL_REGISTRY.register()
class DASRModel(SRModel):
    """Trains ``network_g``, a :class:`~dkp_plugin.archs.dasr_arch.DASR`, on pairs of LR and HR images.

    The two halves of an LR crop, left and right, have the same degradation: the left one is restored, and its
    projection has to be told from those of other images by its likeness to the right one (``network_e``). The first
    ``encoder_iter`` iterations train the encoder alone. The loss is ``pixel_opt`` plus ``contrast_weight`` times the
    contrastive loss. Weights are not averaged, because BasicSR would leave out the statistics of the batch norms.
    """

    options = DASROptions

    @classmethod
    def check_options(cls, opt: dict[str, Any]) -> None:
        """Check an option file; see :func:`~dkp_plugin.models.training_options.check_training`.

        Raises:
            OptionError: also if scale or sizes of the networks differ, for LR images on another grid, and for several
                processes.
        """
        check_training(cls.options, opt, {'network_g': DASR, 'network_e': MomentumContrast})
        generator, contrast = opt['network_g'], opt['network_e']
        if (scale := generator.get('scale', 4)) != opt['scale']:
            raise OptionError(f'network_g: scale: {scale} does not match scale, {opt["scale"]}')
        if (convention := generator.get('convention', 'aligned')) != 'aligned':
            raise OptionError(f'network_g: convention: {convention} is not allowed in a training; allowed: aligned')
        if (size := contrast.get('num_feat', 64)) != (own := generator.get('num_feat_encoder', 64)):
            raise OptionError(f'network_e: num_feat: {size} does not match num_feat_encoder of network_g, {own}')
        if opt['dist']:
            raise OptionError('--launcher: not possible, DASRModel trains in one process')

    def init_training_settings(self) -> None:
        self.net_e = build_network(self.opt['network_e']).to(self.device)
        path = self.opt['path'].get('pretrain_network_e')
        if path is None:
            self.net_e.follow(self.get_bare_model(self.net_g).encoder, momentum=0)
        else:
            self.load_network(self.net_e, path)
        super().init_training_settings()

    def optimize_parameters(self, current_iter: int) -> None:
        """Take one training step on the pairs that were fed."""
        net, train = self.get_bare_model(self.net_g), self.opt['train']
        half = self.lq.shape[-1] // 2
        query, other = self.lq[..., :half], self.lq[..., -half:]
        losses: dict[str, Tensor] = {}
        if current_iter > train.get('encoder_iter', 0):
            self.output, projection = net.restore_and_project(query)
            losses['l_pix'] = self.cri_pix(self.output, self.gt[..., : half * net.scale])
        else:
            projection = net.encoder(255 * query)[1]
        self.net_e.follow(net.encoder)
        losses['l_contrast'] = train.get('contrast_weight', 1.0) * self.net_e(projection, 255 * other)
        self.optimizer_g.zero_grad()
        sum(losses.values()).backward()
        self.optimizer_g.step()
        self.log_dict = self.reduce_loss_dict(losses)

    def save(self, epoch: int, current_iter: int) -> None:
        """Save the network, what trains its encoder, and the state of the training."""
        super().save(epoch, current_iter)
        self.save_network(self.net_e, 'net_e', current_iter)
