"""Class counts, χ², confidence, agreement and the inception score, against scipy and torchmetrics."""

import math

import pytest
import torch
from scipy import stats
from torch import nn

from scorefield.errors import InputError
from scorefield.evaluation import (
    chi_square,
    chi_square_two,
    class_counts,
    confidence,
    inception_score,
    label_agreement,
)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_counts():
    assert class_counts(torch.tensor([2, 0, 2, 2]), 4) == (1, 0, 3, 0)
    assert class_counts(torch.tensor([], dtype=torch.int64), 2) == (0, 0)
    with pytest.raises(InputError, match="0 to 2, got -1 to 3"):
        class_counts(torch.tensor([-1, 3]), 3)


def test_chi_square_against_scipy():
    counts, shares = [18, 30, 52, 9], [0.2, 0.25, 0.45, 0.1]
    other = stats.chisquare(counts, [sum(counts) * s for s in shares])
    found = chi_square(counts, [7 * s for s in shares])
    assert found.statistic == pytest.approx(other.statistic, rel=1e-12)
    assert found.p == pytest.approx(other.pvalue, rel=1e-10)
    assert (found.degrees, found.least) == (3, pytest.approx(10.9))


def test_two_samples_against_scipy():
    counts, reference = [18, 30, 52, 0, 9], [100, 330, 510, 0, 3]
    table = [[18, 30, 52, 9], [100, 330, 510, 3]]
    other = stats.chi2_contingency(table, correction=False)
    found = chi_square_two(counts, reference)
    assert found.statistic == pytest.approx(other.statistic, rel=1e-12)
    assert found.p == pytest.approx(other.pvalue, rel=1e-8)
    assert (found.degrees, found.least) == (other.dof, pytest.approx(other.expected_freq.min()))


def test_p_values_are_uniform_when_the_shares_are_right():
    shares = torch.tensor([0.1, 0.2, 0.3, 0.4])
    draws = torch.multinomial(shares, 400 * 500, replacement=True, generator=seeded()).view(400, -1)
    p = [chi_square(class_counts(row, 4), shares.tolist()).p for row in draws]
    assert stats.kstest(p, "uniform").pvalue > 1e-3


def test_a_class_without_a_share():
    assert chi_square([5, 5, 0], [1, 1, 0]).p == 1
    found = chi_square([5, 5, 1], [1, 1, 0])
    assert (found.statistic, found.p) == (math.inf, 0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: chi_square([1, 2], [1]), "a share for each of at least 2 classes"),
        (lambda: chi_square([1, 2], [1, -1]), r"got \(1, -1\)"),
        (lambda: chi_square([0, 0], [1, 1]), "at least 1 sample"),
        (lambda: chi_square_two([1, 2], [1, 2, 3]), "as many classes"),
        (lambda: chi_square_two([1, 2], [0, 0]), "on both sides"),
        (lambda: chi_square_two([1, 0], [2, 0]), "at least 2 classes on both sides"),
        (lambda: label_agreement(torch.ones(2), torch.ones(3)), "2 samples and 3 labels"),
        (lambda: inception_score(torch.ones(5, 2), seeded(), splits=1), "at least 2 splits, got 1"),
        (lambda: inception_score(torch.ones(5, 2), seeded()), "at least 10 rows"),
        (lambda: confidence(torch.tensor([[1.0], [math.nan]])), "finite"),
    ],
)
def test_what_cannot_be_judged(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_confidence():
    p = torch.tensor([[0.7, 0.2, 0.1], [0.3, 0.3, 0.4], [0.05, 0.9, 0.05]]).double()
    found = confidence(p.log() + 5)  # a constant in the logits says nothing
    assert found.value == pytest.approx((0.7 + 0.4 + 0.9) / 3)
    assert found.error == pytest.approx(stats.sem([0.7, 0.4, 0.9]))


@pytest.mark.parametrize(("share", "count"), [(0.9, 200), (0.99, 1000), (0.5, 30)])
def test_agreement_holds_the_true_share_as_often_as_it_says(share, count):
    hits = torch.rand(2000, count, generator=seeded()) < share
    found = [label_agreement(row, torch.ones(count)) for row in hits]
    # The interval of Agresti & Coull lies about the share with the four trials added.
    inside = [abs((f.value * count + 2) / (count + 4) - share) < 1.96 * f.error for f in found]
    assert 0.93 < sum(inside) / len(inside) < 0.985
    assert label_agreement(torch.ones(50), torch.ones(50)).error > 0


class Logits(nn.Module):
    """Feature module for torchmetrics: images that are the logits."""

    num_features = 6

    def forward(self, x):
        return x.flatten(1)


@pytest.mark.filterwarnings("ignore:Metric `:UserWarning")
def test_inception_score_against_torchmetrics():
    from torchmetrics.image.inception import InceptionScore

    logits = 3 * torch.randn(400, 6, generator=seeded(), dtype=torch.float64)
    other = InceptionScore(feature=Logits(), splits=4)
    other.set_dtype(torch.float64)
    other.update(logits.view(-1, 1, 2, 3))
    torch.manual_seed(7)  # torchmetrics shuffles by the global generator
    mean, spread = other.compute()
    found = inception_score(logits, seeded(7), splits=4)
    assert found.value == pytest.approx(float(mean), rel=1e-10)
    assert found.error == pytest.approx(float(spread) / 2, rel=1e-10)


def test_inception_score_of_a_classifier_without_doubts():
    """A class that no sample could be of has no share, and adds nothing."""
    logits = torch.tensor([[2000.0, 0.0]], dtype=torch.float64).expand(20, 2)
    assert inception_score(logits, seeded()).value == pytest.approx(1)


def test_inception_score_at_its_ends():
    sure = 40 * torch.eye(4).repeat_interleave(200, 0)  # each class in turn: order must not matter
    assert inception_score(sure, seeded()).value == pytest.approx(4, rel=0.03)
    assert inception_score(sure[:200], seeded()).value == pytest.approx(1)
    assert inception_score(torch.zeros(800, 4), seeded()).value == pytest.approx(1)


@pytest.mark.parametrize(("counts", "shares"), [([-5, 10], [0.5, 0.5]), ([5, 5], [math.nan, 0.5])])
def test_counts_and_shares_that_are_none(counts, shares):
    with pytest.raises(InputError, match="χ² needs"):
        chi_square(counts, shares)
