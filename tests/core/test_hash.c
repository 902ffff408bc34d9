/* test_hash.c - CRC-32, FNV-1a and half floats against published values and against all halves there are. */
#include <math.h>

#include "core/half.h"
#include "core/hash.h"
#include "tests/check.h"

static void test_crc(void **state)
{
    (void)state;
    uint8_t bytes[1000];

    assert_int_equal(prle_crc32(0, "", 0), 0);
    assert_int_equal(prle_crc32(0, "123456789", 9), 0xCBF43926u); /* the standard check value */
    for (int i = 0; i < 1000; i++)
        bytes[i] = (uint8_t)(i * i >> 3);
    const uint32_t whole = prle_crc32(0, bytes, 1000);
    for (size_t cut = 0; cut <= 1000; cut += 7)
        assert_int_equal(prle_crc32(prle_crc32(0, bytes, cut), bytes + cut, 1000 - cut), whole);
    bytes[500] ^= 1;
    assert_int_not_equal(prle_crc32(0, bytes, 1000), whole);
}

static void test_hash(void **state)
{
    (void)state;
    char text[17];

    assert_true(prle_hash(PRLE_HASH_INIT, "a", 1) == UINT64_C(0xaf63dc4c8601ec8c)); /* the authors' test vectors */
    assert_true(prle_hash(PRLE_HASH_INIT, "foobar", 6) == UINT64_C(0x85944171f73967e8));
    assert_true(prle_hash(prle_hash(PRLE_HASH_INIT, "foo", 3), "bar", 3) == UINT64_C(0x85944171f73967e8));
    assert_string_equal(prle_hash_print(0x1Fu, text), "000000000000001f");
}

/* The value of a half by its definition. */
static double half_value(uint16_t half)
{
    const int sign = half >> 15 ? -1 : 1, exponent = half >> 10 & 31, mantissa = half & 1023;

    return exponent == 0 ? sign * ldexp(mantissa, -24) : sign * ldexp(1024 + mantissa, exponent - 25);
}

static void test_half_values(void **state)
{
    (void)state;
    for (uint32_t half = 0; half <= 0xFFFF; half++) {
        const float value = prle_half_to_float((uint16_t)half);
        if ((half & 0x7C00) != 0x7C00)
            assert_true((double)value == half_value((uint16_t)half));
        else
            assert_true((half & 0x3FF) != 0 ? isnan(value) : isinf(value));
        if (!isnan(value))
            assert_int_equal(prle_half_from_float(value), half);
    }
    assert_true(isnan(prle_half_to_float(prle_half_from_float(NAN))));
}

/* Between two neighbours: the nearer one, and the even one from the middle. */
static void test_half_rounding(void **state)
{
    (void)state;
    for (uint32_t half = 0; half < 0x7BFF; half++) {
        const float low = (float)half_value((uint16_t)half), high = (float)half_value((uint16_t)(half + 1));
        const float middle = 0.5f * (low + high);
        assert_int_equal(prle_half_from_float(middle), half + (half & 1));
        assert_int_equal(prle_half_from_float(nextafterf(middle, 0)), half);
        assert_int_equal(prle_half_from_float(nextafterf(middle, INFINITY)), half + 1);
        assert_int_equal(prle_half_from_float(-nextafterf(middle, INFINITY)), (half + 1) | 0x8000);
    }
    assert_int_equal(prle_half_from_float(65519.0f), 0x7BFF);
    assert_int_equal(prle_half_from_float(65520.0f), 0x7C00);
    assert_int_equal(prle_half_from_float(1e30f), 0x7C00);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crc),
        cmocka_unit_test(test_hash),
        cmocka_unit_test(test_half_values),
        cmocka_unit_test(test_half_rounding),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
