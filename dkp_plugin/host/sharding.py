"""Share images among processes without communication: every process computes the same plan."""

import os
from collections.abc import Mapping, Sequence

from dkp_plugin.host.errors import OptionError

# Variables for the rank and the number of processes, set by torchrun or by srun for a job step. SLURM_NTASKS would be
# wrong: batch scripts also have it, although they run as a single process.
VARIABLES = (('RANK', 'WORLD_SIZE'), ('SLURM_PROCID', 'SLURM_STEP_NUM_TASKS'))


def rank_and_world(environment: Mapping[str, str] = os.environ) -> tuple[int, int]:
    """The rank of this process and the number of processes.

    Args:
        environment: Environment variables of torchrun or of SLURM's srun; a job array sets those of torchrun itself.

    Returns:
        Rank, counted from 0, and number of processes; (0, 1) without a launcher.

    Raises:
        OptionError: if the variables contradict each other.
    """
    for names in VARIABLES:
        if all(name in environment for name in names):
            values = [environment[name] for name in names]
            if not all(value.isdecimal() for value in values) or not int(values[0]) < int(values[1]):
                raise OptionError(
                    f'{names[0]}: {values[0]!r} is not a number from 0 to below {names[1]}, which is {values[1]!r}'
                )
            return int(values[0]), int(values[1])
    return 0, 1


def share(costs: Sequence[float], rank: int, world: int) -> list[int]:
    """The items of one process. In order of decreasing cost, each item goes to the process with the smallest load.

    Args:
        costs: Cost of each item, such as its number of pixels.
        rank: Rank of the process, counted from 0.
        world: Number of processes.

    Returns:
        Indices in processing order, the most expensive first; over all ranks, every index occurs once. Ties are broken
        by index and by rank, so the plan depends only on ``costs`` and ``world``.
    """
    loads, mine = [0] * world, []
    for index in sorted(range(len(costs)), key=lambda index: -costs[index]):
        least = loads.index(min(loads))
        loads[least] += costs[index]
        if least == rank:
            mine.append(index)
    return mine
