import numpy as np

from dkp_plugin.io.images import write_image


def test_exit_status_shows_whether_a_set_is_complete(run_script, tmp_path):
    write_image(tmp_path / 'in/RealSRSet/tiger.png', np.zeros((20, 20, 3), np.uint8))
    status, text, error = run_script('arrange_benchmarks', tmp_path / 'in', '--out', tmp_path / 'out')
    assert status == 1 and error == ''
    assert text.splitlines() == [
        f'{tmp_path}/out/RealSRSet/LQ: 1 of 20 images, 1 written, 0 kept',
        '  missing: Lincoln, building, butterfly, butterfly2, chip, comic1, comic2, comic3, computer, dog and 9 more',
        '  pixels match the record: 0',
        '  only names checked, pixels not recorded: tiger',
    ]


def test_whole_set_is_status_0(run_script, shared_data, tmp_path):
    arguments = [shared_data / 'benchmarks' / 'Set5', '--out', tmp_path, '--mod12']
    assert run_script('arrange_benchmarks', *arguments) == (
        0,
        f'{tmp_path}/Set5/HR: 5 of 5 images, 5 written, 0 kept\n  pixels match the record: 5\n',
        '',
    )


def test_mistake_is_one_line(run_script, tmp_path):
    status, text, error = run_script('arrange_benchmarks', tmp_path / 'nowhere.zip', '--out', tmp_path / 'out')
    assert (status, text) == (2, '') and error == f'error: {tmp_path}/nowhere.zip: there is no such folder or file\n'
