"""The image priors of the Diffusion restorer and their weights."""

from pathlib import Path

from dkp_plugin.archs.compact_prior_arch import CompactPrior
from dkp_plugin.archs.guided_diffusion_arch import GuidedDiffusionUNet
from dkp_plugin.archs.image_prior import ImagePrior
from dkp_plugin.host.errors import OptionError, UserError
from dkp_plugin.io.weight_files import check_sum, network_weights, read_weights

COMPACT_WEIGHTS = Path(__file__).parent / 'weights' / 'compact_prior.safetensors'
COMPACT_SHA256 = 'd474d05e25d36467a819b2ec24ce30fb80fe16a8eea710790e0a91a1885eaeb5'
GUIDED_SOURCE = 'https://github.com/openai/guided-diffusion'
PRIORS = {
    'compact': CompactPrior,
    'guided': GuidedDiffusionUNet,
    'guided_class': lambda: GuidedDiffusionUNet(num_classes=1000),
}


def load_prior(name: str, path: str | None = None) -> ImagePrior:
    """Build an image prior and load its weights.

    Args:
        name: A key of ``PRIORS``.
        path: Weight file in the format of safetensors or ``torch.save``. Averaged weights of a BasicSR checkpoint are
            preferred. None: the shipped weights of ``compact``.

    Returns:
        The network on the CPU, in evaluation mode, without gradients.

    Raises:
        UserError: if the file is missing, damaged or of another network.
        OptionError: if a file must be named.
    """
    if path is None:
        if name != 'compact':
            raise OptionError(
                f'missing; the prior {name} needs a file from {GUIDED_SOURCE}, '
                f'{"256x256_diffusion_uncond.pt" if name == "guided" else "256x256_diffusion.pt"}'
            )
        path = COMPACT_WEIGHTS
        check_sum(path, COMPACT_SHA256)
    weights = network_weights(read_weights(Path(path))[0])
    net = PRIORS[name]()
    try:
        net.load_state_dict(weights)
    except (RuntimeError, TypeError, AttributeError) as error:
        reason = ' '.join(str(error).split())
        raise UserError(f'{path}: these are not the weights of the prior {name} ({reason[:200]})') from None
    return net.eval().requires_grad_(False)
