"""The winner, how sure it is, and the front."""

from dataclasses import replace
from math import erf, sqrt

import pytest
import torch

from scorefield.errors import InputError
from scorefield.recipes import Sampling
from scorefield.samplers.ancestral import DDIM
from scorefield.tuning import Standing, brief, front_picture, verdict
from scorefield.tuning.chance import RESAMPLES, Bootstrap
from scorefield.tuning.race import Entry
from scorefield.tuning.settings import Setting

NOISE = torch.randn(400, generator=torch.Generator().manual_seed(0)).double()
OWN = torch.randn(400, generator=torch.Generator().manual_seed(1)).double()


def entry(steps, shift, own=0.0, count=400, eta=0.0):
    """A setting at ``shift`` above the noise that all share, with noise of its own of that spread."""
    setting = Setting(Sampling(sampler=DDIM(eta=eta), steps=steps), steps)
    features = (shift + NOISE + own * OWN)[:count]
    return Entry(setting, features, float(features.mean()))


def standing(*entries, dropped=()):
    return Standing(1.0, "", (*entries, *dropped), tuple(e.setting for e in entries))


def test_sureness_is_that_of_the_normal_law(offset):
    """The difference of paired means has the standard error of the noise that is not shared."""
    for shift in (0.0, 0.02, 0.05):
        best, other = entry(5, 0.0), entry(6, shift, own=0.5)
        z = (other.distance - best.distance) / (0.5 * float(OWN.std()) / 400**0.5)
        expected = (1 + erf(z / sqrt(2))) / 2
        error = sqrt(expected * (1 - expected) / RESAMPLES)
        assert Bootstrap(offset).sureness(best, [other]) == pytest.approx(
            expected, abs=4 * error + 0.01
        )


def test_noise_that_is_shared_does_not_count(offset):
    assert Bootstrap(offset).sureness(entry(5, 0.0), [entry(6, 1e-9), entry(7, 1e-6)]) == 1.0


def test_intervals_have_the_width_of_the_standard_error(offset):
    """Of the whole noise for a distance, of what is not shared for a difference."""
    chance, one, other = Bootstrap(offset), entry(5, 0.3), entry(6, 0.3, own=0.5)
    assert chance.spread(one) == pytest.approx(1.96 * float(NOISE.std()) / 20, rel=0.25)
    assert chance.apart(one, other) == pytest.approx(0.5 * 1.96 * float(OWN.std()) / 20, rel=0.25)
    assert chance.apart(one, one) == 0


def test_the_cheapest_within_the_noise_of_the_best(offset):
    far, best = entry(5, 0.3, own=0.5), entry(20, 0.0)
    for behind, evaluations in ((0.01, 10), (0.1, 20)):  # in a noise of 0.025
        near = entry(10, behind - float(OWN.mean()) * 0.5, own=0.5)
        tuned = verdict(standing(far, near, best), offset)
        assert tuned.winner.evaluations == evaluations
        assert tuned.points[-1].distance < near.distance
    assert tuned.sure == 1.0


def test_the_best_of_those_that_may_take_so_many(offset):
    field = standing(entry(5, 0.5), entry(10, 0.3), entry(20, 0.0), entry(20, 0.1, eta=0.5))
    tuned = verdict(field, offset, asked=20)
    assert (tuned.winner.evaluations, tuned.winner.sampling.sampler.eta) == (20, 0.0)
    assert verdict(field, offset, asked=19).winner.evaluations == 10
    assert [p.evaluations for p in tuned.points if p.on_front] == [5, 10, 20]


def test_one_that_was_dropped_still_counts_against_the_sureness(offset):
    """Dropped after 20 samples by a hair: nothing is known of which is better."""
    best = entry(10, 0.0)
    hair = entry(10, 0.05 - float(OWN[:20].mean()), own=1.0, count=20, eta=0.5)
    alone, both = (verdict(standing(best, dropped=d), offset, asked=10) for d in ((), (hair,)))
    assert (alone.sure, 0.1 < both.sure < 0.98) == (1.0, True)
    # it is told by its difference on the samples that both have
    (told,) = (p for p in both.points if p.apart is None)
    expected = best.distance + hair.distance - float(best.features[:20].mean())
    assert told.distance == pytest.approx(expected)
    assert told.samples == 20


def test_the_front_has_none_that_another_beats_on_both(offset):
    field = [entry(5, 0.5), entry(10, 0.6), entry(20, 0.2), entry(40, 0.2 + 1e-9)]
    tuned = verdict(standing(*field, dropped=[entry(10, 0.1, count=30, eta=0.5)]), offset)
    assert [p.evaluations for p in tuned.points if p.on_front] == [5, 20]


def test_the_model_s_own_setting_is_told(offset):
    own = entry(20, 0.4)
    tuned = verdict(standing(entry(10, 0.0), own), offset, own.setting, asked=20)
    assert tuned.before.distance == pytest.approx(own.distance)
    note = tuned.note()
    assert note["before"]["distance"] == pytest.approx(own.distance)
    assert (note["evaluations"], note["samples"], len(note["tried"])) == (10, 400, 2)
    assert note["front"] == [[10, pytest.approx(float(NOISE.mean()))]]


def test_none_that_could_draw(offset):
    refused = replace(entry(5, 0.0), refused="out of range")
    with pytest.raises(InputError, match="no setting could draw samples: out of range"):
        verdict(Standing(1.0, "", (refused,), (refused.setting,)), offset)


def test_a_picture(offset):
    """Every series has its colour in it, and intervals below 0 do no harm."""
    dropped = [entry(10, 0.7, count=30, eta=0.5)]
    own = entry(20, 0.4)
    field = standing(entry(5, 0.5), entry(10, -0.2), own, dropped=dropped)
    drawn = front_picture(verdict(field, offset, own.setting), "runs/a")
    found = {colour for _, colour in drawn.getcolors(1 << 20)}
    assert {(0x2A, 0x6F, 0x97), (0xC1, 0x12, 0x1F), (0x9A, 0xA5, 0xB1)} <= found


def test_a_setting_in_the_words_of_sample():
    sampling = Sampling(sampler=DDIM(eta=0.5), steps=9, guidance=2.0)
    assert brief(sampling) == "ddim eta=0.5, 9 steps, guidance 2"
    brief_one = replace(sampling, guidance_least=0.45)
    assert brief(brief_one) == "ddim eta=0.5, 9 steps, guidance 2, guidance_least=0.45"
