"""A policy's YAML text into values, with the file, line and column of whatever is wrong in it."""

from __future__ import annotations

from typing import Final

import yaml

from mallku_contracts.limits import MIB
from mallku_contracts.policy.model import Policy
from mallku_contracts.policy.review import review
from mallku_contracts.wording import dotted
from mallku_contracts.yaml_text import Kind, YamlError, locate, place_text, read_yaml

MAX_POLICY_CHARS: Final = MIB
"""A policy document, characters."""

_POLICY: Final = Kind(Policy, "a policy", "version, roles and principals", MAX_POLICY_CHARS)


class PolicyError(ValueError):
    """The policy cannot be used; each line of the message is `source:line:column: what`."""


def read_policy(text: str, source: str = "policy") -> Policy:
    """Read and validate a policy document.

    Refused: what is not YAML, anchors, aliases and tags, a key twice, and everything the model
    refuses.

    Raises:
        PolicyError: one line for each problem, with its place in `source`.
    """
    return _read(text, source)[0]


def check_policy(text: str, source: str = "policy") -> tuple[Policy, list[str]]:
    """Read a policy as `read_policy` does, and say what in it is hardly meant.

    Each warning is `source:line:column: path: what`, in the order of the document.
    """
    policy, root = _read(text, source)
    marked = [(locate(root, finding.place), finding) for finding in review(policy)]
    marked.sort(key=lambda pair: (pair[0].line, pair[0].column))
    return policy, [
        f"{place_text(source, mark)}: {dotted(finding.place)}: {finding.message}"
        for mark, finding in marked
    ]


def _read(text: str, source: str) -> tuple[Policy, yaml.Node]:
    try:
        return read_yaml(_POLICY, text, source)
    except YamlError as error:
        raise PolicyError(str(error)) from None
