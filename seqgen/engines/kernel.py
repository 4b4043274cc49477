"""The compiled sampler: a program of vector operations, run once for every symbol, and a draw.

A model's step is a list of few kinds of operation on vectors (`Op`), so one compiled function serves all models. What
an operation costs beyond its arithmetic is reading 14 numbers and a jump, some nanoseconds.

Every sequence has a row of `memory`, in which all offsets are relative to its beginning. `weights` holds packed
matrices, `constants` look-up tables and scales of int8 weights. Operands of an operation have an offset and a step,
which is multiplied by the variable that the current position (or, with `ahead`, the next) stands for.
"""

# mypy: ignore-errors

import math
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numba import njit

from seqgen.engines.cache import cached
from seqgen.engines.draws import draw
from seqgen.engines.vectors import (
    F,
    add,
    dot,
    fma,
    gate,
    greatest,
    load,
    mul,
    multiply,
    sigmoid,
    splat,
    store,
    sub,
    tanh,
)
from seqgen.nn.prediction import AMPLITUDE, CLIP


class Op(IntEnum):
    """Kinds of operation: y, a and x are vectors in memory, W a packed matrix, c constants, s the symbol."""

    PRODUCT = 0  # y = a + x W
    DOT = 1  # y_p = a_p + x W_p for p < m, W by rows
    LOOKUP = 2  # y = a + c[s]
    SCALED = 3  # y = a + (u s + v) c, with u and v in constants at `scale`
    GATE = 4  # y = tanh(x) sigmoid(x behind n)
    RELU = 5  # y = relu(x)
    SIGMOID = 6  # y = sigmoid(x)
    TANH = 7  # y = tanh(x)
    TIMES = 8  # y = x c, c one number
    LSTM = 9  # y = h', a = c: from gates x = (i, f, g, o), each of n
    GRU = 10  # y = h: from x = (r, z, n) of the input and a = (r, z, n) of the state, each of n
    NORM = 11  # y = (x - mean) / deviation * c + d, over the first m of n
    QUEUE = 12  # y = the inputs m, 2 m, ... before x's, from a ring at a of n vectors; x enters the ring
    FETCH = 13  # y = the inputs from outside for this symbol
    UNITS = 14  # y_p = relu(a_p + x W_p) for the units p that become known, their rows of W found in `table`
    ADD = 15  # y = a + c
    COPY = 16  # y = x, of any n
    INPUT = 17  # y = embed(s), of m numbers for each channel: one-hot, or u s + v
    CHANNELS = 18  # y = parameters of a channel out of x, with those that are linear in the channels a before
    PREDICT = 19  # y = inputs out of s and its linear prediction, whose n coefficients are at m of those from outside


class Code(NamedTuple):
    """A program: lines (N, 14) int64 of op, ahead, y, its step, a, its step, x, n, m, w, its step, c, its step, extra.

    `places` (D,) are the variables of the positions, one zero where all positions are alike; parameters of the next
    symbol are at `parameters` in memory, plus `step` times the variable. `embedding` (2,) is u and v of the embedding
    u s + v of a symbol.

    Images have `width` columns, each with a cell of `cell` floats, and a symbol for each of `channels`. `program` takes
    in a symbol, `pixel` then computes at the cell of the next one, and `row` before it, at all cells at once, what the
    pixels of a new row have in common with the rows above.
    """

    program: np.ndarray
    row: np.ndarray
    pixel: np.ndarray
    width: int
    channels: int
    cell: int
    table: np.ndarray
    weights: np.ndarray
    constants: np.ndarray
    places: np.ndarray
    parameters: int
    step: int
    embedding: np.ndarray


@njit
def _elementwise(op, memory, y, a, x, n, constants, c, value):
    """The operations on vectors of n numbers; c is a place in constants, value a number."""
    if op == Op.LOOKUP:
        for i in range(0, n, 16):
            store(memory, y + i, add(load(memory, a + i), load(constants, c + i)))
    elif op == Op.SCALED:
        for i in range(0, n, 16):
            store(memory, y + i, fma(splat(value), load(constants, c + i), load(memory, a + i)))
    elif op == Op.GATE:
        for i in range(0, n, 16):
            store(memory, y + i, gate(load(memory, x + i), load(memory, x + n + i)))
    elif op == Op.RELU:
        for i in range(0, n, 16):
            store(memory, y + i, greatest(load(memory, x + i), splat(F(0.0))))
    elif op == Op.SIGMOID:
        for i in range(0, n, 16):
            store(memory, y + i, sigmoid(load(memory, x + i)))
    elif op == Op.TANH:
        for i in range(0, n, 16):
            store(memory, y + i, tanh(load(memory, x + i)))
    elif op == Op.TIMES:
        for i in range(0, n, 16):
            store(memory, y + i, mul(load(memory, x + i), splat(value)))
    elif op == Op.LSTM:
        for i in range(0, n, 16):
            new = mul(sigmoid(load(memory, x + i)), tanh(load(memory, x + 2 * n + i)))
            cell = fma(sigmoid(load(memory, x + n + i)), load(memory, a + i), new)
            store(memory, a + i, cell)
            store(memory, y + i, mul(sigmoid(load(memory, x + 3 * n + i)), tanh(cell)))
    elif op == Op.GRU:
        for i in range(0, n, 16):
            reset = sigmoid(add(load(memory, x + i), load(memory, a + i)))
            update = sigmoid(add(load(memory, x + n + i), load(memory, a + n + i)))
            new = tanh(fma(reset, load(memory, a + 2 * n + i), load(memory, x + 2 * n + i)))
            store(memory, y + i, fma(update, sub(load(memory, y + i), new), new))


@njit
def _norm(memory, y, x, n, m, constants, c, epsilon):
    mean, square = 0.0, 0.0
    for i in range(m):
        mean += memory[x + i]
    mean /= m
    for i in range(m):
        square += (memory[x + i] - mean) ** 2
    scale = F(1 / np.sqrt(square / m + epsilon))
    for i in range(0, n, 16):
        value = mul(sub(load(memory, x + i), splat(F(mean))), splat(scale))
        store(memory, y + i, fma(value, load(constants, c + i), load(constants, c + n + i)))


@njit
def _queue(memory, y, ring, x, n, width, dilation, time):
    """Copy the inputs of a dilated convolution out of the ring of the last n inputs, and the newest one into it."""
    slot = time % n
    age = n
    while age > 0:
        place = slot - age if slot >= age else slot - age + n
        for i in range(0, width, 16):
            store(memory, y + i, load(memory, ring + place * width + i))
        y += width
        age -= dilation
    for i in range(0, width, 16):
        store(memory, ring + slot * width + i, load(memory, x + i))


@njit
def _dots(memory, y, a, x, n, first, last, weights, w, constants, scale, floor):
    """y_p = max(floor, a_p + x W_p) for p from first to last - 1."""
    for p in range(first, last):
        value = dot(memory, x, n, weights, w + p * n)
        value = memory[a + p] + (value * constants[scale + p] if scale >= 0 else value)
        memory[y + p] = floor if value < floor else value  # in this order, for NaN


@njit
def _predict(memory, y, moves, row, coefficients, order, value, time):
    """Take in the value at position `time`, and predict the next one; see `nn.prediction`.

    `moves` (P + 2,) are prediction and gain of a symbol, and then a ring of the last P values, by position.
    """
    error = min(max(3 * (value - moves[0]) / moves[1], -CLIP), CLIP) / 2
    slot = time % order
    moves[2 + slot] = value
    prediction = 0.0
    for k in range(order):
        prediction += np.float64(row[coefficients + k]) * moves[2 + slot]
        slot = slot - 1 if slot else order - 1
    moves[0], moves[1] = prediction, math.exp(np.float64(row[coefficients + order]))
    memory[y], memory[y + 1], memory[y + 2] = F(AMPLITUDE * value), F(AMPLITUDE * prediction), F(error)


@njit
def step(code, program, memory, base, rows, count, time, symbols, outside, column, moves):
    """Run a program after the symbol at position `time` of every row."""
    weights, constants = code.weights, code.constants
    for number in range(len(program)):
        line = program[number]
        op, at = line[0], min(time + line[1], len(code.places) - 1)
        place = code.places[at]
        y, a = line[2] + line[3] * place, line[4] + line[5] * place
        x, n, m = line[6], line[7], line[8]
        w, c, extra = line[9] + line[10] * place, line[11] + line[12] * place, line[13]
        if op == Op.PRODUCT:
            multiply(memory, base, count, y, a, x, n, m, weights, w, constants, c)
            continue
        for row in range(count):
            b = base[row]
            if op == Op.DOT:
                _dots(memory, b + y, b + a, b + x, n, 0, m, weights, w, constants, c, -np.inf)
            elif op == Op.LOOKUP:
                c_s = c + np.int64(symbols[rows[row]]) * extra
                _elementwise(op, memory, b + y, b + a, b + x, m, constants, c_s, F(0))
            elif op == Op.SCALED:
                value = F(constants[extra] * symbols[rows[row]] + constants[extra + 1])
                _elementwise(op, memory, b + y, b + a, b + x, m, constants, c, value)
            elif op == Op.TIMES:
                _elementwise(op, memory, b + y, b + a, b + x, n, constants, c, constants[c])
            elif op <= Op.GRU:
                _elementwise(op, memory, b + y, b + a, b + x, n, constants, c, F(0))
            elif op == Op.NORM:
                _norm(memory, b + y, b + x, n, m, constants, c, constants[extra])
            elif op == Op.QUEUE:
                _queue(memory, b + y, b + a, b + x, n, m, extra, time)
            elif op == Op.FETCH:
                for k in range(m):
                    memory[b + y + k] = outside[rows[row], column, k]
            elif op == Op.UNITS:
                first, last = code.table[extra + at], code.table[extra + at + 1]
                _dots(memory, b + y, b + a, b + x, n, first, last, weights, w, constants, c, 0.0)
            elif op == Op.ADD:
                _elementwise(Op.LOOKUP, memory, b + y, b + a, b + x, m, constants, c, F(0))
            elif op == Op.COPY:
                for k in range(n):
                    memory[b + y + k] = memory[b + x + k]
            elif op == Op.INPUT:
                symbol = symbols[rows[row]]
                for k in range(m):
                    memory[b + y + k] = (
                        F(k == symbol) if extra < 0 else F(constants[extra] * symbol + constants[extra + 1])
                    )
            elif op == Op.CHANNELS:
                _channel(memory, b + y, b + a, b + x + w * place, n, m, extra, place)
            elif op == Op.PREDICT:
                value = code.embedding[0] * symbols[rows[row]] + code.embedding[1]
                _predict(memory, b + y, moves[rows[row]], outside[rows[row], column], m, n, value, time)


@njit
def _channel(memory, y, values, x, size, locations, first, channel):
    """Parameters of a channel: those at x, and locations that are linear in the values of earlier channels."""
    for k in range(size):
        memory[y + k] = memory[x + k]
    for other in range(channel):
        for k in range(locations):
            slope = math.tanh(memory[x + size + other * locations + k])
            memory[y + first + k] += F(slope * memory[values + other])


@njit
def advance(code, memory, base, rows, count, wide, time, symbols, outside, column, moves):
    """Take in the symbols at position `time`, and compute the parameters of the next ones; from -1, of the first."""
    if time >= 0:
        step(code, code.program, memory, base, rows, count, time, symbols, outside, column, moves)
    if code.width == 0:
        return
    if time >= 0 and (time + 1) % code.channels == 0:
        start = (time + 1) // code.channels % code.width == 0
        for row in range(count):
            base[row] += code.cell * (1 - code.width) if start else code.cell
            for place in range(code.width):
                wide[row * code.width + place] = base[row] + place * code.cell
        if start:
            step(code, code.row, memory, wide, rows, count * code.width, time, symbols, outside, column, moves)
    step(code, code.pixel, memory, base, rows, count, time, symbols, outside, column, moves)


@cached
@njit(nogil=True)
def run(code, memory, base, rows, count, wide, time, pending, last, outside, moves, how, noise, end, symbols, given):
    """Draw a symbol at each column of the noise for each of the `count` rows that go on.

    `base` and `rows` are the places of those rows in memory and their numbers; a row that draws the symbol `end` is
    taken out, and the rest of its symbols are as they were. `time` is the position of the next symbol to draw; where
    `pending`, that of the `last` symbols (B,), after which the program has not been run. Returns how many rows go on,
    and the columns drawn; -1 rows where parameters are NaN. `wide` (B W,) has room for the places of all cells of a
    row of images. Where `given`, symbols are not drawn but taken in. A row of `moves` (B, 2 or more), float64, begins
    with a shift and a scale of the next symbol.
    """
    for column in range(noise.shape[1]):
        if count == 0:
            return count, column
        if pending:
            advance(code, memory, base, rows, count, wide, time, last, outside, column, moves)
            time += 1
        pending = True
        place = code.places[min(time, len(code.places) - 1)]
        kept = 0
        for row in range(count):
            number = rows[row]
            if given:
                x = symbols[number, column]
            else:
                parameters = base[row] + code.parameters + code.step * place
                x = draw(how, memory, parameters, noise[number, column], moves[number, 0], moves[number, 1])
            if np.isnan(x):
                return -1, column
            symbols[number, column] = x
            last[number] = x
            if given or x != end:
                base[kept], rows[kept] = base[row], number
                kept += 1
        count = kept
    return count, noise.shape[1]
