"""Plain dictionaries to light objects and back: the one door for all that comes from outside.

A dictionary names the class of an object by its ``kind`` in the catalog. `from_dict` checks names
itself, so that it can say what was meant, and leaves values to pydantic.
"""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from scorefield.errors import InputError, unknown
from scorefield.recipes.catalog import CATALOG

T = TypeVar("T")
Plain = dict[str, Any]


def to_dict(thing: object) -> Plain:
    """A light object as plain dictionaries, lists and numbers, ready for JSON.

    Arguments:
        thing: a frozen dataclass; those of the catalog get a ``kind``.
    """
    out: Plain = {}
    for _, kinds in CATALOG.values():
        for kind, cls in kinds.items():
            if type(thing) is cls:
                out["kind"] = kind
    for field in dataclasses.fields(typing.cast(Any, thing)):
        value = getattr(thing, field.name)
        if dataclasses.is_dataclass(value):
            value = to_dict(value)
        out[field.name] = _listed(value)
    return out


def _listed(value: object) -> object:
    """Tuples as lists, within each other too."""
    return [_listed(each) for each in value] if isinstance(value, tuple) else value


def from_dict(cls: type[T], given: object, where: str = "") -> T:
    """The light object that a dictionary describes, checked.

    Arguments:
        cls: the class, or an interface of the catalog.
        given: a dictionary of its fields; for an interface with a ``kind``, or the kind alone.
        where: the dotted path of the object, for errors.

    Raises:
        InputError: for a kind, a key or a value that does not fit, with the path and what would.
    """
    interface = _interface(cls)
    kinds: dict[str, type] = {}
    if interface is not None:
        noun, kinds = interface
        plain: Any = {"kind": given} if isinstance(given, str) else given
        if not isinstance(plain, Mapping) or "kind" not in plain:
            raise InputError(
                f"{where or noun} must be one of {', '.join(kinds)} or a mapping with a 'kind', "
                f"got {given!r}"
            )
        if not isinstance(plain["kind"], str) or plain["kind"] not in kinds:
            raise unknown(noun, plain["kind"], kinds)
        cls = kinds[plain["kind"]]
        given = {key: value for key, value in plain.items() if key != "kind"}
    if not isinstance(given, Mapping):
        raise InputError(f"{where or cls.__name__} must be a mapping of its keys, got {given!r}")
    hints = field_types(typing.cast(Any, cls))
    for key in given:
        if key not in hints:
            error = unknown(f"key in {where or cls.__name__}:", key, hints)
            having = [kind for kind, other in kinds.items() if key in field_types(other)]
            raise InputError(f"{error}; it is a key of {', '.join(having)}") if having else error
    missing = [
        f.name
        for f in dataclasses.fields(typing.cast(Any, cls))
        if f.name not in given and f.default is f.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise InputError(f"{where or cls.__name__} lacks {', '.join(missing)}")
    prefix = f"{where}." if where else ""
    fields = {key: _value(hints[key], value, prefix + key) for key, value in given.items()}
    try:
        return cls(**fields)
    except InputError as error:
        raise InputError(f"{where}: {error}" if where else str(error)) from None


def _interface(cls: type) -> tuple[str, dict[str, type]] | None:
    """What an interface is called and its kinds; an abstract class below one has those that fit it."""
    if cls in CATALOG:
        return CATALOG[cls]
    if inspect.isabstract(cls):
        for above, (noun, kinds) in CATALOG.items():
            if issubclass(cls, above):
                return noun, {
                    kind: known for kind, known in kinds.items() if issubclass(known, cls)
                }
    return None


def dotted(plain: Mapping[str, Any], prefix: str = "") -> Plain:
    """The values within dictionaries by dotted key, in order.

    Arguments:
        plain: as `to_dict` gives it.
        prefix: what stands before each key.
    """
    found: Plain = {}
    for key, value in plain.items():
        name = f"{prefix}{key}"
        found |= dotted(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return found


def override(plain: Plain, assignment: str) -> Plain:
    """A copy of a dictionary with one dotted key set, as in ``network.width=64`` or ``schedule=subvp``.

    Values are read as YAML. A kind alone replaces the whole object by that kind's defaults.

    Arguments:
        plain: the dictionary, as `to_dict` gives it.
        assignment: the dotted key, '=', and the value.

    Raises:
        InputError: when there is no '=' or a part of the key leads nowhere.
    """
    from yaml import YAMLError

    from scorefield.recipes.yaml import read_yaml

    path, equals, text = assignment.partition("=")
    if not equals or not path:
        raise InputError(f"'{assignment}' is not an override; write key=value, as network.width=64")
    try:
        value = read_yaml(text)
    except YAMLError as error:
        raise InputError(f"the value of {path} is not YAML: '{text}'") from error
    return _set(plain, path.split("."), value, path)


def _set(plain: Plain, keys: list[str], value: object, path: str) -> Plain:
    key, rest = keys[0], keys[1:]
    if not rest:
        return {**plain, key: value}
    if key not in plain:
        raise unknown(f"key '{path}':", key, [k for k in plain if k != "kind"])
    if not isinstance(plain[key], dict):
        raise InputError(f"'{path}' leads nowhere: {key} is {plain[key]!r} and has no keys")
    return {**plain, key: _set(plain[key], rest, value, path)}


@cache
def field_types(cls: type) -> dict[str, Any]:
    """The fields of a dataclass with their types, in order."""
    hints = get_type_hints(cls)
    return {f.name: hints[f.name] for f in dataclasses.fields(typing.cast(Any, cls))}


def _value(hint: Any, value: object, where: str) -> object:  # noqa: ANN401  (types are objects)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return value if isinstance(value, hint) else from_dict(hint, value, where)
    from pydantic import ConfigDict, TypeAdapter, ValidationError

    if isinstance(value, bool) and hint is not bool:  # which pydantic would take for 0 or 1
        raise InputError(f"{where} must be {_plainly(hint)}, got {value}")
    try:
        adapter: TypeAdapter[object] = TypeAdapter(
            hint, config=ConfigDict(coerce_numbers_to_str=True)
        )
        return adapter.validate_python(value)
    except ValidationError:
        raise InputError(f"{where} must be {_plainly(hint)}, got {value!r}") from None


def _plainly(hint: Any) -> str:  # noqa: ANN401  (types are objects)
    """A type in words."""
    words = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    if hint in words:
        return words[hint]
    origin, inner = get_origin(hint), get_args(hint)
    if origin is typing.Literal:
        return "one of " + ", ".join(map(str, inner))
    if origin in (types.UnionType, typing.Union):
        return " or ".join("nothing" if part is type(None) else _plainly(part) for part in inner)
    if origin is tuple:
        return f"a list, each {_plainly(inner[0])}"
    return str(hint)
