"""From a request to a running job: everything that can be refused is refused before the first image is read."""

import threading
from collections.abc import Sequence

from embed.encoders import EncoderSpec, load_towers, parse_encoder
from embed.job import Job
from embed.progress import Tally
from embed.request import EmbedRequest, OnStart, Started, Summary, start_silently
from embed.sources import open_source, refuse_overlap
from embed.stopping import stopped_by_signals
from store.encoder import Encoder
from store.errors import WrongEncoder
from store.layout import Store, locate


def run(request: EmbedRequest, prompts: Sequence[str] = (), on_start: OnStart = start_silently) -> Summary:
    """Run one embed job to its end, or until Ctrl-C or SIGTERM asks it to finish the part in hand.

    Raise a ClipsieveError, with nothing read, where the words are wrong or the store belongs to another encoder.
    """
    spec = parse_encoder(request.encoder, random_weights=request.random_weights)
    source = open_source(request.source, request.s3)
    location = locate(request.store, request.s3)
    refuse_overlap(source, location.uri)
    held = [] if location.read("store.json") is None else [e.encoder for e in Store.open(location).encoders()]
    towers = load_towers(spec, device=request.device, precision=_precision(held, spec, request.precision))
    if not request.second_encoder:
        _refuse_near_twin(held, towers.encoder)
    store = Store.create(location).add_encoder(towers.encoder)
    store.location.remove_leftovers()
    tally = Tally()
    on_tick = on_start(Started(towers.encoder, towers.device, tally))
    stop = threading.Event()
    with stopped_by_signals(stop):
        return Job(source, store, towers, request.options, stop, tally, on_tick).run(prompts)


def _precision(held: Sequence[Encoder], spec: EncoderSpec, wanted: str) -> str:
    """Return the precision that the store's vectors of this model already have, where the user leaves it open.

    Otherwise a job begun on a GPU and continued on another machine would start over under another identity.
    """
    if wanted != "auto":
        return wanted
    found = {
        encoder.precision
        for encoder in held
        if (encoder.model_name, encoder.weights_origin) == (spec.model_name, spec.origin)
        and spec.pretrained in {None, encoder.pretrained}
    }
    return found.pop() if len(found) == 1 else "auto"


def _refuse_near_twin(held: Sequence[Encoder], new: Encoder) -> None:
    """Refuse to embed everything again because of a small difference from an encoder that the store holds."""
    if any(encoder.fingerprint == new.fingerprint for encoder in held):
        return
    for twin in (encoder for encoder in held if encoder.weights_sha256 == new.weights_sha256):
        raise WrongEncoder(
            f"The store holds {twin.encoder_id}, made with the same weights but not in the same way: "
            f"{'; '.join(twin.differences(new))}.",
            "Going on would embed every image again, under a second encoder whose vectors must not be mixed in.",
            "Match the first one (for example with --precision), or pass --second-encoder if you want both.",
        )
