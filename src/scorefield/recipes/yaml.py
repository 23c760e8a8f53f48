"""YAML as people mean it: only true and false are booleans, so that ``compile: off`` is a word.

Nor is 1:30 ninety, 0123 eighty-three or 2024-01-05 a date: these are words too, as names of folders may be.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

TAG = "tag:yaml.org,2002:"
BOOLEAN, INTEGER, REAL, DATE = (TAG + kind for kind in ("bool", "int", "float", "timestamp"))
OURS = {
    BOOLEAN: ("^(?:true|false)$", "tf"),
    INTEGER: ("^[-+]?(?:0|[1-9][0-9]*)$", "-+0123456789"),
    REAL: (  # what is no integer already
        r"^(?:[-+]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
        "-+0123456789.",
    ),
}


class PlainLoader(yaml.SafeLoader):
    """PyYAML's safe loader with the booleans and numbers of YAML 1.2, and without dates."""

    yaml_implicit_resolvers = {  # noqa: RUF012  (PyYAML's own form)
        first: [(tag, pattern) for tag, pattern in resolvers if tag not in (*OURS, DATE)]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


for _tag, (_pattern, _firsts) in OURS.items():
    PlainLoader.add_implicit_resolver(_tag, re.compile(_pattern), list(_firsts))


def read_yaml(text: str) -> Any:  # noqa: ANN401  (YAML holds anything)
    """What a YAML text says, as plain dictionaries, lists, numbers and words.

    Arguments:
        text: one document.

    Raises:
        yaml.YAMLError: when it is not YAML, or nested too deeply.
    """
    try:
        return yaml.load(text, Loader=PlainLoader)
    except RecursionError:
        raise yaml.YAMLError("it is nested too deeply") from None
    except ValueError as error:  # of a tag that the value does not fit, as in !!int word
        raise yaml.YAMLError(str(error)) from None
