"""What augmentation does to images, and what it tells of it."""

import json
import math

import numpy as np
import pytest
import torch
from scipy import stats

from scorefield.data.augmentation import Augmentation
from scorefield.data.base import DataSpec
from scorefield.errors import InputError
from scorefield.recipes import Recipe, find_recipe, from_dict, to_dict

PUBLISHED = ("x-flip", "y-flip", "scaling", "rotation", "anisotropy", "translation")
EXACT = ("x-flip", "y-flip", "quarter-turn", "shift")


def pictures(count, height, width, channels=1):
    """Pictures of random levels, with their description."""
    levels = torch.randint(
        256, (count, channels, height, width), generator=torch.Generator().manual_seed(1)
    )
    spec = DataSpec((channels, height, width))
    return spec.to_model(levels), spec


def applied(augmentation, x, spec, seed=0):
    augmentation.check(spec)
    changes = augmentation.draw(len(x), spec, torch.Generator().manual_seed(seed))
    return changes(x), changes.told


def only(*names, told=1.0):
    return Augmentation(told=told, transformations=names)


def windows(image, margin):
    """The image padded by its mirror image, and all windows of its size by their offsets."""
    image = image.numpy()
    padded = np.pad(image, ((0, 0), (margin, margin), (margin, margin)), mode="symmetric")
    _, height, width = image.shape
    return {
        # the content moves to the right and down as the window moves to the left and up
        (dx, dy): padded[:, margin - dy : margin - dy + height, margin - dx : margin - dx + width]
        for dx in range(-margin, margin + 1)
        for dy in range(-margin, margin + 1)
    }


@pytest.mark.parametrize("off", [Augmentation(), Augmentation(told=0, transformations=EXACT)])
def test_off_is_nothing(off):
    x, spec = pictures(3, 5, 6)
    before = x.clone()
    out, told = applied(off, x, spec)
    assert told is None
    assert off.told_length == 0
    assert torch.equal(out, before)


def test_the_images_that_are_given_stay_as_they_are():
    x, spec = pictures(8, 6, 6)
    before = x.clone()
    applied(Augmentation(flip=1.0, crop=2, dequantise=True, told=0.5), x, spec)
    assert torch.equal(x, before)


@pytest.mark.parametrize("shape", [(5, 8), (28, 28), (1, 3)])
def test_mirror_images(shape):
    x, spec = pictures(4, *shape, channels=3)
    out, told = applied(Augmentation(flip=1.0), x, spec)
    assert told is None
    assert torch.equal(out, x.flip(-1))
    assert torch.equal(applied(Augmentation(flip=1.0), out, spec)[0], x)


@pytest.mark.parametrize("flip", [0.5, 0.1])
def test_the_share_of_mirror_images(flip):
    x, spec = pictures(1, 2, 2)
    out, _ = applied(Augmentation(flip=flip), x.expand(20_000, -1, -1, -1), spec)
    mirrored = (out == x.flip(-1)).all(dim=(1, 2, 3))
    assert bool((mirrored | (out == x).all(dim=(1, 2, 3))).all())
    assert stats.binomtest(int(mirrored.sum()), len(out), flip).pvalue > 1e-4


def test_crops_are_all_windows_of_the_padded_image_alike():
    x, spec = pictures(1, 5, 7)
    out, told = applied(Augmentation(crop=2), x.expand(5000, -1, -1, -1), spec)
    assert told is None
    known = {window.tobytes(): offset for offset, window in windows(x[0], 2).items()}
    assert len(known) == 25
    found = [known[image.numpy().tobytes()] for image in out]
    counts = [found.count(offset) for offset in known.values()]
    assert stats.chisquare(counts).pvalue > 1e-4


def test_flips_that_are_told():
    x, spec = pictures(64, 5, 6, channels=2)
    for name, axis in (("x-flip", -1), ("y-flip", -2)):
        out, told = applied(only(name), x, spec)
        assert told.shape == (64, 1)
        assert set(told.flatten().tolist()) == {0.0, 1.0}
        for image, before, (flipped,) in zip(out, x, told.tolist(), strict=True):
            assert torch.equal(image, before.flip(axis) if flipped else before)


def test_quarter_turns():
    x, spec = pictures(64, 6, 6, channels=3)
    out, told = applied(only("quarter-turn"), x, spec)
    turns = (torch.atan2(told[:, 1], told[:, 0] + 1) / (math.pi / 2)).round().long() % 4
    assert set(turns.tolist()) == {0, 1, 2, 3}
    for image, before, turn in zip(out, x, turns.tolist(), strict=True):
        assert torch.equal(image, torch.rot90(before, turn, (-2, -1)))


@pytest.mark.parametrize("side", [(24, 16), (28, 28), (3, 3)])
def test_shifts_of_whole_pixels(side):
    x, spec = pictures(64, *side)
    out, told = applied(only("shift"), x, spec)
    reach = torch.tensor([side[1], side[0]]) / 8
    offsets = told * reach
    assert torch.allclose(offsets, offsets.round(), atol=1e-5)
    assert offsets.abs().max() <= math.ceil(max(side) / 8)
    if min(side) >= 8:
        assert len({tuple(o) for o in offsets.round().tolist()}) > 9
    for image, before, (dx, dy) in zip(out, x, offsets.round().long().tolist(), strict=True):
        assert np.array_equal(image.numpy(), windows(before, 4)[dx, dy])


def blob(points):
    """A smooth picture of unit height, given at points (H, W, 2): x to the right, y down."""
    x, y = points[..., 0] - 3.0, points[..., 1] + 4.0
    return np.exp(-(x**2 / 200 + y**2 / 60 + x * y / 300))


def map_of(name, told, size):
    """The map of the plane (matrix and offset) that the table has for what is told."""
    if name == "scaling":
        return 2 ** (0.2 * told[0]) * np.eye(2), np.zeros(2)
    if name == "rotation":  # anticlockwise, where y points down
        cos, sin = told[0] + 1, told[1]
        return np.array([[cos, sin], [-sin, cos]]), np.zeros(2)
    if name == "anisotropy":  # eigenvalues 2^(±a/5), the larger along half the told angle
        angle, amount = math.atan2(told[1], told[0]) / 2, math.hypot(*told)
        along = np.array([math.cos(angle), math.sin(angle)])
        across = np.array([-along[1], along[0]])
        larger = 2 ** (0.2 * amount)
        return larger * np.outer(along, along) + np.outer(across, across) / larger, np.zeros(2)
    return np.eye(2), np.array(told) * np.array(size) / 8


@pytest.mark.parametrize("name", ["scaling", "rotation", "anisotropy", "translation"])
def test_what_is_told_is_what_was_done(name):
    height, width = 64, 80
    y, x = np.mgrid[:height, :width] - np.array([(height - 1) / 2, (width - 1) / 2])[:, None, None]
    points = np.stack([x, y], axis=-1)
    spec = DataSpec((1, height, width), levels=None, low=None, high=None)
    image = torch.from_numpy(blob(points)).float()[None, None]
    out, told = applied(only(name), image.expand(24, -1, -1, -1), spec)
    changes = []
    for found, numbers in zip(out[:, 0].numpy(), told.tolist(), strict=True):
        matrix, offset = map_of(name, numbers, (width, height))
        source = (points - offset) @ np.linalg.inv(matrix).T
        inside = (np.abs(source) <= np.array([width / 2 - 2, height / 2 - 2])).all(axis=-1)
        assert inside.mean() > 0.25
        assert np.abs(found - blob(source))[inside].max() < 0.01  # what cubics lack
        changes.append(np.abs(blob(source) - blob(points))[inside].max())
    assert np.median(changes) > 0.04


def test_one_map_after_the_other():
    """All that is told at once, in the order of the table, in a single resampling."""
    height = width = 64
    y, x = np.mgrid[:height, :width] - np.array([31.5, 31.5])[:, None, None]
    points = np.stack([x, y], axis=-1)
    spec = DataSpec((1, height, width), levels=None, low=None, high=None)
    image = torch.from_numpy(blob(points)).float()[None, None]
    out, told = applied(Augmentation(told=1.0), image.expand(24, -1, -1, -1), spec)
    for found, numbers in zip(out[:, 0].numpy(), told.tolist(), strict=True):
        matrix = np.diag([1 - 2 * numbers[0], 1 - 2 * numbers[1]])
        for name, part in (
            ("scaling", numbers[2:3]),
            ("rotation", numbers[3:5]),
            ("anisotropy", numbers[5:7]),
        ):
            matrix = map_of(name, part, (width, height))[0] @ matrix
        source = (points - np.array(numbers[7:]) * 8) @ np.linalg.inv(matrix).T
        inside = (np.abs(source) <= 30).all(axis=-1)
        assert np.abs(found - blob(source))[inside].max(initial=0) < 0.015


def told_of(names, told, count=40_000):
    x = torch.zeros(1, 1, 8, 8).expand(count, -1, -1, -1)
    return applied(only(*names, told=told), x, DataSpec((1, 8, 8)))[1].double().numpy()


def test_the_distributions_are_those_of_the_table():
    numbers = told_of(PUBLISHED, 1.0, 4000)
    assert numbers.shape == (4000, 9)
    flips = numbers[:, :2]
    assert all(stats.binomtest(int(f.sum()), len(f), 0.5).pvalue > 1e-4 for f in flips.T)
    angle = np.arctan2(numbers[:, 4], numbers[:, 3] + 1)
    uniform = stats.uniform(-math.pi, 2 * math.pi).cdf
    assert stats.kstest(angle, uniform).pvalue > 1e-4
    assert np.allclose((numbers[:, 3] + 1) ** 2 + numbers[:, 4] ** 2, 1, atol=1e-5)
    stretch = numbers[:, 5:7]
    assert stats.kstest(np.hypot(*stretch.T), stats.halfnorm.cdf).pvalue > 1e-4
    assert stats.kstest(np.arctan2(stretch[:, 1], stretch[:, 0]), uniform).pvalue > 1e-4
    for column in (2, 7, 8):
        assert stats.kstest(numbers[:, column], stats.norm.cdf).pvalue > 1e-4
    # drawn independently of one another
    correlation = np.corrcoef(numbers.T) - np.eye(9)
    assert np.abs(correlation).max() < 5 / math.sqrt(len(numbers))


@pytest.mark.parametrize("told", [0.12, 0.6])
def test_each_is_applied_with_its_probability_and_for_itself(told):
    numbers = told_of(PUBLISHED, told)
    used = np.stack(
        [numbers[:, columns].any(axis=1) for columns in ([2], [3, 4], [5, 6], [7, 8])], axis=1
    )
    for one in used.T:
        assert stats.binomtest(int(one.sum()), len(one), told).pvalue > 1e-4
    assert stats.binomtest(int(numbers[:, 0].sum()), len(used), 0.5).pvalue > 1e-4
    assert stats.binomtest(int(numbers[:, 1].sum()), len(used), told / 2).pvalue > 1e-4
    every = used.sum(axis=1)
    expected = stats.binom(4, told).pmf(range(5)) * len(used)
    assert stats.chisquare(np.bincount(every, minlength=5), expected).pvalue > 1e-4


def test_pixel_transformations_have_the_distributions_they_say():
    numbers = told_of(("quarter-turn", "shift"), 1.0, 6000)
    turns = np.round(np.arctan2(numbers[:, 1], numbers[:, 0] + 1) / (math.pi / 2)) % 4
    assert stats.chisquare(np.bincount(turns.astype(int))).pvalue > 1e-4
    # 8 pixels: up to one either way, as the nearest to a uniform number in [-1, 1]
    for column in (2, 3):
        counts = [int((np.round(numbers[:, column]) == k).sum()) for k in (-1, 0, 1)]
        assert stats.chisquare(counts, [1500, 3000, 1500]).pvalue > 1e-4


@pytest.mark.parametrize("names", [PUBLISHED, PUBLISHED[1:], EXACT], ids=len)
def test_nothing_is_told_where_nothing_was_done(names):
    x, spec = pictures(400, 8, 8)
    out, told = applied(only(*names, told=0.12), x, spec)
    still = ~told.any(dim=1)
    assert 20 < int(still.sum()) < 380
    assert torch.equal(out[still], x[still])
    moved = (out[~still] != x[~still]).flatten(1).any(dim=1)
    assert bool(moved.all())


def test_bounds_are_kept_and_dequantised_afterwards():
    x, spec = pictures(64, 12, 12)
    out, _ = applied(Augmentation(told=0.9), x, spec)
    assert (float(out.min()), float(out.max())) == (-1.0, 1.0)
    free = DataSpec((1, 12, 12), levels=None, low=None, high=None)
    assert float(applied(Augmentation(told=0.9), x, free)[0].abs().max()) > 1.05


def test_dequantised_levels_fill_their_cells():
    x, spec = pictures(32, 16, 16)
    out, told = applied(Augmentation(dequantise=True), x, spec)
    assert told is None
    cells = ((out - x).double() / (2 / 255)).flatten().numpy()
    assert stats.kstest(cells, stats.uniform(-0.5, 1).cdf).pvalue > 1e-4
    assert np.array_equal(spec.to_arrays(out), spec.to_arrays(x))
    few = DataSpec((2,), levels=5, low=0.0, high=2.0)
    points = few.to_model(torch.randint(5, (1000, 2)))
    moved, _ = applied(Augmentation(dequantise=True), points, few)
    assert 0.24 < float((moved - points).abs().max()) <= 0.25


def test_the_generator_says_it_all():
    x, spec = pictures(16, 8, 8)
    every = Augmentation(flip=0.5, crop=1, dequantise=True, told=0.5)
    one, same, other = (applied(every, x, spec, seed) for seed in (3, 3, 4))
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
    assert not torch.equal(one[0], other[0])


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"flip": 1.5}, r"flip must lie between 0 and 1, got 1\.5"),
        ({"told": float("nan")}, "told must lie between 0 and 1, got nan"),
        ({"crop": -1}, "crop must be at least 0, got -1"),
        ({"transformations": ("x-flop",)}, "transformation 'x-flop'.*did you mean 'x-flip'"),
        ({"transformations": ()}, r"at least one, got \[\]"),
        ({"transformations": ("shift", "shift")}, r"at most once .* got \['shift', 'shift'\]"),
    ],
)
def test_settings_that_make_no_sense(settings, sentence):
    with pytest.raises(InputError, match=sentence):
        Augmentation(**settings)


IMAGE, POINTS = DataSpec((1, 8, 9)), DataSpec((2,), 0, None, None, None)


@pytest.mark.parametrize(
    ("augmentation", "spec", "sentence"),
    [
        (
            Augmentation(flip=0.5),
            POINTS,
            r"augmentation\.flip needs images \(C, H, W\), got .*\(2,\)",
        ),
        (Augmentation(crop=1), DataSpec((3, 7)), r"augmentation\.crop needs images"),
        (Augmentation(told=0.1), POINTS, r"augmentation\.told needs images"),
        (Augmentation(dequantise=True), POINTS, r"augmentation\.dequantise needs data of levels"),
        (Augmentation(crop=8), IMAGE, r"less than the sides of the images, .* 8 × 9, got 8"),
        (only("quarter-turn"), IMAGE, r"needs square images, got shape \(1, 8, 9\)"),
    ],
)
def test_data_that_cannot_be_changed_so(augmentation, spec, sentence):
    with pytest.raises(InputError, match=sentence):
        augmentation.check(spec)


def test_recipes_carry_it():
    words = ["augmentation.told=0.12", "augmentation.transformations=[y-flip, shift]"]
    recipe = find_recipe("mnist10k", ["augmentation.crop=2", *words])
    assert recipe.augmentation == Augmentation(
        crop=2, told=0.12, transformations=("y-flip", "shift")
    )
    assert from_dict(Recipe, json.loads(json.dumps(to_dict(recipe)))) == recipe
    old = {key: value for key, value in to_dict(recipe).items() if key != "augmentation"}
    assert from_dict(Recipe, old).augmentation == Augmentation()
    with pytest.raises(InputError, match=r"augmentation\.transformations must be .*x-flip"):
        find_recipe("mnist10k", ["augmentation.transformations=[x-flop]"])
    with pytest.raises(InputError, match=r"augmentation\.flip needs images"):
        find_recipe("moons", ["augmentation.flip=0.5"]).build(POINTS)


def test_digits_and_clothes_are_not_mirrored():
    mirrored = [name for name in ("cifar10", "cifar100") if find_recipe(name).augmentation.flip]
    assert mirrored == ["cifar10", "cifar100"]
    for name in ("mnist", "mnist10k", "digits", "kmnist", "fashion-mnist"):
        assert find_recipe(name).augmentation == Augmentation()
