"""What the documents say works: their Python runs, their commands parse, their links lead somewhere."""

import re
import shlex
import sys
import textwrap
from pathlib import Path

import pytest

from scorefield.cli.main import app

ROOT = Path(__file__).parents[1]
RUN = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
ALL = [*RUN, *(path for path in sorted(ROOT.glob("*.md")) if path not in RUN)]
COMMANDS = {
    "train",
    "resume",
    "ema",
    "doctor",
    "sample",
    "calibrate",
    "compare",
    "evaluate",
    "tune",
    "likelihood",
    "latent",
    "show",
    "report",
    "list",
    "plot",
    "verify",
}
PLOTS = {"grid", "augmentation", "animation", "paths", "schedule", "loss"}
SYNOPSIS = re.compile(r"[\[\]{}<>|…]|\.\.\.")


def python_blocks(text):
    """The ```python blocks of a document that are to be run, each with its first line's number."""
    found = re.finditer(
        r"(<!--(?P<comment>.*?)-->[ \t]*\n+)?^(?P<indent> *)```python[^\n]*\n(?P<code>.*?)^ *```",
        text,
        re.DOTALL | re.MULTILINE,
    )
    for match in found:
        if "not run" not in (match["comment"] or ""):
            yield text[: match.start("code")].count("\n") + 1, textwrap.dedent(match["code"])


def command_lines(text):
    """The lines of a document's blocks that call the command line, as words after its name."""
    joined = text.replace("\\\n", " ")
    for line in joined.splitlines():
        match = re.match(r"^\s*(?:\$ )?scorefield( +\S.*)$", line)
        if match:
            yield shlex.split(match[1], comments=True)


def mentioned(text):
    """Commands in the running text, as in `scorefield list samplers`."""
    for match in re.finditer(r"`scorefield ([^`]+)`", text):
        yield match[1].split()


def wrong(words):
    """What is wrong with a command, or nothing; what stands for something else is not parsed."""
    if words[0].startswith("-"):
        return None if words[0] in ("--help", "--version") else f"no option {words[0]}"
    if words[0] not in COMMANDS:
        return f"no command {words[0]}"
    if any(SYNOPSIS.search(word) for word in words[1:]):
        return None
    if words[0] == "plot" and len(words) > 1 and words[1] not in PLOTS:
        return f"no plot {words[1]}"
    try:
        app.parse_args([w for w in words if w != "--debug"], exit_on_error=False, print_error=False)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


DOCUMENT = """
Text with `scorefield lst` in it.

```python
x = 1
```

<!-- not run: it needs a model -->
```python
raise SystemExit
```

    $ scorefield train moons --budget 5m \\
        -o runs/a       # a remark
    scorefield sample runs/a --stesp 3
    scorefield plot {grid|paths} ...

1. In a list:

   ```python
   if x:
       x = 2
   ```
"""


def test_documents_are_read_as_people_read_them():
    assert list(python_blocks(DOCUMENT)) == [(5, "x = 1\n"), (21, "if x:\n    x = 2\n")]
    train, sample, plot = command_lines(DOCUMENT)
    assert train == ["train", "moons", "--budget", "5m", "-o", "runs/a"]
    assert list(mentioned(DOCUMENT)) == [["lst"]]
    assert (wrong(train), wrong(plot)) == (None, None)
    assert "--stesp" in wrong(sample)
    assert wrong(["lst"]) == "no command lst"
    assert wrong(["plot", "girds"]) == "no plot girds"
    assert wrong(["train", "moons"]) is not None


def test_readme_shows_both_ways_in():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert {words[0] for words in command_lines(text)} >= {"train", "sample", "show"}
    assert list(python_blocks(text))


@pytest.mark.parametrize("path", RUN, ids=lambda path: path.name)
def test_python_blocks_run(path, tmp_path, monkeypatch, previews):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [path.name])
    names = {"__name__": "__main__"}
    for line, code in python_blocks(path.read_text(encoding="utf-8")):
        # the number of lines before it makes a traceback point into the document
        exec(compile("\n" * (line - 1) + code, str(path), "exec"), names)


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.name)
def test_commands_parse(path):
    text = path.read_text(encoding="utf-8")
    found = [*command_lines(text), *mentioned(text)]
    assert [f"{' '.join(words)}: {wrong(words)}" for words in found if wrong(words)] == []


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.name)
def test_links_lead_somewhere(path):
    text = path.read_text(encoding="utf-8")
    links = re.findall(
        r"\]\(([^)\s#]+)(?:#[^)]*)?\)", re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    )
    local = [link for link in links if not re.match(r"[a-z]+:", link)]
    assert [link for link in local if not (path.parent / link).exists()] == []


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.name)
def test_scripts_that_are_named_are_there(path):
    text = path.read_text(encoding="utf-8")
    named = re.findall(r"\b(?:scripts|benchmarks|examples)/[\w-]+(?:\.\w+)?", text)
    assert [name for name in named if not (ROOT / name).exists()] == []
