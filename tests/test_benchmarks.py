"""The benchmarks' problems and data are what they claim."""

import importlib.util
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.optimize import brentq
from scipy.stats import chi2, norm

from scorefield.core.ddpm import DDPM, LinearBetas
from scorefield.core.oracles import MixtureDenoiser

FOLDER = Path(__file__).parent.parent / "benchmarks"


def module(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[name] = loaded  # dataclasses look their module up
    spec.loader.exec_module(loaded)
    return loaded


problems, scores, loaders = module("problems"), module("scores"), module("loaders")
contest, tutorial, page = module("contest"), module("tutorial"), module("side_by_side_page")
module("peers_environment")
side_by_side = module("side_by_side")
tables, noise_levels = module("tables"), module("noise_levels")
scaling = module("scaling")
MADE = {name: make for name, (make, _) in problems.PROBLEMS.items() if name != "digits64"}


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def test_levels_are_the_chain_s():
    alpha, sigma = DDPM()(torch.arange(1, 1001, dtype=torch.float64) / 1000)
    assert np.allclose(problems.chain_levels(), sigma / alpha, rtol=1e-10)


@pytest.mark.parametrize("name", MADE)
def test_denoiser_is_the_library_s(name, rng):
    mixture, schedule, t = MADE[name](rng), DDPM(), torch.tensor(0.3, dtype=torch.float64)
    parts = (mixture.weights, mixture.means, mixture.covariances)
    denoiser = MixtureDenoiser(schedule, *map(torch.from_numpy, parts))
    alpha, sigma = (float(v) for v in schedule(t))
    x = mixture.draw(8, rng)
    x += sigma / alpha * rng.standard_normal(x.shape)
    ours = denoiser(alpha * torch.from_numpy(x), t).numpy()
    assert np.allclose(mixture.denoiser()(x, sigma / alpha), ours, atol=1e-9)


def test_flow_of_a_gaussian_is_the_closed_form(rng):
    mean, sigma = np.array([0.4, -0.7, 0.2]), problems.chain_levels()[-1]
    basis, spread = problems.random_rotation(3, rng), np.array([0.03, 0.4, 1.1])
    covariance = basis @ np.diag(spread**2) @ basis.T
    x = mean + sigma * rng.standard_normal((16, 3))
    end = problems.flow(problems.Mixture(np.ones(1), mean[None], covariance[None]), x, sigma)
    # mean + U √(Λ/(Λ + σ²)) Uᵀ (x - mean)
    exact = mean + (x - mean) @ basis * (spread / np.hypot(spread, sigma)) @ basis.T
    assert np.abs(end - exact).max() < 1e-8


def test_flow_on_the_line_is_the_quantile_map(rng):
    mixture, sigma = problems.mix1d(rng), problems.chain_levels()[-1]
    x = mixture.draw(16, rng) + sigma * rng.standard_normal((16, 1))
    means, spread = mixture.means[:, 0], np.sqrt(mixture.covariances[:, 0, 0])

    def cumulative(x, level):
        return mixture.weights @ norm.cdf(x, means, np.hypot(spread, level))

    exact = [
        brentq(lambda y, u=u: cumulative(y, 0) - cumulative(u, sigma), -5, 5, xtol=1e-12)
        for u in x[:, 0]
    ]
    assert np.abs(problems.flow(mixture, x, sigma)[:, 0] - exact).max() < 1e-7


def test_flow_ends_in_the_mixture_s_law(rng):
    mixture, sigma, n = problems.gmm2d(rng), problems.chain_levels()[-1], 600
    x = mixture.draw(n, rng) + sigma * rng.standard_normal((n, 2))
    end = problems.flow(mixture, x, sigma, rtol=1e-6)
    # Counts in the cells of the nearest mean, against those of exact draws.
    cells = [
        np.bincount(np.linalg.norm(y[:, None] - mixture.means, axis=2).argmin(1), minlength=6)
        for y in (end, mixture.draw(100 * n, rng))
    ]
    expected = cells[1] / 100
    assert ((cells[0] - expected) ** 2 / expected).sum() < chi2.ppf(0.999, 5)
    assert scores.sliced_w2(end, mixture.draw(n, rng)) < 0.15


def test_scores_of_a_shift(rng):
    x, shift = rng.standard_normal((500, 3)), np.array([0.3, -0.4, 1.2])
    assert scores.rms(x + shift, x) == pytest.approx(1.3 / np.sqrt(3))
    # E (uᵀ shift)² = ‖shift‖²/D over directions
    assert scores.sliced_w2(x + shift, x) == pytest.approx(1.3 / np.sqrt(3), rel=0.15)


def test_clock_leaves_the_network_out():
    clock = scores.Clock(lambda n: sum(range(n)))

    def run():
        clock.calls, clock.seconds = 0, 0.0
        for _ in range(3):
            clock(300_000)
        return clock

    run()
    assert clock.calls == 3
    assert scores.net_seconds(run) < 0.1 * clock.seconds / 3


def test_every_loader_gives_the_pictures_that_were_written(tmp_path):
    given = loaders.sources(tmp_path, 24)
    rng = np.random.default_rng(0)
    small, large = (loaders.pictures(24, side, rng) for side in (32, 64))
    jpeg = np.stack([np.array(Image.open(file)) for file in given.files["JPEG, 64×64"]])
    assert np.abs(jpeg.astype(float) - large).mean() < 12  # lossy, and the same pictures
    for name, data in given.data.items():
        expected = (jpeg if "64" in name else small).transpose(0, 3, 1, 2)
        assert np.array_equal(data.stored(torch.arange(24)), expected)
        # an epoch of each way holds every picture once
        values = np.sort((expected / 127.5 - 1).mean((1, 2, 3)))
        ways = [loaders.ours(data, 8), loaders.ahead(data, 8)]
        if name in given.files:
            ways.append(loaders.plain(given.files[name], 8, workers=0))
        for walk in ways:
            means = torch.cat([next(walk) for _ in range(3)]).double().mean((1, 2, 3))
            assert np.allclose(np.sort(means), values, atol=1e-6)


def test_rates_are_images_a_second():
    runs = {"slow": lambda: time.sleep(0.01), "fast": lambda: time.sleep(0.002)}
    found = loaders.rates(runs, batch=10, rounds=3)
    assert found["slow"] <= 1000
    assert found["slow"] < found["fast"] <= 5000


@pytest.mark.parametrize("p", [0.8, 1.0, 2.0])
@pytest.mark.parametrize("fixed", [0.0, 30.0])
def test_exponents_are_those_of_growth_beyond_a_fixed_cost(p, fixed, rng):
    sizes = [512 * 2**i for i in range(11)]
    noise = np.exp(0.02 * rng.standard_normal(11))
    found = scaling.exponent(sizes, list(noise * (fixed + 1e-3 * np.array(sizes) ** p)))
    assert found == pytest.approx(p, abs=0.05)


@pytest.mark.parametrize(("lowest", "highest"), [(0.002, 80), (0.03, 80), (0.1, 80), (0.1, 20)])
def test_a_chain_ends_at_the_levels_of_a_network(lowest, highest):
    """Also where its β fall, as from 0.1 to 80."""
    found = noise_levels.levels_between(lowest, highest)
    chain = DDPM(1000, LinearBetas(found.first, found.last))
    alpha, sigma = chain(torch.tensor([0.001, 1.0], dtype=torch.float64))
    assert (sigma / alpha).tolist() == pytest.approx([lowest, highest], rel=1e-6)
    with pytest.raises(ValueError, match="no chain of 1000 stages leads from"):
        noise_levels.levels_between(5.0, 20.0)


def test_what_says_the_same_in_other_terms_is_on_the_networks_clock():
    def slow(x):
        begin = time.process_time()
        while time.process_time() - begin < 0.02:
            pass
        return x

    clock = scores.Clock(slow)
    clock.covering(lambda x: clock(slow(slow(x))))(1)
    assert clock.calls == 1
    assert clock.seconds == pytest.approx(0.06, abs=0.015)


def test_means_over_problems_are_geometric():
    def side(*values):
        found = [{str(b): {"error": v, "evaluations": b} for b in scores.BUDGETS} for v in values]
        rows = [{"a": {"stochastic": False, "errors": errors}} for errors in found]
        return {"problems": dict(zip(("one", "two"), rows, strict=True))}

    text = tables.means(side(1.0, 1.0), side(0.25, 1.0), ["one", "two"], stochastic=False)
    assert text.splitlines()[-1].split(" | ")[1:3] == ["0.50", "0.50"]


def test_scaling_goes_from_small_to_large():
    asked = scaling.settings()
    assert {side for _, side, _ in asked} == {8, 16, 32, 64, 128}
    assert {batch for _, _, batch in asked} == {1, 8, 64, 512}
    # a batch of 10^6 pixels at 10 kB each is 10 GB: too much of 12, not of 16
    rows = [{"work": "sampling", "pixels": n, "megabytes": m} for n, m in ((64, 20), (8192, 80))]
    assert not scaling.fits("sampling", 10**6, rows, 12_000)
    assert scaling.fits("sampling", 10**6, rows, 16_000)
    assert scaling.fits("gradients", 10**6, rows, 12_000)


@pytest.mark.slow
def test_processes_are_compared():
    words = ["network.width=8", "network.heads=2", "training.batch=16", "training.compile=off"]
    small = [*words, "training.precision=fp32", "training.budget=8steps"]
    one, many = module("processes").compared(2, small, rounds=1)
    assert one[0] > 0
    assert many[0] > 0


def test_tutorial_s_network_is_the_published_one(monkeypatch):
    monkeypatch.setattr(tutorial, "CHANNELS", (32, 64, 128, 256))
    assert sum(p.numel() for p in tutorial.ScoreNet().parameters()) == 1_115_296
    x = torch.randn(2, 1, 28, 28)
    assert tutorial.ScoreNet()(x, torch.tensor([0.1, 0.9])).shape == x.shape


def test_euler_maruyama_gives_the_law_of_an_exact_score():
    torch.manual_seed(0)

    def score(x, t):  # of data from N(0.3, 0.5²)
        return -(x - 0.3) / (0.25 + tutorial.spread(t)[:, None, None, None] ** 2)

    x = tutorial.euler_maruyama(score, 20, 500).double()
    assert float(x.mean()) == pytest.approx(0.3, abs=0.02)
    assert float(x.std()) == pytest.approx(0.5, rel=0.03)


def test_a_task_survives_the_command_line(monkeypatch, tmp_path):
    given = contest.Task("own", "someone", tmp_path / "here", 1.5, 20, 16, "mnist", 1764083000.125)
    monkeypatch.setattr(sys, "argv", ["script", *given.words()])
    assert contest.task() == given
    assert given.home.is_dir()


def test_training_and_drawing_end_with_the_time(tmp_path):
    task = contest.Task("train", "someone", tmp_path, 0.2, 20, 3, "mnist", time.time())
    task.home.mkdir()
    shares = []
    contest.train(task, lambda number, share: shares.append(share) or time.sleep(0.05), batch=8)
    found = json.loads((task.home / "train.json").read_text())
    assert found["ends"][-2] < 0.2 <= found["ends"][-1] == max(found["ends"])
    assert shares == [0.0, *(end / 0.2 for end in found["ends"][:-1])]
    image = np.array([[[[0.0, 1.0]], [[0.5, 2.0]], [[-1.0, 0.2]]]])
    assert contest.to_bytes(image).tolist() == [[[[0, 128, 0], [255, 255, 51]]]]
    contest.draw(task, lambda n: time.sleep(0.15) or np.zeros((n, 1, 1, 1), np.uint8), lambda: 40)
    found = json.loads((task.home / "train.json").read_text())
    assert (found["count"], found["evaluations"]) == (6, 20)
    assert np.load(task.home / "train.npz")["x"].shape == (6, 1, 1, 1)


def test_rates_of_rounds_are_images_over_seconds():
    # 2 s a step, then 1 s a step
    assert page.rates([2, 4, 5, 6], batch=10, rounds=2) == [5, 10]
    assert page.rates([2, 4, 5, 6], batch=10) == [5, 5, 10, 10]
    assert page.rates([0.5], batch=10) == [20]
    assert page.spread([1, 2, 3, 4, 5, 6, 7]) == "4 (2 to 6)"
    assert page.sampling_rate({"ends": [9, 10, 11], "batch": 64}) == "64"


def results():
    good = {"ends": [2.0, 4.0], "batch": 300, "memory_mb": 512.4}
    train = {**good, "parameters": 934612, "start_seconds": 4.25, "network": "N", "settings": "S"}
    drawn = {**good, "count": 600, "distance": 3.456, "floor": 0.321}
    ways = {"compared_way": "A", "own_way": "B"}
    rows = [
        {"name": "a", "title": "all", **ways, "train": train, "compared": drawn, "own": drawn},
        {"name": "b", "title": "few", **ways, "train": train, "compared": {**drawn, "count": 99}},
        {"name": "c", "title": "broken", **ways, "train": {"failed": "OSError: a | b"}},
        {"name": "d", "title": "lent", **ways, "compared": {"failed": "ValueError: no"}},
    ]
    versions = dict.fromkeys(page.NAMED, "1.0")
    known = {"budget": 60.0, "evaluations": 20, "threads": 2, "versions": versions}
    return {"rows": rows, "unscored": "", **known}


def test_the_table_has_a_row_for_each_and_says_what_failed():
    lines = [line.strip("| ").split(" | ") for line in page.table(results()).splitlines()]
    assert {len(line) for line in lines[2:]} == {8}
    quality = "3.46 (0.32; 600)"
    best = ["all", "934,612", "150", "150, A", quality, f"B: 150; {quality}", "512, 512", "4.2"]
    assert lines[2] == best
    assert lines[3][4:6] == ["99 samples, too few", "–"]
    assert lines[4] == ["broken", "–", "failed: OSError: a / b", "–", "–", "–", "–, –", "–"]
    assert lines[5][3] == "failed: ValueError: no"


def test_the_document_is_rewritten_between_its_markers_only(tmp_path):
    document, picture = tmp_path / "page.md", tmp_path / "images" / page.PICTURE
    document.write_text(f"# before\n\n{page.BEGIN}\nold\n{page.END}\n\nafter\n")
    page.write(results(), document, picture)
    once = document.read_text()
    assert once.startswith(f"# before\n\n{page.BEGIN}\n`sh scripts/bench`, 60 s")
    assert once.endswith(f"(images/{page.PICTURE})\n{page.END}\n\nafter\n")
    assert "old" not in once
    assert picture.read_bytes()[1:4] == b"PNG"
    page.write(results(), document, picture)
    assert document.read_text() == once
    for text in ("", page.BEGIN, f"{page.END}{page.BEGIN}", 2 * once):
        with pytest.raises(ValueError, match="must have one line"):
            page.replaced(text, "new")


def test_one_that_fails_is_a_row_and_the_rest_go_on(tmp_path, monkeypatch):
    script = tmp_path / "broken.py"
    script.write_text("import sys\nif sys.argv[2] == 'bad': raise ValueError('of no use')\n")
    monkeypatch.setattr(side_by_side, "HERE", tmp_path)
    known = {name: side_by_side.Contestant(name, "broken.py", "A", "B") for name in ("bad", "good")}
    monkeypatch.setattr(side_by_side, "CONTESTANTS", known)
    for stage, found in {"train": {"wall_seconds": 2}, "compared": {"count": 5}, "own": {}}.items():
        (tmp_path / "good").mkdir(exist_ok=True)
        (tmp_path / "good" / f"{stage}.json").write_text(json.dumps(found))
    bad, good = side_by_side.Contest(tmp_path, 1.0).results(["bad", "good"])
    assert bad["train"] == {"failed": "ValueError: of no use"}
    assert "compared" not in bad
    assert (good["train"], good["compared"]["count"]) == ({"wall_seconds": 2}, 5)


def test_the_document_has_a_place_for_the_comparison():
    text = (FOLDER.parent / "docs" / "performance.md").read_text(encoding="utf-8")
    assert page.replaced(text, "new").count("\nnew\n") == 1


@pytest.mark.slow
def test_the_comparison_runs(tmp_path):
    script = [sys.executable, FOLDER / "side_by_side.py", "--quick", "--threads", "1"]
    chosen = ["--only", "scorefield-unlabelled", "tutorial", "--out", tmp_path]
    subprocess.run([*script, *chosen], check=True)
    found = json.loads((tmp_path / "results.json").read_text())
    ours, loop = found["rows"]
    assert loop["train"]["ends"][-1] >= ours["train"]["wall_seconds"] > 3
    assert [row["compared"]["evaluations"] for row in (ours, loop)] == [20, 20]
    assert loop["own"]["evaluations"] == 500
    # within a tenth of each other
    sizes = [row["train"]["parameters"] for row in (ours, loop)]
    assert max(sizes) < 1.1 * min(sizes)
    for way in (ours["compared"], loop["compared"], loop["own"]):
        assert 0 < way["floor"] < way["distance"]
    assert "failed" not in (tmp_path / "performance.md").read_text()
    assert (tmp_path / page.PICTURE).is_file()
