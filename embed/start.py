"""From a request to a running job: everything that can be refused is refused before the first image is read."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from embed.decode import DECODE_MODES, GPU_MODES
from embed.encoders import EncoderSpec, Towers, load_towers, parse_encoder
from embed.encoders.device import choose_device, visible_gpu_bytes
from embed.encoders.torchvision_shim import import_decode_jpeg, import_open_clip, wait_passively
from embed.estimate.estimate import estimate
from embed.estimate.record import Estimate
from embed.job import Job
from embed.metrics import metrics_file
from embed.patience import patiently
from embed.processes.count import processes_for
from embed.processes.supervisor import run_all
from embed.progress import Tally
from embed.request import EmbedRequest, OnStart, Started, Summary, start_silently
from embed.silence import native_output_silenced
from embed.sources import Source, open_source, recalling, refuse_overlap
from embed.sources.lists import SUFFIXES
from embed.sources.selection import base
from embed.stopping import stopped_by_signals
from store.again import Again, at_once
from store.cores import cores
from store.encoder import Encoder
from store.errors import UsageError, WrongEncoder
from store.layout import Store, locate
from store.location import Location
from store.s3.preflight import lacks_at_source, lacks_at_store, refuse_unwritable, require
from store.shards import WHOLE


def run(request: EmbedRequest, prompts: Sequence[str] = (), on_start: OnStart = start_silently) -> Summary:
    """Run one embed job to its end, or until Ctrl-C or SIGTERM asks it to finish the part in hand.

    Raise a ClipsieveError, with nothing read, where the words are wrong or the store belongs to another encoder.
    """
    wait_passively()
    if request.engine == "ray":
        _decode_mode(request)  # refused before Ray is asked for
        from embed.on_ray.run import run_on_ray  # noqa: PLC0415  # an extra of its own

        return run_on_ray(request, prompts, on_start)
    if (count := _processes(request)) > 1:
        return run_all(request, count, prompts, on_start)
    over = threading.Event()
    source, location, towers = made_ready(request, again=lambda do: patiently(do, request.options.patience_s, over))
    store = Store.create(location).add_encoder(towers.encoder)
    store.location.remove_leftovers()
    tally = Tally()
    stop = threading.Event()
    with metrics_file(request.metrics, tally, source.uri, towers.encoder) as write_metrics, stopped_by_signals(stop):
        show = on_start(Started(towers.encoder, towers.device, tally))

        def on_tick() -> None:
            show()
            write_metrics()

        return Job(recalling(source, store), store, towers, request.options, stop, tally, on_tick, over).run(prompts)


def run_estimate(request: EmbedRequest) -> Estimate:
    """Return what the job would take; nothing is written to the store, and what would refuse the job is raised."""
    wait_passively()
    over = threading.Event()  # nobody sets it: Ctrl-C ends an estimate, whatever it waits for
    source, location, towers = made_ready(
        request, dry=True, again=lambda do: patiently(do, request.options.patience_s, over)
    )
    held = [] if location.read("store.json") is None else Store.open(location).encoders()
    there = next((store for store in held if store.encoder.fingerprint == towers.encoder.fingerprint), None)
    with native_output_silenced():
        return estimate(recalling(source, there) if there else source, there, towers, request.options)


def made_ready(request: EmbedRequest, *, dry: bool = False, again: Again = at_once) -> tuple[Source, Location, Towers]:
    """Return source, store and towers, once everything is refused that can be.

    `dry` leaves even a try to write out; `again` is how S3 is asked for what lies there.
    """
    spec = parse_encoder(request.encoder, random_weights=request.random_weights)
    mode = _decode_mode(request)
    words = (request.selection, request.uri_column, request.inventory)
    source = open_source(request.source, request.s3, *words, again=again)
    location = locate(request.store, request.s3)
    refuse_overlap(source, location.uri)
    _require_permissions(request, source, location, dry=dry)
    held = [] if location.read("store.json") is None else [e.encoder for e in Store.open(location).encoders()]
    twins = [encoder for encoder in held if _same_model(encoder, spec)]
    precision = _as_held(request.precision, {encoder.precision for encoder in twins})
    if request.decode == "auto":
        mode = _as_held("auto", {e.decode_mode for e in twins if not e.imported})
        _refuse_without_gpu(request, mode)
    if not request.second_encoder:
        _refuse_other_model(held, spec)
    towers = load_towers(spec, device=request.device, precision=precision, decode_mode=mode)
    if not request.second_encoder:
        _refuse_other(held, towers.encoder)
    if mode in GPU_MODES.values() and towers.image.geometry is None:
        raise UsageError(
            f"{towers.encoder.model_name} prepares pictures in a way that only its own library knows.",
            "Pictures that a GPU decodes are scaled and cropped there too.",
            "Use --decode full.",
        )
    return source, location, towers


def _require_permissions(request: EmbedRequest, source: Source, location: Location, *, dry: bool) -> None:
    """Raise LocationError that names every permission which the job lacks. A list was read when it was opened."""
    lacks = []
    if source.uri.startswith("s3://") and request.inventory is None and not source.uri.endswith(SUFFIXES):
        lacks += lacks_at_source(base(source.uri), request.s3)
    if location.uri.startswith("s3://"):
        lacks += lacks_at_store(location.uri, request.s3, dry=dry)
    else:
        refuse_unwritable(Path(location.uri))
    require(lacks)


def _processes(request: EmbedRequest) -> int:
    """Return how many processes share the work: as many as the GPUs and the cores allow, unless the user says it."""
    if request.processes is not None or request.options.shard != WHOLE or request.device not in {"auto", "cuda"}:
        return request.processes or 1
    return processes_for(cores(), visible_gpu_bytes(), request.options.memory_bytes)


def _decode_mode(request: EmbedRequest) -> str:
    """Return the mode that the words name, auto where they leave it open; raise UsageError where it needs a GPU."""
    mode = GPU_MODES[request.decode_on] if request.decode == "gpu" else DECODE_MODES.get(request.decode, "auto")
    _refuse_without_gpu(request, mode)
    return mode


def _refuse_without_gpu(request: EmbedRequest, mode: str) -> None:
    """Raise UsageError where this machine or the engine cannot decode in the mode, before anything is downloaded."""
    wanted = next((kind for kind, name in GPU_MODES.items() if name == mode), None)
    if wanted is None:
        return
    if request.engine == "ray":
        raise UsageError(
            "--engine ray decodes apart from the GPU, and the GPU is to decode here.",
            "Its actors that decode hold no device.",
            "Leave out --engine ray, or use --decode full or draft in a store of its own.",
        )
    place = choose_device(request.device)
    if place.type != wanted or wanted != request.decode_on:
        raise UsageError(
            f"Decoding on a GPU (--decode gpu) needs one with CUDA, and this job runs on {place}.",
            "A CPU decodes to other pixels, which would be another encoder's.",
            "Use --decode full; a store begun on a GPU goes on only there.",
        )
    if place.type == "cuda" and import_decode_jpeg() is None:
        raise UsageError(
            "torchvision cannot decode JPEGs here: its operators do not load beside this torch.",
            "They are built for one another, with the same CUDA.",
            "Install both from one index, or use --decode full.",
        )


def _same_model(held: Encoder, spec: EncoderSpec) -> bool:
    return (held.model_name, held.weights_origin) == (spec.model_name, spec.origin) and (
        spec.pretrained in {None, held.pretrained}
    )


def _as_held(wanted: str, held: set[str]) -> str:
    """Return the precision or decode mode that the store's vectors of this model have, where the user leaves it open.

    Otherwise a job begun on a GPU and continued on another machine would start over under another identity.
    """
    return held.pop() if wanted == "auto" and len(held) == 1 else wanted


def _refuse_other_model(held: Sequence[Encoder], spec: EncoderSpec) -> None:
    """Refuse, before its weights are downloaded, an encoder that by its name is none of those that the store holds.

    A folder or a file may hold the same weights under another name, and so may an import: there the sizes tell.
    """
    if spec.origin != "pretrained" or not held:
        return
    config: Any = import_open_clip().get_model_config(spec.model_name)
    words = (spec.model_name, spec.pretrained)
    if all(
        one.embedding_dim != config["embed_dim"]
        or (one.weights_origin == "pretrained" and (one.model_name, one.pretrained) != words)
        for one in held
    ):
        raise _second(held, "/".join(filter(None, words)))


def _refuse_other(held: Sequence[Encoder], new: Encoder) -> None:
    """Refuse to embed everything again with another encoder than the store holds, unless the user has said so."""
    if not held or any(encoder.fingerprint == new.fingerprint for encoder in held):
        return
    for twin in (encoder for encoder in held if encoder.weights_sha256 == new.weights_sha256):
        raise WrongEncoder(
            f"The store holds {twin.encoder_id}, made with the same weights but not in the same way: "
            f"{'; '.join(twin.differences(new))}.",
            "Going on would embed every image again, under a second encoder whose vectors must not be mixed in.",
            "Match the first one (with --precision or --decode), or pass --second-encoder if you want both.",
        )
    raise _second(held, new.encoder_id)


def _second(held: Sequence[Encoder], wanted: str) -> WrongEncoder:
    return WrongEncoder(
        f"The store holds {', '.join(sorted(encoder.encoder_id for encoder in held))}, and not {wanted}.",
        "Going on would embed every image again, under a second encoder whose vectors must not be mixed in.",
        "Name the encoder of the store, choose another store, or pass --second-encoder if you want both.",
    )
