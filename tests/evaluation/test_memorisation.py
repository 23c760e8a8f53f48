"""The verdict on copies: calibrated on data without any, and right where copies are planted."""

import math

import pytest
import torch
from scipy import stats

from scorefield.errors import InputError
from scorefield.evaluation import memorisation, nearest, relative_distance


def draw(n, d=12, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=generator, dtype=torch.float64)


def closeness(x, train):
    return relative_distance(nearest(x, train, k=20))


@pytest.mark.parametrize(("n", "m"), [(200, 150), (60, 700), (30, 20)])
def test_p_against_scipy(n, m):
    """The number of samples below the r-th of M is beta-binomial, with a = r and b = M + 1 - r."""
    order = torch.randperm(n + m, generator=torch.Generator().manual_seed(1)) + 1.0
    found = memorisation(order[:n], order[n:], quantile=0.05)
    rank = max(1, int(0.05 * (m + 1)))
    law = stats.betabinom(n, rank, m + 1 - rank)
    close = round(found.share * n)
    assert found.p == pytest.approx(law.sf(close - 1), rel=1e-9)
    assert found.threshold == order[n:].sort().values[rank - 1]
    assert found.expected == pytest.approx(law.mean() / n)
    enough = law.isf(0.01) + 1  # the least number that happens less often than level
    assert found.detectable == pytest.approx((enough / n - found.expected) / (1 - found.expected))


def test_held_out_data_have_uniform_p_values():
    """Samples from the law of the data, against other data of that law: no set is called copied often."""
    train, held_out = draw(400, 4, 1), draw(300 * 700, 4, 2)
    near = nearest(held_out, train).distance[:, 0].view(300, 700)
    found = [memorisation(row[:400], row[400:], quantile=0.1) for row in near]
    p = torch.tensor([f.p for f in found])
    assert stats.kstest(p, "uniform").pvalue > 1e-3
    assert sum(f.verdict == "copies" for f in found) <= stats.binom(300, 0.01).isf(1e-3)


def test_of_training_data_that_were_not_looked_at_copies_are_not_seen():
    samples, held_out = torch.rand(1000) + 1, torch.rand(2000) + 1
    whole = memorisation(samples, held_out)
    assert whole.verdict == "none found"
    part = memorisation(samples, held_out, looked_at=0.1)
    assert part.detectable == pytest.approx(10 * whole.detectable)
    assert (part.verdict, part.p) == ("cannot tell", whole.p)
    with pytest.raises(InputError, match="looked_at must be above 0 and at most 1, got 0"):
        memorisation(samples, held_out, looked_at=0.0)


@pytest.mark.parametrize("share", [0.03, 0.2])
def test_planted_copies_are_found(share):
    train, fresh, held_out = draw(2000, seed=1), draw(1000, seed=2), draw(2000, seed=3)
    before = memorisation(closeness(fresh, train), closeness(held_out, train))
    assert before.verdict == "none found"
    copies = int(share * 1000)
    planted = torch.cat([train[:copies] + 0.05 * draw(copies, seed=4), fresh[copies:]])
    after = memorisation(closeness(planted, train), closeness(held_out, train))
    assert after.verdict == "copies"
    assert after.p < 1e-3
    assert after.detectable < share
    assert after.share == pytest.approx(share + (1 - share) * 0.01, abs=0.02)


def test_plain_samples_are_near_but_no_copies():
    """Samples drawn in to the mean are near to the data, as blurred images are, and copy none."""
    train, held_out = draw(2000, seed=1), draw(2000, seed=3)
    plain = 0.6 * draw(1000, seed=2)
    near = [nearest(x, train).distance[:, 0] for x in (plain, held_out)]
    assert memorisation(*near).verdict == "copies"
    assert memorisation(closeness(plain, train), closeness(held_out, train)).verdict == "none found"


def test_too_few_data_to_tell():
    far = draw(1000, 1, 1)[:, 0].abs() + 10
    for held_out in (torch.empty(0), far[:20], far[:60]):
        found = memorisation(far[500:], held_out)
        assert found.verdict == "cannot tell"
        assert found.detectable > 0.05
    assert memorisation(far[500:], far[:500]).verdict == "none found"
    assert memorisation(far[:3], far[500:]).verdict == "cannot tell"  # three samples
    # Where every sample is a copy, a few held-out data are enough to see it.
    assert memorisation(far[500:] - 10, far[:20]).verdict == "copies"


def test_held_out_data_that_are_copies_themselves():
    """Where 1 % of the held-out data are in the training data, samples cannot be nearer than they are."""
    held_out = torch.cat([torch.zeros(20), torch.ones(980)])
    found = memorisation(torch.zeros(500), held_out)
    assert (found.verdict, found.threshold) == ("cannot tell", 0)
    assert found.p == pytest.approx(1)


def test_relative_distance():
    train = torch.tensor([[0.0], [1.0], [2.0], [10.0]])
    found = relative_distance(nearest(torch.tensor([[0.0], [0.5], [9.0]]), train, k=3))
    assert found.tolist() == pytest.approx([0, 0.5 / (2.5 / 3), 1 / (16 / 3)])
    repeated = relative_distance(nearest(torch.zeros(1, 2), torch.zeros(5, 2), k=3))
    assert repeated.tolist() == [1]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda d: memorisation(d, d, quantile=0), "got 0 and 0.01"),
        (lambda d: memorisation(d, d, level=1), "got 0.01 and 1"),
        (lambda d: memorisation(d[:0], d), "at least 1 sample, got 0"),
        (lambda d: memorisation(d * math.inf, d), "finite"),
        (lambda d: memorisation(d, d[:, None]), "in one row"),
        (lambda d: relative_distance(nearest(d[:, None], d[:, None])), "2 neighbours, got 1"),
    ],
)
def test_what_cannot_be_judged(call, message):
    with pytest.raises(InputError, match=message):
        call(torch.arange(1.0, 9.0))
