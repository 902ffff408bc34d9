/* test_text.c - growing texts, nearest words, numbers, quoting, wrapping, tables. */
#include <math.h>

#include "core/alloc.h"
#include "core/rng.h"
#include "core/table.h"
#include "core/text.h"
#include "tests/check.h"

static const char *nearest(const char *word)
{
    static const char *const words[] = {"train", "cam", "fuse", NULL, "eval", "predict", "weight-decay", "weights"};
    return prle_text_nearest(word, words, 8);
}

static void test_nearest(void **state)
{
    (void)state;
    assert_string_equal(nearest("trian"), "train"); /* a swap is one step */
    assert_string_equal(nearest("tran"), "train");
    assert_string_equal(nearest("predicts"), "predict");
    assert_string_equal(nearest("pred"), "predict"); /* the only one that begins so */
    assert_string_equal(nearest("weight-dcay"), "weight-decay");
    assert_null(nearest("xyzzy"));
    assert_null(nearest("x"));
    assert_null(nearest(""));
    assert_null(prle_text_nearest("a", NULL, 0));
    char endless[300];
    memset(endless, 'a', sizeof endless - 1);
    endless[sizeof endless - 1] = '\0';
    assert_null(nearest(endless));
}

static void test_utf8(void **state)
{
    (void)state;
    const char *const good[] = {"", "abc", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xf4\x8f\xbf\xbf"};
    const char *const bad[] = {"\x80", "\xc3",        "\xc3(", "\xc0\x80", "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80",
                               "\xff", "\xf0\x9f\x98"};

    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(prle_text_is_utf8(good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(prle_text_is_utf8(bad[i]));
}

static void test_numbers(void **state)
{
    (void)state;
    prle_rng rng = prle_rng_make(5, 0, 0, PRLE_RNG_TEST);
    char text[32];

    assert_string_equal(prle_text_double(0.1, text), "0.1");
    assert_string_equal(prle_text_double(1e300, text), "1e+300");
    assert_string_equal(prle_text_double((double)NAN, text), "nan");
    assert_string_equal(prle_text_double(-HUGE_VAL, text), "-inf");
    assert_string_equal(prle_text_float(0.1f, text), "0.1");
    for (int i = 0; i < 5000; i++) {
        const uint64_t bits = (uint64_t)prle_rng_u32(&rng) << 32 | prle_rng_u32(&rng);
        const uint32_t half = prle_rng_u32(&rng);
        double d;
        float f;
        memcpy(&d, &bits, sizeof d);
        memcpy(&f, &half, sizeof f);
        assert_true(!isfinite(d) || strtod(prle_text_double(d, text), NULL) == d);
        assert_true(!isfinite(f) || strtof(prle_text_float(f, text), NULL) == f);
    }
}

static void test_grow_and_quote(void **state)
{
    (void)state;
    prle_text text = {0};
    char *out = NULL;

    assert_ok(prle_text_take(&text, &out));
    assert_string_equal(out, "");
    prle_free(out);
    for (int i = 0; i < 1000; i++)
        prle_text_add(&text, "%d,", i % 10);
    prle_text_add(&text, "%0400d", 1); /* longer than the buffer on the stack */
    assert_ok(prle_text_take(&text, &out));
    assert_int_equal(strlen(out), 2400);
    assert_true(out[2399] == '1' && out[1999] == ',');
    prle_free(out);
    prle_text_add_quoted(&text, "a\"b\\c\n\t\x01\x7f\xc2\x85\xe2\x80\xa8\xc3\xa9");
    assert_ok(prle_text_take(&text, &out));
    assert_string_equal(out, "\"a\\\"b\\\\c\\n\\t\\u0001\\u007F\\u0085\\u2028\xc3\xa9\"");
    prle_free(out);
    prle_alloc_fail_at(1);
    prle_text_add(&text, "x");
    prle_text_add(&text, "y");
    assert_fails(prle_text_take(&text, &out), PRLE_ENOMEM, "out of memory");
}

static void test_wrap(void **state)
{
    (void)state;
    prle_text text = {0};
    char *out = NULL;

    prle_text_add(&text, "--x ");
    prle_text_add_wrapped(&text, "one two three  four\nfive averyveryverylongword six", 4, 4, 14);
    assert_ok(prle_text_take(&text, &out));
    assert_string_equal(out, "--x one two\n    three four\n    five\n    averyveryverylongword\n    six\n");
    prle_free(out);
}

static void table_fill(prle_table *table)
{
    const char *const cells[] = {"set", "AUC", "note", "a|b", "0.5", "\xc2\xb1 1", "longer", "12.25", "x"};

    for (size_t i = 0; i < sizeof cells / sizeof *cells; i++)
        prle_table_add(table, "%s", cells[i]);
}

static void test_table(void **state)
{
    (void)state;
    prle_table table = {.columns = "lrl"};
    char *out = NULL;

    table_fill(&table);
    assert_ok(prle_table_take(&table, PRLE_TABLE_TEXT, &out));
    assert_string_equal(out, "set       AUC  note\n"
                             "------  -----  ----\n"
                             "a|b       0.5  \xc2\xb1 1\n"
                             "longer  12.25  x\n");
    prle_free(out);
    table_fill(&table);
    assert_ok(prle_table_take(&table, PRLE_TABLE_MARKDOWN, &out));
    assert_string_equal(out, "| set    |   AUC | note |\n"
                             "|--------|------:|------|\n"
                             "| a\\|b    |   0.5 | \xc2\xb1 1  |\n"
                             "| longer | 12.25 | x    |\n");
    prle_free(out);
    out = NULL;
    prle_table_add(&table, "alone");
    assert_fails(prle_table_take(&table, PRLE_TABLE_TEXT, &out), PRLE_EINVAL, "1 cells are no whole rows");
    assert_fails(prle_table_take(&table, PRLE_TABLE_TEXT, &out), PRLE_EINVAL, "0 cells");
    const int64_t live = prle_alloc_live();
    prle_status st = PRLE_ENOMEM;
    for (int64_t nth = 1; st == PRLE_ENOMEM; nth++) {
        prle_alloc_fail_at(nth);
        table_fill(&table);
        st = prle_table_take(&table, PRLE_TABLE_TEXT, &out);
        prle_alloc_fail_at(0);
    }
    assert_ok(st);
    prle_free(out);
    assert_int_equal(prle_alloc_live(), live);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nearest),        cmocka_unit_test(test_utf8), cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_grow_and_quote), cmocka_unit_test(test_wrap), cmocka_unit_test(test_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
