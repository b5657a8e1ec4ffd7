"""Processes that share one run: their communication, and the images of each process."""

import os
import subprocess
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from mmengine import dist

from dkp_plugin.host.errors import OptionError
from dkp_plugin.host.sharding import share

PATIENCE = timedelta(days=7)  # timeout of a process that has finished its images and waits for the others


@contextmanager
def process_group(launcher: str, opt: Mapping[str, Any]) -> Iterator[None]:
    """Join the process group of a launcher within the block.

    Args:
        launcher: ``none``: a single process; ``pytorch``: torchrun; ``slurm``: srun.
        opt: Options as ``parse_options`` returns them.

    Raises:
        OptionError: if the launcher's environment variables are missing.
    """
    if launcher == 'none':
        yield
        return
    if launcher == 'slurm':
        os.environ |= _slurm_environment(opt)
    missing = [name for name in ('RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT') if name not in os.environ]
    if missing:
        raise OptionError(f'--launcher {launcher}: {", ".join(missing)} not set; start it with torchrun or srun')
    uses_gpu = opt['num_gpu'] != 0
    if uses_gpu:
        torch.cuda.set_device(int(os.environ.get('LOCAL_RANK', 0)) % torch.cuda.device_count())
    # NCCL exchanges gradients; a test exchanges only a few records.
    backend = 'nccl' if uses_gpu and opt['is_train'] else 'gloo'
    torch.distributed.init_process_group(backend, timeout=PATIENCE)
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()


def _slurm_environment(opt: Mapping[str, Any]) -> dict[str, str]:
    """torchrun's variables for a process started by srun."""
    try:
        nodes = subprocess.run(
            ['scontrol', 'show', 'hostnames', os.environ['SLURM_NODELIST']], capture_output=True, text=True, check=True
        ).stdout.split()
        names = {'RANK': 'SLURM_PROCID', 'WORLD_SIZE': 'SLURM_STEP_NUM_TASKS', 'LOCAL_RANK': 'SLURM_LOCALID'}
        variables = {name: os.environ[theirs] for name, theirs in names.items()}
    except (KeyError, OSError, subprocess.CalledProcessError, IndexError) as error:
        raise OptionError(f'--launcher slurm: not started by srun ({type(error).__name__}: {error})') from None
    port = (opt.get('dist_params') or {}).get('port') or os.environ.get('MASTER_PORT', 29500)
    return variables | {'MASTER_ADDR': nodes[0], 'MASTER_PORT': str(port)}


def is_main() -> bool:
    """Whether this is the first process of its group, or the only one."""
    return dist.get_rank() == 0


def divide(costs: Sequence[int], unfinished: Collection[int], rank: int, world: int) -> list[int]:
    """The images of this process, in processing order.

    The processes of a group share the images that the first process found unfinished. Independent processes, such as
    those of a job array, start at different times and find different images finished. They therefore share all images,
    and each skips the finished ones.

    Args:
        costs: Cost of every image.
        unfinished: Indices of the unfinished images.
        rank: Rank of the process.
        world: Number of processes; a single process takes the images in their order.
    """
    if world == 1:
        return sorted(unfinished)
    if dist.is_distributed():
        common = [list(costs), sorted(unfinished)]
        dist.broadcast_object_list(common)
        costs, unfinished = common
        return [unfinished[index] for index in share([costs[index] for index in unfinished], rank, world)]
    return [index for index in share(costs, rank, world) if index in unfinished]


def merge(records: Mapping[str, Any]) -> dict[str, Any]:
    """Merge the records of all processes of the group, by name; a single process returns its own."""
    return {name: record for part in dist.all_gather_object(dict(records)) for name, record in part.items()}
