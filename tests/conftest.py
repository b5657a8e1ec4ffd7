"""Fixtures that several tests share."""

from pathlib import Path

import pytest
import skimage.data
import torch
from real_processes import RealProcess

import dkp_plugin  # noqa: F401  # before a test imports basicsr, which it repairs
from dkp_plugin.archs.compact_prior_arch import CompactPrior
from dkp_plugin.archs.kernel_flow_arch import KernelFlow
from dkp_plugin.archs.unpaired_arch import UnpairedSR


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests that need a GPU where there is none."""
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker('gpu'):
            item.add_marker(pytest.mark.skip(reason='no CUDA device'))


@pytest.fixture
def rng() -> torch.Generator:
    """A seeded generator."""
    return torch.Generator().manual_seed(0)


@pytest.fixture
def photo() -> torch.Tensor:
    """A photograph, (1, 3, 96, 96) in [0, 1]."""
    crop = skimage.data.astronaut()[0:96, 176:272].copy()
    return torch.from_numpy(crop).permute(2, 0, 1).unsqueeze(0) / 255


@pytest.fixture
def flow(rng: torch.Generator) -> KernelFlow:
    """A flow of 7x7 kernels with random weights."""
    flow = KernelFlow(7, num_units=4, num_blocks=2, normalization=0.3).eval()
    for parameter in flow.parameters():
        torch.nn.init.normal_(parameter, 0, 0.3, generator=rng)
    return flow


@pytest.fixture
def tiny_prior() -> CompactPrior:
    """Always the same network; no layer of it is zero."""
    generator = torch.Generator().manual_seed(0)
    net = CompactPrior(num_feats=(4, 8), num_blocks=(1, 1), num_emb=8)
    for parameter in net.parameters():
        parameter.data = 0.1 * torch.randn(parameter.shape, generator=generator)
    return net.eval().requires_grad_(False)


@pytest.fixture
def tiny_unpaired() -> UnpairedSR:
    """Always the same network, for x2; no layer of it is zero."""
    generator = torch.Generator().manual_seed(0)
    net = UnpairedSR(2, num_feat=4, num_block=1, num_block_refine=1, num_feat_kernel=4, num_block_kernel=1)
    for name, parameter in net.named_parameters():
        if not name.endswith(('exponents', 'log_weights')):
            parameter.data = 0.07 * torch.randn(parameter.shape, generator=generator)
    return net.eval().requires_grad_(False)


@pytest.fixture
def with_tiny_prior(tiny_prior: CompactPrior, monkeypatch: pytest.MonkeyPatch) -> None:
    """Diffusion works with the tiny prior, for tests in which the quality of the image does not matter."""
    monkeypatch.setattr('dkp_plugin.restorers.diffusion_restorer.load_prior', lambda name, path: tiny_prior)


@pytest.fixture
def shared_data() -> Path:
    """The folder of benchmarks and weights that lies beside the repository in development."""
    folder = Path(__file__).parents[2] / 'shared' / 'data'
    if not folder.is_dir():
        pytest.skip('shared/data is not at hand')
    return folder


@pytest.fixture
def start_process(tmp_path: Path):
    """Start ``python -m MODULE ARGUMENTS``; what still runs at the end of the test is killed."""
    started: list[RealProcess] = []

    def start(
        module: str,
        *arguments: object,
        folder: Path = tmp_path / 'work',
        num_threads: int | None = None,
        **environment: object,
    ) -> RealProcess:
        texts = {name: str(value) for name, value in environment.items()}
        started.append(RealProcess(module, tuple(map(str, arguments)), folder, texts, num_threads))
        return started[-1]

    yield start
    for process in started:
        process.kill()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> pytest.TestReport:
    """Escape file names whose bytes are no text in captured output: reports travel between processes as UTF-8."""
    report = yield
    report.sections = [(name, text.encode('utf-8', 'backslashreplace').decode()) for name, text in report.sections]
    return report
