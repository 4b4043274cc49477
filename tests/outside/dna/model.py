"""A Markov chain that knows the place in the codon."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from seqgen.config import SeqgenError
from seqgen.model import Context, Model
from seqgen.nn.labels import LabelEmbedding, refuse_labels
from seqgen.nn.order import refuse_order
from seqgen.output import Output

LARGEST = 2**24
"""Numbers in the table."""

State = tuple[Tensor, int]
"""The last symbols (B, order), and how many symbols there have been."""


class PeriodicMarkov(Model):
    """The inhomogeneous Markov chain of coding DNA (Borodovsky & McIninch 1993, GENMARK, Computers & Chemistry 17(2)).

    Coding DNA is read in codons of three bases, and the three places of a codon have different statistics. The
    parameters of a symbol are a row of a table, chosen by the k symbols before it and by its place:

        o_t = W[t mod period, x_t-1, ..., x_t-k] + sum over labels of V[label, t mod period]

    Before its first symbol a sequence has k start marks. Deviations: gradient descent learns the table, where the paper
    counts; labels (of organisms, say, which prefer different bases in the third place) add to its rows.

    Args:
        output: What the parameters mean; its symbols are classes.
        labels: The number of classes of every label of a sequence.
        order: k, how many symbols back a row sees.
        period: Places, 3 for codons; 1 is an ordinary Markov chain.
    """

    def __init__(self, output: Output, labels: Sequence[int] = (), order: int = 3, period: int = 3) -> None:
        super().__init__()
        for name, value in (("order", order), ("period", period)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise SeqgenError(f"{name} is {value!r}, expected a whole number of 1 or more")
        if output.classes is None:
            raise SeqgenError(f"{type(output).__name__} has numbers, expected an output of classes")
        self.output, self.label_sizes = output, tuple(labels)
        self.order, self.period = order, period
        self.mark = output.classes  # the classes are 0 .. mark - 1
        rows = (self.mark + 1) ** order
        if period * rows * output.size > LARGEST:
            raise SeqgenError(f"order {order} and period {period} need a table of more than {LARGEST:,} numbers")
        self.table = nn.Parameter(torch.zeros(period, rows, output.size))
        self.offsets = LabelEmbedding(labels, period * output.size) if labels else None

    def forward(self, x: Tensor, context: Context | None = None) -> Tensor:
        """Parameters (B, T, P) of every symbol of x (B, T)."""
        _, (history, _) = self.start(len(x), context)
        return self._rows(torch.cat([history, x[:, :-1]], 1), 0, context)[:, : x.shape[1]]

    def start(self, batch: int, context: Context | None = None) -> tuple[Tensor, State]:
        """Parameters (B, P) of the first symbol, and the state before it."""
        history = torch.full((batch, self.order), self.mark, device=self.device)
        return self._rows(history, 0, context)[:, 0], (history, 0)

    def step(self, x: Tensor, state: State, context: Context | None = None) -> tuple[Tensor, State]:
        """Parameters (B, T, P) after each symbol of x (B, T), and the state after the last."""
        history, count = state
        known = torch.cat([history, x], 1)  # (B, k + T)
        return self._rows(known[:, 1:], count + 1, context), (known[:, -self.order :], count + x.shape[1])

    def _rows(self, known: Tensor, first: int, context: Context | None) -> Tensor:
        """Parameters (B, T, P) of T symbols, the first of them symbol number `first`; known (B, k + T - 1)."""
        refuse_order(context)
        histories = known.unfold(1, self.order, 1)  # (B, T, k)
        digits = (self.mark + 1) ** torch.arange(self.order, device=known.device)
        places = (first + torch.arange(histories.shape[1], device=known.device)) % self.period  # (T,)
        rows = self.table[places, (histories * digits).sum(-1)]  # (B, T, P)
        if self.offsets is None:
            refuse_labels(context)
        else:
            rows = rows + self.offsets(context, len(known)).unflatten(1, (self.period, -1))[:, places]
        return rows
