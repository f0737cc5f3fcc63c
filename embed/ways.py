"""How the pictures of a job become pixels: what its decoders are told, and which of them a device takes."""

from dataclasses import replace

from embed.decode import DRAFT_MODE, GPU_MODES
from embed.decoders import Decoding, Memory, Processes, Settings, Threads
from embed.encoders import Towers
from embed.geometry import Geometry
from embed.on_device.decoder import DeviceDecoder
from embed.on_device.waiting import Ways
from embed.request import JobOptions
from store.cores import cores


def decoding_of(towers: Towers, options: JobOptions, memory: Memory) -> Decoding:
    """Return the decoders that the options ask for; threads where only torch can tell how a picture is made small."""
    image, settings = towers.image, settings_of(towers, options)
    if options.decoders == 0 or image.geometry is None:
        return Threads(cores(), settings, memory, image.prepare)
    return Processes(options.decoders or cores(), settings, memory)


def ways_of(towers: Towers, options: JobOptions, memory: Memory) -> Ways | None:
    """Return how JPEGs are decoded by the device, and one at a time in full; None where that is not the mode."""
    if not _on_device(towers):
        return None
    settings, image = replace(settings_of(towers, options), for_device=False), towers.image
    in_full = Threads(1, settings, memory) if options.decoders == 0 else Processes(1, settings, memory)
    return Ways(DeviceDecoder(image.device, settings.geometry), in_full, image)


def only_hands_on(device: str, decoding: Decoding) -> bool:
    """Whether this process neither decodes nor holds the model, so that what it computes is the handling of images."""
    return not device.startswith("cpu") and isinstance(decoding, Processes)


def settings_of(towers: Towers, options: JobOptions) -> Settings:
    """Return what decoders are told, wherever they run."""
    image = towers.image
    height, width = image.input_shape[1:]
    return Settings(
        geometry=image.geometry or Geometry(height, width),
        thumbnails=options.thumbnails,
        draft_px=2 * max(height, width) if towers.encoder.decode_mode == DRAFT_MODE else None,
        for_device=_on_device(towers),
        timeout_s=options.decode_timeout_s,
    )


def _on_device(towers: Towers) -> bool:
    return towers.encoder.decode_mode in GPU_MODES.values()
