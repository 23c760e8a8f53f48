"""Where a run's numbers go beside its log: the trackers of Accelerate, none of which can stop a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scorefield.errors import InputError, unknown
from scorefield.recipes.config import dotted
from scorefield.training.health.record import Health, mean

if TYPE_CHECKING:
    from accelerate.tracking import GeneralTracker

TENSORBOARD, NONE = "tensorboard", "none"
EXTRAS = {TENSORBOARD: "track", "wandb": "wandb", "trackio": "trackio", "mlflow": "mlflow"}
PROJECT = "scorefield"  # under which services file the runs


def known_trackers(names: Sequence[str] | None) -> tuple[str, ...]:
    """The trackers that are meant.

    Arguments:
        names: of trackers; none for TensorBoard where it is installed, and ('none',) for no tracker.

    Raises:
        InputError: for a name that Accelerate does not have, and a package that is not installed.
    """
    from accelerate import utils
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    def installed(name: str) -> bool:
        return bool(getattr(utils, f"is_{name}_available")())

    if names is None:
        return (TENSORBOARD,) if installed(TENSORBOARD) else ()
    if NONE in names:
        if set(names) != {NONE}:
            raise InputError(f"track none or a tracker, not both, got {', '.join(names)}")
        return ()
    for name in names:
        if name not in LOGGER_TYPE_TO_CLASS:
            raise unknown("tracker", name, [*sorted(LOGGER_TYPE_TO_CLASS), NONE])
        if not installed(name):
            package = f"'scorefield[{EXTRAS[name]}]'" if name in EXTRAS else name.replace("_", "-")
            raise InputError(f"the tracker {name} is not installed: pip install {package}")
    return tuple(dict.fromkeys(names))


class Trackers:
    """The trackers of a run. One that fails is let go, which is said once: training does not need it.

    Arguments:
        names: as `known_trackers` gives them.
        out: the run folder.
        recipe: its settings by dotted key, for those that keep such.
    """

    def __init__(self, names: Sequence[str], out: Path, recipe: Mapping[str, Any]) -> None:
        self.troubles: list[str] = []  # to be told, and then forgotten by who told them
        self.open: dict[str, GeneralTracker] = {}
        for name in names:
            self._try(name, lambda name=name: self._start(name, out, recipe))  # type: ignore[misc]

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Write numbers.

        Arguments:
            values: by name.
            step: optimizer steps made.
        """
        self._each(lambda tracker: tracker.log(dict(values), step=step))

    def picture(self, path: Path, step: int) -> None:
        """Show a picture of samples, where there is a file and TensorBoard.

        Arguments:
            path: the file.
            step: optimizer steps made.
        """
        tracker = self.open.get(TENSORBOARD)
        if tracker is None or not path.is_file():
            return
        import numpy as np
        from PIL import Image

        pixels = np.asarray(Image.open(path).convert("RGB"))[None]
        images = {"samples": pixels}
        self._try(TENSORBOARD, lambda: tracker.log_images(images, step=step, dataformats="NHWC"))

    def close(self) -> None:
        """Let the trackers finish what they have."""
        self._each(lambda tracker: tracker.finish())
        self.open = {}

    def _start(self, name: str, out: Path, recipe: Mapping[str, Any]) -> None:
        from accelerate.tracking import LOGGER_TYPE_TO_CLASS

        kind = LOGGER_TYPE_TO_CLASS[name]
        run = out.resolve().name
        own = {"wandb": {"name": run, "dir": str(out)}, "trackio": {"name": run}}
        own["mlflow"] = {"run_name": run}
        if kind.requires_logging_directory:
            tracker = kind(name, str(out))
        else:
            tracker = kind(PROJECT, **own.get(name, {}))
        tracker.start()
        if name != TENSORBOARD:  # which would make another run of it
            tracker.store_init_configuration(dict(recipe))
        self.open[name] = tracker

    def _each(self, act: Callable[[GeneralTracker], None]) -> None:
        for name, tracker in list(self.open.items()):
            self._try(name, lambda tracker=tracker: act(tracker))  # type: ignore[misc]

    def _try(self, name: str, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as error:  # a network, a service, a disk: whatever a tracker may meet
            self.open.pop(name, None)
            reason = " ".join(str(error).split()) or type(error).__name__
            self.troubles.append(f"the tracker {name} failed, training goes on without: {reason}")


def flat(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by dotted key, those that are no number or word in words.

    Arguments:
        plain: settings within settings.
    """
    return {
        key: value if isinstance(value, (str, int, float, bool)) else str(value)
        for key, value in dotted(plain).items()
    }


def numbers(health: Health) -> dict[str, float]:
    """All numbers of a check by name: losses as 'held_out_ema/0.052', by level, and 'held_out_ema/mean'.

    Arguments:
        health: what the check found.
    """
    lists = {
        "held_out_ema": health.ema,
        "held_out_raw": health.raw,
        "train": health.train,
        "ideal": health.ideal,
        "gaussian": health.gaussian,
    }
    found: dict[str, float | None] = {}
    for name, losses in lists.items():
        found |= {f"{name}/{s:.3g}": v for s, v in zip(health.levels, losses, strict=False)}
        found[f"{name}/mean"] = mean(losses)
    for name in ("noise_scale", "ema_lag", "data_share", "processes"):
        found[name] = getattr(health, name)
    return {name: value for name, value in found.items() if value is not None}
