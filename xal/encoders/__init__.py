"""Text encoders; importing the package registers them."""

from xal.encoders import bags, sentences
from xal.encoders.encoder import Encoder, Texts

__all__ = ["Encoder", "Texts", "bags", "sentences"]
