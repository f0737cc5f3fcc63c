"""The commands for vectors that were made elsewhere."""

import sys
from collections.abc import Callable
from contextlib import ExitStack

import click

from embed.vectors.request import ImportRequest, ImportSummary, OnRows, PromptsRequest
from store.s3 import S3Options


@click.command("import")
@click.argument("path")
@click.option("--store", required=True, metavar="STORE", help="A folder or s3://bucket/prefix; made if it is missing.")
@click.option(
    "--encoder",
    required=True,
    metavar="MODEL/PRETRAINED",
    help="Whose vectors they are, in open_clip's names, for example ViT-B-16/openai.",
)
@click.option("--source", metavar="NAME", help="What the source is called, or its URI; PATH where it is left out.")
@click.option("--metadata", metavar="FILE", help="The rows of the vectors, where their name does not say it.")
@click.option(
    "--uri-column", metavar="NAME", help="The column that names images; else uri, url, image_path, path, key, id."
)
@click.option("--uri-prefix", default="", metavar="TEXT", help="Stands before every name, for example s3://bucket/in/.")
@click.option("--array", metavar="NAME", help="Which array of an .npz; else the model's, such as l14_img.")
@click.option("--dim", type=click.IntRange(1), help="Dimensions of a raw float32 .bin; else the model's.")
@click.option("--normalize", is_flag=True, help="Scale vectors to length 1.")
@click.option("--keep-first", is_flag=True, help="Where rows of one name have different vectors, take the first.")
@click.option("--captions/--no-captions", default=None, help="Cache captions as prompts; else where they are few.")
@click.option("--logit-scale", type=click.FloatRange(0, min_open=True), help="Of the model; else 100, as CLIP's.")
@click.option("--join", is_flag=True, help="Mix with embedded vectors of that name: you know that they are the same.")
@click.option("--second-encoder", is_flag=True, help="Keep apart from embedded vectors of that name.")
@click.option("--endpoint-url", metavar="URL", help="An S3 service that is not AWS.")
@click.option("--region", help="The bucket's region.")
def import_(
    path: str,
    store: str,
    encoder: str,
    *,
    source: str | None,
    metadata: str | None,
    uri_column: str | None,
    uri_prefix: str,
    array: str | None,
    dim: int | None,
    normalize: bool,
    keep_first: bool,
    captions: bool | None,
    logit_scale: float | None,
    join: bool,
    second_encoder: bool,
    endpoint_url: str | None,
    region: str | None,
) -> None:
    """Bring image vectors that were made elsewhere into STORE, where they count like embedded ones.

    PATH is clip-retrieval's output, a folder of DataComp's shards (or one .npz), or .npy, or raw float32 .bin beside
    Parquet, CSV or JSON. All is checked before anything is written; the same command goes on where it was stopped.
    """
    from embed.vectors.run import run

    request = ImportRequest(
        path=path,
        store=store,
        encoder=encoder,
        source=source,
        metadata=metadata,
        uri_column=uri_column,
        uri_prefix=uri_prefix,
        array=array,
        dim=dim,
        normalize=normalize,
        keep_first=keep_first,
        captions=captions,
        logit_scale=logit_scale,
        join=join,
        second_encoder=second_encoder,
        s3=S3Options(endpoint_url, region),
    )
    with ExitStack() as shown:
        summary = run(request, _bars(shown))
    _show(summary, store)


@click.command("import-prompts")
@click.argument("store")
@click.option("--vectors", required=True, metavar="FILE.npy", help="One row per text.")
@click.option("--texts", required=True, metavar="FILE", help="A text a line (.txt), a JSON list, or a table.")
@click.option("--column", metavar="NAME", help="The column of the texts; else text, prompt, caption or name.")
@click.option("--encoder", metavar="ENCODER", help="Which encoder of the store; may be left out where it holds one.")
@click.option("--normalize", is_flag=True, help="Scale vectors to length 1.")
@click.option("--endpoint-url", metavar="URL", help="An S3 service that is not AWS.")
@click.option("--region", help="The bucket's region.")
def import_prompts(
    store: str,
    *,
    vectors: str,
    texts: str,
    column: str | None,
    encoder: str | None,
    normalize: bool,
    endpoint_url: str | None,
    region: str | None,
) -> None:
    """Cache text vectors in STORE with their texts: a concept that names these texts is scored without torch."""
    from embed.vectors.prompts import import_prompts

    s3 = S3Options(endpoint_url, region)
    summary = import_prompts(PromptsRequest(store, vectors, texts, encoder, column, normalize, s3))
    click.echo(f"Cached {summary.cached:,} of {summary.vectors:,} prompts for {summary.encoder_id}.")
    if summary.already_cached or summary.repeated:
        click.echo(f"{summary.already_cached:,} were there before, {summary.repeated:,} stood twice in the file.")


def _bars(shown: ExitStack) -> OnRows:
    """Show one bar per stage on a terminal, nothing elsewhere."""
    bars: dict[str, Callable[[int], None]] = {}

    def bar(stage: str, every: int) -> Callable[[int], None]:
        hidden = not sys.stderr.isatty()
        shown_bar = shown.enter_context(click.progressbar(length=every, label=stage, file=sys.stderr, hidden=hidden))
        return lambda done: shown_bar.update(done - shown_bar.pos)

    def on_rows(stage: str, done: int, every: int) -> None:
        if stage not in bars:
            shown.close()  # a stage begins where the one before has ended
            bars[stage] = bar(stage, every)
        bars[stage](done)

    return on_rows


def _show(summary: ImportSummary, store: str) -> None:
    click.echo(
        f"Read {summary.vectors:,} vectors of {summary.dim} dimensions ({summary.dtype}, {summary.form}); "
        f"images are named by the column {summary.uri_column}."
    )
    if summary.facts:
        taken = ", ".join(f"{column} as {name}" if column != name else name for name, column in summary.facts.items())
        click.echo(f"Taken over: {taken}.")
    if summary.left_out:
        click.echo(f"Left out, since the store has no place for them: {', '.join(summary.left_out)}.")
    for column, count in summary.misread.items():
        click.echo(f"{count:,} values of {column} are not what it is for, and count as unknown.")
    if summary.repeated:
        click.echo(f"{summary.repeated:,} rows name an image again; the first row of each counts.")
    if summary.captions:
        cached = f"{summary.captions_cached:,} new prompts from them" if summary.captions_cached else "none cached"
        click.echo(f"{summary.captions:,} vectors of captions: {cached} (--captions, --no-captions).")
    if summary.dropped:
        click.echo(f"{summary.dropped:,} images of this source's last listing are not among these and no longer count.")
    if summary.imported:
        before = f"; {summary.already_done:,} were there before" if summary.already_done else ""
        click.echo(f"Imported {summary.imported:,} images into {summary.encoder_id}, source {summary.source}{before}.")
    else:
        click.echo(f"Nothing to do: all {summary.already_done:,} images are in {summary.encoder_id} already.")
    if summary.caution:
        click.echo(f"Note: {summary.caution}", err=True)
    click.echo(f"Next: clipsieve score {store}, or clipsieve import-prompts {store} where there is no torch.")
