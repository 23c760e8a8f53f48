"""Options that several commands have."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter, Token

from scorefield.errors import InputError


def _whole(_: Any, tokens: Sequence[Token]) -> int:  # noqa: ANN401  (cyclopts passes a type)
    """A whole number; the parser's own would take 2.7 for 2."""
    token = tokens[0]
    try:
        return int(token.value)
    except ValueError:
        raise InputError(f"{token.keyword} must be a whole number, got '{token.value}'") from None


def _path(_: Any, tokens: Sequence[Token]) -> Path:  # noqa: ANN401
    """A path; an empty one would be the working folder."""
    token = tokens[0]
    if not token.value:
        raise InputError(f"{token.keyword} must be a path, got ''; . is the working folder")
    return Path(token.value)


Whole = Annotated[int, Parameter(converter=_whole)]
Number = Annotated[int, Parameter(name=["--number", "-n"], converter=_whole)]
Out = Annotated[Path, Parameter(name=["--out", "-o"], converter=_path)]
Json = Annotated[bool, Parameter(name="--json", negative=())]
Track = Annotated[tuple[str, ...], Parameter(negative=())]
Weights = Literal["ema", "raw"]
Batch = Annotated[int | None, Parameter(converter=_whole)]
Precision = Literal["auto", "fp32", "bf16"]
Compile = Annotated[Literal["auto", "on", "off"], Parameter(name="--compile")]
