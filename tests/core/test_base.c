/* test_base.c - status, alloc, log, rng, types. */
#include <math.h>

#include "core/alloc.h"
#include "core/comm.h"
#include "core/log.h"
#include "core/rng.h"
#include "core/types.h"
#include "tests/check.h"

static prle_status fails(void) { return PRLE_FAIL(PRLE_EIO, "%s: cannot read %d bytes", "a.h5", 7); }

static prle_status passes_up(void)
{
    PRLE_TRY(fails());
    return PRLE_OK;
}

static void test_error_record(void **state)
{
    (void)state;
    assert_int_equal(passes_up(), PRLE_EIO);
    assert_string_equal(prle_error_message(), "a.h5: cannot read 7 bytes");
    assert_non_null(strstr(prle_error_details(), "passes_up"));
    assert_int_equal(prle_error_prefix("image %d", 3), PRLE_EIO);
    assert_string_equal(prle_error_message(), "image 3: a.h5: cannot read 7 bytes");
    (void)prle_error_set(PRLE_EINVAL, "f", 1, "g", "again: %s", prle_error_message());
    assert_string_equal(prle_error_message(), "again: image 3: a.h5: cannot read 7 bytes");
    (void)prle_error_set(PRLE_EINVAL, "f", 1, "g", "column \"%s\"", "a\nb\x1b[1mc\x7f \xc3\xa9"); /* a file's own words */
    assert_string_equal(prle_error_message(), "column \"a?b?[1mc? \xc3\xa9\"");
    (void)prle_error_prefix("%s", "d\re");
    assert_string_equal(prle_error_message(), "d?e: column \"a?b?[1mc? \xc3\xa9\"");
}

static void test_alloc(void **state)
{
    (void)state;
    const int64_t live = prle_alloc_live();
    double *p = NULL;
    size_t product = 5;

    assert_ok(PRLE_NEW(p, 10));
    assert_int_equal((uintptr_t)p % 64, 0);
    for (int i = 0; i < 10; i++)
        assert_true(p[i] == 0.0);
    p[9] = 4.0;
    assert_ok(prle_realloc(10, 20, sizeof *p, (prle_any_ptr *)&p));
    assert_true(p[9] == 4.0 && p[19] == 0.0);
    prle_alloc_fail_at(1);
    assert_fails(prle_realloc(20, 40, sizeof *p, (prle_any_ptr *)&p), PRLE_ENOMEM, "out of memory");
    assert_true(p[9] == 4.0);
    prle_free(p);
    assert_ok(PRLE_NEW(p, 0));
    assert_null(p);
    assert_fails(PRLE_NEW(p, SIZE_MAX / 4), PRLE_ENOMEM, "does not fit");
    assert_fails(prle_size_mul(SIZE_MAX, 2, &product), PRLE_ENOMEM, "");
    assert_int_equal(product, 5);
    assert_int_equal(prle_alloc_live(), live);
}

/* The first block of Philox 4x32-10 for the all-zero key and counter, from the authors' known-answer file. */
static void test_rng_known_answer(void **state)
{
    (void)state;
    prle_rng rng = {.key = {0, 0}};

    assert_int_equal(prle_rng_u32(&rng), 0x6627e8d5u);
    assert_int_equal(prle_rng_u32(&rng), 0xe169c58du);
    assert_int_equal(prle_rng_u32(&rng), 0xbc57ac4cu);
    assert_int_equal(prle_rng_u32(&rng), 0x9b00dbd8u);
}

static void test_rng_statistics(void **state)
{
    (void)state;
    prle_rng rng = prle_rng_make(1, 2, 3, PRLE_RNG_TEST), other = prle_rng_make(1, 2, 4, PRLE_RNG_TEST);
    double sum = 0, square = 0;
    int counts[7] = {0}, same = 0;
    uint32_t items[50], seen = 0;

    for (int i = 0; i < 70000; i++) {
        const double z = prle_rng_normal(&rng);
        sum += z;
        square += z * z;
        counts[prle_rng_below(&rng, 7)]++;
        same += prle_rng_u32(&rng) == prle_rng_u32(&other);
    }
    assert_true(fabs(sum / 70000) < 0.02 && fabs(square / 70000 - 1) < 0.02);
    for (int i = 0; i < 7; i++)
        assert_in_range(counts[i], 9600, 10400);
    assert_true(same <= 1);
    for (uint32_t i = 0; i < 50; i++)
        items[i] = i;
    prle_rng_shuffle(&rng, items, 50);
    for (uint32_t i = 0; i < 50; i++)
        seen += items[i];
    assert_int_equal(seen, 49 * 50 / 2);
    assert_true(items[0] != 0 || items[1] != 1 || items[2] != 2);
}

static void test_log_spec(void **state)
{
    (void)state;
    assert_ok(prle_log_setup("debug:dist,op"));
    assert_true(prle_log_enabled(PRLE_LOG_DEBUG, "op"));
    assert_false(prle_log_enabled(PRLE_LOG_DEBUG, "core"));
    assert_fails(prle_log_setup("loud"), PRLE_EINVAL, "loud");
    assert_ok(prle_log_setup("info"));
    assert_false(prle_log_enabled(PRLE_LOG_DEBUG, "op"));
}

static void test_types(void **state)
{
    (void)state;
    char text[96];
    prle_shape shape = PRLE_SHAPE(2, 3, 5);
    prle_dtype dtype = PRLE_F32;

    assert_string_equal(prle_shape_print(&shape, text), "[2,3,5]");
    assert_int_equal(prle_shape_count(&shape), 30);
    assert_ok(prle_dtype_parse("bf16", &dtype));
    assert_int_equal(dtype, PRLE_BF16);
    assert_fails(prle_dtype_parse("f16", &dtype), PRLE_EINVAL, "f16");
}

static void test_comm_self(void **state)
{
    (void)state;
    prle_comm *self = prle_comm_self(), *twin = NULL;
    void *all = NULL;
    int64_t count = 0;

    assert_ok(prle_comm_agree(self, PRLE_OK, "phase"));
    assert_int_equal(prle_comm_agree(self, PRLE_EIO, "phase"), PRLE_EIO);
    assert_ok(prle_comm_gather(self, "abc", 3, 0, &all, &count, "text"));
    assert_int_equal(count, 3);
    assert_memory_equal(all, "abc", 3);
    prle_free(all);
    all = NULL;
    prle_alloc_fail_at(1);
    assert_fails(prle_comm_gather(self, "abc", 3, 0, &all, &count, "text"), PRLE_ENOMEM, "");
    prle_alloc_fail_at(0);
    assert_ok(prle_comm_duplicate(self, &twin));
    assert_int_equal(twin->size, 1);
    prle_comm_destroy(twin);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_error_record),   cmocka_unit_test(test_alloc),    cmocka_unit_test(test_rng_known_answer),
        cmocka_unit_test(test_rng_statistics), cmocka_unit_test(test_log_spec), cmocka_unit_test(test_types),
        cmocka_unit_test(test_comm_self),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
