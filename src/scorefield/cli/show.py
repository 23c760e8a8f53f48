"""``scorefield show``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from scorefield.cli.options import Json
from scorefield.cli.output import say
from scorefield.models import read_card
from scorefield.recipes import to_dict
from scorefield.training import half_life, read_log, verdict_of


def show(
    run: str,
    /,
    *,
    as_json: Json = False,
) -> None:
    """Tell what a model is and how its training went.

    Parameters
    ----------
    run
        A run folder, or a model.safetensors file.
    as_json
        Print one line of JSON.
    """
    card = read_card(run)
    log = read_log(run) if Path(run).is_dir() else []
    lines = [line for line in log if "loss" in line]
    found = verdict_of(run) if lines else None
    facts = {
        "run": run,
        "scorefield": card.scorefield,
        "step": card.step,
        "recipe": to_dict(card.recipe),
        "spec": asdict(card.spec),
        "training": _course(lines),
        "verdict": asdict(found) if found else None,
        "tuned": card.tuned,
        "notes": [line["note"] for line in log if "note" in line],
    }
    say(_text(facts), as_json=as_json, **facts)


def _course(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """How the training went, from the lines of its log."""
    if not lines:
        return {}
    quarter = max(1, len(lines) // 4)
    late, before = lines[-quarter:], lines[-2 * quarter : -quarter] or lines[:1]
    loss, earlier = (sum(p["loss"] for p in part) / len(part) for part in (late, before))
    return {
        "images": lines[-1]["images"],
        "seconds": lines[-1]["seconds"],
        "rate": round(lines[-1]["images"] / max(lines[-1]["seconds"], 1e-9), 1),
        "loss": loss,
        "loss_before": earlier,
    }


def _text(facts: dict[str, Any]) -> str:
    """The facts for people."""
    recipe, spec, course = facts["recipe"], facts["spec"], facts["training"]
    shape = " × ".join(map(str, spec["shape"]))
    labels = f", {spec['classes']} classes" if spec["classes"] else ""
    rows = [
        ("model", f"{facts['run']}, step {facts['step']:,}, Scorefield {facts['scorefield']}"),
        ("data", f"{_brief(recipe['data'])}: {shape}{labels}, σ_data {spec['sigma_data']:.4f}"),
        ("network", _brief(recipe["network"])),
        ("schedule", _brief(recipe["schedule"])),
        ("predicts", recipe["parameterization"]["kind"]),
        ("times", _brief(recipe["objective"]["times"])),
        ("training", _brief(recipe["training"])),
        ("sampling", _sampling(recipe["sampling"])),
    ]
    augmentation = recipe["augmentation"]
    idle = () if augmentation["told"] else ("transformations",)
    if used := {key: value for key, value in augmentation.items() if value and key not in idle}:
        rows.append(("augments", _brief(used)))
    if masses := recipe["marginal"]["masses"]:
        said = f"{len(masses)} pieces, the heaviest with {max(masses):.0%} of all numbers"
        rows.append(("marginal", said))
    if width := recipe["training"]["ema"]:
        share = half_life(width)
        images = f" ({share * course['images']:,.0f} images)" if course else ""
        rows.append(("averaged", f"half of each weight is of the last {share:.1%}{images}"))
    if facts["tuned"]:
        rows.append(("tuned", str(facts["tuned"].get("words", facts["tuned"]))))
    if course:
        rows.append(
            (
                "went",
                f"{course['images']:,} images in {course['seconds']:.0f} s ({course['rate']:.0f}/s); "
                f"loss {course['loss']:.4f} over the last quarter, "
                f"{course['loss_before']:.4f} before it",
            )
        )
    if found := facts["verdict"]:
        rows += [("verdict", f"{found['kind']}: {found['reason']}"), ("advice", found["advice"])]
    rows += [("note", note) for note in facts["notes"]]
    return "\n".join(f"{name:>9}  {text}" for name, text in rows)


def _sampling(sampling: dict[str, Any]) -> str:
    """How samples are drawn, in words."""
    led = "" if sampling["guidance"] is None else f", guidance {sampling['guidance']:g}"
    if led and sampling["guidance_least"] > 0:
        led += f" from σ/α = {sampling['guidance_least']:g} on"
    return f"{_brief(sampling['sampler'])}, {sampling['steps']} steps{led}"


def _brief(thing: dict[str, Any]) -> str:
    """An object on one line: its kind, then its settings."""
    settings = [
        f"{key}={value['kind'] if isinstance(value, dict) else value}"
        for key, value in thing.items()
        if key != "kind" and value is not None
    ]
    return " ".join([*([thing["kind"]] if "kind" in thing else []), *settings])
