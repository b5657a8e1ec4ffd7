"""Where there is no terminal, a line every ten seconds says where the work is."""

import pytest

from dkp_plugin.photos.progress import Progress, format_seconds


def test_lines_say_image_step_share_and_time_left(monkeypatch, capsys):
    now = 1000.0
    monkeypatch.setattr('dkp_plugin.photos.progress.time.monotonic', lambda: now)
    progress = Progress([0, 100, 300], is_shown=True)
    progress.begin(0, 'bad').end()
    image = progress.begin(1, 'a')
    for done in range(1, 51):  # a second for each step of 50, so that 3/4 of the work is left
        now += 1
        image.step(done, 50)
    image.end()
    progress.begin(2, 'b')
    progress.close()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == 'expected time: at most about 3 min'
    assert lines[1] == '2/3 a: step 10 of 50, 5 % of all, about 3 min left'
    assert len(lines) == 6 and lines[5] == '2/3 a: step 50 of 50, 25 % of all, about 2 min left'


def test_skipped_images_cost_no_time(monkeypatch, capsys):
    now = 0.0
    monkeypatch.setattr('dkp_plugin.photos.progress.time.monotonic', lambda: now)
    progress = Progress([900, 100], is_shown=True)
    progress.begin(0, 'a').skip()
    image = progress.begin(1, 'b')
    now = 10.0
    image.step(1, 4)
    progress.close()
    assert '2/2 b: step 1 of 4, 25 % of all, about 30 s left' in capsys.readouterr().err


@pytest.mark.parametrize(('seconds', 'text'), [(4.4, '4 s'), (89, '89 s'), (600, '10 min'), (7200, '2.0 h')])
def test_durations(seconds, text):
    assert format_seconds(seconds) == text


def test_a_hidden_progress_says_nothing(capsys):
    progress = Progress([100], is_shown=False)
    progress.begin(0, 'a').step(1, 2)
    progress.write('a line')
    progress.close()
    assert capsys.readouterr().err == ''


def test_images_without_pixels_and_steps_that_are_not_begun_divide_by_nothing(monkeypatch, capsys):
    now = 0.0
    monkeypatch.setattr('dkp_plugin.photos.progress.time.monotonic', lambda: now)
    progress = Progress([0], is_shown=True)  # an image that cannot be read has no size
    image = progress.begin(0, 'bad')
    now = 20.0
    image.step(0, 5)
    progress.close()
    assert '1/1 bad: step 0 of 5, 0 % of all, about 0 s left' in capsys.readouterr().err


def test_shares_of_the_work_weigh_the_steps(monkeypatch, capsys):
    """With a share, the first half of the steps is nine tenths of the work; nothing is said about the expected time."""
    now = 0.0
    monkeypatch.setattr('dkp_plugin.photos.progress.time.monotonic', lambda: now)
    progress = Progress([30.0, 10.0], True, lambda index, done, total: 0.9 if done <= total / 2 else 1.0)
    image = progress.begin(0, 'a')
    now = 10.0
    image.step(2, 4)  # 27 of 40 seconds of work
    image.step(4, 4)
    image.end()
    image = progress.begin(1, 'b')
    now = 30.0
    image.step(1, 4)
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
        image = progress.begin(index, str(index))
        if index < 19_999:
            image.skip()
            image.end()
    image.step(1, 2)
    assert progress.work == 0.5 and progress.whole == 1


def test_images_that_are_restored_at_once_add_up(monkeypatch, capsys):
    """Half of 30 and a third of 60 of 100 are done after 14 s, so that 65 % are left."""
    now = 0.0
    monkeypatch.setattr('dkp_plugin.photos.progress.time.monotonic', lambda: now)
    progress = Progress([30, 60, 10], True, lambda index, done, total: done / total)
    first, second = progress.begin(0, 'a'), progress.begin(1, 'b')
    first.step(1, 2)
    second.step(1, 6)
    now = 14.0
    second.step(2, 6)
    progress.close()
    assert capsys.readouterr().err == '2/3 b: step 2 of 6, 35 % of all, about 26 s left\n'
    first.end()
    second.end()
    progress.begin(2, 'c').end()
    assert progress.work == 1
