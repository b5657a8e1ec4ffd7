"""Share images among processes that need not talk to each other: every process works out the same plan."""

import os
from collections.abc import Mapping, Sequence

from dkp_plugin.host.errors import OptionError

# Variables of rank and number of processes: torchrun's, and those of a step started by srun. SLURM_NTASKS is none of
# them: a batch script has it, too, although it runs as a single process.
VARIABLES = (('RANK', 'WORLD_SIZE'), ('SLURM_PROCID', 'SLURM_STEP_NUM_TASKS'))


def rank_and_world(environment: Mapping[str, str] = os.environ) -> tuple[int, int]:
    """Which of how many processes this one is.

    Args:
        environment: Environment variables, of torchrun or of SLURM's srun; a job array sets torchrun's for itself.

    Returns:
        Rank, from 0, and number of processes; (0, 1) where no launcher says anything.

    Raises:
        OptionError: for variables that contradict each other.
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


def share(costs: Sequence[int], rank: int, world: int) -> list[int]:
    """The items of one process: from the costliest on, each goes to the process that has the least to do so far.

    Args:
        costs: Cost of each item, such as its pixels.
        rank: The process, from 0.
        world: Number of processes.

    Returns:
        Indices in the order of work, the costliest first; over all ranks every index occurs once. Equal costs go by
        index and equal loads by rank, so that the plan depends on ``costs`` and ``world`` alone.
    """
    loads, mine = [0] * world, []
    for index in sorted(range(len(costs)), key=lambda index: -costs[index]):
        least = loads.index(min(loads))
        loads[least] += costs[index]
        if least == rank:
            mine.append(index)
    return mine
