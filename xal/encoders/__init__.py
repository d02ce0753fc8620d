"""Text encoders; importing the package registers them."""

from xal.encoders import bags, pairs, sentences
from xal.encoders.encoder import Encoder, Texts

__all__ = ["Encoder", "Texts", "bags", "pairs", "sentences"]
