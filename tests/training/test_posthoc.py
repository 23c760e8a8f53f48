"""Averages put together after training, against averages taken in training and against quadrature."""

import itertools

import pytest
import torch
from safetensors.torch import load_file
from scipy.integrate import quad
from torch import nn

from scorefield.cli.main import main
from scorefield.errors import InputError
from scorefield.models import load
from scorefield.models.checkpoint import read_card
from scorefield.training import Trainer, averaged
from scorefield.training.ema import PROFILES, PowerAverage, Profiles, exponent
from scorefield.training.posthoc import SNAPSHOTS, Profile, Snapshots, combination, missed, product

PAIRS = list(itertools.product([(1.0, 0.05), (0.4, 0.1), (0.7, 0.2)], repeat=2))


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_products_are_integrals(one, other):
    def density(tau, step, width):
        gamma = exponent(width)
        return (gamma + 1) * tau**gamma / step ** (gamma + 1)

    end = min(one[0], other[0])
    right, _ = quad(lambda tau: density(tau, *one) * density(tau, *other), 0, end, epsabs=1e-10)
    assert product(Profile(*one), Profile(*other)) == pytest.approx(right, rel=1e-8)
    later = [Profile(1000 * p[0], p[1]) for p in (one, other)]
    assert product(*later) == pytest.approx(right / 1000, rel=1e-8)


def test_what_is_stored_comes_back():
    stored = [Profile(step, width) for step in (250, 500, 750, 1000) for width in PROFILES]
    for place, profile in enumerate(stored):
        right = torch.eye(len(stored), dtype=torch.float64)[place]
        assert torch.allclose(combination(stored, profile), right, atol=1e-6)


class Walk(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(500))


def test_averages_of_other_widths_are_those_of_training(tmp_path):
    steps, generator = 2000, torch.Generator().manual_seed(0)
    module, snapshots = Walk(), Snapshots(tmp_path)
    own = PowerAverage(module, 0.05)
    profiles = Profiles(own)
    direct = {width: PowerAverage(module, width) for width in (0.03, 0.05, 0.08, 0.15, 0.2)}
    for step in range(1, steps + 1):
        with torch.no_grad():  # as in training: a pull, noise, and a rate that falls to 0
            noise = torch.randn(500, generator=generator)
            module.w.mul_(0.999).add_(noise, alpha=0.02 * (1.02 - step / steps))
        own.update(step)
        profiles.update(step)
        for average in direct.values():
            average.update(step)
        if snapshots.is_due((step - 1) / steps, step / steps):
            snapshots.write(step, profiles)
    assert len(snapshots.files()) == SNAPSHOTS
    for width, average in direct.items():
        found = snapshots.average(width, steps)["w"]
        apart = (module.w - average.averages[0]).norm()
        assert (found - average.averages[0]).norm() < 0.04 * apart, width


WORDS = ["training.budget=16steps", "training.checkpoint_every=4steps"]


def test_a_run_keeps_averages_and_a_resumed_one_the_same(tmp_path, recipe):
    chosen = recipe("points", *WORDS)
    straight = Trainer(chosen, tmp_path / "straight")
    list(straight)
    for progress in Trainer(chosen, tmp_path / "run"):
        if progress.step == 10:
            break
    resumed = Trainer(None, tmp_path / "run", resume=True)
    walk = iter(resumed)
    assert next(walk).step == 9
    assert [file.stem for file in resumed.run.snapshots.files()][-1] == "step-00000009"
    list(walk)
    files = [t.run.snapshots.files() for t in (straight, resumed)]
    assert [f.name for f in files[0]] == [f.name for f in files[1]]
    assert len(files[0]) == 17  # the last of all is that of the last moment, too
    for one, other in zip(*files, strict=True):
        whole, cut = load_file(one), load_file(other)
        assert whole.keys() == cut.keys()
        assert all(torch.equal(whole[k], cut[k]) for k in whole)
    other = resumed.run.profiles.averages[0.1].averages
    assert all(map(torch.equal, straight.run.profiles.averages[0.1].averages, other))
    assert not torch.equal(other[0], resumed.run.average.averages[0])


def test_a_model_of_another_average(tmp_path, recipe):
    list(Trainer(recipe("points", *WORDS), tmp_path / "run"))
    run = str(tmp_path / "run")
    same = dict(averaged(run, 0.05).denoiser.network.named_parameters())
    for name, values in load(run).denoiser.network.named_parameters():
        assert torch.allclose(same[name], values, atol=2e-3 * float(values.abs().max()))
    assert main(["ema", run, "--length", "0.1"]) == 0
    made = tmp_path / "run" / "ema-0.1.safetensors"
    assert read_card(made).recipe.training.ema == 0.1
    assert load(made).sample(2, steps=3).isfinite().all()
    assert not torch.equal(load(made).sample(2, steps=3), load(run).sample(2, steps=3))


def test_a_run_that_stops_between_two_moments_has_an_average_of_where_it_stands(tmp_path):
    steps, stop, generator = 1600, 850, torch.Generator().manual_seed(1)
    module, snapshots = Walk(), Snapshots(tmp_path)
    own = PowerAverage(module, 0.05)
    profiles, direct = Profiles(own), PowerAverage(module, 0.1)
    for step in range(1, stop + 1):
        with torch.no_grad():
            module.w.add_(torch.randn(500, generator=generator), alpha=0.02)
        for average in (own, profiles, direct):
            average.update(step)
        if snapshots.is_due((step - 1) / steps, step / steps):
            snapshots.write(step, profiles)
    with pytest.raises(InputError, match=r"come no nearer than \d+% to one of length 0.1"):
        snapshots.average(0.1, stop)
    snapshots.write(stop, profiles, "last")
    found = snapshots.average(0.1, stop)["w"]
    assert torch.allclose(found, direct.averages[0], atol=2e-3)
    snapshots.write(steps, profiles, "last")  # takes the other's place
    assert [f.stem for f in snapshots.files()][-1] == "last-00001600"
    assert len(snapshots.files()) == 9


@pytest.mark.parametrize("width", [0.04, 0.12])
def test_what_is_missed_is_the_integral_of_it(width):
    stored, wanted = [Profile(0.6, 0.1), Profile(1.0, 0.05)], Profile(1.0, width)
    shares = combination(stored, wanted)

    def density(tau, profile):
        gamma = exponent(profile.width)
        inside = tau <= profile.step
        return inside * (gamma + 1) * tau**gamma / profile.step ** (gamma + 1)

    tau = torch.linspace(0, 1, 200001, dtype=torch.float64)
    made = sum(x * density(tau, p) for x, p in zip(shares, stored, strict=True))
    right = density(tau, wanted)
    apart = float(((made - right) ** 2).mean() / (right**2).mean()) ** 0.5
    assert missed(stored, wanted, shares) == pytest.approx(apart, rel=1e-3)


def test_damaged_averages_are_told(tmp_path, recipe):
    list(Trainer(recipe("points", *WORDS), tmp_path))
    file = tmp_path / "averages" / "step-00000004.safetensors"
    file.write_bytes(file.read_bytes()[:-7])
    with pytest.raises(InputError, match=r"step-00000004\.safetensors is damaged"):
        averaged(tmp_path, 0.1)


def test_lengths_and_runs_that_have_no_average(tmp_path, recipe, capsys):
    list(Trainer(recipe("points", *WORDS), tmp_path))
    assert main(["ema", str(tmp_path), "--length", "0.5"]) == 2
    assert "below 0.28, got 0.5" in capsys.readouterr().err
    for file in (tmp_path / "averages").iterdir():
        file.unlink()
    with pytest.raises(InputError, match="there are no averages in"):
        averaged(tmp_path, 0.1)


def test_raw_weights_are_those_of_the_last_step(tmp_path, recipe, capsys):
    trainer = Trainer(recipe("points", *WORDS), tmp_path)
    list(trainer)
    raw, ema = load(tmp_path, weights="raw"), load(tmp_path)
    for name, values in trainer.run.network.named_parameters():
        assert torch.equal(dict(raw.denoiser.network.named_parameters())[name], values)
        assert not torch.equal(dict(ema.denoiser.network.named_parameters())[name], values)
    assert (raw.recipe, raw.spec, raw.step) == (ema.recipe, ema.spec, ema.step)
    words = ["-n", "4", "--steps", "3", "-o"]
    for weights in ("raw", "ema"):
        out = str(tmp_path / f"{weights}.npz")
        assert main(["sample", str(tmp_path), *words, out, "--weights", weights]) == 0
    with pytest.raises(InputError, match="is a file of one set"):
        load(tmp_path / "model.safetensors", weights="raw")
    with pytest.raises(InputError, match="unknown weights 'mean'"):
        load(tmp_path, weights="mean")
    (tmp_path / "raw.safetensors").unlink()
    capsys.readouterr()
    assert main(["sample", str(tmp_path), *words, "x.png", "--weights", "raw"]) == 2
    assert "raw.safetensors is needed" in capsys.readouterr().err


def test_the_averages_of_a_checkpoint_stay_until_the_next(tmp_path):
    module, snapshots = Walk(), Snapshots(tmp_path)
    profiles = Profiles(PowerAverage(module, 0.05))
    snapshots.write(4, profiles, "last")
    snapshots.write(6, profiles)
    assert [f.name for f in snapshots.files()] == [
        f"{k}.safetensors" for k in ("last-00000004", "step-00000006")
    ]
    snapshots.write(8, profiles, "last")
    assert [f.stem for f in snapshots.files()] == ["step-00000006", "last-00000008"]


def test_files_that_a_killed_process_was_writing_are_none_of_them(tmp_path):
    snapshots = Snapshots(tmp_path)
    (tmp_path / ".123-3abcdefg.partial.safetensors").write_bytes(b"half")
    assert snapshots.files() == []
