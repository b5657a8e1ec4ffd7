"""Where there is no terminal, a line every ten seconds says where the work is."""

import pytest

from dkp_plugin.photos.progress import Progress, format_seconds


def test_lines_say_image_step_share_and_time_left(monkeypatch, capsys):
    now = 1000.0
    monkeypatch.setattr('dkp_plugin.photos.progress.time.monotonic', lambda: now)
    progress = Progress([0, 100, 300], is_shown=True)
    progress.begin('bad')
    progress.begin('a')
    for done in range(1, 51):  # a second for each step of 50, so that 3/4 of the work is left
        now += 1
        progress.step(done, 50)
    progress.begin('b')
    progress.close()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == 'expected time: at most about 3 min'
    assert lines[1] == '2/3 a: step 10 of 50, 5 % of all, about 3 min left'
    assert len(lines) == 6 and lines[5] == '2/3 a: step 50 of 50, 25 % of all, about 2 min left'


def test_skipped_images_cost_no_time(monkeypatch, capsys):
    now = 0.0
    monkeypatch.setattr('dkp_plugin.photos.progress.time.monotonic', lambda: now)
    progress = Progress([900, 100], is_shown=True)
    progress.begin('a')
    progress.skip()
    progress.begin('b')
    now = 10.0
    progress.step(1, 4)
    progress.close()
    assert '2/2 b: step 1 of 4, 25 % of all, about 30 s left' in capsys.readouterr().err


@pytest.mark.parametrize(('seconds', 'text'), [(4.4, '4 s'), (89, '89 s'), (600, '10 min'), (7200, '2.0 h')])
def test_durations(seconds, text):
    assert format_seconds(seconds) == text


def test_a_hidden_progress_says_nothing(capsys):
    progress = Progress([100], is_shown=False)
    progress.begin('a')
    progress.step(1, 2)
    progress.write('a line')
    progress.close()
    assert capsys.readouterr().err == ''


def test_images_without_pixels_and_steps_that_are_not_begun_divide_by_nothing(monkeypatch, capsys):
    now = 0.0
    monkeypatch.setattr('dkp_plugin.photos.progress.time.monotonic', lambda: now)
    progress = Progress([0], is_shown=True)  # an image that cannot be read has no size
    progress.begin('bad')
    now = 20.0
    progress.step(0, 5)
    progress.close()
    assert '1/1 bad: step 0 of 5, 0 % of all, about 0 s left' in capsys.readouterr().err


def test_shares_of_the_work_weigh_the_steps(monkeypatch, capsys):
    """With a share, the first half of the steps is nine tenths of the work; nothing is said about the expected time."""
    now = 0.0
    monkeypatch.setattr('dkp_plugin.photos.progress.time.monotonic', lambda: now)
    progress = Progress([30.0, 10.0], True, lambda index, done, total: 0.9 if done <= total / 2 else 1.0)
    progress.begin('a')
    now = 10.0
    progress.step(2, 4)  # 27 of 40 seconds of work
    progress.step(4, 4)
    progress.begin('b')
    now = 30.0
    progress.step(1, 4)
    progress.close()
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        '1/2 a: step 2 of 4, 68 % of all, about 5 s left',
        '2/2 b: step 1 of 4, 98 % of all, about 1 s left',
    ]


def test_many_skipped_images_take_no_time():
    """The work of a step does not grow with the number of images."""
    progress = Progress([1] * 20_000, is_shown=False)
    for index in range(20_000):
        progress.begin(str(index))
        if index < 19_999:
            progress.skip()
    progress.step(1, 2)
    assert progress.work == 0.5 and progress.whole == 1
