"""Small pictures kept beside the embeddings, so that looking again needs no second download."""

from io import BytesIO

from PIL import Image

LONGEST_SIDE_PX = 160


def thumbnail(image: Image.Image) -> bytes:
    """Return `image` (mode RGB) as a WebP of at most 160 px a side, 2 to 4 KB for a photo; it is never enlarged.

    As quick as it can be, since decoding limits a job that a GPU waits for. The first shrink by whole pixels
    (`reducing_gap`) costs nothing that shows at this size; WebP's better methods save few bytes for twice the time.
    """
    small = image.copy()
    small.thumbnail((LONGEST_SIDE_PX, LONGEST_SIDE_PX), Image.Resampling.BICUBIC, reducing_gap=1.0)
    file = BytesIO()
    small.save(file, "WEBP", quality=75, method=0)
    return file.getvalue()
