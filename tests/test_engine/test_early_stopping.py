import numpy as np
import pytest
import torch

from dkp_plugin.engine.early_stopping import EarlyStopping, ExponentialVariance, WindowedVariance


def images(num, rng):
    """Images (1, 3, 4, 5) that first change fast, then slowly, then fast again."""
    step = (torch.arange(num) - num / 2).abs().view(-1, 1, 1, 1, 1) / num + 0.01
    return (torch.randn(num, 1, 3, 4, 5, generator=rng, dtype=torch.float64) * step).cumsum(0)


@pytest.mark.parametrize('window', [2, 5])
def test_windowed_variance_by_numpy(window, rng):
    sequence, running = images(12, rng), WindowedVariance(window)
    for t, x in enumerate(sequence):
        variance = running.push(x)
        if t + 1 < window:
            assert variance is None
        else:
            expected = np.var(sequence[t + 1 - window : t + 1].numpy(), axis=0).mean()
            assert variance.item() == pytest.approx(expected, rel=1e-12)
    assert len(running.images) == window


@pytest.mark.parametrize('window', [2, 5])
def test_exponential_variance_by_its_weights(window, rng):
    # Image t - n weighs a (1 - a)^n, a = 2 / (window + 1), and the first one all that is left.
    sequence, running, share = images(12, rng).numpy(), ExponentialVariance(window), 2 / (window + 1)
    for t, x in enumerate(sequence):
        weights = share * (1 - share) ** np.arange(t, -1, -1)
        weights[0] = (1 - share) ** t
        assert weights.sum() == pytest.approx(1)
        mean = np.tensordot(weights, sequence[: t + 1], 1)
        expected = np.tensordot(weights, (sequence[: t + 1] - mean) ** 2, 1).mean()
        variance = running.push(torch.from_numpy(x))
        assert (variance is None) == (t + 1 < window)
        if variance is not None:
            assert variance.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize('kind', [WindowedVariance, ExponentialVariance])
def test_variance_leaves_the_images_alone(kind, rng):
    sequence, running = images(6, rng), kind(3)
    before = sequence.clone()
    for x in sequence:
        running.push(x)
    assert sequence.equal(before)


def watch(method, levels, **options):
    """Push images of one pixel, which takes each level with alternating sign.

    Returns:
        The iterations taken as best, the one at which it was over, or None, and the watch itself.
    """
    stopping, best = EarlyStopping(method, **options), []
    for iteration, level in enumerate(levels, start=1):
        stopping.push(torch.full((1, 1, 1, 1), float(level) * (-1) ** iteration))
        if stopping.is_best(iteration):
            best.append(iteration)
        if stopping.is_over(iteration):
            return best, iteration, stopping
    return best, None, stopping


def test_every_new_minimum_is_taken_and_patience_counts_from_the_last():
    # Variance over two images of levels a and b: ((a + b) / 2)^2. From iteration 2: 16, 9, 4, 6.25, 2.25, 4, 9, 9, ...
    levels = [4, 4, 2, 2, 3, 0, 4, 2, 4, 2, 4]
    best, over, stopping = watch('wmv', levels, window=2, patience=3, min_iter=0)
    assert best == [2, 3, 4, 6]
    assert over == 10  # the first iteration more than 3 after the minimum at 6
    assert (stopping.best_iter, stopping.best_variance) == (6, 2.25)


def test_equal_variance_is_no_new_minimum():
    best, over, _ = watch('wmv', [1] * 9, window=2, patience=4, min_iter=0)
    assert (best, over) == ([2], 7)


def test_no_minimum_is_taken_before_min_iter():
    levels = [1, 0, 0, 0, 5, 4, 3, 6, 6, 6, 6]
    best, over, stopping = watch('wmv', levels, window=2, patience=2, min_iter=6)
    assert best == [6, 7]
    assert (stopping.best_iter, stopping.best_variance, over) == (7, 12.25, 10)


def test_exponential_variance_is_watched_alike():
    best, over, stopping = watch('emv', [4, 3, 2, 1, 0, 0, 4, 4, 4, 4], window=2, patience=2, min_iter=0)
    assert best[-1] == stopping.best_iter == 6
    assert over == 9


def test_long_patience_never_ends_early():
    assert watch('wmv', [1, 2, 3, 4], window=2, patience=100, min_iter=0)[1] is None


def test_off_takes_every_iteration_and_never_ends():
    best, over, stopping = watch('off', [1, 2, 3], window=2, patience=1, min_iter=0)
    assert (best, over, stopping.variance) == ([1, 2, 3], None, None)


def test_unknown_method_is_refused():
    with pytest.raises(ValueError, match="method: 'mean' is not one of off, wmv, emv"):
        EarlyStopping('mean')
