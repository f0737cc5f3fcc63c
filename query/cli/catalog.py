"""The store for other DuckDB clients."""

import click

from query.asking.catalog import Catalog
from query.cli.common import on_store
from query.session import Session


@click.command()
@on_store
@click.option("--to", metavar="FILE.duckdb", help="Where to write it; by default the store's name, in this folder.")
def catalog(session: Session, *, to: str | None) -> None:
    """Write a small .duckdb file whose views show STORE's own files to any DuckDB client: a shell, a notebook, a tool.

    It holds no data: parts that are written later are seen by themselves. Make it again after scoring a new concept.
    """
    _tell(session.catalog(to))


def _tell(written: Catalog) -> None:
    click.echo(f"Written to {written.place}: the views {', '.join(written.views)}.")
    click.echo(f"Macros: {', '.join(written.macros)}.")
    if written.concepts:
        click.echo(f"Its scores are those of {', '.join(written.concepts)}, as they are worded now.")
    if written.empty:
        click.echo(f"Empty until it is made again: {', '.join(written.empty)}, of which the store has no file yet.")
    if written.on_s3:
        click.echo(
            "A client needs S3 for it: install httpfs; load httpfs; create secret (type s3, provider credential_chain);"
        )
    click.echo(f"Open it: duckdb -readonly {written.place}")
