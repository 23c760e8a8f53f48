"""The report of a run: a page that stands alone, made from the log."""

import base64
import io
import json
import re
import time
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from PIL import Image

from scorefield.errors import InputError
from scorefield.recipes import find_recipe
from scorefield.training import Trainer, read_log, verdict_of, write_report
from scorefield.training.folder import write_recipe
from scorefield.training.health import Health
from scorefield.viz.svg import Line, chart, thinned, ticks

VOID = {"meta", "img", "br"}


class Nesting(HTMLParser):
    """Every element that is opened is closed, in order."""

    def __init__(self, page):
        super().__init__()
        self.open, self.sources = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.sources += [value for key, value in attrs if key in ("src", "href", "xlink:href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def svgs(page):
    found = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    return {svg.attrib["aria-label"]: svg for svg in map(ElementTree.fromstring, found)}


def made_up(folder, lines=50):
    """A run folder with a recipe and a log, of which nothing was trained."""
    write_recipe(folder, find_recipe("moons"))
    levels = (0.1, 1.0, 10.0)
    with (folder / "log.jsonl").open("w") as file:
        for k in range(1, lines + 1):
            where = {"step": 20 * k, "images": 1280 * k, "seconds": float(k)}
            rest = {"loss": 1 / k, "lr": 1e-3, "grad_norm": 0.1, "rate": 900.0}
            file.write(json.dumps(where | rest) + "\n")
            if k % 10 == 0:
                half = tuple(5 / k for _ in levels)
                found = Health(
                    levels, half, half, half, half, half, noise_scale=40.0 * k, ema_lag=0.1
                )
                file.write(json.dumps(where | {"health": found.plain()}) + "\n")
        file.write(json.dumps({"step": 20 * lines, "note": "a <b>remark</b> & more"}) + "\n")
    return folder


def test_a_page_stands_alone(tmp_path):
    path = write_report(made_up(tmp_path))
    assert path == tmp_path / "report.html"
    page = path.read_text(encoding="utf-8")
    nesting = Nesting(page)
    assert nesting.open == []
    assert nesting.sources == []
    assert not re.search(r"https?://|@import|url\(|<script|<link", page)
    assert "prefers-color-scheme: dark" in page
    assert list(tmp_path.glob(".*partial*")) == []


def test_it_has_the_verdict_the_curves_the_recipe_and_the_notes(tmp_path):
    page = write_report(made_up(tmp_path)).read_text(encoding="utf-8")
    assert page.index("still learning") < page.index("<svg")
    assert list(svgs(page)) == [
        "Training loss",
        "Loss at checks, mean over levels",
        "Loss by noise level",
        "Learning rate",
        "Gradient norm, before clipping",
        "Images a second",
        "Gradient noise scale, images",
        "EMA lag, ‖θ_ema − θ‖ / ‖θ‖",
    ]  # of waiting for data nothing is known
    legend = "".join(svgs(page)["Loss by noise level"].itertext())
    for words in ("held-out, averaged", "held-out, raw", "training samples", "Gaussian", "ideal"):
        assert words in legend
    assert "<td>training.budget</td>" in page
    assert "a &lt;b&gt;remark&lt;/b&gt; &amp; more" in page


def test_the_latest_picture_is_in_it_at_modest_size(tmp_path):
    folder = made_up(tmp_path)
    (folder / "samples").mkdir()
    noise = Image.effect_noise((1600, 800), 90)
    for step in (5, 20):
        noise.point(lambda v, step=step: v if step == 20 else 0).save(
            folder / "samples" / f"step-{step:08d}.png"
        )
    page = write_report(folder).read_text(encoding="utf-8")
    (source,) = Nesting(page).sources
    shown = Image.open(io.BytesIO(base64.b64decode(source.removeprefix("data:image/png;base64,"))))
    assert shown.size == (900, 450)
    assert shown.getextrema()[1] > 0
    assert "after 20 steps" in page


def test_a_long_log_makes_a_small_page_in_little_time(tmp_path):
    folder = made_up(tmp_path, lines=5000)  # of 100,000 steps
    begin = time.process_time()
    size = write_report(folder).stat().st_size
    assert time.process_time() - begin < 1  # a twentieth of it when nothing else runs
    assert size < 150_000


def test_a_run_writes_it_at_checks_and_at_its_end(tmp_path, recipe):
    trainer = Trainer(recipe("points", "training.health_every=2steps"), tmp_path)
    for progress in trainer:
        if progress.health:
            page = (tmp_path / "report.html").read_text(encoding="utf-8")
            assert "too early to tell" in page
    last = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert f"{read_log(tmp_path)[-1]['step']:,} steps" in last


@pytest.mark.parametrize("damage", ["cut", "empty", "words"])
def test_a_picture_that_cannot_be_read_is_left_out(tmp_path, damage):
    picture = made_up(tmp_path) / "samples" / "step-00000020.png"
    picture.parent.mkdir()
    Image.effect_noise((40, 40), 90).save(picture)
    assert "<h2>Samples</h2>" in write_report(tmp_path).read_text(encoding="utf-8")
    whole = picture.read_bytes()
    picture.write_bytes({"cut": whole[:-300], "empty": b"", "words": b"no picture"}[damage])
    assert "<h2>Samples</h2>" not in write_report(tmp_path).read_text(encoding="utf-8")


def test_no_run_no_report(tmp_path):
    with pytest.raises(InputError, match="no run"):
        write_report(tmp_path)
    write_recipe(tmp_path, find_recipe("moons"))
    with pytest.raises(InputError, match=r"no log\.jsonl"):
        write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_points_stand_where_the_axes_say():
    svg = ElementTree.fromstring(
        chart("c", [Line("", [(1, 1), (10, 10), (100, 100)])], "x", log_x=True, log_y=True)
    )
    (line,) = svg.iter("polyline")
    places = [tuple(map(float, pair.split(","))) for pair in line.attrib["points"].split()]
    labels = {
        (t.text, t.attrib["text-anchor"]): (float(t.attrib["x"]), float(t.attrib["y"]))
        for t in svg.iter("text")
        if "text-anchor" in t.attrib
    }
    for (x, y), words in zip(places, ("1", "10", "100"), strict=True):
        assert labels[words, "middle"][0] == pytest.approx(x, abs=0.1)
        assert labels[words, "end"][1] - 4 == pytest.approx(y, abs=0.1)
    assert places[1][0] - places[0][0] == pytest.approx(places[2][0] - places[1][0], abs=0.1)


def test_what_cannot_be_drawn_is_left_out():
    bad = [(1.0, 0.0), (2.0, float("nan")), (3.0, 1.0), (4.0, 2.0), (5.0, -1.0)]
    svg = ElementTree.fromstring(chart("c", [Line("one", bad)], "x", log_y=True))
    assert len(next(svg.iter("polyline")).attrib["points"].split()) == 2
    assert chart("c", [Line("one", [(1.0, 1.0)])], "x") == ""
    assert "<svg" in chart("c", [Line("level", [(1.0, 0.0), (2.0, 0.0)])], "x")


def test_no_spike_is_lost_by_thinning():
    points = [(float(k), 1.0) for k in range(10_000)]
    points[1234], points[7777] = (1234.0, 9.0), (7777.0, -9.0)
    kept = thinned(points)
    assert {points[1234], points[7777]} <= set(kept)
    assert kept == sorted(kept)
    assert len(kept) <= 300


@pytest.mark.parametrize(
    ("low", "high", "log"),
    [
        (0, 1, False),
        (0.24, 0.27, False),
        (1e-6, 0.9, True),
        (3, 70, True),
        (1, 1.5, True),
        (0, 3e6, False),
    ],
)
def test_ticks_are_few_and_in_the_range(low, high, log):
    found = ticks(low, high, log=log)
    assert 2 <= len(found) <= 12
    assert all(low <= tick <= high for tick in found)
    assert found == sorted(found)


def test_a_recipe_that_cannot_be_read_is_told(tmp_path, recipe):
    list(Trainer(recipe("points"), tmp_path))
    (tmp_path / "recipe.json").write_bytes('{"data": {"path": "größe"}}'.encode("latin-1"))
    with pytest.raises(InputError, match=r"recipe\.json is not JSON"):
        write_report(tmp_path)


def test_the_verdict_is_that_of_the_page(tmp_path, recipe):
    """Also of a run without a model yet."""
    list(Trainer(recipe("points"), tmp_path))
    (tmp_path / "model.safetensors").unlink()
    assert verdict_of(tmp_path).reason in write_report(tmp_path).read_text(encoding="utf-8")
