import numpy as np
import pytest
import scipy.io
import torch

from dkp_plugin.estimators.base import KernelEstimator
from dkp_plugin.estimators.fixed_kernel_estimator import FixedKernel
from dkp_plugin.host.errors import KernelError, OptionError
from dkp_plugin.host.schema import build_network
from dkp_plugin.io.kernel_files import write_kernel
from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.physics.kernels import centre_of_mass, normalise

LQ = torch.rand(1, 3, 12, 10, generator=torch.Generator().manual_seed(0))


def reset(estimator, degradation, lq=LQ):
    estimator.reset(lq, degradation, torch.Generator().manual_seed(0))
    return estimator()


@pytest.mark.parametrize(('scale', 'convention'), [(2, 'aligned'), (3, 'aligned'), (4, 'released')])
def test_delta_is_a_point_at_the_centre(scale, convention):
    degradation = Degradation(scale, 11, convention)
    kernel = reset(FixedKernel(), degradation)
    assert kernel.shape == (1, 1, 11, 11) and kernel.min() >= 0
    assert kernel.sum().item() == pytest.approx(1)
    assert centre_of_mass(kernel)[0].tolist() == pytest.approx([degradation.centre] * 2)
    assert (kernel > 0).sum() == (1 if scale % 2 else 4)  # between pixels, four share it


def test_bicubic_lies_at_the_centre():
    degradation = Degradation(2, 11)
    kernel = reset(FixedKernel('bicubic'), degradation)
    assert kernel.sum().item() == pytest.approx(1) and kernel.min() < 0
    assert centre_of_mass(kernel)[0].tolist() == pytest.approx([degradation.centre] * 2, abs=1e-5)


@pytest.mark.parametrize('suffix', ['.mat', '.npy'])
def test_file(suffix, tmp_path, rng):
    kernel = normalise(torch.rand(1, 1, 7, 7, generator=rng))
    path = tmp_path / f'k{suffix}'
    if suffix == '.mat':
        write_kernel(path, kernel, 'aligned', 2)
    else:
        np.save(path, kernel[0, 0].numpy())
    for degradation in (Degradation(2, 7), Degradation(2, 11)):  # the file's own size counts
        torch.testing.assert_close(reset(FixedKernel(str(path)), degradation), kernel)


def test_file_of_another_convention_is_refused(tmp_path, rng):
    write_kernel(tmp_path / 'k.mat', normalise(torch.rand(1, 1, 7, 7, generator=rng)), 'released', 2)
    with pytest.raises(KernelError, match=r'k\.mat'):
        reset(FixedKernel(str(tmp_path / 'k.mat')), Degradation(2, 7))


def test_missing_and_damaged_files_are_one_line(tmp_path):
    scipy.io.savemat(tmp_path / 'other.mat', {'x': np.eye(3)})
    (tmp_path / 'damaged.npy').write_bytes(b'\x93NUMPY')
    for name in ('no.mat', 'other.mat', 'damaged.npy'):
        with pytest.raises(KernelError, match=name) as caught:
            reset(FixedKernel(str(tmp_path / name)), Degradation(2, 7))
        assert '\n' not in str(caught.value)


def test_oracle_gives_the_kernel_that_was_set_and_only_that(rng):
    first, second = normalise(torch.rand(2, 1, 7, 7, generator=rng)).split(1)
    estimator = FixedKernel('gt')
    assert estimator.needs_truth and not FixedKernel().needs_truth
    for kernel in (first, second):
        estimator.take_truth(kernel)
        assert torch.equal(reset(estimator, Degradation(2, 7)), kernel)
    estimator.take_truth(None)
    with pytest.raises(KernelError, match=r'network_k: source: gt needs true kernels, .* \(dataroot_kernel\)'):
        reset(estimator, Degradation(2, 7))


def test_only_the_oracle_takes_notice_of_the_true_kernel(rng):
    estimator = FixedKernel('delta')
    estimator.take_truth(normalise(torch.rand(1, 1, 7, 7, generator=rng)))
    assert torch.equal(reset(estimator, Degradation(2, 7)), reset(FixedKernel('delta'), Degradation(2, 7)))


def test_steps_change_nothing(rng):
    estimator = FixedKernel('bicubic')
    before = reset(estimator, Degradation(2, 11)).clone()
    assert estimator.step(torch.rand(1, 3, 24, 20, generator=rng)) == {} and estimator.expected_psnr() is None
    assert torch.equal(estimator(), before)


def test_kernel_follows_the_image_to_its_dtype():
    assert reset(FixedKernel(), Degradation(2, 7), LQ.double()).dtype == torch.float64


def test_kernel_larger_than_the_image_is_refused():
    with pytest.raises(KernelError, match='delta: kernel size 21 is larger than the image, 20 pixels'):
        reset(FixedKernel(), Degradation(2, 21))


@pytest.mark.parametrize('source', ['lanczos', 'k.png', ''])
def test_unknown_sources_are_refused_at_once(source):
    with pytest.raises(ValueError, match=r'^source: .* is not one of gt, delta, bicubic, or a file that ends in'):
        FixedKernel(source)
    with pytest.raises(OptionError, match=r'^network_k: source: '):
        build_network({'type': 'FixedKernel', 'source': source}, 'network_k', KernelEstimator)
