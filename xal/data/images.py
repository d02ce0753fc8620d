"""Decode images to uint8 arrays (0-255) and encode them; in a batch, unreadable images are reported, not raised.

Images look as a viewer shows them: turned as their EXIF orientation says, and with transparent parts on white. 16-bit
greys keep their high byte; those whose levels are all below 4096, as of microscopes and X-ray detectors, hold 12 bits
and keep the highest 8 of these.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from xal.errors import DataError

ORIENTATION, SIDEWAYS = 0x0112, frozenset({5, 6, 7, 8})  # the EXIF tag, and its values that swap height and width
TWELVE_BITS = 4096
SMALL, LARGE = 256, 1024
GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N"})


def load(payload: bytes | None, mode: str | None = None) -> Image.Image:
    """The decoded image in `mode`, "L" or "RGB" (by default the one nearest to its own mode).

    Raises DataError with the reason if the image cannot be read; float images are refused because their range is
    unknown.
    """
    try:
        with _opened(payload) as image:
            image.load()
            mode = mode or ("L" if image.mode in GREY_MODES else "RGB")
            turned = image.getexif().get(ORIENTATION, 1) != 1
            return _converted(ImageOps.exif_transpose(image) if turned else image, mode)
    except Exception as error:  # decoders raise errors of many types on broken bytes
        raise _unreadable(error) from error


def _unreadable(error: Exception) -> DataError:
    if isinstance(error, UnidentifiedImageError):  # its message holds the address of an object
        return DataError("not an image of a known format")
    return DataError(str(error) or type(error).__name__)


def _opened(payload: bytes | None) -> Image.Image:
    """The image with its header read; DataError without bytes or with too many pixels."""
    if not payload:
        raise DataError("no bytes")
    # our own pools are WebP: Pillow would try six formats before it, which takes as long as decoding
    formats = ("WEBP",) if payload[:4] == b"RIFF" and payload[8:12] == b"WEBP" else None
    image = Image.open(io.BytesIO(payload), formats=formats)
    # Pillow only warns above this limit, and a filter that turns the warning into an error would be global
    if Image.MAX_IMAGE_PIXELS is not None and image.width * image.height > Image.MAX_IMAGE_PIXELS:
        raise DataError(f"{image.width} x {image.height} pixels, more than the {Image.MAX_IMAGE_PIXELS} allowed")
    return image


def _converted(image: Image.Image, mode: str) -> Image.Image:
    if image.mode == "F":
        raise DataError("a float image, whose range is unknown; expected 8 or 16 bits per channel")
    if image.mode == "I" or image.mode.startswith("I;16"):
        pixels = np.asarray(image).astype(np.int64)
        if pixels.min() < 0 or pixels.max() > 65535:
            raise DataError(f"grey levels {pixels.min()}..{pixels.max()}, expected 0..65535")
        image = Image.fromarray((pixels >> (4 if pixels.max() < TWELVE_BITS else 8)).astype(np.uint8))
    if image.mode in ("P", "PA", "LA", "La", "RGBA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image).convert("RGB")
    return image if image.mode == mode else image.convert(mode)


def shape_of(payload: bytes | None) -> tuple[int, int, int]:
    """(channels, height, width) by the header: 1 channel for grey images, else 3. Raises DataError if unreadable."""
    try:
        with _opened(payload) as image:
            # Pillow turns TIFF itself
            turned = image.format != "TIFF" and image.getexif().get(ORIENTATION) in SIDEWAYS
            height, width = (image.width, image.height) if turned else (image.height, image.width)
            return (1 if image.mode in GREY_MODES else 3, height, width)
    except Exception as error:  # decoders raise errors of many types on broken bytes
        raise _unreadable(error) from error


def decode(
    payloads: Sequence[bytes | None], shape: tuple[int, ...]
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """((g, c, h, w) pixels of the g readable images, (b,) mask of the b payloads that are readable).

    An image of another size is resized bilinearly; one of the right size keeps its pixels exactly.
    """
    channels, height, width = shape if len(shape) == 3 else (0, 0, 0)
    if channels not in (1, 3) or height < 1 or width < 1:
        raise DataError(f"expected an image shape (1 or 3, height, width), got {shape}")
    images = np.empty((len(payloads), height, width, channels), np.uint8)
    good = np.zeros(len(payloads), np.bool_)
    for index, payload in enumerate(payloads):  # codecs take one image at a time
        try:
            image = load(payload, "L" if channels == 1 else "RGB")
        except DataError:
            continue
        if image.size != (width, height):
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        images[index] = np.asarray(image).reshape(height, width, channels)
        good[index] = True
    return np.ascontiguousarray(images[good].transpose(0, 3, 1, 2)), good


def _image(pixels: npt.NDArray[np.uint8]) -> Image.Image:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[0] not in (1, 3):
        raise DataError(f"expected uint8 (1 or 3, h, w), got {pixels.dtype} {pixels.shape}")
    return Image.fromarray(pixels[0] if pixels.shape[0] == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))


def encode_png(image: npt.NDArray[np.uint8]) -> bytes:
    """PNG of a (c, h, w) image."""
    stream = io.BytesIO()
    _image(image).save(stream, "PNG", optimize=True)
    return stream.getvalue()


def picture_of(payload: bytes | None) -> tuple[bytes, str]:
    """(file, suffix) of an image as people should see it: in its own proportions and colours, not as a model takes it.

    Images of up to SMALL pixels on the longer side as PNG, larger ones as JPEG of at most LARGE pixels.
    """
    image, stream = load(payload), io.BytesIO()
    if max(image.size) <= SMALL:
        image.save(stream, "PNG", optimize=True)
        return stream.getvalue(), ".png"
    image.thumbnail((LARGE, LARGE), Image.Resampling.LANCZOS)
    image.save(stream, "JPEG", quality=90)
    return stream.getvalue(), ".jpg"


def encode_webp(image: npt.NDArray[np.uint8], method: int = 4) -> bytes:
    """Lossless WebP of a (c, h, w) image; method 6 is about 2 % smaller than method 4 and 30 times slower.

    WebP has no grey mode: a grey image is read back as RGB with three equal bands. `decode` with c = 1 restores it
    exactly.
    """
    stream = io.BytesIO()
    _image(image).save(stream, "WEBP", lossless=True, quality=100, method=method)
    return stream.getvalue()
