"""The compiled samplers of densities of vectors: FVSBN, NADE and MADE, in any order of the variables."""

import torch

from seqgen.engine import Request, Sampler, offers
from seqgen.engines.kernel import Op
from seqgen.engines.offer import start
from seqgen.engines.packing import padded
from seqgen.engines.program import PANEL, Program
from seqgen.engines.running import Layout, Running
from seqgen.model import Order
from seqgen.models.fvsbn import FVSBN, Sums
from seqgen.models.made import MADE, Known
from seqgen.models.nade import NADE
from seqgen.models.nade import Running as Sum
from seqgen.nn.degrees import masked


class FVSBNLayout(Layout):
    """A step: one row of the weights is added to the parameters of all variables."""

    def __init__(self, model: FVSBN, order: Order) -> None:
        program = Program(model.output, order.permutation)
        self.order, self.size = order, model.output.size
        self.totals = program.span(model.bias.numel())
        program.symbol(self.totals, self.totals, model.weight.permute(2, 3, 0, 1).flatten(2))
        program.draw_from(self.totals, self.size)
        super().__init__(program)

    def fill(self, memory: Running, request: Request) -> None:
        """The sums so far, which the state has in the order."""
        totals = Sums(*request.state).totals.view(len(request.parameters), -1, self.size)
        memory.set(self.totals, totals.index_select(1, self.order.ranks).flatten(1))


class NADELayout(Layout):
    """A step: a row of W is added to the pre-activations; the units, and their products with the rows of V."""

    def __init__(self, model: NADE, order: Order) -> None:
        program = Program(model.output, order.permutation)
        hidden = len(model.bias)
        self.total, units = program.span(hidden), program.span(padded(hidden, PANEL))
        program.symbol(self.total, self.total, model.weight)
        x = self.total
        if model.scale is not None:
            place = program.constant(model.scale)
            x = program.add(Op.TIMES, units, ahead=1, x=x.offset, n=x.length, c=place, c_step=1)
        program.add(Op.RELU if model.rectified else Op.SIGMOID, units, x=x.offset, n=self.total.length)
        bias = program.span(model.readout_bias.numel(), model.readout_bias)
        program.draw_from(program.dot(bias, units, model.readout))
        super().__init__(program)

    def fill(self, memory: Running, request: Request) -> None:
        """The pre-activations."""
        memory.set(self.total, Sum(*request.state).total)


class MADELayout(Layout):
    """A step: a row of W^1 is added; the units of the next degree, and the products of the last layer with V.

    Units are sorted by degree. Those of the first layer are known only once their degree is reached; before, they meet
    weights that the masks make zero.
    """

    def __init__(self, model: MADE, order: Order) -> None:
        program, self.model, self.order = Program(model.output, order.permutation), model, order
        ranks, layers = order.ranks, model.layers
        degrees = model.degrees(order.connectivity)
        self.sorted = [one.argsort(stable=True) for one in degrees]
        degrees = [one[places] for one, places in zip(degrees, self.sorted, strict=True)]
        width = model.output.width
        positions = 1 + ranks.repeat_interleave(width)
        first = masked(layers[0].weight[self.sorted[0]], degrees[0], positions)
        self.first = first.t().reshape(-1, width, len(first))  # (D, E, H)
        self.total, x = program.span(len(degrees[0])), program.span(padded(len(degrees[0]), PANEL))
        self.units = [x]
        program.symbol(self.total, self.total, self.first)
        program.add(Op.RELU, x, x=self.total.offset, n=self.total.length)
        for layer in range(1, len(layers)):
            weight = layers[layer].weight[self.sorted[layer]][:, self.sorted[layer - 1]]
            weight = masked(weight, degrees[layer], degrees[layer - 1])
            starts = torch.searchsorted(degrees[layer], torch.arange(len(ranks) + 1)).tolist()
            x = program.units(x, weight, layers[layer].bias[self.sorted[layer]], starts)
            self.units.append(x)
        self.totals = program.span(model.bias.numel())
        self.direct = None
        if model.direct is not None:
            direct = masked(model.direct, ranks, positions).permute(2, 0, 1)
            self.direct = direct.reshape(len(ranks), width, -1)  # (D, E, D P)
            program.symbol(self.totals, self.totals, self.direct)
        readout = masked(model.readout[..., self.sorted[-1]], ranks, degrees[-1])
        program.draw_from(program.dot(self.totals, x, readout))
        super().__init__(program)

    def fill(self, memory: Running, request: Request) -> None:
        """The sums of the first layer from the symbols so far; the units of the others as they are."""
        state, batch = Known(*request.state), len(request.parameters)
        variables = self.order.permutation[: state.time]
        bias, *_, readout = self.model.biases(request.context, batch)
        memory.set(self.total, bias[:, self.sorted[0]] + state.values @ self.first[variables].flatten(0, 1))
        totals = readout.flatten(1)
        if self.direct is not None:
            totals = totals + state.values @ self.direct[variables].flatten(0, 1)
        memory.set(self.totals, totals)
        for span, units in zip(self.units[1:], state.units[1:], strict=True):
            memory.set(span, units)


@offers(FVSBN)
def fvsbn(model: FVSBN, request: Request) -> Sampler:
    """A sampler of an FVSBN."""
    order = model.ordering.of_context(request.context)
    return start(model, request, lambda: FVSBNLayout(model, order), order)


@offers(NADE)
def nade(model: NADE, request: Request) -> Sampler:
    """A sampler of a NADE or RNADE."""
    order = model.ordering.of_context(request.context)
    return start(model, request, lambda: NADELayout(model, order), order)


@offers(MADE)
def made(model: MADE, request: Request) -> Sampler:
    """A sampler of a MADE."""
    order = model.ordering.of_context(request.context)
    return start(model, request, lambda: MADELayout(model, order), order)
