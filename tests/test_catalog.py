"""The catalog is the test matrix: a new class is tested the moment it is listed."""

import ast
import dataclasses
import inspect
import json
import math
import re
from pathlib import Path

import pytest

from scorefield.core.objective import Objective
from scorefield.data.augmentation import Augmentation
from scorefield.data.base import DataSpec
from scorefield.recipes import (
    CATALOG,
    Recipe,
    Sampling,
    Training,
    catalog,
    describe,
    from_dict,
    to_dict,
)

ENTRIES = [
    pytest.param(interface, kind, cls, id=f"{noun}-{kind}")
    for interface, (noun, kinds) in CATALOG.items()
    for kind, cls in kinds.items()
]
CLASSES = {cls for _, kinds in CATALOG.values() for cls in kinds.values()}
every_entry = pytest.mark.parametrize(("interface", "kind", "cls"), ENTRIES)


def variants(cls):
    """The default object and one that differs from it in each field whose type allows it simply."""
    yield cls()
    for field in dataclasses.fields(cls):
        default = field.default
        if dataclasses.is_dataclass(default):
            (kinds,) = (k for i, (_, k) in CATALOG.items() if isinstance(default, i))
            yield cls(**{field.name: next(k for k in kinds.values() if type(default) is not k)()})
        elif isinstance(default, bool):
            yield cls(**{field.name: not default})
        elif isinstance(default, float) and math.isfinite(default):
            yield cls(**{field.name: default * 0.875 + 0.013671875})


@every_entry
def test_docstring(interface, kind, cls):
    words = describe(cls)
    assert 10 < len(words.summary) <= 100
    assert words.summary.endswith(".")
    assert words.reference, f"{cls.__name__} has no Reference:"
    assert re.search(r"\d{4}|http", words.reference), "a reference has a year or an address"
    assert list(words.arguments) == [field.name for field in dataclasses.fields(cls)]
    for field in dataclasses.fields(cls):
        assert words.arguments[field.name][0] == field.default


@pytest.mark.parametrize(
    "cls",
    [
        *sorted(CLASSES, key=lambda c: c.__name__),
        *(Recipe, Sampling, Training, Objective, DataSpec, Augmentation),
    ],
)
def test_docstring_has_a_sentence_for_each_field_and_none_for_others(cls):
    fields = {field.name for field in dataclasses.fields(cls)}
    doc = inspect.cleandoc(cls.__doc__)
    section = re.search(r"^Arguments:\n((?: {4}.*\n?|\n)*)", doc, re.MULTILINE)
    written = set(re.findall(r"^ {4}(\w+): ", section[1], re.MULTILINE)) if section else set()
    assert written == fields
    assert all(sentence for _, sentence in describe(cls).arguments.values())


@every_entry
def test_frozen_dataclass(interface, kind, cls):
    thing = cls()
    assert dataclasses.is_dataclass(cls)
    assert issubclass(cls, interface)
    for field in dataclasses.fields(cls):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(thing, field.name, getattr(thing, field.name))


@every_entry
def test_json_round_trip(interface, kind, cls):
    for thing in variants(cls):
        # RFC 8259 has no NaN and no Infinity: other programs could not read them.
        plain = json.loads(json.dumps(to_dict(thing), allow_nan=False))
        assert plain["kind"] == kind
        assert from_dict(interface, plain) == thing
    assert from_dict(interface, kind) == cls()


@every_entry
def test_hashable_by_value(interface, kind, cls):
    seen = list(variants(cls))
    assert len({*seen, *variants(cls)}) == len(seen)


@every_entry
def test_repr_says_how_to_make_it(interface, kind, cls):
    names = {known.__name__: known for known in CLASSES} | {"inf": math.inf}
    for thing in variants(cls):
        assert eval(repr(thing), {"__builtins__": {}}, names) == thing


@every_entry
def test_abstract_or_final(interface, kind, cls):
    assert not inspect.isabstract(cls)
    assert inspect.isabstract(interface)
    assert [base.__name__ for base in cls.__mro__[1:] if base in CLASSES] == []


def test_each_class_has_one_kind_and_each_kind_one_entry():
    listed = [cls for _, kinds in CATALOG.values() for cls in kinds.values()]
    assert len(listed) == len(set(listed))
    assert len({noun for noun, _ in CATALOG.values()}) == len(CATALOG)
    # A dictionary keeps the last of two equal keys in silence, so the source is read.
    tree = ast.parse(Path(catalog.__file__).read_text(encoding="utf-8"))
    for table in (node for node in ast.walk(tree) if isinstance(node, ast.Dict)):
        keys = [ast.unparse(key) for key in table.keys]
        assert len(keys) == len(set(keys))


def test_every_concrete_class_is_listed():
    def below(cls):
        for child in cls.__subclasses__():
            yield child
            yield from below(child)

    for interface, (_, kinds) in CATALOG.items():
        concrete = {
            cls
            for cls in below(interface)
            if not inspect.isabstract(cls)
            and cls.__module__.startswith("scorefield.")
            and not cls.__name__.startswith("_")
        }
        assert concrete == set(kinds.values())


def test_promised_names():
    kinds = {noun: set(kinds) for noun, kinds in CATALOG.values()}
    assert {"vp", "subvp", "ve", "cosine", "flow", "ddpm"} <= kinds["schedule"]
    assert {"linear", "quadratic", "cosine", "constant", "sigmoid", "given"} <= kinds["betas"]
    assert {"x0", "noise", "v", "velocity", "score", "edm"} <= kinds["parameterization"]
    assert {
        *("ddim", "ddpm", "euler", "heun", "dpm++", "dpm++sde", "euler-maruyama", "pc")
    } <= kinds["sampler"]
    assert {"mnist", "mnist10k", "mixture", "ramp", "spiral"} <= kinds["dataset"]
    assert {"moons", "checkerboard", "swiss-roll"} <= kinds["dataset"]
    assert {"unet", "scorenet", "mlp"} <= kinds["network"]
