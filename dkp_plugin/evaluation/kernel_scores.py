"""Score a folder of estimated kernels against a folder of true ones."""

from pathlib import Path

from dkp_plugin.evaluation.kernel_metric import calculate_kernel_psnr
from dkp_plugin.host.errors import OptionError
from dkp_plugin.io.folders import list_folder
from dkp_plugin.io.kernel_files import KERNEL_SUFFIXES, read_kernel


def score_kernels(estimates: Path, truths: Path, convention: str) -> dict[str, float]:
    """Kernel PSNR, in dB, by name.

    Args:
        estimates: Folder of kernel files.
        truths: Folder of the true kernels, under the same names; more than those are allowed.
        convention: Of both.

    Raises:
        UserError: for a folder or kernel that cannot be read, and for an estimate without a truth.
    """
    found, true = (
        {path.stem: path for path in list_folder(folder, key, KERNEL_SUFFIXES)}
        for folder, key in ((estimates, 'ESTIMATES'), (truths, 'TRUTHS'))
    )
    missing = sorted(found.keys() - true.keys())
    if missing:
        raise OptionError(f'TRUTHS: {truths} has no kernel for {", ".join(missing[:3])}')
    pairs = {name: (read_kernel(path, convention), read_kernel(true[name], convention)) for name, path in found.items()}
    return {name: calculate_kernel_psnr(*(kernel[0, 0].numpy() for kernel in pair)) for name, pair in pairs.items()}
