"""Real samples as a reference: one unit, one distance that orders, and figures beside their floor."""

import math
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from scorefield.data.base import described
from scorefield.data.blocks import spread
from scorefield.data.digits import Digits as SmallDigits
from scorefield.data.mnist import MNIST10k
from scorefield.data.toy import Moons
from scorefield.errors import InputError
from scorefield.evaluation import Reference, digit_features, frechet_distance
from scorefield.evaluation.estimates import Estimate, mean_of
from scorefield.evaluation.features import Digits, Pixels, shown
from scorefield.evaluation.figures import MEANING, class_figures, few, image_figures
from scorefield.evaluation.frechet import gaussian_of
from scorefield.evaluation.networks import Own
from scorefield.evaluation.scores import Scores, estimated
from scorefield.evaluation.sliced import sliced_wasserstein
from scorefield.evaluation.splits import halves, part_of, splits_of


@pytest.fixture(scope="module")
def digits():
    """400 images as a reference, and 150 others in the model's units with their labels."""
    data = MNIST10k().load()
    x, label = data.batch(torch.arange(400, 550))
    return data, Reference.of(Digits(), part_of(data, torch.arange(400))), x, label


@pytest.fixture(scope="module")
def moons():
    train, test = (Moons(size=1200).load(split) for split in ("train", "test"))
    return Reference.of(Pixels(), train), test.x[:400]


def test_the_distance_is_frechet_s_in_the_unit_of_the_reference(digits):
    data, reference, x, _ = digits
    real, other = (
        digit_features(data.x[i].movedim(1, -1))[0] for i in (slice(400), slice(400, 550))
    )
    expected = 128 / float(real.var(0).sum()) * frechet_distance(real, other)
    assert reference.distance(reference.look(x).features) == pytest.approx(expected, rel=1e-4)
    assert float(reference.seen.features.var(0).sum()) == pytest.approx(128)
    assert (reference.name, reference.count, reference.distance_name) == (
        "digits",
        400,
        "Fréchet distance",
    )


def test_real_images_get_the_best_of_all_figures(digits):
    _, reference, x, label = digits
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    real, worse = (reference.score(one, label) for one in (x, (x + noise).clamp(-1, 1)))
    assert real.count == 150
    names = [figure.name for figure in real.figures]
    assert names == [figure.name for figure in worse.figures]
    assert set(names) <= MEANING.keys()
    assert {"Fréchet distance", "KID", "precision", "coverage", "labels obeyed"} <= set(names)
    for figure in real.figures:
        sign = {"lower": 1, "higher": -1, "": 0}[figure.better]
        if (
            sign and figure.name != "recall"
        ):  # noise is anywhere, and so has much of the data in reach
            assert sign * worse[figure.name].value > sign * figure.value, figure.name
    assert real["labels obeyed"].value > 0.99
    assert real["Fréchet distance"].low < real["Fréchet distance"].value


def test_classes_are_held_to_real_ones_where_none_were_asked_for(digits):
    _, reference, x, label = digits
    logits, real = reference.look(x).logits, reference.seen.logits
    chance = torch.Generator().manual_seed(0)
    of_all, of_five = (
        {figure.name: figure.value for figure in class_figures(some, real, None, chance)}
        for some in (logits, logits[label < 5])
    )
    assert of_all["classes, χ² p-value"] > 1e-3
    assert of_five["classes, χ² p-value"] < 1e-6
    assert "labels obeyed" not in of_all


def test_classes_are_held_to_those_that_were_asked_for(digits):
    _, reference, x, label = digits
    logits, real = reference.look(x).logits, reference.seen.logits
    chance = torch.Generator().manual_seed(0)
    right, wrong = (
        {figure.name: figure.value for figure in class_figures(logits, real, asked, chance)}
        for asked in (label, label % 2)
    )
    assert right["classes, χ² p-value"] > 0.99  # labels are kept, so that only misreadings differ
    assert wrong["classes, χ² p-value"] < 1e-6
    one = class_figures(logits, real, torch.zeros_like(label), chance)
    assert "classes, χ² p-value" not in [figure.name for figure in one]


def test_coverage_is_measured_at_equal_counts():
    """Of one law it is 1 - Π_j (m - 1 - j)/(2m - 1 - j) for m of either, j < 5, however many samples."""
    rows = torch.randn(4400, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    samples, real = rows[:4000], rows[4000:]
    found = image_figures(samples, real, gaussian_of(real), torch.Generator().manual_seed(1))
    (coverage,) = (figure.value for figure in found if figure.name == "coverage")
    expected = 1 - math.prod((400 - 1 - j) / (800 - 1 - j) for j in range(5))
    assert coverage == pytest.approx(expected, abs=0.02)
    assert expected < 0.97  # and 0.99998 for ten times the samples


def test_the_same_seed_gives_the_same_figures(moons):
    reference, x = moons
    assert reference.score(x) == reference.score(x)
    assert reference.score(x, seed=1) != reference.score(x)


def test_vectors(moons):
    reference, x = moons
    scores = reference.score(x)
    assert [figure.name for figure in scores.figures] == [
        *("energy distance", "MMD²", "sliced Wasserstein")
    ]
    assert scores["energy distance"].value == pytest.approx(
        reference.distance(reference.look(x).features)
    )
    worse = reference.score(x + 0.5)
    assert all(worse[f.name].value > f.value for f in scores.figures)
    assert reference.distance_name == "energy distance"


def test_what_is_looked_at_has_a_hash():
    x = torch.randint(0, 256, (20, 1, 4, 4), generator=torch.Generator().manual_seed(0)).byte()
    changed = x.clone()
    changed[7, 0, 0, 0] ^= 1
    label = torch.arange(20) % 2
    sets = [described(x), described(changed), described(x, label, classes=2), described(x[:19])]
    hashes = [Reference.of(Pixels(), data).data_hash for data in sets]
    assert len(set(hashes)) == 4
    assert Reference.of(Pixels(), described(x.clone())).data_hash == hashes[0]
    assert Reference.of(Pixels(4), described(x)).data_hash == hashes[0]  # whatever looks


def test_samples_of_other_data_are_refused(moons):
    reference, _ = moons
    with pytest.raises(InputError, match=r"shape \(2,\), got \(3,\)"):
        reference.look(torch.zeros(4, 3))
    with pytest.raises(InputError, match="look at gray images of 28×28"):
        Reference.of(Digits(), SmallDigits().load())
    with pytest.raises(InputError, match="at least 2 real samples, got 1"):
        Reference.of(Pixels(), part_of(Moons().load(), torch.tensor([3])))


def test_scores_know_their_names():
    figure = estimated("a", Estimate(0.99, 0.1), "higher", most=1.0)
    reach = math.sqrt(2) * torch.erfinv(torch.tensor(0.95, dtype=torch.float64))
    assert figure.low == pytest.approx(0.99 - 0.1 * float(reach))
    assert figure.high == 1
    scores = Scores(3, (figure,))
    assert "a" in scores
    assert "b" not in scores
    with pytest.raises(InputError, match="unknown figure 'b'"):
        _ = scores["b"]


def test_a_classifier_of_other_classes_is_not_asked_for_labels(monkeypatch):
    """As Inception, whose classes are those of ImageNet."""
    own = SimpleNamespace(look=lambda x: (x.flatten(1)[:, :4].float(), x.flatten(1)[:, :3].float()))
    monkeypatch.setitem(sys.modules, "own_features", own)
    x = torch.randint(0, 256, (60, 1, 4, 4), generator=torch.Generator().manual_seed(0)).byte()
    for classes in (2, 3):
        data = described(x, torch.arange(60) % 2, classes=classes)
        scores = Reference.of(Own("own_features:look"), data).score(*data.batch(torch.arange(40)))
        assert ("labels obeyed" in scores) == (classes == 3)


def test_a_single_class_has_no_classes_to_compare():
    one = torch.tensor([[9.0, 0.0]]).expand(12, 2)
    chance = torch.Generator().manual_seed(0)
    names = [figure.name for figure in class_figures(one, one, None, chance)]
    assert names == ["inception score", "classifier's confidence"]


@pytest.mark.parametrize(("count", "most"), [(10, 3), (7, 7), (5, 100), (1, 1), (101, 100)])
def test_spaced_numbers(count, most):
    found = spread(count, most)
    assert len(found) == min(count, most) == len(found.unique())
    assert 0 <= int(found.min()) <= int(found.max()) < count
    ends = torch.arange(len(found) + 1) * count // len(found)
    assert bool(((ends[:-1] <= found) & (found < ends[1:])).all())  # one of each stretch
    assert torch.equal(few(torch.arange(count), most), found)


def test_an_interval_of_few_numbers_is_students():
    """Of 10 numbers 2.262 standard errors, of a share no less than none of it."""
    found = mean_of(torch.arange(10.0))
    figure = estimated("a", found, "lower")
    assert figure.high - figure.value == pytest.approx(2.2622 * found.error, rel=1e-4)
    assert estimated("a", Estimate(0.0, 0.1), "higher", least=0.0).low == 0


def test_classes_that_take_turns_are_all_met():
    """Samples of a model have class i mod K: every tenth or so is not of one class alone."""
    turns = torch.arange(50_000) % 10
    counts = torch.bincount(few(turns, 10_000), minlength=10)
    assert (counts - 1000).abs().max() < 5 * 30  # five standard deviations of a binomial


def test_directions_are_the_same_whatever_else_is_measured():
    """Of two counts, of which only the larger gets a distance at endless samples."""
    x = torch.rand(600, 2, 4, 4, generator=torch.Generator().manual_seed(0)).mul(255).byte()
    reference = Reference.of(Pixels(), described(x, None, classes=0))
    features = reference.look(reference.spec.to_model(x[:40])).features
    own = torch.Generator().manual_seed(3)
    expected = sliced_wasserstein(features, reference.seen.features, own)
    scores = reference.score(reference.spec.to_model(x[:40]), seed=3)
    assert scores["sliced Wasserstein"].value == pytest.approx(expected)


def test_a_set_without_a_test_split_is_cut_in_halves():
    found = splits_of(MNIST10k())
    assert (len(found.train), len(found.reference), len(found.held_out)) == (10000, 5000, 5000)
    assert not found.unseen
    assert "two halves of the training data (mnist10k has no test split" in found.words
    rows = torch.cat([found.reference.rows, found.held_out.rows])
    assert torch.equal(rows.sort().values, torch.arange(10000))
    part = found.reference
    i = torch.tensor([3, 0])
    assert torch.equal(part.batch(i)[0], found.train.batch(part.rows[i])[0])
    assert torch.equal(part.batch(i)[1], found.train.label[part.rows[i]])
    # not by their order, in which there may be classes
    assert 0.4 < (part.rows < 5000).double().mean() < 0.6


def test_a_set_with_a_test_split_has_a_floor_that_was_not_trained_on():
    found = splits_of(Moons(size=50))
    assert found.unseen
    assert torch.equal(found.held_out.stored(torch.arange(50)), Moons(size=50).load("test").x)


def test_halves_keep_captions():
    data = replace(Moons(size=5).load(), caption=tuple("abcde"))
    first, second = halves(data)
    assert (len(first), len(second)) == (3, 2)
    assert [data.caption[int(i)] for i in second.rows] == list(second.caption)


def test_a_reference_sees_what_is_kept(digits):
    _, reference, x, _ = digits
    there = reference.look_at(shown(x[:50], reference.spec))
    assert torch.equal(there.features, reference.look(x[:50]).features)
