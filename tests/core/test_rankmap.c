/* test_rankmap.c - ranks and masks: every alpha gives exactly floor(alpha |V|) positions, the right ones. */
#include <math.h>

#include "core/rankmap.h"
#include "core/rng.h"
#include "tests/check.h"

__extension__ typedef unsigned __int128 wide;

/* floor(alpha * area) from the bits of alpha: mantissa * area shifted down. */
static uint32_t exact_count(uint32_t area, double alpha)
{
    int exponent = 0;
    const uint64_t mantissa = (uint64_t)ldexp(frexp(alpha, &exponent), 53);
    const wide product = (wide)mantissa * area;

    return 53 - exponent > 127 ? 0 : (uint32_t)(product >> (53 - exponent));
}

static void test_count_is_exact(void **state)
{
    (void)state;
    prle_rng rng = prle_rng_make(1, 0, 0, PRLE_RNG_TEST);
    uint32_t count = 9;

    assert_ok(prle_rank_count(10, 0.3, &count)); /* the double 0.3 is below 3/10, the double 0.1 above 1/10 */
    assert_int_equal(count, 2);
    assert_ok(prle_rank_count(10, 0.1, &count));
    assert_int_equal(count, 1);
    for (int i = 0; i < 100000; i++) {
        const uint32_t area = prle_rng_below(&rng, 65537);
        double alpha = prle_rng_uniform(&rng);

        if (i % 2 == 0 && area > 0) /* as near to k / area as doubles come, from either side */
            alpha = nextafter((double)prle_rng_below(&rng, area + 1) / area, (double)(i % 3));
        if (i % 7 == 0)
            alpha = ldexp(alpha, -(int)prle_rng_below(&rng, 1070));
        if (alpha > 1.0)
            alpha = 1.0;
        assert_ok(prle_rank_count(area, alpha, &count));
        assert_int_equal(count, exact_count(area, alpha));
    }
}

static void test_masks_of_all_alphas(void **state)
{
    (void)state;
    enum { N = 97, MAX_VALUE = 40 };
    prle_rng rng = prle_rng_make(2, 0, 0, PRLE_RNG_TEST);
    uint32_t value[N], first[MAX_VALUE + 1], area = 0, count = 0;
    uint16_t rank[N];
    uint8_t mask[N];

    for (int i = 0; i < N; i++)
        value[i] = prle_rng_below(&rng, 3) == 0 ? 0 : prle_rng_below(&rng, MAX_VALUE + 1);
    assert_ok(prle_rank_from_values(value, N, MAX_VALUE, first, rank, &area));
    for (int step = 0; step <= 1000; step++) {
        uint32_t hidden = 0;
        assert_ok(prle_rank_count(area, step / 1000.0, &count));
        assert_ok(prle_mask_from_rank(rank, N, area, step / 1000.0, mask));
        for (int i = 0; i < N; i++) {
            hidden += mask[i];
            for (int j = 0; j < N; j++) /* no kept position stands before a hidden one */
                assert_false(mask[i] && !mask[j] && (value[j] > value[i] || (value[j] == value[i] && j < i)));
            assert_false(mask[i] && value[i] == 0);
        }
        assert_int_equal(hidden, count);
    }
}

static void test_bad_input(void **state)
{
    (void)state;
    uint16_t rank[2] = {0, 0xFFFF};
    uint8_t mask[2] = {5, 5};
    uint32_t value[2] = {0, 1}, first[2], area = 9, count = 9;

    assert_fails(prle_mask_from_rank(rank, 2, 1, 1.0001, mask), PRLE_EINVAL, "alpha 1.0001");
    assert_fails(prle_mask_from_rank(rank, 2, 1, -0.1, mask), PRLE_EINVAL, "alpha -0.1");
    assert_fails(prle_mask_from_rank(rank, 2, 1, (double)NAN, mask), PRLE_EINVAL, "alpha");
    assert_fails(prle_mask_from_rank(rank, 2, 0xFFFFFFFFu, 0.5, mask), PRLE_EFORMAT, "never written");
    assert_fails(prle_mask_from_rank(rank, 65537, 1, 0.5, mask), PRLE_ESHAPE, "65537");
    assert_int_equal(mask[0], 5);
    assert_fails(prle_rank_from_values(value, 65537, 1, first, rank, &area), PRLE_ESHAPE, "65537");
    assert_fails(prle_rank_count(3, 2.0, &count), PRLE_EINVAL, "alpha 2");
    assert_true(area == 9 && count == 9);
    assert_ok(prle_mask_from_rank(rank, 2, 0, 1.0, mask)); /* nothing primary: never hidden */
    assert_true(mask[0] == 0 && mask[1] == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_count_is_exact),
        cmocka_unit_test(test_masks_of_all_alphas),
        cmocka_unit_test(test_bad_input),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
