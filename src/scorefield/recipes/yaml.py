"""YAML as people mean it: only true and false are booleans, so that ``compile: off`` is a word."""

from __future__ import annotations

import re
from typing import Any

import yaml

BOOLEAN = "tag:yaml.org,2002:bool"


class PlainLoader(yaml.SafeLoader):
    """PyYAML's safe loader with the booleans of YAML 1.2 (1.1 also has on, off, yes, no)."""

    yaml_implicit_resolvers = {  # noqa: RUF012  (PyYAML's own form)
        first: [(tag, pattern) for tag, pattern in resolvers if tag != BOOLEAN]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


PlainLoader.add_implicit_resolver(BOOLEAN, re.compile("^(?:true|false)$"), list("tf"))


def read_yaml(text: str) -> Any:  # noqa: ANN401  (YAML holds anything)
    """What a YAML text says, as plain dictionaries, lists, numbers and words.

    Arguments:
        text: one document.

    Raises:
        yaml.YAMLError: when it is not YAML.
    """
    return yaml.load(text, Loader=PlainLoader)
