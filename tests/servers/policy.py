"""An IAM policy as AWS evaluates it, as far as the policies of `deploy/iam` go; anything else in one is an error.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from tests.servers.actions import Permission

_S3 = "arn:aws:s3:::"


class Grant(NamedTuple):
    """One action on one resource pattern, for listings of one prefix pattern where there is a condition."""

    action: str
    resource: str
    prefix: str | None

    def covers(self, wanted: Permission) -> bool:
        """Whether this grant alone allows what is wanted."""
        return (
            wanted.action == self.action
            and _matches(self.resource, wanted.resource)
            and (self.prefix is None or (wanted.prefix is not None and _matches(self.prefix, wanted.prefix)))
        )


@dataclass(frozen=True)
class Policy:
    """What a set of credentials may do."""

    grants: tuple[Grant, ...]

    @classmethod
    def read(cls, path: Path, names: Mapping[str, str]) -> "Policy":
        """Read a policy, with `names` in the place of its placeholders; raise ValueError for what is not understood."""
        text = path.read_text(encoding="utf-8")
        for placeholder, name in names.items():
            text = text.replace(placeholder, name)
        document = json.loads(text)
        if document.keys() != {"Version", "Statement"} or document["Version"] != "2012-10-17":
            raise ValueError(f"{path.name} is no policy of this version")
        return cls(tuple(grant for statement in document["Statement"] for grant in _grants(statement)))

    def allows(self, wanted: Permission) -> bool:
        """Whether any grant covers it."""
        return any(grant.covers(wanted) for grant in self.grants)

    def without(self, taken: Grant) -> "Policy":
        """The policy with one grant taken away."""
        return replace(self, grants=tuple(grant for grant in self.grants if grant != taken))


def _grants(statement: Mapping[str, object]) -> list[Grant]:
    if not {"Sid", "Effect", "Action", "Resource"} <= statement.keys() <= {*_KNOWN} or statement["Effect"] != "Allow":
        raise ValueError(f"not understood: {statement}")
    prefixes: list[str | None] = [None]
    if condition := statement.get("Condition"):
        ((operator, keys),) = dict(condition).items()  # type: ignore[call-overload]
        ((key, patterns),) = keys.items()
        if (operator, key) != ("StringLike", "s3:prefix"):
            raise ValueError(f"not understood: {condition}")
        prefixes = [*_listed(patterns)]
    return [
        Grant(action, resource.removeprefix(_S3), prefix)
        for action in _listed(statement["Action"])
        for resource in _listed(statement["Resource"])
        for prefix in prefixes
    ]


_KNOWN = ("Sid", "Effect", "Action", "Resource", "Condition")


def _listed(value: object) -> list[str]:
    return [value] if isinstance(value, str) else list(value)  # type: ignore[call-overload]


def _matches(pattern: str, text: str) -> bool:
    """Whether a pattern with `*` and `?` matches the whole text, in which every character may stand."""
    regex = "".join({"*": ".*", "?": "."}.get(character, re.escape(character)) for character in pattern)
    return re.fullmatch(regex, text, re.DOTALL) is not None
