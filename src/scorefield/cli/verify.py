"""``scorefield verify``."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

import torch
from cyclopts import Parameter

from scorefield import InputError, load
from scorefield.cli.options import Json, Weights
from scorefield.cli.output import bar, say
from scorefield.models import check_device
from scorefield.verification import CLAIMS, Claim, Finding, model_claims, resume_claims
from scorefield.verification import verify as tried

DTYPES = {"float64": torch.float64, "float32": torch.float32}
WIDTH = 132  # of the table where there is no terminal
RESUME = "resume"  # in place of a run: training that is killed and resumed


def verify(
    run: str | None = None,
    /,
    *,
    everything: Annotated[bool, Parameter(name="--all", negative=())] = False,
    only: str | None = None,
    device: str = "cpu",
    dtype: Literal["float64", "float32"] = "float64",
    weights: Weights = "ema",
    as_json: Json = False,
) -> int:
    """Try problems with exact answers on this installation, a trained model on its data, or resuming.

    Exit code 1 when a claim fails.

    Parameters
    ----------
    run
        A run folder, or a model.safetensors file; this installation if not given. "resume" trains runs
        that are killed and resumed, and compares them with one that is not, bit for bit.
    everything
        Also the claims that take long: minutes in place of one.
    only
        Only claims whose name has these words in it.
    device
        Where to compute, such as cpu or cuda.
    dtype
        Of the states, for this installation; a model is tried in float32.
    weights
        Of a run folder: ema, averaged over training, or raw, those of its last step.
    as_json
        Print lines of JSON.
    """
    precision = DTYPES[dtype] if run is None else torch.float32
    claims = [c for c in _claims(run, device, weights) if (only or "") in c.name]
    if not claims:
        raise InputError(f"no claim has '{only}' in its name")
    chosen = [c for c in claims if everything or not c.slow]
    if not chosen:
        raise InputError(f"the claims with '{only}' in their name take long: add --all")
    begin, findings = time.perf_counter(), []
    with bar("verifying", as_json=as_json) as advance:
        for finding in _quietly(chosen, device, precision):
            findings.append(finding)
            advance(len(findings) / len(chosen), finding.claim.name)
            if as_json:
                say("", as_json=True, event="finding", **_facts(finding))
    if not as_json:
        _print(findings)
    failed = sum(f.passed is False for f in findings)
    seconds, left = time.perf_counter() - begin, len(claims) - len(chosen)
    words = f"{len(findings)} claims in {seconds:.0f} s: {failed or 'none'} failed"
    say(
        words + (f"; {left} more with --all" if left else ""),
        as_json=as_json,
        event="done",
        claims=len(findings),
        failed=failed,
        left=left,
        seconds=round(seconds, 3),
        device=device,
        dtype=str(precision).removeprefix("torch."),
        torch=torch.__version__,
    )
    return 1 if failed else 0


def _claims(run: str | None, device: str, weights: Weights) -> Sequence[Claim]:
    """What is to be tried."""
    if run == RESUME:
        return resume_claims()
    if run is not None:
        return model_claims(load(run, device=device, weights=weights))
    check_device(device)
    return CLAIMS


def _quietly(claims: Sequence[Claim], device: str, dtype: torch.dtype) -> Iterator[Finding]:
    """The findings, on one thread where there is no network, and without torch's own warnings."""
    threads = torch.get_num_threads()
    try:
        if (
            claims[0] in CLAIMS
        ):  # small tensors: more threads take three times as long on a busy machine
            torch.set_num_threads(1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            yield from tried(claims, device, dtype)
    finally:
        torch.set_num_threads(threads)


def _facts(finding: Finding) -> dict[str, Any]:
    """A finding as plain facts; JSON has no NaN and no infinity."""
    claim = finding.claim
    return {
        "claim": claim.name,
        "source": claim.source,
        "measured": finding.measured if math.isfinite(finding.measured) else None,
        "expected": claim.expected,
        "tolerance": finding.tolerance,
        "passed": finding.passed,
        "seconds": round(finding.seconds, 4),
        "error": finding.error,
    }


def _print(findings: Sequence[Finding]) -> None:
    """The table."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("claim", ratio=5)
    table.add_column("source", ratio=4, style="dim")
    for name in ("measured", "expected", "tolerance"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("result", no_wrap=True)
    for finding in findings:
        claim, reported = finding.claim, finding.tolerance is None
        table.add_row(
            escape(claim.name) + (f"\n{escape(finding.error)}" if finding.error else ""),
            escape(claim.source),
            "-" if finding.error else f"{finding.measured:.3g}",
            "" if reported else f"{claim.expected:.4g}",
            "" if reported else f"± {finding.tolerance:.1g}",
            _result(finding),
        )
    console.print(table)


def _result(finding: Finding) -> str:
    if finding.passed is None:
        return "does not fit" if finding.error else ""
    return "[green]pass[/]" if finding.passed else "[bold red]FAIL[/]"
