"""``dkp-doctor``: what is installed, what is broken, and the command that mends it.

It stands beside the package and needs nothing but Python, since importing the package may be what is broken. Everything
that could fail, or take the interpreter down, is tried in a process of its own.
"""

import argparse
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

PYTHONS = ((3, 10), (3, 12))
TIMEOUT = 120  # seconds for a try
FREE_DISK = 1  # GiB
OK, WARNING, BROKEN = 'ok', 'warning', 'BROKEN'
EXIT_BROKEN_PIPE = 141

# Distributions, in the order of installation, that are needed beside torch, torchvision and BasicSR.
NEEDED = ('numpy', 'opencv-python', 'lmdb', 'pyyaml', 'scipy', 'tqdm', 'requests', 'mmengine', 'pillow', 'pydantic')
NEEDED += ('safetensors',)
DEVICES = """
import torch
from dkp_plugin.archs.precision import has_fast_bf16
devices = [torch.device('cpu')] + [torch.device('cuda', i) for i in range(torch.cuda.device_count())]
names = {device: torch.cuda.get_device_name(device) if device.type == 'cuda' else
         f'{torch.get_num_threads()} threads' for device in devices}
print('; '.join(f'{device}: {names[device]}, bf16 {"fast" if has_fast_bf16(device) else "slow"}' for device in devices)
      + ('; mps' if torch.backends.mps.is_available() else ''))
"""
SHIM = """
import sys, dkp_plugin
spec = getattr(sys.modules.get('torchvision.transforms.functional_tensor'), '__spec__', None)
print(dkp_plugin.__version__, '(with the module that torchvision 0.17 removed put back)' * (spec and not spec.loader))
"""
WEIGHTS = "from dkp_plugin.archs.priors import load_prior; load_prior('compact'); print('checksums agree')"


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        subject: What was looked at.
        status: ``ok``, ``warning`` or ``BROKEN``.
        text: What was found.
        fix: What to do.
    """

    subject: str
    status: str
    text: str
    fix: str = ''


def main(argv: Sequence[str] | None = None, prog: str = 'dkp-doctor') -> int:
    """Run the command line; return 1 if something is broken."""
    parser = argparse.ArgumentParser(prog, description='find out what is broken in an installation')
    parser.add_argument('--methods', action='store_true', help='list the estimators and restorers instead')
    arguments = parser.parse_args(argv)
    try:
        status = print_methods() if arguments.methods else print_findings()
        if sys.stdout is not None:  # closed
            sys.stdout.flush()
        return status
    except BrokenPipeError:  # the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE


def print_methods() -> int:
    """Print the table of methods; return 1 if the package cannot be imported."""
    try:
        from dkp_plugin.engine.methods import format_methods
    except Exception as error:
        print(f'error: {type(error).__name__}: {error} (dkp-doctor finds out what is broken)', file=sys.stderr)
        return 1
    print(format_methods())
    return 0


def print_findings() -> int:
    """Print the findings; return 1 if something is broken."""
    findings = []
    for finding in examine():
        findings.append(finding)
        print(f'{finding.status:8}{finding.subject}: {finding.text}', flush=True)
        if finding.fix:
            print(f'{"":8}  fix: {finding.fix}', flush=True)
    num_broken = sum(finding.status == BROKEN for finding in findings)
    print(f'{num_broken} broken; mend the first one first' if num_broken else 'nothing is broken')
    return int(num_broken > 0)


def examine() -> Iterator[Finding]:
    """Make all checks, in an order in which an earlier one explains a later one."""
    yield check_python(sys.version_info[:2])
    torch = yield from _try_import('torch', 'pip install torch torchvision')
    yield from _try_import('torchvision', _torchvision_fix(torch), repaired=True)
    if torch and version_of('torchvision'):
        yield check_pair(torch, version_of('torchvision'), torch_for_torchvision())
    yield check_basicsr(version_of('basicsr'))
    missing = [name for name in NEEDED if version_of(name) is None and not _is_replaced(name)]
    if missing:
        yield Finding('packages', BROKEN, f'missing: {", ".join(missing)}', f'pip install {" ".join(missing)}')
    else:
        yield Finding('packages', OK, ', '.join(f'{name} {version_of(name)}' for name in NEEDED if version_of(name)))
    yield check_opencv([name for name in _distributions() if name.startswith('opencv-')])
    yield from _examine_package(torch)
    yield check_disk(Path.cwd())


def _examine_package(torch: str | None) -> Iterator[Finding]:
    if importlib.util.find_spec('dkp_plugin') is None:
        yield Finding('dkp_plugin', BROKEN, 'not installed', 'pip install . in the folder of setup.py')
        return
    is_fine, text = attempt(SHIM)
    yield Finding('dkp_plugin', OK if is_fine else BROKEN, text, '' if is_fine else 'what is broken above comes first')
    if not is_fine:
        return
    is_fine, text = attempt(WEIGHTS)
    yield Finding(
        'weights', OK if is_fine else BROKEN, text, '' if is_fine else 'pip install --force-reinstall --no-deps .'
    )
    is_fine, text = attempt(DEVICES)
    yield Finding('devices', OK if is_fine else BROKEN, text)
    if shutil.which('nvidia-smi') and 'cuda:0' not in text:
        reason = 'is built without CUDA' if torch and '+cpu' in torch else 'cannot use it'
        yield Finding(
            'GPU', WARNING, f'the NVIDIA driver is there, but torch {torch} {reason}',
            'install the build of torch for the CUDA version that nvidia-smi shows, and torchvision with it',
        )  # fmt: skip


def attempt(code: str) -> tuple[bool, str]:
    """Run Python code in a process of its own; return whether it ended well and its last line of output."""
    environment = os.environ | {'PYTHONWARNINGS': 'ignore'}
    try:
        process = subprocess.run(
            [sys.executable, '-c', code], capture_output=True, text=True, timeout=TIMEOUT, env=environment
        )
    except subprocess.TimeoutExpired:
        return False, f'no answer in {TIMEOUT} s'
    text = process.stderr if process.returncode else process.stdout
    lines = [line.strip() for line in text.splitlines() if line.strip()] or [f'ended by status {process.returncode}']
    return process.returncode == 0, lines[-1]


def _try_import(name: str, fix: str, repaired: bool = False) -> Iterator[Finding]:
    """Check that a package can be imported; its version is what the generator returns, None where it cannot."""
    is_fine, text = attempt(f'import {name}; print({name}.__version__)')
    if not is_fine and repaired and 'operator torchvision::nms does not exist' in text:
        yield Finding(name, WARNING, f'{text}; dkp_plugin works around it')
        return None
    yield Finding(name, OK if is_fine else BROKEN, text, '' if is_fine else fix)
    return text if is_fine else None


def check_python(version: tuple[int, int]) -> Finding:
    """Check the version of Python, (major, minor)."""
    is_fine = PYTHONS[0] <= version <= PYTHONS[1]
    text = f'{platform.python_version()} at {sys.executable}'
    fix = '' if is_fine else 'use Python 3.10 to 3.12; BasicSR 1.4.2 does not build on newer ones'
    return Finding('Python', OK if is_fine else BROKEN, text, fix)


def check_pair(torch: str, torchvision: str, wanted: str | None) -> Finding:
    """Check that two releases belong together.

    Args:
        torch: Version of torch.
        torchvision: Version of torchvision.
        wanted: Version of torch that torchvision's metadata ask for; None: they do not say.
    """
    if wanted is None or _release(torch) == _release(wanted):
        return Finding('torch and torchvision', OK, f'{torch} and {torchvision}')
    text = f'torchvision {torchvision} is made for torch {wanted}, not {torch}'
    return Finding('torch and torchvision', BROKEN, text, _torchvision_fix(torch))


def torch_for_torchvision() -> str | None:
    """The version of torch that the installed torchvision requires; None if it does not say."""
    try:
        requirements = metadata.requires('torchvision') or []
    except metadata.PackageNotFoundError:
        return None
    found = [re.match(r'torch\s*\(?\s*==\s*([^\s,;)]+)', requirement) for requirement in requirements]
    return next((match.group(1) for match in found if match), None)


def _release(version: str) -> str:
    """A version without its build, such as +cpu."""
    return version.partition('+')[0]


def _torchvision_fix(torch: str | None) -> str:
    return f"pip install 'torch=={_release(torch)}' torchvision" if torch else 'pip install torchvision'


def check_basicsr(version: str | None) -> Finding:
    """Check the version of BasicSR."""
    compat = _load_compat()
    if version == compat.BASICSR_VERSION:
        return Finding('BasicSR', OK, version)
    text = 'not installed' if version is None else f'{version} is installed, {compat.BASICSR_VERSION} is needed'
    return Finding('BasicSR', BROKEN, text, compat.INSTALL_COMMAND)


def _load_compat():
    """The package's module of this name, without the package."""
    package = importlib.util.find_spec('dkp_plugin')
    folder = Path(package.origin).parent if package else Path(__file__).parent / 'dkp_plugin'
    spec = importlib.util.spec_from_file_location('dkp_compat', folder / 'host' / 'compat.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def check_opencv(names: list[str]) -> Finding:
    """Check that only one distribution of OpenCV is there, since all of them write the same files."""
    if len(names) < 2:
        return Finding('OpenCV', OK, ', '.join(names) or 'none')
    others = ' '.join(name for name in names if name != 'opencv-python')
    fix = f'pip uninstall -y {others} && pip install --force-reinstall --no-deps opencv-python'
    return Finding('OpenCV', WARNING, f'{", ".join(names)} overwrite each other', fix)


def check_disk(folder: Path) -> Finding:
    """Check that results can be written to a folder."""
    free = shutil.disk_usage(folder).free / 2**30
    text = f'{free:.1f} GiB free in {folder}'
    if not os.access(folder, os.W_OK):
        return Finding('disk', WARNING, f'{folder} is not writable', 'name another folder for the results')
    return Finding('disk', OK, text) if free >= FREE_DISK else Finding('disk', WARNING, text, 'make room')


def version_of(name: str) -> str | None:
    """Version of an installed distribution; None where it is missing."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _is_replaced(name: str) -> bool:
    """Whether another distribution of OpenCV stands in."""
    return name == 'opencv-python' and any(other.startswith('opencv-') for other in _distributions())


def _distributions() -> list[str]:
    return sorted({(found.metadata['Name'] or '').lower() for found in metadata.distributions()})


if __name__ == '__main__':
    sys.exit(main())
