"""The weights of the unfolded network: those of the package, or a file of a training."""

from pathlib import Path

from dkp_plugin.archs.unfolded_arch import UnfoldedPrior
from dkp_plugin.host.errors import UserError
from dkp_plugin.io.weight_files import check_sum, network_weights, read_weights

UNFOLDED_WEIGHTS = Path(__file__).parent / 'weights' / 'unfolded.safetensors'
UNFOLDED_SHA256 = '84040c5e8768947e8a7b6edd566fed63b5db34e9362da9d9c68ff8738bcf3764'


def load_unfolded(path: str | None) -> UnfoldedPrior:
    """Build the network of a file of weights.

    Args:
        path: Safetensors, or a checkpoint of BasicSR, of which the averaged weights are taken; None or ``auto``: the
            weights of the package.

    Returns:
        The network in evaluation mode, on the CPU, its parameters without gradients.

    Raises:
        UserError: for a file that is missing, damaged or of another network.
    """
    if path in (None, 'auto'):
        path = UNFOLDED_WEIGHTS
        check_sum(path, UNFOLDED_SHA256)
    weights = network_weights(read_weights(Path(path).expanduser())[0])
    try:
        net = UnfoldedPrior.from_weights(weights)
    except (AttributeError, KeyError, RuntimeError, TypeError) as error:
        reason = ' '.join(str(error).split())
        raise UserError(f'{path}: these are not the weights of UnfoldedPrior ({reason[:200]})') from None
    return net.eval().requires_grad_(False)
