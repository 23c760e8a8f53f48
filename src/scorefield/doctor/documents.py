"""What a doctor leaves behind: the recipe with its reasons, the measures as JSON, a report to read."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from scorefield.atomic import whole_file
from scorefield.doctor.choices import Choice, chosen
from scorefield.doctor.diagnosis import Diagnosis
from scorefield.doctor.prescription import Prescription
from scorefield.recipes.config import to_dict

WIDTH = 96  # of the comments
RECIPE, FACTS, REPORT = "recipe.yaml", "doctor.json", "doctor.md"


def recipe_yaml(prescription: Prescription, source: str) -> str:
    """The recipe as YAML, a comment with its reason above every choice.

    Arguments:
        prescription: the recipe and its reasons.
        source: what the data were called.
    """
    plain = to_dict(prescription.recipe)
    reasons = {c.key: c for c in prescription.choices}
    head = f"Fitted to {source} by scorefield doctor, with the reason above each choice."
    lines = _comment(head, 0)
    return "\n".join([*lines, "", *_yaml(plain, reasons, "", 0)]) + "\n"


def _yaml(
    plain: Mapping[str, Any], reasons: Mapping[str, Choice], path: str, depth: int
) -> Iterator[str]:
    for key, value in plain.items():
        dotted = f"{path}.{key}" if path else key
        if dotted in reasons:
            yield from _comment(_words(reasons[dotted]), depth)
        indent = "  " * depth
        if isinstance(value, dict) and value:
            yield f"{indent}{key}:"
            yield from _yaml(value, reasons, dotted, depth + 1)
        else:
            yield f"{indent}{key}: {_scalar(value)}"


def _scalar(value: object) -> str:
    """A value in one line of YAML."""
    text: str = yaml.safe_dump(value, default_flow_style=True, width=10**9, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")


def _words(choice: Choice) -> str:
    return f"{choice.reason} [{choice.basis}]"


def _comment(text: str, depth: int) -> Iterator[str]:
    indent = "  " * depth
    for line in textwrap.wrap(text, WIDTH - len(indent), break_long_words=False):
        yield f"{indent}# {line}"


def facts(diagnosis: Diagnosis, prescription: Prescription, source: str) -> dict[str, Any]:
    """All that was measured and chosen, ready for JSON.

    Arguments:
        diagnosis: what was measured.
        prescription: the recipe and its reasons.
        source: what the data were called.
    """
    d, scan = diagnosis, diagnosis.scan
    return {
        "data": source,
        "count": d.count,
        "shape": list(d.spec.shape),
        "classes": d.spec.classes,
        "low": scan.low,
        "high": scan.high,
        "levels": d.spec.levels,
        "levels_used": scan.levels_used,
        "mean": list(d.spec.mean),
        "std": list(scan.std),
        "sigma_data": d.spec.sigma_data,
        "distance": {**asdict(d.distance), "exact": d.distance.exact},
        "balance": list(d.balance),
        "blank": len(scan.constant),
        "copies": asdict(d.exact),
        "near_copies": asdict(d.near),
        "test": d.test,
        "overlap": None if d.overlap is None else asdict(d.overlap),
        "mirror_gap": scan.mirror,
        "skipped": [skipped._asdict() for skipped in d.skipped],
        "findings": [asdict(finding) for finding in d.findings],
        "recipe": to_dict(prescription.recipe),
        "choices": [asdict(choice) for choice in prescription.choices],
        "rate": prescription.rate,
        "seen": prescription.seen,
        "epochs": prescription.epochs,
    }


def measures(diagnosis: Diagnosis) -> list[tuple[str, str]]:
    """The measures in words, a row each.

    Arguments:
        diagnosis: what was measured.
    """
    d, scan, far = diagnosis, diagnosis.scan, diagnosis.distance
    size = "×".join(map(str, d.spec.shape))
    level = "" if d.spec.levels is None else f", {scan.levels_used} of {d.spec.levels} levels used"
    sure = "" if far.exact else f" among the {far.compared:,} furthest out, at most {far.bound:.4g}"
    rows = [
        ("samples", f"{d.count:,}" + (f", and {d.test:,} for testing" if d.test else "")),
        ("shape", size),
        ("stored values", f"{scan.low:g} to {scan.high:g}{level}"),
        ("mean", _few(d.spec.mean)),
        ("standard deviation", _few(scan.std)),
        ("σ_data", f"{d.spec.sigma_data:.4g}"),
        ("largest distance", f"{far.value:.4g}{sure}; samples {far.pair[0]} and {far.pair[1]}"),
        ("copies to the bit", f"{d.exact.count:,}"),
    ]
    if d.spec.is_image:
        rows.append(("near copies", f"{d.near.count:,} of {d.near.compared:,} looked at"))
        rows.append(("mirror gap", f"{scan.mirror:.2f} σ_data"))
    if d.balance:
        rows.append(
            ("classes", f"{len(d.balance)}, {min(d.balance):,} to {max(d.balance):,} samples")
        )
    return rows


def _few(values: tuple[float, ...]) -> str:
    return ", ".join(f"{v:.4g}" for v in values[:6]) + (" …" if len(values) > 6 else "")


def report(diagnosis: Diagnosis, prescription: Prescription, source: str) -> str:
    """A page of Markdown: findings, measures, choices.

    Arguments:
        diagnosis: what was measured.
        prescription: the recipe and its reasons.
        source: what the data were called.
    """
    lines = [f"# {source}", "", "## Findings", ""]
    for f in diagnosis.findings:
        advice = f" *{f.advice[:1].upper()}{f.advice[1:]}.*" if f.advice else ""
        lines.append(f"- **{f.severity}**, {f.name}: {f.text}.{advice}")
    if not diagnosis.findings:
        lines.append("None.")
    lines += ["", "## Measures", "", "| measure | value |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in measures(diagnosis)]
    lines += ["", "Distances, means and deviations are in the model's units.", ""]
    lines += ["![some of the samples](contact.png)", "", "![their values](histograms.png)", ""]
    lines += ["## Recipe", "", f"In `{RECIPE}`.", "", "| key | value | why |", "|---|---|---|"]
    recipe = prescription.recipe
    lines += [f"| {c.key} | {chosen(recipe, c.key)} | {_words(c)} |" for c in prescription.choices]
    return "\n".join(lines) + "\n"


def write_documents(
    folder: Path, diagnosis: Diagnosis, prescription: Prescription, source: str
) -> None:
    """Write recipe.yaml, doctor.json and doctor.md; each appears whole or not at all.

    Arguments:
        folder: where; made if need be.
        diagnosis: what was measured.
        prescription: the recipe and its reasons.
        source: what the data were called.
    """
    texts = {
        RECIPE: recipe_yaml(prescription, source),
        FACTS: json.dumps(facts(diagnosis, prescription, source), indent=2) + "\n",
        REPORT: report(diagnosis, prescription, source),
    }
    for name, text in texts.items():
        with whole_file(folder / name) as path:
            path.write_text(text, encoding="utf-8")
