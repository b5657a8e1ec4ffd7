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
from dkp_plugin.evaluation.evaluate import STAGES
from dkp_plugin.host.errors import OptionError, UserError
from dkp_plugin.io.weight_files import network_weights, read_weights
from dkp_plugin.models.unpaired_options import PARTS
from dkp_plugin.physics.degradation import Degradation

VARIATIONAL_WEIGHT = 0.1  # of the variational image in the loss of R
SUFFIXES = {stage: f'_{stage}' for stage in STAGES} | {'result': ''}  # of the metrics


def average_gradients(net: nn.Module) -> None:
    """Average the gradients over the processes of the group, in one message; a single process keeps its own."""
    if dist.get_world_size() == 1:
        return
    gradients = [parameter.grad for parameter in net.parameters() if parameter.grad is not None]
    mean = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(mean, 'mean')
    for gradient, part in zip(gradients, mean.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


def network_block(block: Mapping[str, Any], degradation: Degradation) -> dict[str, Any]:
    """A block ``network_g`` with the sizes and the convention of a forward model."""
    sizes = {'scale': degradation.scale, 'kernel_size': degradation.kernel_size}
    return {**block, **sizes, 'convention': degradation.convention}


def fitting_weights(net: UnpairedSR, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What ``strict_load_g: false`` loads: weights of the name and shape of the network's, also of another scale."""
    own = net.state_dict()
    sizes = {name for name, _ in net.named_buffers()}  # they say what a file is for
    return {
        name: weight
        for name, weight in weights.items()
        if name in own.keys() - sizes and weight.shape == own[name].shape
    }


def check_weights(block: Mapping[str, Any], paths: Mapping[str, Any]) -> None:
    """Check that the weights from which a training starts fit its network.

    Args:
        block: Block ``network_g``, of type ``UnpairedSR``.
        paths: Block ``path``.

    Raises:
        UserError: for a file that cannot be read, or whose weights are those of another network.
    """
    path = paths.get('pretrain_network_g')
    if path is None:
        return
    weights = network_weights(read_weights(Path(path))[0])
    with torch.random.fork_rng(devices=[]):
        net = UnpairedSR(**{key: value for key, value in block.items() if key != 'type'})
    try:
        strict = paths.get('strict_load_g', True)
        net.load_state_dict(weights if strict else fitting_weights(net, weights), strict=strict)
    except (AttributeError, RuntimeError, TypeError) as error:
        reason = ' '.join(str(error).split())[:200]
        raise OptionError(f'path: pretrain_network_g: {path}: not the weights of this network ({reason})') from None


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

    def load_network(self, net: nn.Module, load_path: str, strict: bool = True, param_key: str = 'params') -> None:
        """Load weights, as BasicSR does; also from a safetensors file.

        Raises:
            UserError: for a file that cannot be read, or that does not fit.
        """
        content = read_weights(Path(load_path))[0]
        try:
            weights = dict(content.get(param_key, network_weights(content)))
            self._print_different_keys_loading(net, weights, strict)
            if not strict:
                weights = fitting_weights(net, weights)
            net.load_state_dict(weights, strict=strict)
        except (AttributeError, RuntimeError, TypeError, ValueError) as error:
            raise UserError(f'{load_path}: does not fit ({" ".join(str(error).split())[:200]})') from None

    def random_name(self, current_iter: int) -> str:
        """The name from which this process draws the random numbers of an iteration."""
        rank = f'/{dist.get_rank()}' if dist.get_world_size() > 1 else ''
        return f'iteration {current_iter}{rank}'

    def descend(self, losses: Mapping[str, Tensor], current_iter: int) -> None:
        """Take a step down the sum of the losses; each part of the network has its gradient clipped.

        Args:
            losses: Scalars by name.
            current_iter: Counted from 1. Early averages reach back a tenth of it, so that they forget the weights from
                which the training started.
        """
        self.optimizer_g.zero_grad()
        sum(losses.values()).backward()
        average_gradients(self.net_g)
        for part in PARTS:
            nn.utils.clip_grad_norm_(getattr(self.net_g, part).parameters(), self.train_options.max_grad_norm)
        self.optimizer_g.step()
        self.log_dict = self.reduce_loss_dict({name: loss.detach() for name, loss in losses.items()})
        self.model_ema(decay=min(self.ema_decay, (1 + current_iter) / (10 + current_iter)))

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
                for stage, suffix in SUFFIXES.items():
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
