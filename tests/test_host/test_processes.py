import pytest

from dkp_plugin.host.errors import OptionError
from dkp_plugin.host.processes import divide, is_main, merge, process_group

OPT = {'num_gpu': 0, 'is_train': False}


def test_a_single_process_takes_the_images_in_their_order():
    with process_group('none', OPT):
        assert is_main()
        assert divide([1, 9, 5, 7], [3, 0, 2], 0, 1) == [0, 2, 3]
        assert merge({'a': 1}) == {'a': 1}


def test_processes_that_do_not_talk_leave_out_what_is_finished():
    # Largest first to the least loaded: 9 -> 0, 7 -> 1, 5 -> 1, 1 -> 0; whatever each finds finished.
    costs = [1, 9, 5, 7]
    assert divide(costs, [0, 1, 2, 3], 0, 2) == [1, 0]
    assert divide(costs, [0, 2, 3], 0, 2) == [0]
    assert divide(costs, [0, 2], 1, 2) == [2]


@pytest.mark.parametrize(
    ('launcher', 'message'),
    [('pytorch', 'RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT not set'), ('slurm', 'not started by srun')],
)
def test_a_launcher_that_was_not_used(launcher, message, monkeypatch):
    for name in ('RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT', 'SLURM_NODELIST'):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(OptionError, match=f'--launcher {launcher}: {message}'), process_group(launcher, OPT):
        pass
