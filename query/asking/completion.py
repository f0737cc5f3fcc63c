"""What Tab completes at the interactive prompt."""

import re
from collections.abc import Iterable, Iterator

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from query.asking.cookbook import find_recipe, recipes
from query.asking.headers import described_views
from store.errors import UnknownName

DOT_WORDS = (".help", ".views", ".cookbook", ".quit")

_WORD = re.compile(r"[\w.=]+")
_SQL_WORDS = (
    *("select", "from", "where", "group by", "order by", "having", "limit", "with", "as", "join", "left join", "using"),
    *("semi join", "anti join", "on", "and", "or", "not", "in", "like", "between", "is null", "is not null"),
    *("distinct", "count(*)", "sum", "avg", "min", "max", "median", "round", "case", "when", "then", "else", "end"),
    *("filter", "desc", "asc", "union all", "describe", "summarize", "explain", "over", "partition by", "exclude"),
)


class Words(Completer):
    """Completes views, columns, macros and words of SQL; after a dot the prompt's own and the cookbook's names."""

    def __init__(self, names: Iterable[str]) -> None:
        """Take the names of columns and macros."""
        kinds = {"word of SQL": _SQL_WORDS, "name": names, "view": [name for name, _ in described_views()]}
        self._kinds = {name: kind for kind, those in kinds.items() for name in those}

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:  # noqa: ARG002  # prompt_toolkit's signature
        """Yield what may follow the letters before the cursor."""
        word = document.get_word_before_cursor(pattern=_WORD)
        for name, kind in sorted(self._fitting(document.text_before_cursor, word).items()):
            if name.startswith(word.lower()):
                yield Completion(name, -len(word), display_meta=kind)

    def _fitting(self, text: str, word: str) -> dict[str, str]:
        """Return what may stand here, with a few words about each."""
        if not text.startswith("."):
            return self._kinds
        before = text[: len(text) - len(word)].split()
        if not before:
            return dict.fromkeys(DOT_WORDS, "")
        if before == [".cookbook"]:
            return {recipe.name: recipe.sentence for recipe in recipes()}
        try:
            return {f"{name}=": "" for name in find_recipe(before[1]).parameters} if before[1:] else {}
        except UnknownName:
            return {}
