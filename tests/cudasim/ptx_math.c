/* ptx_math.c - what PTX instructions compute. Values are the bits of their type in a uint64_t, the rest zero. Approximate
 * instructions are computed exactly: no program may rely on more than the approximation anyway. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/half.h"
#include "tests/cudasim/ptx.h"

uint64_t ptx_cut(uint64_t value, int n_bytes) { return n_bytes == 8 ? value : value & (((uint64_t)1 << (8 * n_bytes)) - 1); }

int64_t ptx_signed(uint64_t value, int n_bytes)
{
    const int unused = 64 - 8 * n_bytes;

    return (int64_t)(value << unused) >> unused;
}

/* ---- floating point ---- */

static float as_float(uint64_t bits)
{
    const uint32_t low = (uint32_t)bits;
    float f;

    memcpy(&f, &low, sizeof f);
    return f;
}

static uint64_t float_bits(float f)
{
    uint32_t bits;

    memcpy(&bits, &f, sizeof bits);
    return bits;
}

static double as_double(uint64_t bits)
{
    double d;

    memcpy(&d, &bits, sizeof d);
    return d;
}

static uint64_t double_bits(double d)
{
    uint64_t bits;

    memcpy(&bits, &d, sizeof bits);
    return bits;
}

static uint64_t bfloat_bits(float f)
{
    const uint32_t bits = (uint32_t)float_bits(f);

    return (bits & 0x7FFFFFFFu) > 0x7F800000u ? 0x7FFF : (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;
}

double ptx_to_double(uint64_t bits, ptx_type lane)
{
    switch (lane.kind) {
    case PTX_HALF: return (double)prle_half_to_float((uint16_t)bits);
    case PTX_BFLOAT: return (double)as_float(bits << 16);
    default: return lane.bytes == 8 ? as_double(bits) : (double)as_float(bits);
    }
}

uint64_t ptx_from_double(double value, ptx_type lane)
{
    switch (lane.kind) {
    case PTX_HALF: return prle_half_from_float((float)value);
    case PTX_BFLOAT: return bfloat_bits((float)value);
    default: return lane.bytes == 8 ? double_bits(value) : float_bits((float)value);
    }
}

static double flush(double value, const ptx_instruction *i)
{
    return (i->flags & PTX_FTZ) && fabs(value) < 1.17549435e-38 ? copysign(0, value) : value;
}

static double lesser(double x, double y, bool nan) { return nan && (isnan(x) || isnan(y)) ? (double)NAN : fmin(x, y); }
static double greater(double x, double y, bool nan) { return nan && (isnan(x) || isnan(y)) ? (double)NAN : fmax(x, y); }

static double lane_arithmetic(const ptx_instruction *i, double x, double y, double z)
{
    const bool single = i->type.kind == PTX_FLOAT && i->type.bytes == 4;

    switch (i->op) {
    case PTX_ADD: return single ? (double)((float)x + (float)y) : x + y;
    case PTX_SUB: return single ? (double)((float)x - (float)y) : x - y;
    case PTX_MUL: return single ? (double)((float)x * (float)y) : x * y;
    case PTX_DIV: return single ? (double)((float)x / (float)y) : x / y;
    case PTX_MAD:
    case PTX_FMA: return single ? (double)fmaf((float)x, (float)y, (float)z) : i->type.bytes == 8 ? fma(x, y, z) : x * y + z;
    case PTX_MIN: return lesser(x, y, i->flags & PTX_NAN);
    case PTX_MAX: return greater(x, y, i->flags & PTX_NAN);
    default: sim_fatal("%s of floats is not simulated", ptx_op_names[i->op]);
    }
}

static uint64_t lane_of(uint64_t value, ptx_type type, int lane)
{
    return type.lanes == 1 ? value : ptx_cut(value >> (8 * type.bytes * lane), type.bytes);
}

static uint64_t float_arithmetic(const ptx_instruction *i, uint64_t a, uint64_t b, uint64_t c)
{
    uint64_t all = 0;

    for (int l = 0; l < i->type.lanes; l++) {
        const double x = flush(ptx_to_double(lane_of(a, i->type, l), i->type), i),
                     y = flush(ptx_to_double(lane_of(b, i->type, l), i->type), i),
                     z = flush(ptx_to_double(lane_of(c, i->type, l), i->type), i);
        double r = lane_arithmetic(i, x, y, z);
        if (i->flags & PTX_SATURATE)
            r = isnan(r) ? 0 : fmin(fmax(r, 0), 1);
        if ((i->flags & PTX_RELU) && !isnan(r))
            r = fmax(r, 0);
        all |= ptx_from_double(flush(r, i), i->type) << (8 * i->type.bytes * l);
    }
    return all;
}

/* ---- integers ---- */

static uint64_t high_half(const ptx_instruction *i, uint64_t a, uint64_t b)
{
    const int n = i->type.bytes;
    __extension__ typedef __int128 wide;
    __extension__ typedef unsigned __int128 unsigned_wide;

    if (i->type.kind == PTX_SIGNED)
        return (uint64_t)(((wide)ptx_signed(a, n) * ptx_signed(b, n)) >> (8 * n));
    return (uint64_t)(((unsigned_wide)a * b) >> (8 * n));
}

static uint64_t multiply(const ptx_instruction *i, uint64_t a, uint64_t b)
{
    const int n = i->type.bytes;

    if (i->flags & PTX_HIGH)
        return high_half(i, a, b);
    return i->type.kind == PTX_SIGNED ? (uint64_t)ptx_signed(a, n) * (uint64_t)ptx_signed(b, n) : a * b;
}

static uint64_t divide(const ptx_instruction *i, uint64_t a, uint64_t b)
{
    const int64_t x = ptx_signed(a, i->type.bytes), y = ptx_signed(b, i->type.bytes);
    const bool rest = i->op == PTX_REM;

    if (b == 0)
        return rest ? a : ~(uint64_t)0;
    if (i->type.kind != PTX_SIGNED)
        return rest ? a % b : a / b;
    if (y == -1)
        return rest ? 0 : -(uint64_t)x;
    return (uint64_t)(rest ? x % y : x / y);
}

static bool less(ptx_type type, uint64_t a, uint64_t b)
{
    return type.kind == PTX_SIGNED ? ptx_signed(a, type.bytes) < ptx_signed(b, type.bytes) : a < b;
}

static uint64_t integer_arithmetic(const ptx_instruction *i, uint64_t a, uint64_t b, uint64_t c)
{
    const int n = i->type.bytes;
    const bool wide = i->flags & PTX_WIDE;

    a = ptx_cut(a, n);
    b = ptx_cut(b, n);
    switch (i->op) {
    case PTX_ADD: return ptx_cut(a + b, n);
    case PTX_SUB: return ptx_cut(a - b, n);
    case PTX_MUL: return ptx_cut(multiply(i, a, b), wide ? 2 * n : n);
    case PTX_MAD: return ptx_cut(multiply(i, a, b) + c, wide ? 2 * n : n);
    case PTX_DIV:
    case PTX_REM: return ptx_cut(divide(i, a, b), n);
    case PTX_MIN: return less(i->type, a, b) ? a : b;
    case PTX_MAX: return less(i->type, a, b) ? b : a;
    default: sim_fatal("%s of integers is not simulated", ptx_op_names[i->op]);
    }
}

uint64_t ptx_arithmetic(const ptx_instruction *i, uint64_t a, uint64_t b, uint64_t c)
{
    return ptx_is_float(i->type) ? float_arithmetic(i, a, b, c) : integer_arithmetic(i, a, b, c);
}

uint64_t ptx_reduce(ptx_variant how, ptx_type type, uint64_t a, uint64_t b)
{
    ptx_instruction i = {.type = type};

    switch (how) {
    case PTX_V_ADD: i.op = PTX_ADD; break;
    case PTX_V_MIN: i.op = PTX_MIN; break;
    case PTX_V_MAX: i.op = PTX_MAX; break;
    case PTX_V_AND: return a & b;
    case PTX_V_OR: return a | b;
    case PTX_V_XOR: return a ^ b;
    default: sim_fatal("reduction %d is not simulated", (int)how);
    }
    if (type.kind == PTX_BITS)
        i.type.kind = PTX_UNSIGNED;
    return ptx_arithmetic(&i, a, b, 0);
}

/* ---- one operand ---- */

static uint64_t sign_mask(ptx_type t) { return t.lanes == 2 ? 0x80008000u : (uint64_t)1 << (8 * t.bytes - 1); }

static double function_of(const ptx_instruction *i, double x)
{
    switch (i->op) {
    case PTX_EX2: return exp2(x);
    case PTX_LG2: return log2(x);
    case PTX_RCP: return 1 / x;
    case PTX_RSQRT: return 1 / sqrt(x);
    case PTX_SQRT: return sqrt(x);
    case PTX_SIN: return sin(x);
    case PTX_COS: return cos(x);
    case PTX_TANH: return tanh(x);
    default: sim_fatal("%s is not simulated", ptx_op_names[i->op]);
    }
}

static uint64_t functions(const ptx_instruction *i, uint64_t a)
{
    uint64_t all = 0;

    for (int l = 0; l < i->type.lanes; l++) {
        const double x = flush(ptx_to_double(lane_of(a, i->type, l), i->type), i);
        all |= ptx_from_double(flush(function_of(i, x), i), i->type) << (8 * i->type.bytes * l);
    }
    return all;
}

static uint64_t find_top(const ptx_instruction *i, uint64_t a)
{
    const int n = 8 * i->type.bytes;

    if (i->type.kind == PTX_SIGNED && ptx_signed(a, i->type.bytes) < 0)
        a = ptx_cut(~a, i->type.bytes);
    if (a == 0)
        return 0xFFFFFFFFu;
    const int top = 63 - __builtin_clzll(a);
    return (uint64_t)(i->flags & PTX_TO ? n - 1 - top : top);
}

static uint64_t reversed(uint64_t a, int n_bits)
{
    uint64_t r = 0;

    for (int k = 0; k < n_bits; k++)
        r |= ((a >> k) & 1) << (n_bits - 1 - k);
    return r;
}

static bool is_class(ptx_variant how, double x)
{
    switch (how) {
    case PTX_V_FINITE: return isfinite(x);
    case PTX_V_INFINITE: return isinf(x);
    case PTX_V_NUMBER: return !isnan(x);
    case PTX_V_NOTANUMBER: return isnan(x);
    case PTX_V_NORMAL: return isnormal(x);
    default: return isfinite(x) && !isnormal(x) && x != 0;
    }
}

uint64_t ptx_unary(const ptx_instruction *i, uint64_t a, uint64_t b)
{
    const int n = i->type.bytes;
    const bool is_float = ptx_is_float(i->type);

    a = ptx_cut(a, ptx_width(i->type));
    switch (i->op) {
    case PTX_ABS: return is_float ? a & ~sign_mask(i->type) : ptx_cut((uint64_t)llabs(ptx_signed(a, n)), n);
    case PTX_NEG: return is_float ? a ^ sign_mask(i->type) : ptx_cut(-a, n);
    case PTX_COPYSIGN: return (b & ~sign_mask(i->type)) | (a & sign_mask(i->type));
    case PTX_TESTP: return is_class(i->variant, ptx_to_double(a, i->type));
    case PTX_NOT: return i->type.kind == PTX_PREDICATE ? !a : ptx_cut(~a, n);
    case PTX_BFIND: return find_top(i, a);
    case PTX_POPC: return (uint64_t)__builtin_popcountll(a);
    case PTX_CLZ: return a == 0 ? (uint64_t)(8 * n) : (uint64_t)(__builtin_clzll(a) - (64 - 8 * n));
    case PTX_BREV: return reversed(a, 8 * n);
    default: return functions(i, a);
    }
}

/* ---- bits ---- */

static uint64_t shift(const ptx_instruction *i, uint64_t a, uint64_t by)
{
    const int n = i->type.bytes;

    by = (uint32_t)by;
    if (i->op == PTX_SHL)
        return by >= 8u * (unsigned)n ? 0 : ptx_cut(a << by, n);
    if (i->type.kind == PTX_SIGNED)
        return ptx_cut((uint64_t)(ptx_signed(a, n) >> (by > 63 ? 63 : by)), n);
    return by >= 8u * (unsigned)n ? 0 : ptx_cut(a, n) >> by;
}

static uint64_t funnel(const ptx_instruction *i, uint64_t low, uint64_t high, uint64_t by)
{
    const uint64_t both = high << 32 | (uint32_t)low, n = i->flags & PTX_WRAP ? by & 31 : (uint32_t)by > 32 ? 32 : (uint32_t)by;

    return (uint32_t)(i->flags & PTX_RIGHT ? both >> n : (both << n) >> 32);
}

static uint64_t permute(uint64_t a, uint64_t b, uint64_t selector)
{
    const uint64_t all = (uint32_t)a | b << 32;
    uint64_t r = 0;

    for (int k = 0; k < 4; k++) {
        const uint64_t s = selector >> (4 * k) & 15;
        uint64_t byte = all >> (8 * (s & 7)) & 0xFF;
        if (s & 8)
            byte = byte & 0x80 ? 0xFF : 0;
        r |= byte << (8 * k);
    }
    return r;
}

static uint64_t extract(const ptx_instruction *i, uint64_t a, uint64_t at, uint64_t length)
{
    const uint64_t n_bits = 8u * i->type.bytes;

    at &= 255;
    length &= 255;
    const bool negative =
        i->type.kind == PTX_SIGNED && length > 0 && (a >> (at + length - 1 < n_bits ? at + length - 1 : n_bits - 1) & 1);
    uint64_t v = at >= n_bits ? 0 : ptx_cut(a, i->type.bytes) >> at;
    if (length < n_bits)
        v &= ((uint64_t)1 << length) - 1;
    if (negative && length < n_bits)
        v |= ~(uint64_t)0 << (at + length < n_bits ? length : n_bits - at);
    return ptx_cut(v, i->type.bytes);
}

static uint64_t mask_of(uint64_t at, uint64_t length, uint64_t n_bits)
{
    const uint64_t ones = length >= n_bits ? ~(uint64_t)0 : ((uint64_t)1 << length) - 1;

    return at >= n_bits ? 0 : ones << at;
}

static uint64_t logic(uint64_t a, uint64_t b, uint64_t c, uint64_t table)
{
    uint32_t r = 0;

    for (int k = 0; k < 8; k++)
        if (table >> k & 1)
            r |= (uint32_t)((k & 4 ? a : ~a) & (k & 2 ? b : ~b) & (k & 1 ? c : ~c));
    return r;
}

uint64_t ptx_bits(const ptx_instruction *i, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    const int n = i->type.bytes;
    const uint64_t n_bits = 8u * (unsigned)n;

    switch (i->op) {
    case PTX_AND: return ptx_cut(a & b, n);
    case PTX_OR: return ptx_cut(a | b, n);
    case PTX_XOR: return ptx_cut(a ^ b, n);
    case PTX_SHL:
    case PTX_SHR: return shift(i, a, b);
    case PTX_SHF: return funnel(i, a, b, c);
    case PTX_LOP3: return logic(a, b, c, d);
    case PTX_PRMT: return permute(a, b, c);
    case PTX_BFE: return extract(i, a, b, c);
    case PTX_BFI:
        return ptx_cut((b & ~mask_of(c & 255, d & 255, n_bits)) | (a << (c & 63) & mask_of(c & 255, d & 255, n_bits)), n);
    case PTX_BMSK:
        return ptx_cut(mask_of(i->flags & PTX_WRAP ? a & 31 : (uint32_t)a, i->flags & PTX_WRAP ? b & 31 : (uint32_t)b, n_bits),
                       n);
    default: sim_fatal("%s is not simulated", ptx_op_names[i->op]);
    }
}

/* ---- comparisons ---- */

bool ptx_compare(ptx_variant how, ptx_type type, uint64_t a, uint64_t b)
{
    bool below, equal, unordered = false;

    if (ptx_is_float(type)) {
        const double x = ptx_to_double(a, type), y = ptx_to_double(b, type);
        unordered = isnan(x) || isnan(y);
        below = x < y;
        equal = x == y;
    } else {
        a = ptx_cut(a, type.bytes);
        b = ptx_cut(b, type.bytes);
        below = less(type, a, b);
        equal = a == b;
    }
    switch (how) {
    case PTX_V_EQ: return equal;
    case PTX_V_NE: return !equal && !unordered;
    case PTX_V_LT:
    case PTX_V_LO: return below;
    case PTX_V_LE:
    case PTX_V_LS: return below || equal;
    case PTX_V_GT:
    case PTX_V_HI: return !below && !equal && !unordered;
    case PTX_V_GE:
    case PTX_V_HS: return !below && !unordered;
    case PTX_V_EQU: return equal || unordered;
    case PTX_V_NEU: return !equal;
    case PTX_V_LTU: return below || unordered;
    case PTX_V_LEU: return below || equal || unordered;
    case PTX_V_GTU: return !below && !equal;
    case PTX_V_GEU: return !below;
    case PTX_V_NUM: return !unordered;
    default: return unordered;
    }
}

uint64_t ptx_set(const ptx_instruction *i, uint64_t a, uint64_t b)
{
    const ptx_type lane = i->from_type, to = i->type;
    const uint64_t one = ptx_is_float(to) ? ptx_from_double(1, to) : ptx_cut(~(uint64_t)0, lane.lanes == 2 ? 2 : to.bytes);
    uint64_t all = 0;

    for (int l = 0; l < lane.lanes; l++)
        if (ptx_compare(i->variant, lane, lane_of(a, lane, l), lane_of(b, lane, l)))
            all |= one << (16 * l);
    return all;
}

/* ---- conversions ---- */

static double rounded(double value, int how)
{
    switch (how) {
    case 'z': return trunc(value);
    case 'm': return floor(value);
    case 'p': return ceil(value);
    default: return nearbyint(value);
    }
}

static uint64_t float_to_integer(const ptx_instruction *i, double value)
{
    const int n = i->type.bytes;
    const bool is_signed = i->type.kind == PTX_SIGNED;
    const double least = is_signed ? -ldexp(1, 8 * n - 1) : 0, beyond = ldexp(1, 8 * n - is_signed);

    if (isnan(value))
        return n == 8 ? (uint64_t)1 << 63 : 0;
    value = rounded(value, i->rounding);
    if (value < least)
        value = least;
    if (value >= beyond)
        return is_signed ? ((uint64_t)1 << (8 * n - 1)) - 1 : ptx_cut(~(uint64_t)0, n);
    return ptx_cut(is_signed ? (uint64_t)(int64_t)value : (uint64_t)value, n);
}

/* To a narrower float by another rounding than to the nearest. */
static double directed(double value, ptx_type to, int how)
{
    const double nearest = ptx_to_double(ptx_from_double(value, to), to);
    const bool too_high = nearest > value, too_low = nearest < value;

    if ((how == 'z' && ((too_high && value > 0) || (too_low && value < 0))) || (how == 'm' && too_high) ||
        (how == 'p' && too_low)) {
        const bool down = how == 'm' || (how == 'z' && value > 0);
        uint64_t bits = ptx_from_double(nearest, to);
        bits += (nearest > 0) == down ? ~(uint64_t)0 : 1; /* the neighbour in that direction */
        return ptx_to_double(ptx_cut(bits, to.bytes), to);
    }
    return nearest;
}

static uint64_t float_to_float(const ptx_instruction *i, double value)
{
    const bool same = i->type.kind == i->from_type.kind && i->type.bytes == i->from_type.bytes;

    value = flush(value, i);
    if (i->rounding == 'i' || (same && i->rounding != 0 && i->rounding != 'n'))
        value = rounded(value, i->rounding);
    if (i->flags & PTX_SATURATE)
        value = isnan(value) ? 0 : fmin(fmax(value, 0), 1);
    if ((i->flags & PTX_RELU) && !isnan(value))
        value = fmax(value, 0);
    if (!same && (i->rounding == 'z' || i->rounding == 'm' || i->rounding == 'p') && isfinite(value))
        value = directed(value, i->type, i->rounding);
    return ptx_from_double(flush(value, i), i->type);
}

static uint64_t integer_to_float(const ptx_instruction *i, uint64_t a)
{
    const int n = i->from_type.bytes;
    const bool single = i->type.kind == PTX_FLOAT && i->type.bytes == 4;

    if (i->from_type.kind == PTX_SIGNED)
        return single ? float_bits((float)ptx_signed(a, n)) : ptx_from_double((double)ptx_signed(a, n), i->type);
    return single ? float_bits((float)ptx_cut(a, n)) : ptx_from_double((double)ptx_cut(a, n), i->type);
}

static uint64_t integer_to_integer(const ptx_instruction *i, uint64_t a)
{
    const int from = i->from_type.bytes, to = i->type.bytes;
    const int64_t value = i->from_type.kind == PTX_SIGNED ? ptx_signed(a, from) : (int64_t)ptx_cut(a, from);

    if (i->flags & PTX_SATURATE) {
        const int64_t most = i->type.kind == PTX_SIGNED ? ((int64_t)1 << (8 * to - 1)) - 1 : ((int64_t)1 << (8 * to)) - 1,
                      least = i->type.kind == PTX_SIGNED ? -most - 1 : 0;
        return ptx_cut((uint64_t)(value < least ? least : value > most ? most : value), to);
    }
    return i->type.kind == PTX_SIGNED && to < 8 ? ptx_cut((uint64_t)ptx_signed((uint64_t)value, to), to)
                                                : ptx_cut((uint64_t)value, to);
}

uint64_t ptx_convert(const ptx_instruction *i, uint64_t a, uint64_t b)
{
    const ptx_type to = i->type, from = i->from_type;

    if (to.lanes == 2) { /* the first operand becomes the upper lane */
        ptx_instruction lane = *i;
        lane.type.lanes = 1;
        return ptx_convert(&lane, a, 0) << 16 | ptx_convert(&lane, b, 0);
    }
    if (ptx_is_float(from))
        return ptx_is_float(to) ? float_to_float(i, ptx_to_double(a, from))
                                : float_to_integer(i, flush(ptx_to_double(a, from), i));
    return ptx_is_float(to) ? integer_to_float(i, a) : integer_to_integer(i, a);
}
