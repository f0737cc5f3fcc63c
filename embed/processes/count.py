"""How many processes a machine's GPUs are fed by, where the user leaves it open."""

from collections.abc import Sequence

CORES_EACH = 4
"""A process keeps one core busy with its own Python, and its decoders the others."""

MOST_PER_GPU = 4

GPU_BYTES_EACH = 6 * 10**9
"""What one process may take of a GPU: CUDA itself, a large model in bf16, and two batches."""

MEMORY_BYTES_EACH = 10**9
"""Of `--memory`: with less, a photo of 40 megapixels would be refused for being one of several."""


def processes_for(cores: int, gpus: Sequence[int | None], memory_bytes: int | None = None) -> int:
    """Return as many processes for each GPU as its memory and the cores allow, at least one; one where there is no GPU.

    `gpus` is the memory of each in bytes, None where that is not known, and `memory_bytes` what all processes may have
    for images in flight, None where each has its own.
    """
    if not gpus:
        return 1
    known = [size for size in gpus if size is not None]
    if len(known) < len(gpus):
        return len(gpus)
    limits = [MOST_PER_GPU, cores // len(gpus) // CORES_EACH, min(known) // GPU_BYTES_EACH]
    if memory_bytes is not None:
        limits.append(memory_bytes // len(gpus) // MEMORY_BYTES_EACH)
    return len(gpus) * max(1, min(limits))
