"""What a classifier sees in samples: which classes, how often, and how sure it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from scorefield.errors import InputError
from scorefield.evaluation.distances import finite_rows
from scorefield.evaluation.estimates import Estimate, mean_of


class ChiSquare(NamedTuple):
    """Whether counts agree with what they are held to.

    Arguments:
        statistic: χ².
        degrees: degrees of freedom.
        p: how often chance alone gives a χ² as large.
        least: the least expected count; below 5, p is not to be trusted.
    """

    statistic: float
    degrees: int
    p: float
    least: float


def class_counts(labels: Tensor, classes: int) -> tuple[int, ...]:
    """How many samples of each class there are.

    Arguments:
        labels: class of each sample, shape (N,), whole numbers.
        classes: number of classes.

    Raises:
        InputError: for labels that are not 0 … classes - 1.
    """
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise InputError(
            f"labels must lie in 0 to {classes - 1}, got {int(labels.min())} to {int(labels.max())}"
        )
    return tuple(torch.bincount(labels.long(), minlength=classes).tolist())


def chi_square(counts: Sequence[int], shares: Sequence[float]) -> ChiSquare:
    """Pearson's χ² of class counts against shares that are known.

        χ² = Σ_c (n_c - N s_c)² / (N s_c),      K - 1 degrees of freedom

    Classes without a share are left out; a sample of one makes χ² infinite.

    Arguments:
        counts: n, samples of each class.
        shares: s, expected share of each class; scaled to a sum of 1.

    Raises:
        InputError: for no samples, unlike lengths, negative shares, or fewer than 2 classes with a share.

    Reference: Pearson 1900, On the criterion that a given system of deviations from the probable …,
        Philosophical Magazine 50.
    """
    found, expected = (torch.tensor(tuple(v), dtype=torch.float64) for v in (counts, shares))
    there = expected > 0
    if len(found) != len(expected) or not bool((expected >= 0).all()) or int(there.sum()) < 2:
        raise InputError(f"χ² needs a share for each of at least 2 classes, got {tuple(shares)}")
    if not found.sum() > 0 or bool((found < 0).any()):
        raise InputError(f"χ² needs at least 1 sample, and none below 0, got {tuple(counts)}")
    expected = expected / expected.sum() * found.sum()
    terms = (found - expected).square()[there] / expected[there]
    outside = math.inf if bool((found[~there] > 0).any()) else 0.0
    return _judged(float(terms.sum()) + outside, int(there.sum()) - 1, float(expected[there].min()))


def chi_square_two(counts: Sequence[int], reference: Sequence[int]) -> ChiSquare:
    """Pearson's χ² of the class counts of two samples, for shares that are known from a sample only.

        χ² = Σ_s Σ_c (n_sc - e_sc)² / e_sc,      e_sc = N_s n_c / N,      K - 1 degrees of freedom

    Classes that neither has are left out.

    Arguments:
        counts: samples of each class.
        reference: reference samples of each class.

    Raises:
        InputError: for no samples on a side, unlike lengths, or fewer than 2 classes.

    Reference: Cramér 1946, Mathematical Methods of Statistics, section 30.6.
    """
    if len(counts) != len(reference):
        raise InputError(f"counts of as many classes are needed, got {counts} and {reference}")
    table = torch.tensor([tuple(counts), tuple(reference)], dtype=torch.float64)
    table = table[:, table.sum(0) > 0]
    if table.shape[1] < 2 or bool((table.sum(1) == 0).any()):
        raise InputError(
            f"χ² needs samples of at least 2 classes on both sides, got {tuple(counts)} and "
            f"{tuple(reference)}"
        )
    expected = table.sum(1, keepdim=True) * table.sum(0) / table.sum()
    terms = (table - expected).square() / expected
    return _judged(float(terms.sum()), table.shape[1] - 1, float(expected.min()))


def _judged(statistic: float, degrees: int, least: float) -> ChiSquare:
    """With the upper tail of χ²: Q(k/2, χ²/2), the regularized incomplete gamma function."""
    half = torch.tensor([degrees / 2, statistic / 2], dtype=torch.float64)
    return ChiSquare(statistic, degrees, float(torch.special.gammaincc(half[0], half[1])), least)


def confidence(logits: Tensor) -> Estimate:
    """How sure the classifier is: the mean of the largest class probability.

        E max_c p(c | x)

    Arguments:
        logits: shape (N, K).

    Raises:
        InputError: for fewer than 2 rows, or numbers that are not finite.
    """
    return mean_of(finite_rows(logits).softmax(1).amax(1))


def label_agreement(read: Tensor, labels: Tensor) -> Estimate:
    """The share of samples in which the class that was asked for is read.

    The standard error is that of the share with 2 hits and 2 misses added, so that 100 % of few is not
    taken for certain.

    Arguments:
        read: the classes read, shape (N,).
        labels: the classes asked for, shape (N,).

    Raises:
        InputError: for no samples or unlike counts.

    Reference: Agresti & Coull 1998, Approximate is better than "exact" for interval estimation of binomial
        proportions, section 4. doi:10.1080/00031305.1998.10480550
    """
    if len(read) != len(labels) or len(read) == 0:
        raise InputError(
            f"each of at least 1 sample needs a label, got {len(read)} samples and {len(labels)} labels"
        )
    hits, count = int((read == labels).sum()), len(read)
    share = (hits + 2) / (count + 4)
    return Estimate(hits / count, math.sqrt(share * (1 - share) / (count + 4)))


def inception_score(logits: Tensor, generator: torch.Generator, *, splits: int = 10) -> Estimate:
    """The inception score: samples that are each of one class, and of all classes together.

        IS = exp( E_x KL(p(y|x) ‖ p(y)) ),      from 1 to the number of classes

    It knows nothing of the data. The mean over shuffled splits, with its standard error; the figure of a
    split is too large by about 1 + (K - 1)/2n for n samples in it. (The standard deviation that papers
    state is √splits times the standard error.)

    Arguments:
        logits: what the classifier makes of the samples, shape (N, K).
        generator: shuffles them.
        splits: how many, at least 2.

    Raises:
        InputError: for fewer than 2 splits, or fewer samples than splits.

    Reference: Salimans et al. 2016, Improved Techniques for Training GANs, section 4. arXiv:1606.03498
    """
    if splits < 2:
        raise InputError(f"a standard error needs at least 2 splits, got {splits}")
    logits = finite_rows(logits, splits)
    shuffled = logits[torch.randperm(len(logits), generator=generator)].log_softmax(1)
    return mean_of(torch.stack([_score(part) for part in shuffled.tensor_split(splits)]))


def _score(logs: Tensor) -> Tensor:
    shares = logs.exp()
    apart = logs - (logs.logsumexp(0) - math.log(len(logs)))
    return torch.where(shares > 0, shares * apart, 0).sum(1).mean().exp()
