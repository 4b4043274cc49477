"""Compiled samplers; importing this package registers them.

A model's step is written as a program of vector operations (`program`) with its weights in the narrowest type that
holds them (`packing`). One function, compiled by numba (`kernel`), interprets it for every symbol and draws (`draws`);
products, the bulk of the work, are machine code for explicit vectors (`vectors`). `running` is a program at work on a
request, and `offer` makes sure that it is the program of the model's present weights. A file for each family of models
says how its step and its state are laid out. NGram, whose tables are float64 and searched, and PixelRNN have none.

What was decided by which measurement, on an AMD EPYC (Zen 3, AVX2), one thread:

- One interpreted program, not a kernel for each model: WaveNet 2 x 10 of 32/32/128/128 has 109 operations a sample and
  makes 46,000 to 51,000 samples/s; a hand-written kernel of the same products made 58,000.
- Panels of 16 columns, not 64: with one row the four streams are as fast; with 16 rows LSTM 3 x 512 makes 5,600
  characters/s instead of 3,000, since the next numbers are those that the processor fetches ahead.
- Six rows at a time: 84 to 99 GFLOP/s of products of 128 x 256, where torch has 92.
- All weights are hashed at each request, at 53 GB/s: 0.06 ms for NADE 784 x 500. The loop is by index; over the words
  themselves LLVM makes no vectors of it, and it reads 11 GB/s.
- Operations are compared by name (`Op`): compiled and run as fast as by number, within the noise of 2 %.
- exp as LLVM instructions, not as a compiled function of vectors: the compiler takes 12 s instead of 24.
- One division in tanh(x) sigmoid(y); int8 and bfloat16 become float32 in the register, since what they save is
  reading: WaveNet 3 x 10 of 64/64/256/256 makes 10,800 samples/s in float32, which is 97 % of what reading 4.9 MB
  allows, 13,500 in bfloat16 and 15,400 in int8.

Not measured: channel counts as constants of the compiled function, and AVX-512.
"""

from seqgen.engines import density as density
from seqgen.engines import pixelcnn as pixelcnn
from seqgen.engines import rnn as rnn
from seqgen.engines import wavenet as wavenet
