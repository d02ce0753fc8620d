"""Encoders of texts and table rows; importing the package registers them."""

from xal.encoders import bag_of_words, equal_pairs, sentence_encoders
from xal.encoders.encoder import Encoder, Texts

__all__ = ["Encoder", "Texts", "bag_of_words", "equal_pairs", "sentence_encoders"]
