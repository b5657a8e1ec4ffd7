import pytest
import torch

from dkp_plugin.archs.self_ensemble import finish_ensemble
from dkp_plugin.archs.symmetries import NUM_SYMMETRIES, transform, transform_back
from dkp_plugin.archs.unpaired_arch import UnpairedSR
from dkp_plugin.physics.coding_noise import CodingNoise, NoiseModel
from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.physics.kernel_families import build_family

STAGES = ['intermediate', 'variational', 'result']


def make_kernel(degradation, rng):
    family = build_family('line', degradation.scale, degradation.kernel_size, degradation.centre)
    return family.render(family.sample(1, rng))


def adopt(net, convention):
    net.adopt(Degradation(2, 11, convention))
    return net


@pytest.fixture
def lq(rng):
    return torch.rand(1, 3, 12, 16, generator=rng)


@pytest.fixture
def noise():
    """Of an image of the size of ``lq``: white, and a coding error that is not the same along rows and columns."""
    variances = 1e-3 * torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(1))
    return NoiseModel.of((12, 16), [0.02], [CodingNoise(variances)])


def make_equivariant() -> UnpairedSR:
    """The closed forms alone, between learned parts that are zero, which commute with turns and mirrors."""
    net = UnpairedSR(scale=2, num_feat=4, num_block=1, num_block_refine=1, num_feat_kernel=4, takes_noise=True)
    return net.requires_grad_(False)


@pytest.mark.parametrize('stage', STAGES)
@pytest.mark.parametrize('convention', ['aligned', 'released'])
def test_of_an_equivariant_network_it_is_one_pass(convention, stage, lq, noise, rng):
    net = adopt(make_equivariant(), convention)
    kernel = make_kernel(net.degradation, rng)
    look = net.look(lq, noise=noise)
    images = [getattr(finish_ensemble(net, look, kernel, num), stage) for num in (1, NUM_SYMMETRIES)]
    torch.testing.assert_close(*images, rtol=0, atol=2e-5)
    torch.testing.assert_close(images[0], getattr(net.restore(lq, kernel, noise=noise), stage))
    if stage != 'intermediate':  # the kernel counts, so a wrong turn of it would show
        assert (images[0] - net.restore(lq, transform(kernel, 1), noise=noise).result).abs().max() > 1e-2


@pytest.mark.parametrize('stage', STAGES)
def test_it_is_the_mean_of_eight_passes(tiny_unpaired, stage, lq, rng):
    """By hand: of the LR image and the kernel of ``aligned`` turned in eight ways, the eight results turned back."""
    net = adopt(tiny_unpaired, 'aligned')
    kernel = make_kernel(net.degradation, rng)
    total = 0
    for index in range(NUM_SYMMETRIES):
        about_centre = transform(kernel[..., 1:, 1:], index)  # scale 2: the centre of mass lies at (K - 1) / 2 + 1 / 2
        turned = torch.nn.functional.pad(about_centre, (1, 0, 1, 0))
        total = total + transform_back(getattr(net.restore(transform(lq, index), turned), stage), index)
    restored = finish_ensemble(net, net.look(lq), kernel)
    torch.testing.assert_close(getattr(restored, stage), total / 8, rtol=0, atol=1e-5)
    assert torch.equal(restored.kernel, kernel)


def test_with_the_networks_own_kernels(tiny_unpaired, lq):
    net = adopt(tiny_unpaired, 'aligned')
    passes = [transform_back(net.restore(transform(lq, index)).result, index) for index in range(NUM_SYMMETRIES)]
    expected = torch.stack(passes).mean(0).roll((-1, -1), (-2, -1))  # ``released`` lies s - 1 pixels further
    adopt(net, 'released')
    torch.testing.assert_close(finish_ensemble(net, net.look(lq), None).result, expected, rtol=0, atol=1e-5)


def test_turned_images_give_the_turned_result(tiny_unpaired, lq):
    """The mean over a group is equivariant, whatever the network is."""
    net = adopt(tiny_unpaired, 'aligned')
    image = finish_ensemble(net, net.look(lq), None).result
    for index in range(NUM_SYMMETRIES):
        turned = finish_ensemble(net, net.look(transform(lq, index)), None).result
        torch.testing.assert_close(turned, transform(image, index), rtol=0, atol=1e-5)
