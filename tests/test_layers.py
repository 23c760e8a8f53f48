"""The folders are the architecture: imports point down only."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import scorefield
import scorefield.doctor
import scorefield.evaluation
import scorefield.models
import scorefield.recipes
import scorefield.training
import scorefield.tuning
import scorefield.verification
import scorefield.viz

SOURCE = Path(scorefield.__file__).parent

# What each part of the package may import of the package, and from elsewhere.
LEAVES = {"errors", "atomic"}
ALLOWED = {
    "errors": set(),
    "atomic": {"errors"},
    "core": LEAVES | {"core"},
    "nets": {"errors", "nets"},
    "data": LEAVES | {"data"},
    "samplers": LEAVES | {"core", "samplers"},
    "guidance": LEAVES | {"core", "guidance"},
    "viz": LEAVES | {"core", "samplers", "data", "viz"},
    "recipes": LEAVES | {"core", "samplers", "nets", "data", "recipes"},
    "models": LEAVES | {"core", "samplers", "guidance", "nets", "data", "recipes", "models"},
    "verification": LEAVES
    | {"core", "samplers", "guidance", "data", "recipes", "models", "verification"},
    "evaluation": LEAVES
    | {"core", "samplers", "guidance", "nets", "data", "viz", "recipes", "models", "evaluation"},
    "doctor": LEAVES | {"core", "samplers", "nets", "data", "viz", "recipes", "doctor"},
    "tuning": LEAVES | {"samplers", "data", "viz", "recipes", "models", "evaluation", "tuning"},
    "training": LEAVES
    | {"core", "samplers", "nets", "data", "viz", "recipes", "models", "training"},
}
THIRD_PARTY = {
    "errors": set(),
    "atomic": set(),
    "core": {"torch", "scipy"},
    "nets": {"torch"},
    "data": {"torch", "numpy", "pooch", "requests", "rich", "PIL", "datasets"},
    "samplers": {"torch"},
    "guidance": {"torch"},
    "verification": {"torch", "safetensors"},
}
LAZY = {
    "matplotlib",
    "av",
    "tensorboard",
    "accelerate",
    "pooch",
    "requests",
    "pydantic",
    "rich",
    "datasets",
    "torch_fidelity",
    "transformers",
    "scipy",
}
FRONT_DOORS = {
    "scorefield": scorefield,
    "scorefield.doctor": scorefield.doctor,
    "scorefield.evaluation": scorefield.evaluation,
    "scorefield.recipes": scorefield.recipes,
    "scorefield.models": scorefield.models,
    "scorefield.training": scorefield.training,
    "scorefield.tuning": scorefield.tuning,
    "scorefield.verification": scorefield.verification,
    "scorefield.viz": scorefield.viz,
}


@cache
def modules():
    """Every module of the package: its file, the part it belongs to, and its tree."""
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        inside = path.relative_to(SOURCE)
        part = inside.parts[0] if len(inside.parts) > 1 else inside.stem
        found.append((inside.as_posix(), part, ast.parse(path.read_text(encoding="utf-8"))))
    return found


def imports(tree):
    """Every import of a tree as (module, names); `import m` has no names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, ()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            dots = "." * node.level
            yield dots + (node.module or ""), tuple(alias.name for alias in node.names)


def violations(part, tree):
    """What a module of ``part`` imports and may not."""
    for module, names in imports(tree):
        top, *below = module.split(".")
        if module.startswith("."):
            yield f"relative import of {module}"
        elif top != "scorefield":
            allowed = THIRD_PARTY.get(part)
            if allowed is not None and top not in sys.stdlib_module_names | allowed:
                yield f"import of {module}"
        elif part == "cli":
            yield from _at_the_front_door(module, names)
        elif not below:
            yield from (
                f"import of scorefield.{name}"
                for name in names or ["*"]
                if name != "__version__" and name not in ALLOWED[part]
            )
        elif below[0] not in ALLOWED[part]:
            yield f"import of {module}"


def _at_the_front_door(module, names):
    if module.split(".")[1:2] in (["cli"], ["atomic"], ["errors"]):
        return
    if module not in FRONT_DOORS:
        yield f"import of {module}"
        return
    public = {*FRONT_DOORS[module].__all__, "__version__"}
    yield from (f"import of {module}.{name}" for name in names or ["*"] if name not in public)


def at_module_level(tree):
    """Imports that run when the module is imported."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting.extend(node.orelse)
            continue
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from (module for module, _ in imports(node))
        waiting.extend(ast.iter_child_nodes(node))


def test_every_part_has_a_rule():
    parts = {part for _, part, _ in modules()} - {"__init__", "__main__", "cli"}
    assert parts == ALLOWED.keys()


@pytest.mark.parametrize("part", [*ALLOWED, "cli"])
def test_imports_point_down(part):
    trees = [(name, tree) for name, its, tree in modules() if its == part]
    assert trees
    found = [f"{name}: {wrong}" for name, tree in trees for wrong in violations(part, tree)]
    assert found == []


def test_the_package_opens_only_on_demand():
    (tree,) = (tree for name, _, tree in modules() if name == "__init__.py")
    assert {m.split(".")[0] for m in at_module_level(tree)} == {"__future__", "importlib", "typing"}
    (tree,) = (tree for name, _, tree in modules() if name == "__main__.py")
    assert [module for module, _ in imports(tree)] == ["scorefield.cli.main"]


def test_heavy_and_optional_packages_are_imported_where_they_are_used():
    found = [
        f"{name}: {module}"
        for name, _, tree in modules()
        for module in at_module_level(tree)
        if module.split(".")[0] in LAZY or module.startswith("torch.utils.tensorboard")
    ]
    assert found == []


@pytest.mark.parametrize(
    ("part", "line"),
    [
        ("samplers", "from scorefield.nets.unet import UNetConfig"),
        ("samplers", "from scorefield import nets"),
        ("guidance", "from scorefield.samplers.base import sample"),
        ("core", "def late():\n    import scorefield.samplers.base"),
        ("core", "from ..samplers import base"),
        ("core", "import numpy"),
        ("nets", "from scorefield.atomic import whole_file"),
        ("nets", "from scorefield.core.broadcast import expand"),
        ("data", "from scorefield.recipes import find_recipe"),
        ("viz", "from scorefield.models import Model"),
        ("models", "from scorefield.training import Trainer"),
        ("recipes", "from scorefield import Trainer"),
        ("cli", "from scorefield.recipes.config import field_types"),
        ("cli", "from scorefield import core"),
        ("cli", "from scorefield.viz import to_data_scale"),
        ("cli", "import scorefield.core.schedules"),
    ],
)
def test_the_check_finds_what_is_forbidden(part, line):
    assert list(violations(part, ast.parse(line)))


def test_the_check_knows_when_an_import_runs():
    source = (
        "import a\nif TYPE_CHECKING:\n    import b\nelse:\n    import c\n"
        "try:\n    import d\nexcept ImportError:\n    pass\n"
        "class K:\n    import e\n    def f(self):\n        import g\n"
    )
    assert sorted(at_module_level(ast.parse(source))) == ["a", "c", "d", "e"]


HELP = """
import sys, scorefield
from scorefield.cli.main import main
assert main(["--help"]) == 0
heavy = {"torch", "numpy", "PIL", "matplotlib", "accelerate", "safetensors"} & set(sys.modules)
assert not heavy, heavy
sys.modules["torch"] = None  # it cannot be imported
try:
    scorefield.VP
except ImportError:
    pass
else:
    raise AssertionError("scorefield.VP without torch")
"""


def test_help_does_not_wait_for_torch():
    done = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    commands = (
        "train resume ema doctor sample evaluate compare tune likelihood latent show list plot"
    )
    for command in [*commands.split(), "report", "verify"]:
        assert command in done.stdout
