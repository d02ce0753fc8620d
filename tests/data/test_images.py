"""Decoding: exact where nothing has to change, and never an exception from a batch."""

import io
import warnings

import numpy as np
import pytest
from PIL import Image, ImageOps

from xal.data.images import decode, encode_png, encode_webp, load, shape_of
from xal.errors import DataError


def encoded(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def pixels(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("encode", [encode_png, encode_webp])
@pytest.mark.parametrize("channels", [1, 3])
def test_round_trip_is_exact(encode, channels):
    batch = pixels(0, 4, channels, 7, 9)
    decoded, good = decode([encode(image) for image in batch], (channels, 7, 9))
    assert good.all() and decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, batch)


def test_all_256_greys_survive_webp():
    """WebP stores grey as RGB; the way back must not round any level."""
    image = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    np.testing.assert_array_equal(decode([encode_webp(image)], (1, 16, 16))[0][0], image)


def test_colour_to_grey_and_back_match_pillow():
    rgb = Image.fromarray(pixels(1, 5, 6, 3))
    np.testing.assert_array_equal(decode([encoded(rgb)], (1, 5, 6))[0][0, 0], np.asarray(rgb.convert("L")))
    grey = pixels(2, 1, 5, 6)
    np.testing.assert_array_equal(decode([encode_png(grey)], (3, 5, 6))[0][0], np.repeat(grey, 3, axis=0))


def test_only_another_size_is_resized():
    small = Image.fromarray(pixels(3, 4, 4))
    decoded, _ = decode([encoded(small)], (1, 8, 6))
    np.testing.assert_array_equal(decoded[0, 0], np.asarray(small.resize((6, 8), Image.Resampling.BILINEAR)))


def test_broken_payloads_are_left_out_in_place():
    batch = pixels(4, 3, 3, 20, 20)
    whole = [encode_png(image) for image in batch]
    payloads = [whole[0], None, b"", b"no image", whole[1], whole[1][: len(whole[1]) // 2], b"GIF89a", whole[2]]
    decoded, good = decode(payloads, (3, 20, 20))
    assert good.tolist() == [True, False, False, False, True, False, False, True]
    np.testing.assert_array_equal(decoded, batch)


def test_nothing_readable_keeps_the_shape():
    decoded, good = decode([b"x", None], (3, 4, 5))
    assert decoded.shape == (0, 3, 4, 5) and good.tolist() == [False, False]
    assert decode([], (1, 2, 3))[0].shape == (0, 1, 2, 3)


@pytest.mark.parametrize("limit", [99, 40], ids=["pillow warns", "pillow raises"])
@pytest.mark.parametrize("action", ["error", "ignore"])
def test_decompression_bombs_are_unreadable(monkeypatch, limit, action):
    payload = encode_png(pixels(5, 1, 10, 10))
    assert decode([payload], (1, 10, 10))[1].all()
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with warnings.catch_warnings():
        warnings.simplefilter(action)
        assert not decode([payload], (1, 10, 10))[1].any()


def test_a_palette_with_transparency_is_read_without_a_warning():
    palette = Image.fromarray(pixels(6, 8, 8, 3)).quantize(8)
    payload = encoded(palette, transparency=bytes(range(8)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decode([payload], (3, 8, 8))[1].all()


def test_sixteen_bit_grey_keeps_the_high_byte():
    levels = np.array([[0, 255, 256, 32768, 65535]], np.uint16)
    decoded, good = decode([encoded(Image.fromarray(levels))], (1, 1, 5))
    assert good.all() and decoded[0, 0].tolist() == [[0, 0, 1, 128, 255]]


def test_float_images_are_refused():
    payload = encoded(Image.fromarray(np.ones((2, 2), np.float32)), "TIFF")
    assert not decode([payload], (1, 2, 2))[1].any()
    with pytest.raises(DataError, match="float image"):
        load(payload)


@pytest.mark.parametrize(
    ("mode", "channels"), [("L", 1), ("1", 1), ("LA", 1), ("I;16", 1), ("RGB", 3), ("RGBA", 3), ("P", 3)]
)
def test_shape_of(mode, channels):
    assert shape_of(encoded(Image.new(mode, (6, 4)))) == (channels, 4, 6)


def test_shape_of_broken_bytes():
    with pytest.raises(DataError, match="not an image of a known format"):
        shape_of(b"no image")
    with pytest.raises(DataError, match="no bytes"):
        shape_of(None)


def test_wrong_shapes_are_refused():
    with pytest.raises(DataError, match="1 or 3"):
        decode([], (2, 4, 4))
    with pytest.raises(DataError, match="uint8"):
        encode_png(np.zeros((1, 2, 2)))


def _file(image: Image.Image, suffix: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, suffix, **options)
    return stream.getvalue()


@pytest.mark.parametrize("suffix", ["PNG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_as_their_exif_says(orientation: int, suffix: str) -> None:
    seen = Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4) * 20)
    back = {5: 5, 6: 8, 7: 7, 8: 6}.get(orientation, orientation)
    stored = ImageOps.exif_transpose(_with_orientation(seen, back))
    payload = _file(stored, suffix, exif=_exif(orientation))
    assert shape_of(payload) == (1, 3, 4)
    np.testing.assert_array_equal(np.asarray(load(payload)), np.asarray(seen))


def _exif(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def _with_orientation(image: Image.Image, orientation: int) -> Image.Image:
    with Image.open(io.BytesIO(_file(image, "PNG", exif=_exif(orientation)))) as opened:
        opened.load()
        return opened


def test_transparent_parts_are_white() -> None:
    drawing = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    drawing.putpixel((0, 0), (0, 0, 0, 255))
    assert np.asarray(load(_file(drawing, "PNG"), "L")).tolist() == [[0, 255]]


def test_sixteen_bits_keep_what_they_use() -> None:
    twelve = np.array([[0, 2048, 4095]], np.uint16)
    assert np.asarray(load(_file(Image.fromarray(twelve), "PNG"))).tolist() == [[0, 128, 255]]
    sixteen = np.array([[0, 2048, 65535]], np.uint16)
    assert np.asarray(load(_file(Image.fromarray(sixteen), "PNG"))).tolist() == [[0, 8, 255]]
