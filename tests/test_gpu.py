"""Every method on a GPU against the CPU: ``pytest -m gpu``. Without a GPU, one test shows that the comparison works."""

import os

import pytest
import torch
from basicsr.utils.registry import ARCH_REGISTRY

from dkp_plugin.archs.unfolded_arch import UnfoldedPrior
from dkp_plugin.archs.unpaired_arch import UnpairedSR
from dkp_plugin.engine.observer import Observer
from dkp_plugin.engine.restoration import Restoration
from dkp_plugin.estimators.base import KernelEstimator
from dkp_plugin.host.processes import process_group
from dkp_plugin.photos.presets import Choices, make_options
from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.physics.kernel_families import build_family
from dkp_plugin.restorers.base import Restorer

TINY = {
    'DIP': {'num_feat': 4, 'num_skip': 2, 'num_scales': 2, 'non_local_scales': (2,), 'precision': 'float32'},
    'Diffusion': {'num_steps': 3, 'num_final_steps': 1, 'precision': 'float32'},
    'EvidenceDKP': {'num_samples': 8, 'num_units': 20, 'warmup_iters': 5},
    'KernelGAN': {'num_iter': 2, 'num_feat': 4, 'crop_size': 27},
    'OnePass': {'kernel_iters': 2, 'ensemble': 8},
    'Unfolded': {'ensemble': 8, 'precision': 'float32'},
    'Unpaired': {'kernel_iters': 2},
    'ZSSR': {'num_steps': 3, 'num_feat': 4, 'num_hidden': 2},
}
STEPS = 3
TOLERANCE = 5e-3  # of pixels in [0, 1], and of kernels relative to their maximum: sums in another order, over few steps


def names_of(kind: type) -> list[str]:
    return sorted(n for n, entry in ARCH_REGISTRY if issubclass(entry, kind) and entry.__module__.startswith('dkp_'))


@pytest.fixture(autouse=True)
def exact_float32(monkeypatch):
    """Convolutions without TensorFloat-32, which has ten bits."""
    monkeypatch.setattr(torch.backends.cudnn, 'allow_tf32', False)


@pytest.fixture
def run(tiny_prior, tiny_unpaired, tmp_path):
    """Run a method with fixed random numbers on a device; return its output on the CPU."""
    from dkp_plugin.archs.usrnet_arch import USRNetwork

    torch.manual_seed(0)
    usrnet = USRNetwork(2, (2, 3, 4, 5), num_blocks=1, num_units=4).eval().requires_grad_(False)
    nets = {'Diffusion': tiny_prior, 'USRNet': usrnet, 'OnePass': tiny_unpaired, 'Unpaired': tiny_unpaired}
    nets['Unfolded'] = UnfoldedPrior(num_step=1, lora_rank=1).requires_grad_(False)
    torch.save(tiny_unpaired.state_dict(), tmp_path / 'x2.pth')
    options = TINY | {'UnpairedKernel': {'pretrained': str(tmp_path / 'x2.pth')}}

    def run_on(name: str, device: str) -> torch.Tensor:
        method = ARCH_REGISTRY.get(name)(**options.get(name, {}))
        if name in nets:
            method.net = nets[name]
        generator = torch.Generator().manual_seed(0)
        degradation = Degradation(2, 11)
        family = build_family('gaussian', 2, 11, degradation.centre)
        kernel, x = family.render(family.sample(1, generator)), torch.rand(1, 3, 48, 40, generator=generator)
        lq = degradation.A(x, kernel).to(device)
        method.to(device).reset(lq, degradation, generator)
        given = (kernel if isinstance(method, Restorer) else x).to(device)
        for _ in range(STEPS):
            losses = method.step(given)
        assert all(value.device.type == torch.device(device).type for value in losses.values())
        output = method()
        assert output.device.type == torch.device(device).type
        return output.detach().cpu()

    return run_on


def difference(output: torch.Tensor, reference: torch.Tensor) -> float:
    """Largest difference, of images in [0, 1] or relative to a kernel's maximum."""
    return ((output - reference).abs().max() / reference.max().clamp(max=1)).item()


def test_the_comparison_itself(run):
    assert difference(run('OnePass', 'cpu'), run('OnePass', 'cpu')) == 0
    assert difference(run('OnePass', 'cpu'), run('ClosedForm', 'cpu')) > TOLERANCE
    assert difference(run('Unfolded', 'cpu'), run('Unfolded', 'cpu')) == 0


@pytest.mark.gpu
@pytest.mark.parametrize('name', [*names_of(KernelEstimator), *names_of(Restorer)])
def test_a_method_agrees_with_the_cpu(name, run):
    assert difference(run(name, 'cuda'), run(name, 'cpu')) < TOLERANCE


@pytest.mark.gpu
@pytest.mark.parametrize(('method', 'preset'), [('fast-dkp', 'fast'), ('fast-dkp', 'balanced'), ('diff-dkp', 'fast')])
def test_an_image_agrees_with_the_cpu(method, preset, photo):
    """With the weights of the package; bf16 of the compact prior, where the GPU has it, included."""
    options = make_options(Choices(method=method, preset=preset))
    images = [Restoration(options, device)(photo[..., :32, :40], 'image').x.cpu() for device in ('cpu', 'cuda')]
    assert -10 * (images[0] - images[1]).square().mean().log10() > 35


@pytest.mark.gpu
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_batches_in_half_precision(dtype, tiny_unpaired: UnpairedSR, rng):
    net, lq = tiny_unpaired.to('cuda'), torch.rand(4, 3, 16, 20, generator=rng)
    expected = torch.cat([net.restore(image[None].cuda()).result for image in lq])
    assert (net.restore(lq.cuda(), dtype=dtype).result - expected).abs().max() < 0.05


@pytest.mark.gpu
def test_short_memory_means_smaller_tiles(rng):
    opt = make_options(Choices(scale=2, method='double-dip', preset='fast'))
    opt['alternation'] = {'num_iter': 2}
    observer, messages = Observer(), []
    observer.warned = messages.append
    free, total = torch.cuda.mem_get_info()
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(min(2**30, free) / total)
    try:
        result = Restoration(opt, 'cuda', 1024)(torch.rand(1, 3, 400, 400, generator=rng), 'image', observer=observer)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert result.tile < 512 and result.x.isfinite().all()
    assert messages[0] == 'image: out of memory; retrying with tiles of 400 pixels'


@pytest.mark.gpu
def test_one_process_with_nccl(monkeypatch):
    for name, value in {'RANK': '0', 'WORLD_SIZE': '1', 'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': '29517'}.items():
        monkeypatch.setenv(name, value)
    with process_group('pytorch', {'num_gpu': 1, 'is_train': True}):
        assert torch.distributed.get_backend() == 'nccl'
        numbers = torch.arange(3.0, device='cuda')
        torch.distributed.all_reduce(numbers)
        assert numbers.tolist() == [0, 1, 2]
    assert not torch.distributed.is_initialized() and os.environ['RANK'] == '0'
