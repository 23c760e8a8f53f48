"""The public names: sorted, importable, few."""

import ast
import importlib
import re
from pathlib import Path

import pytest

import scorefield as sf

PACKAGES = [
    *("doctor", "evaluation", "recipes", "models", "training", "tuning", "verification", "viz"),
]


def isort_style(name):
    """The order of ruff's RUF022: SCREAMING_CASE, then CamelCase, then others; numbers by value."""
    case = 0 if len(name) > 1 and name.isupper() else 1 if name[0].isupper() else 2
    parts = re.findall(r"\d+|\D+", name)
    return case, [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts]


def test_the_order_is_that_of_the_linter():
    # The first list is the example in ruff's documentation of RUF022, sorted by its description.
    given = ["foo", "X0", "Bar10", "ABC", "Bar2", "V", "_baz"]
    assert sorted(given, key=isort_style) == ["ABC", "X0", "Bar2", "Bar10", "V", "_baz", "foo"]


def test_public_names_are_sorted_unique_and_few():
    assert sorted(sf.__all__, key=isort_style) == sf.__all__
    assert len(set(sf.__all__)) == len(sf.__all__)
    assert len(sf.__all__) <= 130


@pytest.mark.parametrize("name", sf.__all__)
def test_public_name_comes_from_its_home(name):
    home = importlib.import_module(f"scorefield.{sf._HOME_OF[name]}")
    found = getattr(sf, name)
    assert found is getattr(home, name)
    if callable(found):
        assert (found.__module__, found.__qualname__) == (home.__name__, name)


def test_homes_and_type_imports_agree_with_the_public_names():
    tree = ast.parse(Path(sf.__file__).read_text(encoding="utf-8"))
    (guarded,) = (node for node in tree.body if isinstance(node, ast.If))
    assert ast.unparse(guarded.test) == "TYPE_CHECKING"
    typed = {
        alias.name: node.module.removeprefix("scorefield.")
        for node in guarded.body
        for alias in node.names
    }
    homes = {name: home for home, names in sf._HOMES.items() for name in names.split()}
    assert typed == homes
    assert set(homes) == set(sf.__all__)
    assert sum(len(names.split()) for names in sf._HOMES.values()) == len(sf.__all__)


def test_dir_and_unknown_names():
    assert {*sf.__all__, "__version__"} == set(dir(sf))
    with pytest.raises(AttributeError, match="'scorefield' has no attribute 'Difussion'"):
        _ = sf.Difussion
    names = {}
    exec("from scorefield import *", names)
    assert set(sf.__all__) <= names.keys()


def test_version_is_a_version():
    assert re.fullmatch(r"\d+\.\d+\.\d+", sf.__version__)


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_export_what_they_list(package):
    module = importlib.import_module(f"scorefield.{package}")
    assert sorted(module.__all__, key=isort_style) == module.__all__
    for name in module.__all__:
        assert getattr(module, name) is not None
