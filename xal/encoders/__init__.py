"""Encoders of texts, images and table rows; importing the package registers them."""

from xal.encoders import (
    bag_of_words,
    column,
    efficientnet_lite,
    equal_pairs,
    hugging_face,
    image_encoders,
    sentence_encoders,
    timm_encoder,
)
from xal.encoders.encoder import Encoder, Texts

__all__ = [
    "Encoder",
    "Texts",
    "bag_of_words",
    "column",
    "efficientnet_lite",
    "equal_pairs",
    "hugging_face",
    "image_encoders",
    "sentence_encoders",
    "timm_encoder",
]
