import pytest
import torch
from torch import Tensor

from dkp_plugin.archs.compact_prior_arch import CompactPrior
from dkp_plugin.archs.image_prior import ImagePrior
from dkp_plugin.host.errors import OptionError
from dkp_plugin.host.schema import build_network
from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.restorers.base import Restorer, Tiling
from dkp_plugin.restorers.diffusion_restorer import Diffusion, noise_levels, reverse_step

DEGRADATION = Degradation(2, 5)
KERNEL = torch.full((1, 1, 5, 5), 0.5 / 24)
KERNEL[..., 2, 2] = 0.5  # far from losing any frequency


class StubPrior(ImagePrior):
    """A prior that always gives one image, or what it was given, and writes down how it was called."""

    def __init__(self, image: Tensor | None = None) -> None:
        super().__init__()
        self.image, self.inputs, self.sigmas, self.labels = image, [], [], []

    def denoise(self, x: Tensor, sigma: Tensor, dtype: torch.dtype, label: Tensor | None) -> Tensor:
        self.inputs.append(x)
        self.sigmas.append(sigma.tolist())
        self.labels.append(label)
        return x if self.image is None else self.image.expand(x.shape[0], -1, -1, -1)


def start(lq, net, seed=0, **options):
    restorer = Diffusion(**options)
    restorer.net = net
    restorer.reset(lq, DEGRADATION, torch.Generator().manual_seed(seed))
    return restorer


def finish(restorer, kernel=KERNEL):
    for _ in range(restorer.num_iter):
        losses = restorer.step(kernel)
    return losses


def test_noise_levels_are_geometric():
    assert noise_levels((1.0, 0.001), 4) == pytest.approx([1, 0.1, 0.01, 0.001])
    assert noise_levels((0.7, 0.1), 1) == [0.7] and noise_levels((0.7, 0.1), 0) == []


def test_renoise_and_ddim_by_hand():
    x_t, x0, noise = (torch.full((1, 1, 1, 1), value) for value in (0.8, 0.5, -1.0))
    assert reverse_step(x_t, x0, 0.6, 0.2, noise, 'renoise').item() == pytest.approx(0.5 - 0.2)
    # The noise is 0.3 / 0.6 = 0.5 standard deviations, of which 0.2 * 0.5 = 0.1 stay.
    assert reverse_step(x_t, x0, 0.6, 0.2, noise, 'ddim').item() == pytest.approx(0.6)


@pytest.mark.parametrize(('sigma', 'sigma_next'), [(1.0, 0.9), (0.6, 0.2), (0.3, 0.01)])
def test_ddpm_draws_from_the_posterior(sigma, sigma_next):
    """x_next ~ N(x0, sigma_next^2) is the prior, x_t ~ N(x_next, sigma^2 - sigma_next^2) the observation."""
    x_t, x0 = 0.8, 0.5
    precisions = 1 / sigma_next**2, 1 / (sigma**2 - sigma_next**2)
    mean = (precisions[0] * x0 + precisions[1] * x_t) / sum(precisions)
    noise = torch.tensor([0.0, 1.0, -2.0], dtype=torch.float64)
    result = reverse_step(torch.full_like(noise, x_t), torch.full_like(noise, x0), sigma, sigma_next, noise, 'ddpm')
    torch.testing.assert_close(result, mean + sum(precisions) ** -0.5 * noise, rtol=1e-12, atol=0)


@pytest.mark.parametrize('sampler', ['renoise', 'ddpm', 'ddim'])
def test_samplers_arrive_at_the_next_noise_level(sampler, rng):
    x0 = torch.zeros(1, 1, 200, 200)
    x_t, noise = 0.8 * torch.randn(x0.shape, generator=rng), torch.randn(x0.shape, generator=rng)
    level = reverse_step(x_t, x0, 0.8, 0.5, noise, sampler).std().item()
    assert level == pytest.approx(0.5, rel=4 / (2 * 40_000) ** 0.5)  # four standard errors


def test_levels_kernel_updates_and_number_of_steps(photo):
    options = {'num_steps': 3, 'sigma_range': (1.0, 0.25), 'num_final_steps': 2, 'final_sigma_range': (0.2, 0.1)}
    prior = StubPrior()
    restorer = start(DEGRADATION.A(photo, KERNEL), prior, freeze_sigma=0.4, **options)
    assert restorer.num_iter == 5
    updates = []
    for _ in range(5):
        updates.append(restorer.updates_kernel)
        restorer.step(KERNEL)
    assert updates == [True, True, False, False, False]
    assert [sigma for (sigma,) in prior.sigmas] == pytest.approx([1, 0.5, 0.25, 0.2, 0.1])


def test_it_starts_from_the_enlargement_of_the_convention(photo):
    lq, prior = DEGRADATION.A(photo, KERNEL), StubPrior()
    start(lq, prior, num_steps=2, augment=False, sigma_range=(1e-3, 1e-3))
    torch.testing.assert_close(prior.inputs[0], DEGRADATION.enlarge(lq).clamp(0, 1), rtol=0, atol=0.01)


def test_without_a_second_phase_the_kernel_is_updated_to_the_end(photo):
    restorer = start(DEGRADATION.A(photo, KERNEL), StubPrior(), num_steps=2, num_final_steps=0, freeze_sigma=0.0)
    restorer.step(KERNEL)
    assert restorer.updates_kernel
    restorer.step(KERNEL)
    assert len(restorer.net.inputs) == 2  # nothing is denoised after the last data step


@pytest.mark.parametrize('data_step', ['closed_form', 'gradient'])
def test_a_perfect_prior_gives_the_true_image(data_step, photo):
    restorer = start(
        DEGRADATION.A(photo, KERNEL),
        StubPrior(photo),
        num_steps=2,
        num_final_steps=1,
        augment=False,
        data_step=data_step,
    )
    losses = finish(restorer)
    torch.testing.assert_close(restorer(), photo, rtol=0, atol=1e-5)
    assert losses['l_x_innovation'] < 1e-10


@pytest.mark.parametrize('num_final_steps', [0, 2])
def test_an_imperfect_prior_gives_an_image_that_explains_the_lr_image(num_final_steps, photo):
    photo = 0.25 + 0.5 * photo  # so that nothing is cut off at 0 and 1
    lq, prior = DEGRADATION.A(photo, KERNEL), StubPrior(photo.mean((2, 3), keepdim=True).expand_as(photo))
    restorer = start(
        lq, prior, num_steps=2, num_final_steps=num_final_steps, final_sigma_range=(0.2, 0.1), augment=False
    )
    before = (lq - DEGRADATION.A(restorer(), KERNEL)).square().mean()
    losses = finish(restorer)
    assert losses['l_x_innovation'].item() == pytest.approx(before.item(), rel=1e-4)
    assert (lq - DEGRADATION.A(restorer(), KERNEL)).square().mean() < DEGRADATION.noise_variance < 1e-3 * before


def test_both_data_steps_come_to_the_same_fit(photo):
    """Alternating with a prior that changes nothing, the gradient steps, too, arrive at A x = y."""
    photo = 0.25 + 0.5 * photo[..., :32, :32]
    lq = DEGRADATION.A(photo, KERNEL)
    options = {'num_steps': 1, 'sigma_range': (0.01, 0.01), 'num_final_steps': 10, 'final_sigma_range': (0.01, 0.01)}
    for data_step in ('closed_form', 'gradient'):
        restorer = start(lq, StubPrior(), data_step=data_step, **options)
        finish(restorer)
        assert (lq - DEGRADATION.A(restorer(), KERNEL)).abs().max() < 1e-4


def test_one_gradient_data_step_descends_and_the_closed_form_minimises(photo):
    lq = DEGRADATION.A(photo, KERNEL)
    fits = {}
    for data_step in ('closed_form', 'gradient'):
        restorer = start(lq, StubPrior(), num_steps=1, num_final_steps=0, data_step=data_step)
        before = (lq - DEGRADATION.A(restorer.x0, KERNEL)).square().mean()
        restorer.step(KERNEL)
        fits[data_step] = (lq - DEGRADATION.A(restorer.x0, KERNEL)).square().mean() / before
    assert fits['closed_form'] < 1e-6 < fits['gradient'] < 0.1


def test_augmentation_turns_the_input_and_turns_the_output_back(photo):
    image = photo[..., :40]
    restorer = start(DEGRADATION.A(image, KERNEL), StubPrior(), num_steps=12, num_final_steps=0)
    shapes = set()
    for _ in range(11):
        torch.testing.assert_close(restorer.x0, restorer.x_t)
        shapes.add(tuple(restorer.net.inputs[-1].shape[-2:]))
        restorer.step(KERNEL)
    assert shapes == {(96, 40), (40, 96)}
    still = start(DEGRADATION.A(image, KERNEL), StubPrior(), num_steps=12, num_final_steps=0, augment=False)
    finish(still)
    assert {tuple(x.shape[-2:]) for x in still.net.inputs} == {(96, 40)}


def test_chains_part_where_the_kernel_is_kept_and_their_mean_is_the_result(photo):
    options = {'num_steps': 3, 'sigma_range': (1.0, 0.25), 'freeze_sigma': 0.6, 'num_final_steps': 2}
    restorer = start(DEGRADATION.A(photo, KERNEL), StubPrior(), num_chains=3, augment=False, **options)
    for _ in range(4):
        restorer.step(KERNEL)
    chains = restorer._make_consistent(KERNEL, restorer.final_levels[-1])
    restorer.step(KERNEL)
    assert restorer().shape == photo.shape
    torch.testing.assert_close(restorer(), chains.mean(0, keepdim=True).clamp(0, 1))
    assert (chains[0] - chains[1]).abs().max() > 1e-3
    assert [len(x) for x in restorer.net.inputs] == [1, 3, 3, 3, 3]


def test_start_is_the_enlarged_image_with_the_first_noise(photo):
    lq = DEGRADATION.A(photo, KERNEL)
    restorer = start(lq, StubPrior(), sigma_range=(0.5, 0.25))
    noise = restorer.x_t - torch.nn.functional.interpolate(lq, scale_factor=2, mode='bicubic').clamp(0, 1)
    standard_error = 0.5 / (2 * noise.numel()) ** 0.5
    assert abs(noise.std().item() - 0.5) < 4 * standard_error


def test_generator_decides(photo, tiny_prior):
    lq = DEGRADATION.A(photo[..., :32, :32], KERNEL)
    results = []
    for seed in (0, 0, 1):
        torch.manual_seed(len(results))  # the global generator must not matter
        restorer = start(lq, tiny_prior, seed, num_steps=3, num_final_steps=2)
        finish(restorer)
        results.append(restorer())
    assert torch.equal(results[0], results[1]) and not torch.equal(results[0], results[2])


def test_label_goes_to_the_network(photo):
    options = {'prior': 'guided_class', 'label': 7, 'num_steps': 2, 'num_final_steps': 0, 'freeze_sigma': 2.0}
    restorer = start(DEGRADATION.A(photo, KERNEL), StubPrior(), num_chains=3, **options)
    finish(restorer)
    assert [label.tolist() for label in restorer.net.labels] == [[7], [7, 7, 7]]
    assert restorer.net.labels[0].dtype == torch.int64


@pytest.mark.parametrize(('native_tile', 'tile', 'side'), [(None, None, 96), (None, 80, 80), (70, None, 70)])
def test_tiles_are_those_of_the_prior_or_else_those_asked_for(photo, native_tile, tile, side):
    net = StubPrior(photo)
    net.native_tile = native_tile
    net.denoise = lambda x, sigma, dtype, label: net.inputs.append(x) or x
    restorer = Diffusion(num_steps=1, augment=False)
    restorer.net, restorer.tile = net, tile
    restorer.reset(DEGRADATION.A(photo, KERNEL), DEGRADATION, torch.Generator())
    assert {tuple(x.shape[-2:]) for x in net.inputs} == {(side, side)}
    assert restorer.tiling is (Tiling.SUPPORTED if native_tile is None else Tiling.INTERNAL)


def test_weights_of_a_file_are_used(tmp_path, photo, monkeypatch):
    torch.manual_seed(0)
    net = CompactPrior(num_feats=(4,), num_blocks=(1,), num_emb=4)
    torch.nn.init.normal_(net.last.weight)
    torch.save({'params': net.state_dict()}, tmp_path / 'net.pth')
    monkeypatch.setattr(
        'dkp_plugin.archs.priors.PRIORS', {'compact': lambda: CompactPrior(num_feats=(4,), num_blocks=(1,), num_emb=4)}
    )
    loaded = Diffusion(num_steps=1, precision='float32')
    loaded.load(str(tmp_path / 'net.pth'))
    lq = DEGRADATION.A(photo, KERNEL)
    loaded.reset(lq, DEGRADATION, torch.Generator().manual_seed(0))
    assert torch.equal(loaded(), start(lq, net, num_steps=1, precision='float32')().detach())


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'sigma_range': (0.1, 1.0)}, r'sigma_range: \[0.1, 1.0\] does not go from high to low'),
        ({'final_sigma_range': (0.01, 0.1)}, r'final_sigma_range: \[0.01, 0.1\] does not go from high to low'),
        ({'prior': 'guided_class'}, 'label: None does not fit prior guided_class'),
        ({'prior': 'guided', 'label': 3}, 'label: 3 does not fit prior guided; guided_class needs a label'),
        ({'label': 3}, 'label: 3 does not fit prior compact'),
        ({'precision': 'fp16'}, "precision: 'fp16' is not one of auto, float32, bf16"),
    ],
)
def test_wrong_values_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Diffusion(**options)


@pytest.mark.parametrize(
    ('key', 'value'),
    [('prior', 'big'), ('sampler', 'euler'), ('data_step', 'cg'), ('num_steps', 0), ('sigma_range', [1.0, 0.0])],
)
def test_wrong_options_name_the_key_and_the_value(key, value):
    with pytest.raises(OptionError, match=f'network_g: {key}: ') as caught:
        build_network({'type': 'Diffusion', key: value}, 'network_g', Restorer)
    assert repr(value) in str(caught.value) and '\n' not in str(caught.value)


def test_second_phase_arrives_at_the_conditional_mean_of_gaussians():
    """The exact denoiser of independent Gaussian pixels leads to their mean given y."""
    mean, std, alpha = 0.5, 0.05, DEGRADATION.noise_variance

    class WhiteGaussian(StubPrior):
        def denoise(self, x, sigma, dtype, label):
            share = std**2 / (std**2 + sigma.view(-1, 1, 1, 1) ** 2)
            return mean + share * (x - mean)

    generator = torch.Generator().manual_seed(0)
    x = mean + std * torch.randn(1, 3, 32, 32, generator=generator)
    lq = DEGRADATION.A(x, KERNEL)
    restorer = start(
        lq, WhiteGaussian(), num_steps=1, num_final_steps=60, final_sigma_range=(0.25, 0.25), error_exponent=0.0
    )
    finish(restorer)
    expected = DEGRADATION.data_step(torch.full_like(x, mean), lq, KERNEL, alpha / std**2)
    assert (restorer() - expected).abs().max() < 0.02 * std
