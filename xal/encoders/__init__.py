"""Encoders of texts, images and table rows; importing the package registers them."""

from xal.encoders import bag_of_words, equal_pairs, image_encoders, sentence_encoders
from xal.encoders.encoder import Encoder, Texts

__all__ = ["Encoder", "Texts", "bag_of_words", "equal_pairs", "image_encoders", "sentence_encoders"]
