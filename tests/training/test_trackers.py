"""Trackers: TensorBoard's own files read back, and the others as Accelerate calls them."""

import importlib.machinery
import sys
from types import ModuleType

import pytest
from PIL import Image

from scorefield.errors import InputError
from scorefield.training import Trainer, read_log
from scorefield.training.health import Health
from scorefield.training.trackers import Trackers, flat, known_trackers, numbers

CHECKED = "training.health_every=3steps"


def run(trainer):
    return [progress for progress in trainer if progress.note and progress.warning]


class Calls:
    """Records what is called on it, and fails at a call if asked to."""

    def __init__(self, fails=""):
        self.calls, self.fails = [], fails
        self.config = self

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)

        def call(*args, **kwargs):
            self.calls.append((name, args, kwargs))
            if name == self.fails:
                raise ConnectionError("no route\nto host")
            return self if name in ("init", "start_run") else []

        return call

    def of(self, name):
        return [(args, kwargs) for called, args, kwargs in self.calls if called == name]


@pytest.fixture
def stand_in(monkeypatch):
    """stand_in("wandb"): a module of this name whose calls are recorded."""

    def put(name, fails=""):
        calls, module = Calls(fails), ModuleType(name)
        module.__spec__ = importlib.machinery.ModuleSpec(name, None)
        module.__getattr__ = lambda attribute: getattr(calls, attribute)
        monkeypatch.setitem(sys.modules, name, module)
        monkeypatch.setattr(f"accelerate.utils.is_{name}_available", lambda: True)
        return calls

    return put


def events(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder), {"tensors": 0, "scalars": 0, "images": 0})
    return found.Reload()


def test_all_numbers_are_in_tensorboard(tmp_path, recipe, previews):
    run(Trainer(recipe("images", CHECKED), tmp_path))
    found = events(tmp_path / "tensorboard")
    lines = read_log(tmp_path)
    last = [line for line in lines if "loss" in line][-1]
    for name in ("loss", "lr", "grad_norm", "rate"):
        assert found.Scalars(name)[-1].step == 6
        assert found.Scalars(name)[-1].value == pytest.approx(last[name])
    checks = [line for line in lines if "health" in line]
    assert len(checks) == 2
    for check in checks:
        expected = numbers(Health.of(check["health"]))
        assert len(expected) > 40
        for name, value in expected.items():
            (event,) = (e for e in found.Scalars(name) if e.step == check["step"])
            assert event.value == pytest.approx(value)
    (shown,) = found.Images("samples")
    with Image.open(tmp_path / "samples" / "step-00000006.png") as drawn:
        assert (shown.step, shown.width, shown.height) == (6, *drawn.size)


def test_wandb_and_trackio_get_them_through_accelerate(tmp_path, recipe, stand_in):
    both = {name: stand_in(name) for name in ("wandb", "trackio")}
    made = recipe("points", CHECKED)
    assert run(Trainer(made, tmp_path / "a-run", trackers=["wandb", "trackio", "wandb"])) == []
    for calls in both.values():
        ((_, began),) = calls.of("init")
        assert (began["project"], began["name"]) == ("scorefield", "a-run")
        (((config,), _),) = calls.of("update")
        assert config["training.batch"] == made.training.batch
        logged = [(kwargs["step"], args[0]) for args, kwargs in calls.of("log")]
        assert [step for step, _ in logged] == sorted(step for step, _ in logged)
        assert any("loss" in values for _, values in logged)
        assert any("train/mean" in values for _, values in logged)
        assert len(calls.of("finish")) == 1
    assert not (tmp_path / "a-run" / "tensorboard").exists()


def test_mlflow_gets_them_through_accelerate(tmp_path, recipe, stand_in):
    calls = stand_in("mlflow")
    sys.modules["mlflow"].utils = ModuleType("utils")
    sys.modules["mlflow"].utils.validation = ModuleType("validation")
    sys.modules["mlflow"].utils.validation.MAX_PARAM_VAL_LENGTH = 6000
    sys.modules["mlflow"].utils.validation.MAX_PARAMS_TAGS_PER_BATCH = 100
    assert run(Trainer(recipe("points", CHECKED), tmp_path / "r", trackers=["mlflow"])) == []
    ((_, began),) = calls.of("start_run")
    assert began["run_name"] == "r"
    assert any("training.lr" in args[0] for args, _ in calls.of("log_params"))
    assert [kwargs["step"] for args, kwargs in calls.of("log_metrics") if "loss" in args[0]] == [
        1,
        6,
    ]
    assert len(calls.of("end_run")) == 1


@pytest.mark.parametrize("fails", ["init", "log", "finish"])
def test_a_tracker_that_fails_is_told_once_and_stops_nothing(tmp_path, recipe, stand_in, fails):
    calls = stand_in("wandb", fails)
    plain, tracked = tmp_path / "plain", tmp_path / "tracked"
    run(Trainer(recipe("points", CHECKED), plain, trackers=["none"]))
    seen = run(Trainer(recipe("points", CHECKED), tracked, trackers=["wandb"]))
    assert [progress.note for progress in seen] == [
        "the tracker wandb failed, training goes on without: no route to host"
    ]
    assert seen[0].note in [line.get("note") for line in read_log(tracked)]
    assert len(calls.of(fails)) == 1
    losses = [
        [line["loss"] for line in read_log(out) if "loss" in line] for out in (plain, tracked)
    ]
    assert losses[0] == losses[1]


def test_none_is_none(tmp_path, recipe):
    run(Trainer(recipe("points"), tmp_path, trackers=["none"]))
    assert list(tmp_path.rglob("*tfevents*")) == []


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["wanbd"], "did you mean 'wandb'"),
        (["wandb"], r"pip install 'scorefield\[wandb\]'"),
        (["trackio"], r"pip install 'scorefield\[trackio\]'"),
        (["mlflow"], r"pip install 'scorefield\[mlflow\]'"),
        (["comet_ml"], "pip install comet-ml"),
        (["none", "tensorboard"], "not both"),
    ],
)
def test_what_cannot_be_used_is_said_before_anything_is_written(
    tmp_path, recipe, monkeypatch, names, words
):
    for name in ("wandb", "trackio", "mlflow", "comet_ml"):
        monkeypatch.setattr(f"accelerate.utils.is_{name}_available", lambda: False)
    with pytest.raises(InputError, match=words):
        Trainer(recipe("points"), tmp_path / "run", trackers=names)
    assert not (tmp_path / "run").exists()


def test_tensorboard_is_used_where_it_is_installed(monkeypatch):
    assert known_trackers(None) == ("tensorboard",)
    monkeypatch.setattr("accelerate.utils.is_tensorboard_available", lambda: False)
    assert known_trackers(None) == ()


def test_names_and_settings():
    health = Health((0.05, 20.0), ema=(0.5, 0.75), train=(None, 0.5), ema_lag=0.1)
    found = numbers(health)
    assert found["held_out_ema/0.05"] == 0.5
    assert found["held_out_ema/20"] == 0.75
    assert found["held_out_ema/mean"] == 0.625
    assert found["train/20"] == 0.5
    assert {"train/0.05", "train/mean", "ideal/20", "noise_scale"}.isdisjoint(found)
    assert flat({"a": {"b": {"c": 1}}, "d": None, "e": [1, 2]}) == {
        "a.b.c": 1,
        "d": "None",
        "e": "[1, 2]",
    }


def test_a_picture_that_is_not_there_is_not_shown(tmp_path):
    trackers = Trackers(["tensorboard"], tmp_path, {})
    trackers.picture(tmp_path / "none.png", 1)
    trackers.close()
    assert trackers.troubles == []
