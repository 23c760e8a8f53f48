"""An evaluation in words and rows of a table, from its plain facts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

KNOWN = 0.9  # share of real labels that a classifier reads if it knows the data
MIXED = 0.1  # of the samples; MNIST's ten classes differ from even shares by 2.5 %


def figure_rows(plain: Mapping[str, Any]) -> list[list[str]]:
    """The figures as rows: name, samples with interval, floor, which way is better.

    Arguments:
        plain: as `Result.plain` gives them.
    """
    return [
        [
            name,
            ranged(figure),
            "-" if figure["floor"] is None else ranged(figure["floor"]),
            figure["better"],
        ]
        for name, figure in plain["figures"].items()
    ]


def ranged(figure: Mapping[str, Any]) -> str:
    """A figure with its interval if that is known, as in '0.52 (0.48 to 0.56)'.

    Arguments:
        figure: value, low and high.
    """
    value = number(figure["value"])
    if figure["low"] is None or figure["high"] is None:
        return value
    return f"{value} ({number(figure['low'])} to {number(figure['high'])})"


def number(value: float) -> str:
    """A number with 4 significant digits.

    Arguments:
        value: the number.
    """
    return f"{value:.4g}"


def setting(value: object) -> str:
    """A plain value on one line: of an object its kind, then its settings.

    Arguments:
        value: a number, a word, a mapping, or none.
    """
    if isinstance(value, Mapping):
        inner = " ".join(f"{k}={setting(v)}" for k, v in value.items() if k != "kind")
        return f"{value.get('kind', '')} {inner}".strip()
    if isinstance(value, float):
        return number(value)
    return "-" if value is None else str(value)


def caution(plain: Mapping[str, Any]) -> str:
    """What is to be said of classes that are not those of the real samples; '' if there is nothing.

    A classifier may not know the data, and classes asked for in turn may have other shares than real ones.

    Arguments:
        plain: as `Result.plain` gives them.
    """
    said = []
    known = (plain["classes"] or {}).get("known")
    if known is not None and known < KNOWN:
        said.append(
            f"The classifier of '{plain['features']['name']}' reads {known:.0%} of the real labels: it "
            "does not know these data. Its classes mean nothing here, and its distances little."
        )
    mix = plain["data"].get("mix")  # results of earlier versions do not say it
    if mix is not None and mix > MIXED:
        said.append(
            f"Classes were asked for in other shares than the real samples have: {mix:.0%} of the samples "
            "would have to be of another class. The distances have this in them."
        )
    return " ".join(said)


def floor_words(about: Mapping[str, Any]) -> str:
    """Where the floor comes from.

    Arguments:
        about: what was evaluated and how, as `Result` has it.
    """
    data = about["data"]
    fewer = data["floor"] < about["count"]
    note = ", which are all there are: of fewer samples it is higher" if fewer else ""
    return f"{data['floor']:,} real samples{note}; {data['splits']}"


def verdict(memory: Mapping[str, Any]) -> str:
    """What is to be said of repeated training samples.

    Arguments:
        memory: as `Closeness.plain` gives it.
    """
    told = {
        "copies": "Training samples are repeated: {share:.2%} of {samples:,} samples come as close to a "
        "training sample as only {expected:.2%} of real ones would (p = {p:.2g}).",
        "none found": "No sign of it: {share:.2%} of {samples:,} samples come as close to a training "
        "sample as {expected:.2%} of unseen real ones do (p = {p:.2g}). Copies of a share of "
        "{detectable:.1%} would have been seen.",
        "cannot tell": "That cannot be told: it takes more real samples that the model was not trained "
        "on than there are here ({unseen:,}).",
    }
    share = memory.get("looked_at", 1.0)  # results of earlier versions do not say it
    rest = "" if share == 1 else f" Samples were held against {share:.0%} of the training samples."
    return told[memory["verdict"]].format(**memory) + rest
