"""What decided a run, as a file that can be given to `export` again."""

from collections.abc import Iterable, Iterator

from query.rules.policies.policy import Policy
from query.toml_lines import toml_text


def as_toml(policy: Policy) -> str:
    """Return the policy's file as it is; of conditions that stand for a policy, the file that would say the same."""
    if policy.text is not None:
        return policy.text
    lines = ["# What --remove was given, as a policy."]
    for name, rule in zip(_distinct(rule.name for rule in policy.rules), policy.rules, strict=True):
        condition = toml_text(rule.name)
        lines += ["", "[[rule]]", f"name = {toml_text(name)}", f"reason = {condition}", f"remove = {condition}"]
    return "\n".join([*lines, ""])


def _distinct(names: Iterable[str]) -> Iterator[str]:
    """Yield every name once, as a policy wants them: `x`, `x (2)`."""
    seen: set[str] = set()
    for name in names:
        number, own = 1, name
        while own in seen:
            own = f"{name} ({(number := number + 1)})"
        seen.add(own)
        yield own
