"""Plots: the curves in them against their formulae, and a picture that shows them."""

import sys

import numpy as np
import pytest
import torch

from scorefield.core.oracles import GaussianDenoiser
from scorefield.core.schedules import VE, VP, Flow
from scorefield.data.base import DataSpec
from scorefield.errors import InputError
from scorefield.samplers.base import Step, trajectory
from scorefield.samplers.flow import Euler
from scorefield.viz import (
    curves,
    frames,
    picture,
    plot_loss,
    plot_paths,
    plot_schedules,
    plot_spread,
)
from scorefield.viz.figures import literal
from scorefield.viz.samples import to_data_scale

LINE = DataSpec((1,), 0, None, None, None, (0.3,), 0.5)
PLANE = DataSpec((2,), 0, None, None, None, (0.3, -0.1), 0.5)


@pytest.fixture
def figures(monkeypatch):
    """The figures that were made into pictures, to look at what was drawn."""
    from matplotlib.figure import Figure

    seen, draw = [], Figure.draw
    monkeypatch.setattr(Figure, "draw", lambda self, *args: seen.append(self) or draw(self, *args))
    return seen


def colours(image):
    """Share of the pixels that are not background, and the colours there are."""
    pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
    return (pixels != 255).any(1).mean(), {tuple(p) for p in pixels[::7]}


def lines(axes):
    return {line.get_label(): np.asarray(line.get_data()) for line in axes.get_lines()}


def walk(schedule, count=8):
    exact = GaussianDenoiser(schedule, torch.tensor([0.3]), torch.tensor([[0.25]]))
    return list(trajectory(exact, (count, 1), Euler(), 12))


@pytest.mark.parametrize("schedule", [VP(), VE(), Flow()], ids=lambda s: type(s).__name__)
def test_paths_lie_in_the_band_of_their_marginals(figures, schedule):
    steps = walk(schedule)
    image = plot_paths(iter(steps), schedule, LINE, "a title")
    (figure,) = figures
    (axes,) = figure.axes
    assert axes.get_title() == "a title"
    t = np.array([float(step.t) for step in steps])
    assert axes.get_xlim() == (t[0], t[-1])  # noise left, data right
    dashed = [line for line in axes.get_lines() if line.get_linestyle() == "--"]
    alpha, sigma = (v.numpy() for v in schedule(torch.from_numpy(t)))
    spread = 2 * np.sqrt(alpha**2 * 0.25 + sigma**2)
    for line, expected in zip(dashed, (alpha * 0.3 + spread, alpha * 0.3 - spread), strict=True):
        assert np.allclose(line.get_xdata(), t)
        assert np.allclose(line.get_ydata(), expected)
    solid = [line for line in axes.get_lines() if line.get_linestyle() == "-"]
    drawn = np.stack([line.get_ydata() for line in solid], axis=1)
    assert np.allclose(drawn, torch.stack([step.x.flatten() for step in steps]).numpy())
    share, seen = colours(image)
    assert share > 0.05
    assert (193, 18, 31) in seen  # the dashes, #c1121f


def test_many_paths_are_thinned_out(figures):
    t = torch.linspace(1, 0.1, 3, dtype=torch.float64)
    steps = [Step(time, torch.randn(3, 1, 30, 40), torch.zeros(3, 1, 30, 40)) for time in t]
    plot_paths(steps, VP(), DataSpec((1, 30, 40)))
    solid = [line for line in figures[0].axes[0].get_lines() if line.get_linestyle() == "-"]
    assert len(solid) == curves.SHOWN < 3 * 30 * 40


def test_schedules_are_drawn_as_they_are(figures):
    image = plot_schedules({"variance preserving": VP(), "flow": Flow(), "exploding": VE()})
    alpha, sigma, log_snr = (lines(axes) for axes in figures[0].axes)
    t, drawn = alpha["variance preserving"]
    # α = exp(-½ ∫β) with β from 0.1 to 20
    expected = np.exp(-0.25 * t**2 * 19.9 - 0.05 * t)
    assert np.allclose(drawn, expected)
    assert np.allclose(sigma["variance preserving"][1], np.sqrt(1 - expected**2))
    assert np.allclose(alpha["flow"][1], 1 - t)
    assert np.allclose(sigma["flow"][1], t)
    assert np.allclose(log_snr["flow"][1], 2 * np.log((1 - t) / t))
    assert np.allclose(alpha["exploding"][1], 1)
    assert (t[0], t[-1]) == (pytest.approx(0, abs=0.01), pytest.approx(1, abs=0.01))
    assert image.width > 2 * image.height
    assert colours(image)[0] > 0.01


def test_a_smoothed_line_is_not_late():
    """A straight fall stays itself, up to the end, where only values before are left."""
    falling = [float(100 - i) for i in range(60)]
    assert np.allclose(curves.smoothed(falling)[:50], falling[:50])
    assert curves.smoothed(falling)[-1] == np.mean(falling[-11:])
    waves = [float(i % 7) for i in range(60)]
    assert np.allclose(curves.smoothed(waves, 3)[12:-3], 3)


def test_loss_over_images(figures):
    log = [{"step": s, "images": 10 * s, "loss": 1 / s, "lr": 0.1} for s in (1, 2, 4, 8)]
    log.insert(2, {"step": 3, "note": "a remark is no point"})
    other = [{"step": 1, "images": 5, "loss": 0.3}]
    image = plot_loss({"first": log, "second": other})
    (axes,) = figures[0].axes
    assert axes.get_yscale() == "log"
    raw, smooth, *_ = axes.get_lines()
    assert np.allclose(raw.get_data(), [[10, 20, 40, 80], [1, 0.5, 0.25, 0.125]])
    assert np.allclose(smooth.get_ydata(), [1, 0.5, 0.25, 0.125])  # too few to be smoothed
    assert raw.get_color() == smooth.get_color() != axes.get_lines()[2].get_color()
    names = " ".join(text.get_text() for text in axes.get_legend().get_texts())
    assert "first" in names
    assert "second" in names
    assert colours(image)[0] > 0.01


@pytest.mark.parametrize("log", [[], [{"step": 0, "note": "only words"}]])
def test_a_log_without_a_loss(log):
    with pytest.raises(InputError, match="the log of run has no loss yet"):
        plot_loss({"run": log})


def test_numbers_are_a_histogram(figures):
    x = torch.from_numpy(np.random.default_rng(0).normal(0.3, 0.5, (4000, 1))).float()
    image = picture(x, LINE, title="numbers")
    (axes,) = figures[0].axes
    heights = np.array([bar.get_height() for bar in axes.patches])
    centres = np.array([bar.get_x() + bar.get_width() / 2 for bar in axes.patches])
    density = np.exp(-((centres - 0.3) ** 2) / (2 * 0.25)) / np.sqrt(2 * np.pi * 0.25)
    assert np.abs(heights - density).mean() < 0.05
    assert axes.get_title() == "numbers"
    assert colours(image)[0] > 0.1


def test_points_are_a_scatter_plot(figures):
    x = torch.randn(50, 2) * 0.4
    image = picture(x, PLANE)
    (axes,) = figures[0].axes
    assert np.allclose(axes.collections[0].get_offsets(), x.numpy())
    assert colours(image)[0] > 0.005


def test_data_scale_is_standard_at_every_time():
    # x_t = α x₀ + σ ε has mean α m and variance α² s² + σ²; shown, it has those of the data.
    for schedule in (VP(), VE(), Flow()):
        for t in (0.05, 0.5, 1.0):
            time = torch.tensor(t, dtype=torch.float64)
            alpha, sigma = schedule(time)
            z = torch.randn(4, 2, 3, 3, dtype=torch.float64)
            mean = torch.tensor([0.3, -0.1], dtype=torch.float64).reshape(2, 1, 1)
            x = alpha * mean + torch.sqrt(alpha**2 * 0.25 + sigma**2) * z
            spec = DataSpec((2, 3, 3), mean=(0.3, -0.1), sigma_data=0.5)
            shown = to_data_scale(Step(time, x, x), schedule, spec)
            assert torch.allclose(shown, mean + 0.5 * z, atol=1e-6)


def test_frames_are_the_steps_and_then_the_samples():
    spec = DataSpec((1, 4, 4), mean=(0.1,), sigma_data=0.5)
    exact = GaussianDenoiser(VP(), torch.full((16,), 0.1), 0.25 * torch.eye(16))
    x = torch.randn(6, 16)
    flat = list(trajectory(exact, x, Euler(), 5))
    steps = [Step(s.t, s.x.reshape(6, 1, 4, 4), s.x0.reshape(6, 1, 4, 4)) for s in flat]
    shown = list(frames(iter(steps), VP(), spec, columns=3))
    assert len(shown) == 6
    assert shown[-1].tobytes() == picture(steps[-1].x0, spec, columns=3).tobytes()
    first = picture(to_data_scale(steps[0], VP(), spec), spec, columns=3)
    assert shown[0].tobytes() == first.tobytes()
    assert len({image.tobytes() for image in shown}) > 3


def test_no_steps_are_no_frames():
    assert list(frames([], VP(), PLANE)) == []


def test_plots_without_matplotlib_say_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(InputError, match=r"pip install scorefield\[plot\]"):
        plot_schedules({"vp": VP()})


@pytest.mark.parametrize(("center", "scale"), [((), ()), ((170.0, 70.0), (10.0, 15.0))])
def test_points_are_within_the_axes_in_the_units_of_their_table(figures, normal, center, scale):
    spec = DataSpec((2,), 0, None, None, None, (0.1, -0.1), 1.0, center, scale)
    picture(normal(50, 2).clamp(-2, 2), spec)
    (axes,) = figures[-1].axes
    points = axes.collections[0].get_offsets()
    for i, (low, high) in enumerate((axes.get_xlim(), axes.get_ylim())):
        assert low < points[:, i].min() < points[:, i].max() < high
        assert high - low < 3 * (points[:, i].max() - points[:, i].min())
    assert axes.get_aspect() == ("auto" if scale else 1.0)


def test_names_are_shown_as_they_are():
    counts = {"a$_$b": torch.ones(4), "_hidden": torch.ones(4)}
    edges = torch.linspace(0, 1, 5)
    image = plot_spread(edges, counts, {"$a_$": 3, "b": 4})
    assert image.size[0] > 100
    assert literal("_x") == " _x"
    assert literal("a$_$b") == r"a\$_\$b"
