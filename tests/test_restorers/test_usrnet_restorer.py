import pytest
import torch
from basicsr.metrics import calculate_psnr

from dkp_plugin.archs.compact_prior_arch import CompactPrior
from dkp_plugin.evaluation.evaluate import to_uint8_bgr
from dkp_plugin.host.errors import OptionError, UserError
from dkp_plugin.io.images import decode_image
from dkp_plugin.io.kernel_files import read_kernel
from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.restorers.usrnet_restorer import USRNet

KERNEL = torch.full((1, 1, 5, 5), 1 / 25)


def start(lq, net, noise=0.0, **options):
    restorer = USRNet(**options)
    restorer.net = net
    restorer.reset(lq, Degradation(2, 5, noise=noise), torch.Generator())
    return restorer


@pytest.mark.parametrize(('options', 'noise', 'sigma'), [({}, 0.02, 0.02), ({'sigma': 5.1}, 0.3, 0.02), ({}, 0, 0)])
def test_the_network_sees_kernel_scale_and_noise_level(tiny_usrnet, rng, options, noise, sigma):
    lq = torch.rand(1, 3, 8, 9, generator=rng)
    restorer = start(lq, tiny_usrnet, noise, **options)
    losses = restorer.step(KERNEL)
    x = tiny_usrnet(lq, KERNEL, 2, sigma).clamp(0, 1)
    torch.testing.assert_close(restorer(), x)
    blurred = Degradation(2, 5).A(x, KERNEL)
    torch.testing.assert_close(losses['l_x_data'], ((blurred - lq) ** 2).mean())


def test_weights_are_loaded(tiny_usrnet, tmp_path):
    torch.save(tiny_usrnet.state_dict(), tmp_path / 'usrnet.pth')
    restorer = USRNet()
    restorer.load(str(tmp_path / 'usrnet.pth'))
    for name, value in tiny_usrnet.state_dict().items():
        assert torch.equal(restorer.net.state_dict()[name], value)
    assert not restorer.net.training and not any(p.requires_grad for p in restorer.net.parameters())


def test_what_is_wrong_with_weights_is_one_line(tiny_usrnet, tmp_path):
    truncated, other, empty = (tmp_path / name for name in ('truncated.pth', 'other.pth', 'list.pth'))
    torch.save(tiny_usrnet.state_dict(), truncated)
    truncated.write_bytes(truncated.read_bytes()[:500])
    torch.save(CompactPrior(num_feats=(4, 8), num_blocks=(1, 1), num_emb=8).state_dict(), other)
    torch.save([1, 2], empty)
    for path, message in ((truncated, 'not a readable'), (other, 'not the weights of USRNet'), (empty, 'not the wei')):
        with pytest.raises(UserError, match=message) as error:
            USRNet().load(str(path))
        assert str(error.value).startswith(f'{path}: ') and '\n' not in str(error.value)
    with pytest.raises(UserError, match='No such file'):
        USRNet().load(str(tmp_path / 'missing.pth'))
    with pytest.raises(OptionError, match=r'^missing; USRNet needs'):
        USRNet().load(None)


@pytest.mark.parametrize(('name', 'closed_form', 'margin'), [('butterfly', 21.51, 6), ('head', 31.09, 1.5)])
def test_released_weights_with_the_true_kernel_beat_the_closed_form(name, closed_form, margin, shared_data):
    """Figures in dB of PSNR-Y; those of the closed form were measured by another program."""
    folder = shared_data / 'benchmarks' / 'Set5'
    lq, gt = (
        decode_image((folder / subfolder / f'{name}.png').read_bytes(), name)[None]
        for subfolder in ('gaussian_x4/LR', 'HR')
    )
    restorer = USRNet()
    restorer.load(str(shared_data / 'weights' / 'usrnet_tiny.pth'))
    restorer.reset(lq, Degradation(4, 19, 'released'), torch.Generator())
    restorer.step(read_kernel(folder / 'gaussian_x4' / 'kernels' / f'{name}.mat', 'released'))
    psnr = calculate_psnr(to_uint8_bgr(restorer()), to_uint8_bgr(gt), crop_border=4, test_y_channel=True)
    assert psnr > closed_form + margin
