"""Sixteen floats at a time, spelled out.

A voxel's row is 16 float32 (one cache line), so the loops that cost the time are sums over whole rows, and activations
of 16 samples at once. LLVM's auto-vectoriser finds neither in scalar code with gathers and branches. These intrinsics
name the vector operations directly: LLVM lowers them to AVX-512, to pairs of AVX2 registers, or to four of SSE or NEON,
whatever the processor has. A `Vec16` lives only in registers inside a kernel; it is never an argument of one.

`vexp` and `vlog` are Cephes' expf and logf (Moshier, netlib.org/cephes, single/expf.c and logf.c) without branches:
relative error below 2e-7 for -87 < x < 88, and logarithms of positive normal numbers. The C library's versions would
neither vectorise nor be the same bits on every system.

Offsets are in elements of the array, never checked: the caller knows that 16 floats follow.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.datamodel import models
from numba.extending import intrinsic, register_model

_F32, _I32, _I64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
_V16, _I16X32, _V4 = ir.VectorType(_F32, 16), ir.VectorType(_I32, 16), ir.VectorType(_F32, 4)
_H16, _I8X16 = ir.VectorType(ir.HalfType(), 16), ir.VectorType(ir.IntType(8), 16)


class Vec16Type(types.Type):
    """Numba's name for an LLVM vector of 16 float32."""

    def __init__(self) -> None:
        super().__init__(name="Vec16")


vec16 = Vec16Type()


@register_model(Vec16Type)
class _Vec16Model(models.PrimitiveModel):
    def __init__(self, manager: Any, fe_type: Any) -> None:
        super().__init__(manager, fe_type, _V16)


def _all(value: float) -> ir.Constant:
    return ir.Constant(_V16, [float(value)] * 16)


def _iall(value: int) -> ir.Constant:
    return ir.Constant(_I16X32, [int(value)] * 16)


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, offset: Any, target: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [offset]), ir.PointerType(target))


def _load(context: Any, builder: Any, sig: Any, args: Any, target: Any) -> Any:
    loaded = builder.load(_pointer(context, builder, sig.args[0], args[0], args[1], target))
    loaded.align = sig.args[0].dtype.bitwidth // 8
    return loaded


def _store(context: Any, builder: Any, sig: Any, args: Any, value: Any) -> Any:
    stored = builder.store(value, _pointer(context, builder, sig.args[0], args[0], args[1], value.type))
    stored.align = sig.args[0].dtype.bitwidth // 8
    return context.get_dummy_value()


def _call(builder: Any, name: str, *values: Any) -> Any:
    signature = ir.FunctionType(values[0].type, [v.type for v in values])
    return builder.call(cgutils.get_or_insert_function(builder.module, signature, name), values)


def _fma(builder: Any, a: Any, b: Any, c: Any) -> Any:
    return _call(builder, "llvm.fma.v16f32", a, b, c)


def _splat(builder: Any, scalar: Any) -> Any:
    undefined = ir.Constant(_V16, ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(_I32, 0))
    return builder.shuffle_vector(first, undefined, _iall(0))


def _quarters(builder: Any, value: Any) -> Any:
    undefined = ir.Constant(_V16, ir.Undefined)
    quarters = [
        builder.shuffle_vector(value, undefined, ir.Constant(ir.VectorType(_I32, 4), [4 * k + j for j in range(4)]))
        for k in range(4)
    ]
    return builder.fadd(builder.fadd(quarters[0], quarters[1]), builder.fadd(quarters[2], quarters[3]))


def _smaller(builder: Any, a: Any, b: Any) -> Any:
    return builder.select(builder.fcmp_ordered("<", a, b), a, b)


def _larger(builder: Any, a: Any, b: Any) -> Any:
    return builder.select(builder.fcmp_ordered(">", a, b), a, b)


def _exp(builder: Any, x: Any) -> Any:
    x = _larger(builder, _smaller(builder, x, _all(88.0)), _all(-87.0))
    n = _call(builder, "llvm.floor.v16f32", _fma(builder, x, _all(1.44269504088896341), _all(0.5)))
    r = _fma(builder, n, _all(2.12194440e-4), _fma(builder, n, _all(-0.693359375), x))
    p = _all(1.9875691500e-4)
    for c in (1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1):
        p = _fma(builder, p, r, _all(c))
    y = builder.fadd(_fma(builder, p, builder.fmul(r, r), r), _all(1.0))
    power = builder.shl(builder.add(builder.fptosi(n, _I16X32), _iall(127)), _iall(23))
    return builder.fmul(y, builder.bitcast(power, _V16))


def _log(builder: Any, x: Any) -> Any:
    bits = builder.bitcast(x, _I16X32)
    e = builder.sitofp(builder.sub(builder.lshr(bits, _iall(23)), _iall(126)), _V16)
    m = builder.bitcast(builder.or_(builder.and_(bits, _iall(0x007FFFFF)), _iall(0x3F000000)), _V16)
    small = builder.fcmp_ordered("<", m, _all(0.707106781186547524))
    e = builder.fsub(e, builder.select(small, _all(1.0), _all(0.0)))
    m = builder.fsub(builder.fadd(m, builder.select(small, m, _all(0.0))), _all(1.0))
    z = builder.fmul(m, m)
    p = _all(7.0376836292e-2)
    for c in (
        -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
        -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
    ):  # fmt: skip
        p = _fma(builder, p, m, _all(c))
    y = _fma(builder, e, _all(-2.12194440e-4), builder.fmul(builder.fmul(m, z), p))
    y = _fma(builder, z, _all(-0.5), y)
    return _fma(builder, e, _all(0.693359375), builder.fadd(m, y))


@intrinsic
def vload(typingctx, array, offset):
    """array[offset : offset + 16] of a float32 array."""
    return vec16(array, types.int64), lambda c, b, sig, args: _load(c, b, sig, args, _V16)


@intrinsic
def vstore(typingctx, array, offset, value):
    """array[offset : offset + 16] = value."""
    return types.void(array, types.int64, vec16), lambda c, b, sig, args: _store(c, b, sig, args, args[2])


@intrinsic
def hload(typingctx, array, offset):
    """16 halves kept in a uint16 array, widened."""

    def generate(context, builder, sig, args):
        return builder.fpext(_load(context, builder, sig, args, _H16), _V16)

    return vec16(array, types.int64), generate


@intrinsic
def hblend(typingctx, array, places, first, stride, start, weights, at):
    """Sum of eight times 16 halves kept in a uint16 array, widened: those from places[first + i] * stride + start on,
    times weights[at + i], i = 0 .. 7. places: int32; weights: float32. Even and odd ones are summed apart, so that no
    sum waits for the one before it."""

    def generate(context, builder, sig, args):
        rows, corners, scales = sig.args[0], sig.args[1], sig.args[5]
        sums = [_all(0.0), _all(0.0)]
        for i in range(8):
            place = builder.load(_pointer(context, builder, corners, args[1], builder.add(args[2], _I64(i)), _I32))
            begin = builder.add(builder.mul(builder.sext(place, _I64), args[3]), args[4])
            loaded = builder.load(_pointer(context, builder, rows, args[0], begin, _H16))
            loaded.align = rows.dtype.bitwidth // 8
            weight = builder.load(_pointer(context, builder, scales, args[5], builder.add(args[6], _I64(i)), _F32))
            sums[i % 2] = _fma(builder, builder.fpext(loaded, _V16), _splat(builder, weight), sums[i % 2])
        return builder.fadd(*sums)

    return vec16(array, places, types.int64, types.int64, types.int64, weights, types.int64), generate


@intrinsic
def hstore(typingctx, array, offset, value):
    """Rounds 16 floats to halves (nearest even; saturating at +-65504) and stores them in a uint16 array."""

    def generate(context, builder, sig, args):
        value = _larger(builder, _smaller(builder, args[2], _all(65504.0)), _all(-65504.0))
        return _store(context, builder, sig, args, builder.fptrunc(value, _H16))

    return types.void(array, types.int64, vec16), generate


@intrinsic
def bload(typingctx, array, offset):
    """16 elements of an int8 array, as floats."""

    def generate(context, builder, sig, args):
        return builder.sitofp(_load(context, builder, sig, args, _I8X16), _V16)

    return vec16(array, types.int64), generate


@intrinsic
def bstore(typingctx, array, offset, value):
    """Rounds 16 floats to whole numbers (nearest even; saturating at +-127) and stores them in an int8 array."""

    def generate(context, builder, sig, args):
        value = _larger(builder, _smaller(builder, args[2], _all(127.0)), _all(-127.0))
        whole = builder.fptosi(_call(builder, "llvm.rint.v16f32", value), _I16X32)
        return _store(context, builder, sig, args, builder.trunc(whole, _I8X16))

    return types.void(array, types.int64, vec16), generate


@intrinsic
def vpeak(typingctx, a):
    """The bits of the largest magnitude of the 16, as a whole number: floats without their sign are ordered as whole
    numbers are, which are compared in half the time."""

    def generate(context, builder, sig, args):
        magnitude = builder.and_(builder.bitcast(args[0], _I16X32), _iall(0x7FFFFFFF))
        signature = ir.FunctionType(_I32, [_I16X32])
        name = "llvm.vector.reduce.umax.v16i32"
        largest = builder.call(cgutils.get_or_insert_function(builder.module, signature, name), [magnitude])
        return builder.zext(largest, _I64)

    return types.int64(vec16), generate


@intrinsic
def bits(typingctx, scalar):
    """The bits of a float32, as a whole number."""

    def generate(context, builder, sig, args):
        return builder.zext(builder.bitcast(args[0], _I32), _I64)

    return types.int64(types.float32), generate


@intrinsic
def power(typingctx, exponent):
    """2 to a power in -126 .. 127, as a float32."""

    def generate(context, builder, sig, args):
        biased = builder.trunc(builder.add(args[0], _I64(127)), _I32)
        return builder.bitcast(builder.shl(biased, _I32(23)), _F32)

    return types.float32(types.int64), generate


@intrinsic
def vset(typingctx, scalar):
    """16 copies of a float32."""
    return vec16(types.float32), lambda c, b, sig, args: _splat(b, args[0])


@intrinsic
def vfma(typingctx, a, b, c):
    """a * b + c, rounded once."""
    return vec16(vec16, vec16, vec16), lambda ctx, builder, sig, args: _fma(builder, *args)


@intrinsic
def vfmas(typingctx, a, scalar, c):
    """a * scalar + c, rounded once."""
    return (
        vec16(vec16, types.float32, vec16),
        lambda ctx, builder, sig, args: _fma(builder, args[0], _splat(builder, args[1]), args[2]),
    )


def _elementwise(emit: Any, doc: str) -> Any:
    @intrinsic
    def operation(typingctx, a, b):
        return vec16(vec16, vec16), lambda ctx, builder, sig, args: emit(builder, *args)

    operation.__doc__ = doc
    return operation


vadd = _elementwise(lambda builder, a, b: builder.fadd(a, b), "a + b")
vsub = _elementwise(lambda builder, a, b: builder.fsub(a, b), "a - b")
vmul = _elementwise(lambda builder, a, b: builder.fmul(a, b), "a * b")
vdiv = _elementwise(lambda builder, a, b: builder.fdiv(a, b), "a / b")
vmin = _elementwise(_smaller, "the smaller of each pair")
vmax = _elementwise(_larger, "the larger of each pair")


@intrinsic
def vexp(typingctx, a):
    """e to the power of each; arguments are clamped to -87 .. 88."""
    return vec16(vec16), lambda ctx, builder, sig, args: _exp(builder, args[0])


@intrinsic
def vlog(typingctx, a):
    """Natural logarithm of positive normal numbers."""
    return vec16(vec16), lambda ctx, builder, sig, args: _log(builder, args[0])


@intrinsic
def vfold(typingctx, array, offset, value):
    """array[offset : offset + 4] = sum of the four quarters of value."""

    def generate(context, builder, sig, args):
        return _store(context, builder, sig, args, _quarters(builder, args[2]))

    return types.void(array, types.int64, vec16), generate


@intrinsic
def vfold2(typingctx, array, offset, value, more):
    """As `vfold`, of two lines: every fourth of `more` belongs to none of its quarters. The first three of these are
    added to the last three sums."""

    def generate(context, builder, sig, args):
        zero = _all(0.0)
        own = [16 if lane % 4 == 0 else lane for lane in range(16)]
        both = builder.fadd(args[2], builder.shuffle_vector(args[3], zero, ir.Constant(_I16X32, own)))
        fifth = builder.shuffle_vector(args[3], zero, ir.Constant(ir.VectorType(_I32, 4), [16, 0, 4, 8]))
        return _store(context, builder, sig, args, builder.fadd(_quarters(builder, both), fifth))

    return types.void(array, types.int64, vec16, vec16), generate


@intrinsic
def vspread2(typingctx, array, offset):
    """As `vspread`, for a row's second line: every fourth is one of the last three instead, in turn; then the first."""

    def generate(context, builder, sig, args):
        four = _load(context, builder, sig, args, _V4)
        picks = [1, 1, 2, 3, 2, 1, 2, 3, 3, 1, 2, 3, 0, 1, 2, 3]
        return builder.shuffle_vector(four, ir.Constant(_V4, ir.Undefined), ir.Constant(_I16X32, picks))

    return vec16(array, types.int64), generate


@intrinsic
def vspread(typingctx, array, offset):
    """array[offset : offset + 4], repeated four times."""

    def generate(context, builder, sig, args):
        four = _load(context, builder, sig, args, _V4)
        return builder.shuffle_vector(four, ir.Constant(_V4, ir.Undefined), ir.Constant(_I16X32, [0, 1, 2, 3] * 4))

    return vec16(array, types.int64), generate


@intrinsic
def vlane4(typingctx, array, offset, lane):
    """array[offset + lane :: 4], 16 of them; `lane` is a literal 0..3."""
    if not isinstance(lane, types.IntegerLiteral):
        return None
    first = lane.literal_value

    def generate(context, builder, sig, args):
        wide = ir.VectorType(_F32, 64)
        loaded = _load(context, builder, sig, args, wide)
        picks = ir.Constant(_I16X32, [4 * i + first for i in range(16)])
        return builder.shuffle_vector(loaded, ir.Constant(wide, ir.Undefined), picks)

    return vec16(array, types.int64, lane), generate


@intrinsic
def prefetch(typingctx, array, offset):
    """Ask for the cache line at array[offset]."""

    def generate(context, builder, sig, args):
        byte = ir.PointerType(ir.IntType(8))
        pointer = _pointer(context, builder, sig.args[0], args[0], args[1], ir.IntType(8))
        signature = ir.FunctionType(ir.VoidType(), [byte, _I32, _I32, _I32])
        function = cgutils.get_or_insert_function(builder.module, signature, "llvm.prefetch.p0")
        builder.call(function, [pointer, _I32(0), _I32(3), _I32(1)])
        return context.get_dummy_value()

    return types.void(array, types.int64), generate


@intrinsic
def popcount(typingctx, word):
    """Number of set bits of a uint64."""
    return types.int64(types.uint64), lambda ctx, builder, sig, args: _call(builder, "llvm.ctpop.i64", args[0])


@intrinsic
def lowest(typingctx, word):
    """Number of the lowest set bit of a uint64 that is not 0."""

    def generate(context, builder, sig, args):
        signature = ir.FunctionType(_I64, [_I64, ir.IntType(1)])
        function = cgutils.get_or_insert_function(builder.module, signature, "llvm.cttz.i64")
        return builder.call(function, [args[0], ir.IntType(1)(1)])

    return types.int64(types.uint64), generate
