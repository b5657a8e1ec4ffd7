"""The model that trains a normalizing flow on blur kernels by maximum likelihood."""

import math
from typing import Annotated, Any, Literal

import torch
from basicsr.models.sr_model import SRModel
from basicsr.utils import get_root_logger
from basicsr.utils.registry import MODEL_REGISTRY
from pydantic import Field
from torch import Tensor
from torch.utils.data import DataLoader

from dkp_plugin.archs.kernel_flow_arch import KernelFlow
from dkp_plugin.host.errors import OptionError
from dkp_plugin.models.training_options import TrainBlock, TrainingOptions, check_training
from dkp_plugin.physics.degradation import SCALES
from dkp_plugin.physics.kernels import default_kernel_size


class KernelFlowTrain(TrainBlock):
    """Block ``train``; see :class:`KernelFlowModel`."""

    ema_decay: Annotated[float, Field(ge=0, le=0)] = 0.0  # no weight averaging


class KernelFlowOptions(TrainingOptions):
    """An option file with ``model_type: KernelFlowModel``."""

    scale: Literal[SCALES]
    train: KernelFlowTrain | None = None


@MODEL_REGISTRY.register()
class KernelFlowModel(SRModel):
    """Trains ``network_g``, a :class:`~dkp_plugin.archs.kernel_flow_arch.KernelFlow`, on kernels.

    The loss is the negative log-likelihood of the kernels' logits in nats per dimension. BasicSR's SRModel provides the
    optimiser, the schedule and the checkpoints. Weights are not averaged (``ema_decay``), since averaged weights would
    not match the running statistics of the batch normalisation; a learning rate that decays to zero replaces it.
    """

    options = KernelFlowOptions

    @classmethod
    def check_options(cls, opt: dict[str, Any]) -> None:
        """Check an option file; see :func:`~dkp_plugin.models.training_options.check_training`.

        Raises:
            OptionError: also if the kernel sizes of the flow and the datasets differ.
        """
        check_training(cls.options, opt, {'network_g': KernelFlow})
        for key, block in opt['datasets'].items():
            found = block.get('kernel_size') or default_kernel_size(opt['scale'])
            if found != (size := opt['network_g'].get('kernel_size', found)):
                raise OptionError(f'datasets: {key}: kernel_size: {found} does not match network_g, {size}')

    def init_training_settings(self) -> None:
        self.net_g.train()
        self.setup_optimizers()
        self.setup_schedulers()

    def feed_data(self, data: dict[str, Any]) -> None:
        """Take ``kernel``, (B, 1, K, K), from a KernelDataset."""
        self.kernel = data['kernel'].to(self.device)

    def _nll(self) -> Tensor:
        """Negative log-likelihood of each of the current kernels: (B,), in nats per dimension."""
        flow = self.get_bare_model(self.net_g)
        u, log_det = self.net_g(flow.to_logits(self.kernel))
        return -(flow.base_log_prob(u) + log_det) / u.shape[1]

    def optimize_parameters(self, current_iter: int) -> None:
        """Take one training step on the current kernels."""
        self.optimizer_g.zero_grad()
        loss = self._nll().mean()
        loss.backward()
        self.optimizer_g.step()
        self.log_dict = self.reduce_loss_dict({'l_nll': loss})

    def dist_validation(self, dataloader: DataLoader, current_iter: int, tb_logger: Any, save_img: bool) -> None:
        """Validate on the first process."""
        if self.opt['rank'] == 0:
            self.nondist_validation(dataloader, current_iter, tb_logger, save_img)

    def nondist_validation(self, dataloader: DataLoader, current_iter: int, tb_logger: Any, save_img: bool) -> None:
        """Log the mean negative log-likelihood of a dataset, using the running statistics."""
        self.feed_data({'kernel': torch.cat([data['kernel'] for data in dataloader])})
        self.net_g.eval()
        with torch.no_grad():
            nll = self._nll().mean().item()
        self.net_g.train(self.is_train)
        name = dataloader.dataset.opt['name']
        get_root_logger().info(
            f'Validation {name}: negative log-likelihood {nll:.4f} nats = {nll / math.log(2):.4f} bits per dimension'
        )
        if tb_logger:
            tb_logger.add_scalar(f'metrics/{name}/nll', nll, current_iter)
