"""Implementations of Model."""

from seqgen.models.fvsbn import FVSBN as FVSBN
from seqgen.models.made import MADE as MADE
from seqgen.models.nade import NADE as NADE
from seqgen.models.ngram import NGram as NGram
from seqgen.models.pixelcnn import PixelCNN as PixelCNN
from seqgen.models.pixelrnn import PixelRNN as PixelRNN
from seqgen.models.rnn import RNN as RNN
from seqgen.models.rnnnade import RNNNADE as RNNNADE
from seqgen.models.wavenet import WaveNet as WaveNet

__all__ = ["FVSBN", "MADE", "NADE", "RNN", "RNNNADE", "NGram", "PixelCNN", "PixelRNN", "WaveNet"]
