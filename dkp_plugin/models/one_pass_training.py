"""What the trainings of an ``UnpairedSR`` share: its parts, the step of several processes, and the validation."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from basicsr.metrics import calculate_metric
from basicsr.models.sr_model import SRModel
from basicsr.utils import get_root_logger, imwrite, tensor2img
from mmengine import dist
from torch import Tensor, nn
from torch.utils.data import DataLoader

from dkp_plugin.archs.precision import compute_dtype
from dkp_plugin.archs.unpaired_arch import Restored, UnpairedSR
from dkp_plugin.models.unpaired_options import PARTS

VARIATIONAL_WEIGHT = 0.1  # of the variational image in the loss of R
STAGES = {'intermediate': '_intermediate', 'variational': '_variational', 'result': ''}  # suffixes of the metrics


def average_gradients(net: nn.Module) -> None:
    """Average the gradients over the processes of the group, in one message; a single process keeps its own."""
    if dist.get_world_size() == 1:
        return
    gradients = [parameter.grad for parameter in net.parameters() if parameter.grad is not None]
    mean = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(mean, 'mean')
    for gradient, part in zip(gradients, mean.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


class OnePassTraining(SRModel):
    """Base of the trainings of ``network_g``, an :class:`~dkp_plugin.archs.unpaired_arch.UnpairedSR`.

    Subclasses set ``train_options``, with ``parts``, ``precision`` and ``max_grad_norm``, before ``SRModel`` starts.
    """

    def model_to_device(self, net: nn.Module) -> nn.Module:
        """Move a network; the processes of a group start from the same weights and average their gradients."""
        net = net.to(self.device)
        for tensor in net.state_dict().values():
            dist.broadcast(tensor)
        return net

    def init_training_settings(self) -> None:
        options = self.train_options
        for part in set(PARTS) - set(options.parts):
            getattr(self.net_g, part).requires_grad_(False)
        self.net_g.n.weight.requires_grad_('r' in options.parts)  # its weight head belongs to R
        super().init_training_settings()
        self.dtype = compute_dtype(options.precision, self.device)

    def random_name(self, current_iter: int) -> str:
        """The name from which this process draws the random numbers of an iteration."""
        rank = f'/{dist.get_rank()}' if dist.get_world_size() > 1 else ''
        return f'iteration {current_iter}{rank}'

    def descend(self, losses: Mapping[str, Tensor]) -> None:
        """Take a step down the sum of the losses; each part of the network has its gradient clipped."""
        self.optimizer_g.zero_grad()
        sum(losses.values()).backward()
        average_gradients(self.net_g)
        for part in PARTS:
            nn.utils.clip_grad_norm_(getattr(self.net_g, part).parameters(), self.train_options.max_grad_norm)
        self.optimizer_g.step()
        self.log_dict = self.reduce_loss_dict({name: loss.detach() for name, loss in losses.items()})
        self.model_ema(decay=self.ema_decay)

    def restore_for_validation(self, data: Mapping[str, Any], net: UnpairedSR) -> dict[str, Restored]:
        """Restore an image of a set under ``val``, in one or several ways: by suffix of the metrics' names."""
        return {'': net.restore(data['lq'].to(self.device))}

    def dist_validation(self, dataloader: DataLoader, current_iter: int, tb_logger: Any, save_img: bool) -> None:
        """Validate on the first process."""
        if self.opt['rank'] == 0:
            self.nondist_validation(dataloader, current_iter, tb_logger, save_img)

    def nondist_validation(self, dataloader: DataLoader, current_iter: int, tb_logger: Any, save_img: bool) -> None:
        """Log each metric of the intermediate image, the variational model and the result."""
        metrics = (self.opt['val'] or {}).get('metrics') or {}
        name, sums = dataloader.dataset.opt['name'], {}
        net = getattr(self, 'net_g_ema', self.net_g)
        convention = dataloader.dataset.opt.get('convention', net.degradation.convention)
        net.adopt(replace(net.degradation, convention=convention))
        for data in dataloader:
            with torch.no_grad():
                ways = self.restore_for_validation(data, net)
            for way, restored in ways.items():
                for stage, suffix in STAGES.items():
                    image = tensor2img([getattr(restored, stage)])
                    for metric, block in metrics.items() if 'gt' in data else ():
                        pair = {'img': image, 'img2': tensor2img([data['gt'].expand(-1, 3, -1, -1)])}
                        key = metric + suffix + way
                        sums[key] = sums.get(key, 0.0) + calculate_metric(pair, dict(block))
            if save_img:
                stem = Path(data['lq_path'][0]).stem
                imwrite(image, str(Path(self.opt['path']['visualization'], stem, f'{stem}_{current_iter}.png')))
        means = {metric: value / len(dataloader) for metric, value in sums.items()}
        text = ', '.join(f'{metric}: {value:.4f}' for metric, value in means.items())
        get_root_logger().info(f'Validation {name}, {current_iter} iterations, one pass: {text or "no truth"}')
        if tb_logger:
            for metric, value in means.items():
                tb_logger.add_scalar(f'metrics/{name}/{metric}', value, current_iter)
            self.add_pictures(tb_logger, current_iter)

    def add_pictures(self, tb_logger: Any, current_iter: int) -> None:
        """Add pictures of the training to TensorBoard."""
