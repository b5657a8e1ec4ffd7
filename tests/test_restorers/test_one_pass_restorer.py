import pytest
import skimage.data
import torch

from dkp_plugin.archs.self_ensemble import finish_ensemble
from dkp_plugin.archs.unpaired_arch import GIVEN, UnpairedSR
from dkp_plugin.archs.usrnet_arch import USRNetwork
from dkp_plugin.engine.restoration import Restoration
from dkp_plugin.estimators.unpaired_kernel_estimator import UnpairedKernel
from dkp_plugin.host.errors import OptionError, UserError
from dkp_plugin.io.kernel_files import write_kernel
from dkp_plugin.io.weight_files import write_safetensors
from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.physics.kernel_families import GaussianFamily
from dkp_plugin.restorers.one_pass_restorer import Unpaired

DEGRADATION = Degradation(2, 11, 'released')
KERNEL = torch.full((1, 1, 11, 11), 1 / 121)


@pytest.fixture
def lq(rng):
    return torch.rand(1, 3, 12, 14, generator=rng)


def start(lq, net, **options):
    restorer = Unpaired(**options)
    restorer.net = net
    restorer.reset(lq, DEGRADATION, torch.Generator())
    return restorer


def test_kernels_are_judged_on_the_intermediate_image(tiny_unpaired, lq):
    restorer = start(lq, tiny_unpaired, kernel_iters=3)
    intermediate = tiny_unpaired.intermediate(lq).clamp(0, 1)
    for _ in range(3):
        torch.testing.assert_close(restorer(), intermediate)
        assert restorer.updates_kernel
        restorer.step(KERNEL)
    assert not restorer.updates_kernel
    torch.testing.assert_close(restorer(), intermediate)
    losses = restorer.step(KERNEL)
    x = tiny_unpaired(lq, KERNEL).clamp(0, 1)
    torch.testing.assert_close(restorer(), x, rtol=0, atol=1e-5)
    torch.testing.assert_close(losses['l_x_data'], (DEGRADATION.A(x, KERNEL) - lq).square().mean())


@pytest.mark.parametrize('stage', ['intermediate', 'variational', 'result'])
def test_each_stage_can_be_the_result(tiny_unpaired, lq, stage):
    restorer = start(lq, tiny_unpaired, kernel_iters=1, stage=stage)
    for _ in range(2):
        restorer.step(KERNEL)
    expected = getattr(tiny_unpaired.restore(lq, KERNEL), stage).clamp(0, 1)
    torch.testing.assert_close(restorer(), expected, rtol=0, atol=1e-5)


def test_the_intermediate_image_takes_no_refinement(tiny_unpaired, lq, monkeypatch):
    monkeypatch.delattr(UnpairedSR, 'finish_inside')
    restorer = start(lq, tiny_unpaired, kernel_iters=1, stage='intermediate')
    for _ in range(2):
        restorer.step(KERNEL)
    torch.testing.assert_close(restorer(), tiny_unpaired.intermediate(lq).clamp(0, 1))


def test_an_ensemble_of_the_intermediate_image_is_refused():
    with pytest.raises(ValueError, match='ensemble: 8 needs a stage'):
        Unpaired(stage='intermediate', ensemble=8)


def test_the_result_is_the_mean_of_the_ensemble(tiny_unpaired, lq):
    restorer = start(lq, tiny_unpaired, kernel_iters=1, ensemble=8)
    torch.testing.assert_close(restorer(), tiny_unpaired.intermediate(lq).clamp(0, 1))
    for _ in range(2):
        restorer.step(KERNEL)
    restored = finish_ensemble(tiny_unpaired, tiny_unpaired.look(lq), KERNEL)
    torch.testing.assert_close(restorer(), restored.result.clamp(0, 1))
    torch.testing.assert_close(restorer.stages()['variational'], restored.variational.clamp(0, 1))
    assert (restorer() - tiny_unpaired(lq, KERNEL).clamp(0, 1)).abs().max() > 1e-4


def test_with_the_kernel_networks_kernel_it_is_one_pass(tiny_unpaired, lq, tmp_path):
    torch.save(tiny_unpaired.state_dict(), tmp_path / 'net.pth')
    estimator = UnpairedKernel(str(tmp_path / 'net.pth'))
    estimator.check(DEGRADATION)
    estimator.reset(lq, DEGRADATION, torch.Generator())
    restorer = start(lq, tiny_unpaired, kernel_iters=1)
    for _ in range(2):
        restorer.step(estimator())
    one_pass = tiny_unpaired(lq)
    torch.testing.assert_close(restorer(), one_pass.clamp(0, 1), rtol=0, atol=1e-5)
    # The same kernel would be trusted more if it came from elsewhere.
    look = tiny_unpaired.look(lq)
    given = tiny_unpaired.finish(look, estimator()).result
    assert look.log_weights[0, GIVEN] != look.log_weights[0, 1 - GIVEN]
    assert (given - one_pass).abs().max() > 1e-4


def test_every_kind_of_file_is_read(tiny_unpaired, lq, tmp_path):
    state = tiny_unpaired.state_dict()
    torch.save(state, tmp_path / 'plain.pth')
    torch.save({'params': {}, 'params_ema': state}, tmp_path / 'basicsr.pth')
    write_safetensors(tmp_path / 'half.safetensors', state, {})
    for name in ('plain.pth', 'basicsr.pth', 'half.safetensors'):
        restorer = Unpaired()
        restorer.load(str(tmp_path / name))
        assert torch.equal(restorer.net(lq), UnpairedSR.from_weights(state).requires_grad_(False)(lq))
        assert restorer.scales == (2,)


def test_what_is_wrong_with_weights_is_one_line(tiny_unpaired, lq, tmp_path):
    torch.save(USRNetwork(2, (2, 3, 4, 5), num_blocks=1, num_units=4).state_dict(), tmp_path / 'other.pth')
    torch.save(tiny_unpaired.state_dict(), tmp_path / 'x2.pth')
    for make in (lambda path: Unpaired().load(path), lambda path: UnpairedKernel(path).check(DEGRADATION)):
        with pytest.raises(UserError, match='not the weights of UnpairedSR') as error:
            make(str(tmp_path / 'other.pth'))
        assert '\n' not in str(error.value)
        with pytest.raises(UserError, match='No such file'):
            make(str(tmp_path / 'none.pth'))
    with pytest.raises(OptionError, match='for scale 2, not 4'):
        UnpairedKernel(str(tmp_path / 'x2.pth')).check(Degradation(4, 19))
    restorer = Unpaired()
    restorer.load(str(tmp_path / 'x2.pth'))
    with pytest.raises(UserError, match='for scale 2, not 4'):
        restorer.reset(lq, Degradation(4, 19), torch.Generator())


def test_a_noisy_image_is_denoised_first(tiny_unpaired, photo, rng):
    """The network then sees an image that is nearer to the clean one, and of a clean one nothing changes."""
    degradation = Degradation(2, 11, noise=0.1)
    lq = (photo + 0.1 * torch.randn(photo.shape, generator=rng)).clamp(0, 1)
    off = []
    for denoise in (True, False):
        restorer = Unpaired(denoise=denoise)
        restorer.net = tiny_unpaired
        restorer.reset(lq, degradation, torch.Generator())
        off.append((restorer.look.lq - photo).square().mean())
    assert off[0] < off[1] / 4
    restorer = start(lq, tiny_unpaired)
    assert torch.equal(restorer.look.lq, lq) and restorer.denoiser.prior is None


def test_tiles_hardly_differ_from_the_whole(tmp_path):
    """By the weights of the package; the closed forms reach a little further than the tiles overlap."""
    crop = skimage.data.astronaut()[100:164, 150:230].copy()
    lq = torch.from_numpy(crop).permute(2, 0, 1).unsqueeze(0) / 255
    degradation = Degradation(4, 19)
    kernel = GaussianFamily(4, 19, degradation.centre).render(torch.tensor([[0.4, 0.2, 0.3]]))
    write_kernel(tmp_path / 'kernel.mat', kernel, 'aligned', 4)
    opt = {
        'name': 'tiles',
        'model_type': 'BlindSRModel',
        'scale': 4,
        'num_gpu': 0,
        'manual_seed': 0,
        'datasets': {},
        'network_k': {'type': 'FixedKernel', 'source': str(tmp_path / 'kernel.mat')},
        'network_g': {'type': 'OnePass', 'kernel_iters': 1},
    }
    whole, tiled = (Restoration(opt, 'cpu', tile)(lq, 'image') for tile in ('auto', 192))
    assert whole.tile is None and tiled.tile == 192
    difference = 255 * (whole.x - tiled.x)[..., 8:-8, 8:-8].abs()
    assert 0 < difference.mean() < 0.2 and (difference > 1).float().mean() < 0.02
