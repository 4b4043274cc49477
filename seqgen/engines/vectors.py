"""Vectors of 16 floats inside compiled functions, and products of vectors and packed matrices.

numba vectorises loops as LLVM sees fit, which for products with few columns is not at all, and on AVX-512 with half of
the register; so vectors are explicit here. A vector of 16 becomes one register of AVX-512, two of AVX2, four of SSE and
of NEON. Weights are float32, bfloat16 (as uint16) or int8, and are converted to float32 on their way into a register.

A matrix (n, m) is packed in panels of 16 columns: all rows of a panel, then the next panel. n and m are multiples of 16
and padded with zeros. A product of one row reads four panels side by side, each from its first number to its last; a
product of several rows takes six of them together through a panel, so that every number read is used six times. So
processors fetch ahead what comes next, which they do not for columns of a wider panel.
"""

# The functions below are inputs of numba's compiler, whose types mypy does not know.
# mypy: ignore-errors

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import config, njit, types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

LANES = 16
FLOATS = ir.VectorType(ir.FloatType(), LANES)


def has_wide_registers() -> bool:
    """Whether the processor that is compiled for has 32 vector registers or more (AVX-512, NEON), not 16."""
    name, features = config.CPU_NAME, config.CPU_FEATURES
    if name is None:
        name = llvm.get_host_cpu_name()
        features = llvm.get_host_cpu_features().flatten() if features is None else features
    known = ("avx512", "skylake-", "cascadelake", "icelake", "sapphirerapids", "znver4", "znver5", "apple", "neoverse")
    return "+avx512f" in (features or "") or "+neon" in (features or "") or any(one in name for one in known)


WIDE = has_wide_registers()


class VectorType(types.Type):
    """16 floats."""

    def __init__(self) -> None:
        super().__init__("vector16")


vector = VectorType()


@register_model(VectorType)
class VectorModel(models.PrimitiveModel):
    """The LLVM type of a vector."""

    def __init__(self, manager, kind) -> None:
        super().__init__(manager, kind, FLOATS)


def _pointer(context, builder, array_type, array, index):
    data = context.make_array(array_type)(context, builder, array).data
    return builder.gep(data, [index])


def _load(context, builder, array_type, pointer):
    """16 numbers at a pointer, as floats."""
    width = array_type.dtype.bitwidth
    if array_type.dtype == types.float32:
        return builder.load(builder.bitcast(pointer, FLOATS.as_pointer()), align=4)
    whole = ir.VectorType(ir.IntType(32), LANES)
    stored = builder.load(builder.bitcast(pointer, ir.VectorType(ir.IntType(width), LANES).as_pointer()), align=1)
    if array_type.dtype == types.uint16:  # bfloat16: the upper half of a float32
        return builder.bitcast(builder.shl(builder.zext(stored, whole), ir.Constant(whole, [16] * LANES)), FLOATS)
    return builder.sitofp(builder.sext(stored, whole), FLOATS)


def _splat(builder, value):
    undefined = ir.Constant(FLOATS, ir.Undefined)
    one = builder.insert_element(undefined, value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(one, undefined, ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES))


def _call(builder, name, *arguments):
    kind = ir.FunctionType(FLOATS, [FLOATS] * len(arguments))
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}.v16f32"), arguments)


# -- arithmetic


@intrinsic
def load(typing, array, index):
    """The 16 numbers of an array from an index on."""

    def generate(context, builder, signature, arguments):
        return _load(context, builder, signature.args[0], _pointer(context, builder, signature.args[0], *arguments))

    return vector(array, types.intp), generate


@intrinsic
def store(typing, array, index, value):
    """Write 16 floats to an array of float32 from an index on."""

    def generate(context, builder, signature, arguments):
        pointer = _pointer(context, builder, signature.args[0], *arguments[:2])
        builder.store(arguments[2], builder.bitcast(pointer, FLOATS.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), generate


@intrinsic
def splat(typing, value):
    """16 times the same float."""

    def generate(context, builder, signature, arguments):
        return _splat(builder, arguments[0])

    return vector(types.float32), generate


def _function(build, count):
    """A compiled function of `count` vectors from one that builds its LLVM instructions.

    Written as compiled functions themselves, of vectors, they would take numba ten times as long to compile.
    """

    def generate(context, builder, signature, arguments):
        return build(builder, *arguments)

    if count == 1:

        @intrinsic
        def function(typing, a):
            return vector(vector), generate
    elif count == 2:

        @intrinsic
        def function(typing, a, b):
            return vector(vector, vector), generate
    else:

        @intrinsic
        def function(typing, a, b, c):
            return vector(vector, vector, vector), generate

    return function


def _constant(value):
    return ir.Constant(FLOATS, [value] * LANES)


def _fma(builder, a, b, c):
    # Fused where the processor can; llvm.fma would be a function call where it cannot.
    return _call(builder, "fmuladd", a, b, c)


def _unless_nan(builder, x, y, value):
    """A value, or x + y where one of them is NaN, which minnum and maxnum drop."""
    return builder.select(builder.fcmp_unordered("uno", x, y), builder.fadd(x, y), value)


def _clamped(builder, x, low, high):
    return _call(builder, "minnum", _call(builder, "maxnum", x, _constant(low)), _constant(high))


def _exp(builder, given):
    x = _clamped(builder, given, -87.0, 88.0)
    n = _call(builder, "rint", builder.fmul(x, _constant(1.44269504)))
    r = _fma(builder, n, _constant(2.12194440e-4), _fma(builder, n, _constant(-0.693359375), x))
    p = _constant(1 / 5040)
    for divisor in (720, 120, 24, 6, 2):
        p = _fma(builder, p, r, _constant(1 / divisor))
    p = builder.fadd(_fma(builder, builder.fmul(p, r), r, r), _constant(1.0))
    whole = ir.VectorType(ir.IntType(32), LANES)
    biased = builder.add(builder.fptosi(n, whole), ir.Constant(whole, [127] * LANES))
    power = builder.bitcast(builder.shl(biased, ir.Constant(whole, [23] * LANES)), FLOATS)
    return _unless_nan(builder, given, given, builder.fmul(p, power))


def _exp_of_minus(builder, x):
    return _exp(builder, builder.fsub(_constant(0.0), x))


def _sigmoid(builder, x):
    return builder.fdiv(_constant(1.0), builder.fadd(_constant(1.0), _exp_of_minus(builder, x)))


def _tanh(builder, x):
    return builder.fsub(builder.fmul(_constant(2.0), _sigmoid(builder, builder.fadd(x, x))), _constant(1.0))


def _gate(builder, x, y):
    e = _exp_of_minus(builder, _clamped(builder, builder.fadd(x, x), -40.0, 40.0))
    whole = builder.fmul(builder.fadd(_constant(1.0), e), builder.fadd(_constant(1.0), _exp_of_minus(builder, y)))
    return _unless_nan(builder, x, y, builder.fdiv(builder.fsub(_constant(1.0), e), whole))


add, sub, mul = (
    _function(lambda builder, a, b, name=name: getattr(builder, name)(a, b), 2) for name in ("fadd", "fsub", "fmul")
)
greatest = _function(lambda builder, a, b: builder.select(builder.fcmp_unordered("ugt", a, b), a, b), 2)
"""The greater of a and b, a where it is NaN."""
fma = _function(_fma, 3)
"""a b + c."""
exp = _function(_exp, 1)
"""e^x to 3e-7 relative: x = n log 2 + r with whole n, and the Taylor series in r, |r| <= log(2) / 2, to degree 7."""
sigmoid = _function(_sigmoid, 1)
"""1 / (1 + e^-x)."""
tanh = _function(_tanh, 1)
"""2 sigmoid(2 x) - 1, whose absolute error is that of float32 near 1."""
gate = _function(_gate, 2)
"""tanh(x) sigmoid(y), with one division."""


@intrinsic
def total(typing, value):
    """The sum of the 16 floats."""

    def generate(context, builder, signature, arguments):
        undefined, index = ir.Constant(FLOATS, ir.Undefined), ir.IntType(32)
        value, width = arguments[0], LANES
        while width > 1:  # the upper half onto the lower
            width //= 2
            mask = ir.Constant(ir.VectorType(index, LANES), [(lane + width) % LANES for lane in range(LANES)])
            value = builder.fadd(value, builder.shuffle_vector(value, undefined, mask))
        return builder.extract_element(value, ir.Constant(index, 0))

    return types.float32(vector), generate


F = np.float32


# -- products


def product(rows: int, columns: int):
    """A function that multiplies `rows` rows (n,) by 16 `columns` columns of a packed matrix.

    y = a + x W for each row, all three in `memory` at `base[first + row]` plus an offset. Sums of int8 weights are
    multiplied by the scales in `constants`. Several sums are kept for each column where a processor with few of them
    at work would wait for each addition.
    """
    chains = max(1, 8 // (rows * columns * (1 if WIDE else 2)))

    @intrinsic
    def multiply(typing, memory, base, first, y, a, x, n, weights, w, constants, scale):
        def generate(context, builder, signature, arguments):
            memory, base, first, y, a, x, n, weights, w, constants, scale = arguments
            kinds = signature.args
            whole = ir.IntType(64)
            scaled = kinds[7].dtype == types.int8
            origins = [
                builder.load(_pointer(context, builder, kinds[1], base, builder.add(first, ir.Constant(whole, row))))
                for row in range(rows)
            ]

            def place(row, offset):
                return _pointer(context, builder, kinds[0], memory, builder.add(origins[row], offset))

            def plus(offset, number):
                return builder.add(offset, ir.Constant(whole, number))

            panels = [builder.mul(n, ir.Constant(whole, column * LANES)) for column in range(columns)]
            sums = {}
            for row in range(rows):
                for column in range(columns):
                    for chain in range(chains):
                        value = _constant(0.0)
                        if not chain and not scaled:
                            value = _load(context, builder, kinds[0], place(row, plus(a, column * LANES)))
                        sums[row, column, chain] = cgutils.alloca_once_value(builder, value)
            steps = builder.udiv(n, ir.Constant(whole, chains))
            with cgutils.for_range(builder, steps) as loop:
                for chain in range(chains):
                    k = builder.add(builder.mul(loop.index, ir.Constant(whole, chains)), ir.Constant(whole, chain))
                    start = builder.add(w, builder.mul(k, ir.Constant(whole, LANES)))
                    values = [
                        _load(context, builder, kinds[7], _pointer(context, builder, kinds[7], weights, place))
                        for place in (builder.add(start, panel) for panel in panels)
                    ]
                    for row in range(rows):
                        number = _splat(builder, builder.load(place(row, builder.add(x, k))))
                        for column in range(columns):
                            slot = sums[row, column, chain]
                            builder.store(_call(builder, "fmuladd", number, values[column], builder.load(slot)), slot)
            for row in range(rows):
                for column in range(columns):
                    value = builder.load(sums[row, column, 0])
                    for chain in range(1, chains):
                        value = builder.fadd(value, builder.load(sums[row, column, chain]))
                    if scaled:
                        at = _pointer(context, builder, kinds[9], constants, plus(scale, column * LANES))
                        start = _load(context, builder, kinds[0], place(row, plus(a, column * LANES)))
                        value = _call(builder, "fmuladd", value, _load(context, builder, kinds[9], at), start)
                    target = builder.bitcast(place(row, plus(y, column * LANES)), FLOATS.as_pointer())
                    builder.store(value, target, align=4)
            return context.get_dummy_value()

        index = types.intp
        signature = types.void(memory, base, index, index, index, index, index, weights, index, constants, index)
        return signature, generate

    return multiply


_one_64, _one_32, _one_16 = (product(1, columns) for columns in (4, 2, 1))
_six, _four, _two = (product(rows, 1) for rows in (6, 4, 2))


@njit
def _row(memory, base, row, y, a, x, n, m, weights, w, constants, scale):
    done = 0
    while m - done >= 64:
        _one_64(memory, base, row, y + done, a + done, x, n, weights, w + done * n, constants, scale + done)
        done += 64
    if m - done >= 32:
        _one_32(memory, base, row, y + done, a + done, x, n, weights, w + done * n, constants, scale + done)
        done += 32
    if m - done >= 16:
        _one_16(memory, base, row, y + done, a + done, x, n, weights, w + done * n, constants, scale + done)


@njit
def multiply(memory, base, count, y, a, x, n, m, weights, w, constants, scale):
    """y = a + x W for `count` rows at `base`, W (n, m) packed at w; y and a may be the same, x is another place."""
    if count == 1:
        _row(memory, base, 0, y, a, x, n, m, weights, w, constants, scale)
        return
    for done in range(0, m, 16):
        panel = w + done * n
        row = 0
        while count - row >= 6:
            _six(memory, base, row, y + done, a + done, x, n, weights, panel, constants, scale + done)
            row += 6
        if count - row >= 4:
            _four(memory, base, row, y + done, a + done, x, n, weights, panel, constants, scale + done)
            row += 4
        if count - row >= 2:
            _two(memory, base, row, y + done, a + done, x, n, weights, panel, constants, scale + done)
            row += 2
        if row < count:
            _one_16(memory, base, row, y + done, a + done, x, n, weights, panel, constants, scale + done)


@njit
def dot(memory, x, n, weights, w):
    """The sum of x_k W_k over n numbers, n a multiple of 64."""
    a = b = c = d = splat(F(0.0))
    for k in range(0, n, 64):
        a = fma(load(memory, x + k), load(weights, w + k), a)
        b = fma(load(memory, x + k + 16), load(weights, w + k + 16), b)
        c = fma(load(memory, x + k + 32), load(weights, w + k + 32), c)
        d = fma(load(memory, x + k + 48), load(weights, w + k + 48), d)
    return total(add(add(a, b), add(c, d)))
