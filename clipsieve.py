"""The front door: the commands, and the small public API that they are made of.

    import clipsieve
    clipsieve.embed("./photos", store="./store", encoder="ViT-B-32/laion2b_s34b_b79k")
    store = clipsieve.open("./store")
    store.score("people")
    store.sweep("people")
    store.sql("select uri, people from scores order by people desc limit 20")

Nothing heavy is imported before it is needed: `clipsieve --help` loads neither torch nor DuckDB.
"""

from __future__ import annotations

import importlib
import sys
from importlib.metadata import version as _version_of
from typing import TYPE_CHECKING, Any

import click

from store.errors import ClipsieveError, MissingExtra, UsageError, WeightsUnavailable

if TYPE_CHECKING:
    from embed.detect.request import ConfirmRequest
    from embed.detect.run import Plan
    from embed.encoders import EncoderSpec
    from embed.estimate.record import Estimate
    from embed.request import EmbedRequest, OnStart, Summary
    from embed.vectors.request import ImportSummary, PromptsSummary
    from query.asking.vectors import ImageTower
    from query.deliver.apply.delivery import Delivery
    from query.scoring.inputs import TextTower
    from query.session import Session
    from store.encoder import Encoder
    from store.s3.options import S3Options

__all__ = [
    "ClipsieveError",
    "__version__",
    "confirm",
    "embed",
    "estimate",
    "import_prompts",
    "import_vectors",
    "open",
    "open_run",
]

__version__ = _version_of("clipsieve")

# In the order of use. The sentence stands here, so that --help need not import the command.
_COMMANDS = {
    "embed": ("embed.cli:embed", "Read every image of a source once and keep its embedding."),
    "import": ("embed.vectors.cli:import_", "Bring in vectors that were made elsewhere."),
    "import-prompts": ("embed.vectors.cli:import_prompts", "Bring in text vectors with their texts."),
    "status": ("query.cli.holdings:status", "Show what is in a store."),
    "score": ("query.cli.scoring:score", "Compute the scores of concepts that are missing."),
    "concepts": ("query.cli.scoring:concepts", "Show every concept: its state, its range, how its scores are spread."),
    "search": ("query.cli.search:search", "Find the images nearest to a text or to another image."),
    "sweep": ("query.cli.sweep:sweep", "Show how much each threshold would remove and keep."),
    "select": ("query.cli.select:select", "Show what a policy would remove, keep and quarantine."),
    "neighbors": ("query.cli.duplicates:neighbors", "Find every pair of images that are close, and keep the pairs."),
    "duplicates": ("query.cli.duplicates:duplicates", "Show which images are duplicates, and of which that stays."),
    "sql": ("query.cli.sql:sql", "Ask anything, read-only, in SQL."),
    "catalog": ("query.cli.catalog:catalog", "Write a .duckdb file that shows the store to any DuckDB client."),
    "confirm": ("embed.detect.cli:confirm", "Let a detector look at the images whose score is uncertain."),
    "export": ("query.cli.deliver:export", "Write the manifests of what rules remove and keep."),
    "apply": ("query.cli.apply:apply", "Copy what a run keeps, or move aside what it does not keep."),
    "undo": ("query.cli.apply:undo", "Take back exactly what apply has done."),
    "presign": ("query.cli.deliver:presign", "Write a run's manifests anew, with URLs that let anybody read an image."),
    "verify": ("query.cli.holdings:verify", "Read everything and check that it is sound."),
    "demo": ("embed.demo.command:demo", "Run all of this on pictures drawn for the purpose."),
}


def embed(source: str, store: str, encoder: str, **options: Any) -> Summary:
    """Embed what is new in `source` (a folder, a prefix, tars, a list) into the store, which is made if it is missing.

    `options` are the fields of `embed.request.EmbedRequest`. Raise a ClipsieveError that says what to do.
    """
    from embed.request import EmbedRequest

    request = EmbedRequest(source=source, store=store, encoder=encoder, **options)
    return run_embed(request)


def run_embed(request: EmbedRequest, on_start: OnStart | None = None) -> Summary:
    """Run one embed job; the prompts of the shipped concepts are cached with it, so that scoring needs no torch."""
    from embed.request import start_silently
    from query.scoring.concepts import shipped_concepts

    prompts = [text for concept in shipped_concepts().values() for text in concept.prompts]
    summary: Summary = _pass_one("start").run(request, prompts, on_start or start_silently)
    return summary


def estimate(source: str, store: str, encoder: str, **options: Any) -> Estimate:
    """Say what `embed` with the same words would take: a listing, and a trial of 200 images; nothing is written."""
    from embed.request import EmbedRequest

    return estimate_embed(EmbedRequest(source=source, store=store, encoder=encoder, **options))


def estimate_embed(request: EmbedRequest) -> Estimate:
    """Say what one embed job would take."""
    found: Estimate = _pass_one("start").run_estimate(request)
    return found


def import_vectors(path: str, store: str, encoder: str, **options: Any) -> ImportSummary:
    """Bring image vectors that were made elsewhere into the store, as vectors of `encoder` (MODEL/PRETRAINED).

    `options` are the fields of `embed.vectors.request.ImportRequest`. Raise a ClipsieveError, with nothing written,
    where a check fails.
    """
    from embed.vectors.request import ImportRequest
    from embed.vectors.run import run

    return run(ImportRequest(path=path, store=store, encoder=encoder, **options))


def import_prompts(store: str, vectors: str, texts: str, **options: Any) -> PromptsSummary:
    """Cache text vectors (a .npy) with their texts (a text a line, a JSON list, or a column of a table).

    `options` are the fields of `embed.vectors.request.PromptsRequest`.
    """
    from embed.vectors import prompts
    from embed.vectors.request import PromptsRequest

    return prompts.import_prompts(PromptsRequest(store=store, vectors=vectors, texts=texts, **options))


def confirm(store: str, concept: str, between: tuple[float, float], detector: str, **options: Any) -> Plan:
    """Plan a second look at the images whose score lies in the band; the plan's `run()` takes it.

    `detector` is owlv2, owlvit or rekognition; `options` are further fields of `embed.detect.request.ConfirmRequest`
    and its DetectorOptions. Raise a ClipsieveError that says what to do.
    """
    from embed.detect.request import ConfirmRequest, DetectorOptions

    ours = {name: options.pop(name) for name in list(options) if name in DetectorOptions.__dataclass_fields__}
    looking = DetectorOptions(kind=detector, **ours)
    return plan_confirm(ConfirmRequest(store, concept, *between, detector=looking, **options))


def plan_confirm(request: ConfirmRequest) -> Plan:
    """Find the band of a request in its store, and load the detector."""
    session = open(request.store, request.encoder, request.s3)
    try:
        band = session.band(request.concept, request.low, request.high)
    finally:
        session.close()
    try:
        plan: Plan = _pass_one("detect.run").plan(request, session.store, band)
    except MissingExtra as error:
        raise MissingExtra(
            "A second look needs what is not installed here.", error.what, "Run `pip install 'clipsieve[detect]'`."
        ) from error
    return plan


def open(place: str, encoder: str | None = None, s3: S3Options | None = None) -> Session:  # noqa: A001  # as clipsieve.open
    """Open a store for questions; `encoder` may be left out where the store holds one.

    `encoder` is an encoder's id or the words that `embed` was given; for local weights these also say where they lie,
    should a new prompt or picture need them.
    """
    from query.session import Session
    from store.s3.options import S3Options

    return Session.open(
        place,
        lambda held: _text_tower(held, encoder),
        encoder,
        s3 or S3Options(),
        image_tower_of=lambda held: _image_tower(held, encoder),
    )


def open_run(place: str, s3: S3Options | None = None) -> Delivery:
    """Open what `export` has written, to apply it and to undo that; see `query.deliver.apply.delivery`."""
    from query.deliver.apply.delivery import Delivery
    from store.s3.options import S3Options

    return Delivery.open(place, s3 or S3Options())


def _text_tower(held: Encoder, words: str | None) -> TextTower:
    """Return the text tower of a store's encoder, if pass 1 is installed here."""
    try:
        tower: TextTower = _pass_one("encoders").load_text_tower(held, _local_weights(held, words))
    except MissingExtra as error:
        raise MissingExtra(
            "Some prompts have no vector in this store yet, and encoding them needs torch and open_clip.",
            do=f"Run `pip install 'clipsieve[embed]'`, or run `clipsieve score` where {held.model_name} was embedded, "
            "or bring their vectors in with `clipsieve import-prompts`.",
        ) from error
    except WeightsUnavailable as error:
        raise WeightsUnavailable(
            f"Some prompts have no vector in this store yet. {error}",
            do="Or bring their vectors in with `clipsieve import-prompts`.",
        ) from error
    return tower


def _image_tower(held: Encoder, words: str | None) -> ImageTower:
    """Return the image tower of a store's encoder, if pass 1 is installed here."""
    try:
        tower: ImageTower = _pass_one("pictures").load_picture_tower(held, _local_weights(held, words))
    except MissingExtra as error:
        raise MissingExtra(
            "This picture is not in the store, and encoding it needs torch and open_clip.",
            do="Run `pip install 'clipsieve[embed]'`, or ask with an image of the store: its key or its URI.",
        ) from error
    return tower


def _local_weights(held: Encoder, words: str | None) -> EncoderSpec | None:
    """Return where an encoder's weights lie on this machine, if it is one of local weights or the words hold a path."""
    local = held.weights_origin in {"local-dir", "checkpoint"} or "/" in str(words).partition("/")[2]
    if words is None or not local or words == held.encoder_id:
        return None
    spec: EncoderSpec = _pass_one("encoders").parse_encoder(words)
    return spec


def _pass_one(module: str) -> Any:  # noqa: ANN401  # a module
    """Import a module of pass 1; raise MissingExtra where its libraries are not installed."""
    if "faiss" in sys.modules:
        raise UsageError(
            "FAISS is loaded in this process, and torch beside it can crash or stall: each brings its own OpenMP.",
            do="Run this in another process than the one that looked for neighbors.",
        )
    try:
        return importlib.import_module(f"embed.{module}")
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"Embedding needs {error.name}, which is not installed.", do="Run `pip install 'clipsieve[embed]'`."
        ) from error


class _Commands(click.Group):
    """Loads a command when it is called, lists them in the order of use, and turns errors into one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:  # noqa: ARG002  # click's signature
        if name not in _COMMANDS:
            return None
        module, _, attribute = _COMMANDS[name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        import difflib

        if args and args[0] not in _COMMANDS:
            nearest = difflib.get_close_matches(args[0], _COMMANDS, 1)
            ctx.fail(f"There is no command {args[0]!r}." + (f" Did you mean {nearest[0]!r}?" if nearest else ""))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  # click's
        with formatter.section("Commands, in the order of use"):
            formatter.write_dl([(name, sentence) for name, (_, sentence) in _COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except ClipsieveError as error:
            click.echo(f"clipsieve: {error}", err=True)
            ctx.exit(error.exit_code)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="clipsieve")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Embed every image of a bucket once; filter it for ever after, without a GPU.

    STORE is a folder or s3://bucket/prefix. Exit codes: 0 done, 1 failed, 2 wrong use, 3 done, with something to look
    at.
    """
    ctx.obj = sys.modules[__name__]  # the commands reach the public API through this, and import no front door


if __name__ == "__main__":
    sys.exit(main())
