"""Every claim holds here, and is made as claims are to be made."""

import math
from functools import partial

import pytest
import torch

from scorefield.errors import InputError
from scorefield.recipes.catalog import PARAMETERIZATIONS, SAMPLERS, SCHEDULES
from scorefield.verification import CLAIMS, Claim, Place, verify

FAST, SLOW = ([c for c in CLAIMS if c.slow is slow] for slow in (False, True))


def outcome(claim, dtype=torch.float64):
    (finding,) = verify([claim], dtype=dtype)
    return finding


# Every claim is tried by `scorefield verify`, which CI runs; so these repeat it.
@pytest.mark.slow
@pytest.mark.parametrize("claim", FAST, ids=lambda c: c.name)
def test_claim_holds(claim):
    finding = outcome(claim)
    assert finding.passed, (finding.measured, finding.tolerance, finding.error)


@pytest.mark.slow
@pytest.mark.parametrize("claim", SLOW, ids=lambda c: c.name)
def test_slow_claim_holds(claim):
    finding = outcome(claim)
    assert finding.passed, (finding.measured, finding.tolerance, finding.error)


@pytest.mark.slow
@pytest.mark.parametrize("claim", FAST, ids=lambda c: c.name)
def test_claim_holds_in_single_precision(claim):
    finding = outcome(claim, torch.float32)
    assert finding.passed, (finding.measured, finding.tolerance, finding.error)


def test_claims_are_named_once_and_say_where_they_are_from():
    assert len({claim.name for claim in CLAIMS}) == len(CLAIMS)
    for claim in CLAIMS:
        assert 5 < len(claim.name) <= 72, claim.name
        assert claim.source
        assert claim.tolerance > 0
        assert not claim.may_refuse


def test_the_catalog_is_claimed_on():
    words = " ".join(claim.name for claim in FAST)
    for kind in SAMPLERS:
        assert f"{kind} on vp" in words or f"{kind}: " in words or f"{kind} eta" in words, kind
    for kind in [*SCHEDULES, *PARAMETERIZATIONS]:
        assert f"{kind}: " in words, kind


def test_a_claim_that_raises_has_failed():
    def broken(place):
        raise RuntimeError("no\n luck")

    finding = outcome(Claim("broken", "a test", broken, 1.0))
    assert finding.passed is False
    assert finding.error == "RuntimeError: no luck"
    assert math.isnan(finding.measured)


def test_what_cannot_be_asked_for_has_not_failed_where_it_may_refuse():
    def refuse(place):
        raise InputError("needs knots")

    given = partial(Claim, "fits", "a test", refuse, 1.0)
    assert outcome(given(may_refuse=True)).passed is None
    assert outcome(given(may_refuse=True)).error == "needs knots"
    assert outcome(given()).passed is False


@pytest.mark.parametrize(
    ("measured", "tolerance", "passed"),
    [
        (0.5, 0.5, True),
        (-0.5, 0.5, True),
        (0.6, 0.5, False),
        (math.nan, 0.5, False),
        (9.0, None, None),
    ],
)
def test_pass_or_fail(measured, tolerance, passed):
    assert outcome(Claim("x", "a test", lambda place: measured, tolerance)).passed is passed
    if tolerance is not None:
        shifted = Claim("x", "a test", lambda place: measured + 3, tolerance, expected=3)
        assert outcome(shifted).passed is passed


def test_rounding_counts_in_units_of_the_dtype():
    claim = Claim("x", "a test", lambda place: 1e-6, 1e-12, rounding=64)
    assert outcome(claim).passed is False
    single = outcome(claim, torch.float32)
    assert single.passed is True
    assert single.tolerance == pytest.approx(64 * 2**-23)


def test_a_place_gives_the_same_numbers_in_each_dtype():
    single, double = Place(dtype=torch.float32), Place()
    assert single.normal(3, seed=4).dtype == torch.float32
    assert torch.equal(single.normal(3, seed=4).double(), double.normal(3, seed=4).float().double())
    assert single.double == double
