import pytest
import torch

from dkp_plugin.engine.alternation import alternate
from dkp_plugin.estimators.fixed_kernel_estimator import FixedKernel
from dkp_plugin.host.errors import OptionError
from dkp_plugin.host.schema import build_network
from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.physics.kernel_families import GaussianFamily
from dkp_plugin.restorers.base import Restorer
from dkp_plugin.restorers.zssr_restorer import ZSSR, back_project, make_pairs

CONVENTIONS = ['aligned', 'released']


def restore_with_kernel(restorer, lq, kernel, degradation, generator):
    return alternate(FixedKernel.of(kernel), restorer, lq, degradation, generator, restorer.num_iter).x


def gaussian(degradation, coordinates):
    family = GaussianFamily(degradation.scale, degradation.kernel_size, degradation.centre)
    return family.render(torch.tensor([coordinates]))


def blob(size, position):
    index = torch.arange(float(size))
    column = torch.exp(-((index - position[0]) ** 2) / 50).unsqueeze(1)
    return 0.1 + 0.8 * (column * torch.exp(-((index - position[1]) ** 2) / 50))[None, None]


def position_of(x):
    """Centre of mass of what rises above the background of a blob."""
    weight = (x - 0.15).clamp_min(0)[0, 0]
    index = torch.arange(float(len(weight)))
    return torch.stack([weight.sum(1) @ index, weight.sum(0) @ index]) / weight.sum()


def psnr(x, gt):
    return -10 * (x - gt).square().mean().log10().item()


@pytest.mark.parametrize('convention', CONVENTIONS)
def test_the_result_is_where_the_truth_is(convention, rng):
    degradation = Degradation(2, 11, convention)
    x = blob(48, (20, 27)).expand(-1, 3, -1, -1)
    kernel = gaussian(degradation, (0.9, 0.1, 0.2))
    restorer = ZSSR(num_steps=20, num_feat=8, num_hidden=3)
    result = restore_with_kernel(restorer, degradation.A(x, kernel), kernel, degradation, rng)
    assert (position_of(result) - position_of(x)).abs().max() < 0.1


def test_back_projection_explains_the_lr_image_and_leaves_what_does_so(photo):
    degradation = Degradation(2, 11)
    kernel = gaussian(degradation, (0.1, 0.2, 0.0))
    lq = degradation.A(photo, kernel)
    torch.testing.assert_close(back_project(photo, lq, kernel, degradation, 5), photo)
    start = degradation.enlarge(lq)
    distances = [
        (degradation.A(back_project(start, lq, kernel, degradation, steps), kernel) - lq).square().mean().item()
        for steps in (0, 1, 5, 50)
    ]
    assert distances == sorted(distances, reverse=True) and distances[-1] < 0.01 * distances[0]


def test_pairs_are_related_as_the_lr_image_is_to_the_hr_image(rng):
    degradation = Degradation(2, 5, 'released')
    lq = torch.rand(1, 3, 17, 20, generator=rng)
    kernel = torch.rand(1, 1, 5, 5, generator=rng)  # of no symmetry
    pairs = make_pairs(lq, kernel, degradation, (1.0, 0.8, 0.3))
    assert len(pairs) == 16  # 0.3 of 17 pixels are too few
    fathers = [pair.father for pair in pairs[:8]]
    original = lq[..., :16, :]
    turned = [original, original.transpose(-2, -1)]
    mirrored = [flip for image in turned for flip in (image, image.flip(-1), image.flip(-2), image.flip(-2, -1))]
    for expected in mirrored:
        assert sum(father.shape == expected.shape and torch.equal(father, expected) for father in fathers) == 1
    for son, father in pairs:
        assert son.shape == father.shape and min(father.shape[-2:]) >= 11
        torch.testing.assert_close(son, degradation.enlarge(degradation.A(father, kernel)))


def test_an_lr_image_smaller_than_the_kernel_is_continued(rng):
    lq = torch.rand(1, 1, 6, 20, generator=rng)
    pairs = make_pairs(lq, torch.full((1, 1, 19, 19), 1 / 361), Degradation(4, 19), (1.0,))
    assert pairs[0].father.shape == (1, 1, 28, 40)  # 5 times 6 rows, cut to whole LR pixels
    assert torch.equal(pairs[0].father[..., :6, :20], lq) and torch.equal(pairs[0].father[..., 6:12, 20:], lq)


def test_it_learns_to_undo_the_kernel(photo, rng):
    degradation = Degradation(2, 11)
    kernel = gaussian(degradation, (0.3, 0.05, 0.3))
    lq = degradation.A(photo, kernel)
    restorer = ZSSR(num_steps=150, num_feat=16, num_hidden=4)
    result = restore_with_kernel(restorer, lq, kernel, degradation, rng)
    assert psnr(result, photo) > psnr(degradation.enlarge(lq), photo) + 2
    wrong = gaussian(degradation, (0.9, 0.9, 0.3))
    assert psnr(result, photo) > psnr(restore_with_kernel(restorer, lq, wrong, degradation, rng), photo) + 2


def test_a_constant_image_stays_constant(rng):
    degradation = Degradation(2, 5)
    lq = torch.full((1, 1, 12, 12), 0.4)
    restorer = ZSSR(num_steps=60, num_feat=4, num_hidden=2)
    x = restore_with_kernel(restorer, lq, torch.full((1, 1, 5, 5), 1 / 25), degradation, rng)
    assert (x - 0.4).abs().max() < 1e-4


def test_the_image_changes_in_the_last_step_only(photo, rng):
    degradation = Degradation(2, 5)
    restorer = ZSSR(num_steps=2, num_feat=4, num_hidden=2)
    assert restorer.num_iter == 2 and not restorer.updates_kernel
    restorer.reset(photo, degradation, rng)
    kernel, start = torch.full((1, 1, 5, 5), 1 / 25), restorer()
    restorer.step(kernel)
    assert torch.equal(restorer(), start)
    restorer.step(kernel)
    assert not torch.equal(restorer(), start)


def test_mistakes_are_named():
    for sizes in ([0.5], [1.0, 1.5], []):
        with pytest.raises(OptionError, match=r'network_g: father_sizes: .* does not start with 1'):
            build_network({'type': 'ZSSR', 'father_sizes': sizes}, 'network_g', Restorer)
