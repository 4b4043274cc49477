"""Compiled samplers; importing this package registers them."""

from seqgen.engines import density as density
from seqgen.engines import pixelcnn as pixelcnn
from seqgen.engines import rnn as rnn
from seqgen.engines import wavenet as wavenet
