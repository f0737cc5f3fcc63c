"""Questions in SQL."""

import sys

import click
import pyarrow as pa

from query.asking.cookbook import parse_settings, recipes
from query.cli.common import format_option, on_store
from query.output import counted, kind_of, print_table, save_table, show
from query.session import Session
from store.errors import UsageError


def _list_cookbook(ctx: click.Context, _option: click.Parameter, name: str | None) -> str | None:
    """List the questions and end, where none is named: that needs no store."""
    if name == "":
        show(["name", "what it answers", "parameters"], [[r.name, r.sentence, r.words] for r in recipes()])
        ctx.exit()
    return name


@click.command()
@on_store
@click.argument("query", required=False)
@click.option(
    "--cookbook",
    metavar="[NAME]",
    is_flag=False,
    flag_value="",
    is_eager=True,
    callback=_list_cookbook,
    help="Ask a question by name; without a name, list them all.",
)
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="A parameter of the --cookbook question.")
@click.option("--out", metavar="FILE", help="Write the answer to a .csv, .json or .parquet file instead.")
@format_option
def sql(
    session: Session,
    *,
    query: str | None,
    cookbook: str | None,
    settings: tuple[str, ...],
    out: str | None,
    kind: str,
) -> None:
    """Answer one read-only QUERY, or a question of the cookbook; docs/sql.md lists the views and macros.

    Without QUERY, or where it is -, it is read from stdin; at a terminal a prompt opens, with history and completion.
    """
    if out is not None and kind not in {"table", kind_of(out)}:
        raise UsageError(f"{out} is no name for {kind}.", do="Leave out --format: the name says it.")
    nothing_asked = query is None and cookbook is None and out is None and not settings
    if nothing_asked and sys.stdin.isatty() and sys.stdout.isatty():
        from query.asking.console import run_console

        run_console(session)
        return
    table = _answer(session, query, cookbook, settings)
    if out is None:
        print_table(table, kind)
    else:
        save_table(table, out)
        click.echo(f"{counted(table.num_rows)} written to {out}.", err=True)
    if missing := session.unscored_parts():
        click.echo(f"Note: the view scores lacks {missing:,} parts; run `clipsieve score STORE`.", err=True)


def _answer(session: Session, query: str | None, cookbook: str | None, settings: tuple[str, ...]) -> pa.Table:
    if cookbook is not None:
        if query is not None:
            raise UsageError(f"Both a query and --cookbook {cookbook} are asked.", do="Ask one at a time.")
        return session.cookbook(cookbook, **parse_settings(settings))
    if settings:
        raise UsageError("--set is for the parameters of --cookbook.", do="Write the value into the query.")
    return session.sql(sys.stdin.read() if query in {None, "-"} else str(query))
