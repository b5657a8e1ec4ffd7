"""Reading and checking the option files of a comparison."""

import re
from pathlib import Path

import pytest

from dkp_plugin.evaluation.comparison.runs import check_run, read_runs
from dkp_plugin.host.errors import OptionError, UserError


def check(workshop, options):
    (run,) = read_runs([workshop.write_options(options)])
    return check_run(run)


def test_seeds_make_runs_of_their_own(workshop):
    file = workshop.write_options(workshop.options())
    runs = read_runs([file], [0, 5])
    assert [(run.name, run.method, run.options['manual_seed']) for run in runs] == [
        ('one_seed0', 'one', 0),
        ('one_seed5', 'one', 5),
    ]
    assert runs[1].folder == Path('results/one_seed5')


def test_files_that_cannot_be_read_are_refused(workshop):
    one = workshop.write_options(workshop.options())
    copied = Path('copy.yml')
    copied.write_text(one.read_text())
    with pytest.raises(OptionError, match=r'copy\.yml:1: name: one is the name in .*one\.yml, too'):
        read_runs([one, copied])
    with pytest.raises(OptionError, match=r'absent\.yml: No such file'):
        read_runs([Path('absent.yml')])
    copied.write_text('name: x\n')
    with pytest.raises(OptionError, match=r'copy\.yml: model_type: missing'):
        read_runs([copied])
    copied.write_text('a: [')
    with pytest.raises(OptionError, match=r'^copy\.yml:1: .*$'):
        read_runs([copied])


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'network_g': 'DIP'}, "network_g: 'DIP' is not allowed: input should be a valid dict"),
        ({'network_g': {'type': 'DIPP'}}, 'network_g: type: DIPP is unknown, did you mean DIP?'),
        ({'val': {'metrics': {'psnr': 2}}}, 'val:metrics:psnr: 2 is not allowed'),
        ({'val': {'metrics': {'psnr': {'type': 'calculate_psnr'}}}}, 'val: metrics: psnr: missing key crop_border'),
        ({'manual_seed': None}, 'manual_seed: missing; results without one cannot be found again'),
        ({'scale': 5}, 'scale: 5 is not allowed: input should be 1, 2, 3, 4 or 8'),
        ({'alternation': {'num_iter': 3}}, 'alternation: num_iter: 3 is not allowed: ClosedForm sets it'),
        ({'path': {'pretrain_network_g': 'w.pth'}}, 'path: pretrain_network_g: w.pth is'),
    ],
)
def test_files_are_checked_as_the_test_pipeline_checks_them(workshop, changes, message):
    with pytest.raises(OptionError, match=rf'one\.yml:\d+: {re.escape(message)}'):
        check(workshop, workshop.options() | changes)


def test_a_data_set_that_is_not_there_is_skipped_or_refused(workshop):
    options = workshop.options()
    options['datasets']['test_2'] = options['datasets']['test_1'] | {'name': 'Gone', 'dataroot_gt': 'nowhere'}
    path = workshop.write_options(options)
    (run,) = read_runs([path])
    (line,) = run.skipped
    assert line.endswith('datasets: test_2: dataroot_gt: nowhere does not exist; Gone is skipped')
    assert [data_set.name for data_set in check_run(run)] == ['Tiny']
    (run,) = read_runs([path], only=['Gone'])
    with pytest.raises(OptionError, match=r'one\.yml:\d+: datasets: test_2: dataroot_gt: nowhere is not a folder'):
        check_run(run)


def test_a_pair_that_does_not_fit_the_scale_is_refused(workshop):
    options = workshop.options()
    options['scale'] = 4
    options['datasets']['test_1'] = {
        'name': 'Tiny',
        'type': 'PairedImageDataset',
        'dataroot_lq': 'data/gaussian_x2/LR',
        'dataroot_gt': 'data/HR',
        'io_backend': {'type': 'disk'},
    }
    message = r'HR/a\.png: 40x32 pixels do not fit an LR image of 20x16 at scale 4, which needs 80x64$'
    with pytest.raises(UserError, match=message):
        check(workshop, options)


def test_data_sets_of_one_name_are_kept_apart(workshop):
    options = workshop.options()
    (data_set,) = check(workshop, options)
    assert data_set.label == 'Tiny x2, data/gaussian_x2/LR'
    assert (data_set.family, data_set.images) == ('gaussian', ('a', 'b'))
    block = options['datasets']['test_1']
    del block['dataroot_lq'], block['dataroot_kernel']
    block['random_kernel'] = {'family': 'motion', 'seed': 1}
    (data_set,) = check(workshop, options)
    assert data_set.label == 'Tiny x2, data/HR, random kernels (family motion, seed 1)'
    assert data_set.family == 'motion'
