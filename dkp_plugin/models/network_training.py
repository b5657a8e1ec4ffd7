"""The base of the trainings of one network: several processes, weights to start from, the step."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from basicsr.models.sr_model import SRModel
from mmengine import dist
from torch import Tensor, nn

from dkp_plugin.host.errors import OptionError, UserError
from dkp_plugin.io.weight_files import network_weights, read_weights


def average_gradients(net: nn.Module) -> None:
    """Average the gradients over the processes of the group, in one message; a single process keeps its own."""
    if dist.get_world_size() == 1:
        return
    gradients = [parameter.grad for parameter in net.parameters() if parameter.grad is not None]
    mean = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(mean, 'mean')
    for gradient, part in zip(gradients, mean.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


def fitting_weights(net: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What ``strict_load_g: false`` loads: weights of the name and shape of the network's, also of another scale."""
    own = net.state_dict()
    sizes = {name for name, _ in net.named_buffers()}  # they say what a file is for
    return {
        name: weight
        for name, weight in weights.items()
        if name in own.keys() - sizes and weight.shape == own[name].shape
    }


def check_weights(network: type[nn.Module], block: Mapping[str, Any], paths: Mapping[str, Any]) -> None:
    """Check that the weights from which a training starts fit its network.

    Args:
        network: Class of the network.
        block: Block ``network_g``.
        paths: Block ``path``.

    Raises:
        UserError: for a file that cannot be read, or whose weights are those of another network.
    """
    path = paths.get('pretrain_network_g')
    if path is None:
        return
    weights = network_weights(read_weights(Path(path))[0])
    with torch.random.fork_rng(devices=[]):
        net = network(**{key: value for key, value in block.items() if key != 'type'})
    try:
        strict = paths.get('strict_load_g', True)
        net.load_state_dict(weights if strict else fitting_weights(net, weights), strict=strict)
    except (AttributeError, RuntimeError, TypeError) as error:
        reason = ' '.join(str(error).split())[:200]
        raise OptionError(f'path: pretrain_network_g: {path}: not the weights of this network ({reason})') from None


class NetworkTraining(SRModel):
    """Base of the trainings of ``network_g``; its processes average their gradients in one message.

    Subclasses set ``train_options``, with ``max_grad_norm``, before they take a step.
    """

    def model_to_device(self, net: nn.Module) -> nn.Module:
        """Move a network; the processes of a group start from the same weights and average their gradients."""
        net = net.to(self.device)
        for tensor in net.state_dict().values():
            dist.broadcast(tensor)
        return net

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

    def clip_gradients(self) -> None:
        """Clip the gradient of the whole network."""
        nn.utils.clip_grad_norm_(self.net_g.parameters(), self.train_options.max_grad_norm)

    def descend(self, losses: Mapping[str, Tensor], current_iter: int) -> None:
        """Take a step down the sum of the losses.

        Args:
            losses: Scalars by name.
            current_iter: Counted from 1. Early averages reach back a tenth of it, so that they forget the weights from
                which the training started.
        """
        self.optimizer_g.zero_grad()
        sum(losses.values()).backward()
        average_gradients(self.net_g)
        self.clip_gradients()
        self.optimizer_g.step()
        self.log_dict = self.reduce_loss_dict({name: loss.detach() for name, loss in losses.items()})
        self.model_ema(decay=min(self.ema_decay, (1 + current_iter) / (10 + current_iter)))
