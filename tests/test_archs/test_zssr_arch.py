import pytest
import torch

from dkp_plugin.archs.initialise import build_initialised
from dkp_plugin.archs.zssr_arch import ZSSRNet


def build(rng, **options):
    return build_initialised(lambda: ZSSRNet(**options), rng, torch.device('cpu')).requires_grad_(False)


def test_the_papers_network(rng):
    # 9 convolutions of 3x3 with bias: 3 to 64, seven of 64 to 64, 64 to 3.
    count = (3 * 9 + 1) * 64 + 7 * (64 * 9 + 1) * 64 + (64 * 9 + 1) * 3
    assert sum(parameter.numel() for parameter in ZSSRNet().parameters()) == count


def test_it_adds_to_its_input(rng):
    net = build(rng, num_ch=1, num_feat=4, num_hidden=2)
    torch.nn.init.zeros_(net.layers[-1].weight)
    torch.nn.init.constant_(net.layers[-1].bias, 0.25)
    x = torch.rand(2, 1, 5, 7, generator=rng)
    torch.testing.assert_close(net(x), x + 0.25)


@pytest.mark.parametrize('num_hidden', [1, 3])
def test_it_sees_as_many_pixels_around_as_it_has_layers(rng, num_hidden):
    net = build(rng, num_ch=1, num_feat=8, num_hidden=num_hidden)
    x = torch.rand(1, 1, 15, 15, generator=rng)
    changed = x.clone()
    changed[..., 7, 7] += 1
    reach = (net(changed) != net(x))[0, 0].nonzero() - 7
    assert reach.abs().max() == num_hidden + 1


def test_a_constant_image_stays_constant_up_to_its_border(rng):
    x = build(rng, num_feat=4, num_hidden=3)(torch.full((1, 3, 6, 6), 0.5))
    torch.testing.assert_close(x, x[..., :1, :1].expand_as(x))
