import pytest

from dkp_plugin.host.errors import OptionError
from dkp_plugin.host.sharding import rank_and_world, share

# What the variables are named, by the documentation of torchrun and of srun.
ENVIRONMENTS = [
    ({}, (0, 1)),
    ({'RANK': '2', 'WORLD_SIZE': '3', 'LOCAL_RANK': '0'}, (2, 3)),
    ({'SLURM_PROCID': '1', 'SLURM_STEP_NUM_TASKS': '4', 'SLURM_NTASKS': '4'}, (1, 4)),
    ({'SLURM_PROCID': '0', 'SLURM_NTASKS': '4'}, (0, 1)),  # a batch script is one process, whatever the job has
    ({'RANK': '0', 'WORLD_SIZE': '2', 'SLURM_PROCID': '1', 'SLURM_STEP_NUM_TASKS': '4'}, (0, 2)),
    ({'SLURM_ARRAY_TASK_ID': '3', 'SLURM_ARRAY_TASK_COUNT': '8'}, (0, 1)),  # may choose an option file instead
]


@pytest.mark.parametrize(('environment', 'expected'), ENVIRONMENTS)
def test_rank_and_world(environment, expected):
    assert rank_and_world(environment) == expected


@pytest.mark.parametrize(('rank', 'world'), [('2', '2'), ('-1', '2'), ('x', '2'), ('0', '')])
def test_variables_that_make_no_sense(rank, world):
    with pytest.raises(OptionError, match=f"RANK: '{rank}' is not a number from 0 to below WORLD_SIZE"):
        rank_and_world({'RANK': rank, 'WORLD_SIZE': world})


def test_share_by_hand():
    # 9 | 7 -> rank 1; 5 -> rank 1 (7 < 9); 4 -> rank 0 (9 < 12); 1 -> rank 1 (12 < 13)
    costs = [5, 9, 1, 7, 4]
    assert share(costs, 0, 2) == [1, 4]
    assert share(costs, 1, 2) == [3, 0, 2]
    assert share(costs, 0, 1) == [1, 3, 0, 4, 2]


def test_equal_costs_are_dealt_in_order():
    assert [share([3] * 7, rank, 3) for rank in range(3)] == [[0, 3, 6], [1, 4], [2, 5]]


@pytest.mark.parametrize('world', [1, 2, 3, 7, 50])
def test_every_item_once_and_loads_balanced(world, rng):
    import torch

    costs = torch.randint(1, 1000, (40,), generator=rng).tolist()
    shares = [share(costs, rank, world) for rank in range(world)]
    assert sorted(index for indices in shares for index in indices) == list(range(40))
    # Graham 1966, of any list that goes to the least loaded one: at most the mean load and one item more.
    largest_load = max(sum(costs[index] for index in indices) for indices in shares)
    assert largest_load <= sum(costs) / world + (1 - 1 / world) * max(costs)
