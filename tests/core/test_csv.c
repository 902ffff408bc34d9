/* test_csv.c - quoting, line ends, and every refusal with its line number. */
#include <math.h>

#include "core/alloc.h"
#include "core/csv.h"
#include "tests/check.h"

static prle_status parse(prle_csv *out, const char *text) { return prle_csv_parse(out, "t.csv", text, strlen(text)); }

static void test_fields(void **state)
{
    (void)state;
    const int64_t live = prle_alloc_live();
    prle_csv csv = {0};
    double value = 0;
    int64_t column = -1;

    assert_ok(parse(&csv, "\xEF\xBB\xBFname,x,\"a \"\"b\"\"\"\r\n\r\none,1.5 ,\n\"two,\nlines\", -3e2,z\n\n\"\",0x10,\"\"\"\""));
    assert_int_equal(csv.n_rows, 3);
    assert_int_equal(csv.n_columns, 3);
    assert_int_equal(prle_csv_find(&csv, "a \"b\""), 2);
    assert_int_equal(prle_csv_find(&csv, "none"), -1);
    assert_string_equal(prle_csv_text(&csv, 0, 0), "one");
    assert_string_equal(prle_csv_text(&csv, 0, 2), "");
    assert_string_equal(prle_csv_text(&csv, 1, 0), "two,\nlines");
    assert_string_equal(prle_csv_text(&csv, 2, 0), "");
    assert_string_equal(prle_csv_text(&csv, 2, 2), "\"");
    assert_int_equal(prle_csv_line(&csv, 0), 3);
    assert_int_equal(prle_csv_line(&csv, 1), 4);
    assert_int_equal(prle_csv_line(&csv, 2), 7);
    assert_ok(prle_csv_column(&csv, "x", &column));
    assert_ok(prle_csv_number(&csv, 0, column, &value));
    assert_true(value == 1.5);
    assert_ok(prle_csv_number(&csv, 1, column, &value));
    assert_true(value == -300.0);
    assert_fails(prle_csv_number(&csv, 1, 2, &value), PRLE_EFORMAT, "t.csv:4: column \"a \"b\"\": \"z\" is not a number");
    assert_fails(prle_csv_number(&csv, 0, 2, &value), PRLE_EFORMAT, "t.csv:3");
    assert_fails(prle_csv_column(&csv, "y", &column), PRLE_EFORMAT, "no column \"y\" among 3");
    prle_csv_deinit(&csv);
    prle_csv_deinit(NULL);
    assert_int_equal(prle_alloc_live(), live);
}

static void test_refused(void **state)
{
    (void)state;
    const int64_t live = prle_alloc_live();
    prle_csv csv = {0};
    double value = 0;

    assert_fails(parse(&csv, ""), PRLE_EFORMAT, "t.csv: empty");
    assert_fails(parse(&csv, "\n\n"), PRLE_EFORMAT, "header");
    assert_fails(parse(&csv, "a,b\n1,2\n3\n"), PRLE_EFORMAT, "t.csv:3: 1 fields, the header has 2");
    assert_fails(parse(&csv, "a,b\n1,2,3\n"), PRLE_EFORMAT, "t.csv:2: 3 fields");
    assert_fails(parse(&csv, "a,b\n1,\"2\n3,4\n"), PRLE_EFORMAT, "t.csv:2: a quote is opened");
    assert_fails(parse(&csv, "a,b\n\"1\"x,2\n"), PRLE_EFORMAT, "t.csv:2: text after");
    assert_fails(parse(&csv, "a,,b\n"), PRLE_EFORMAT, "t.csv:1: column 2 has no name");
    assert_fails(parse(&csv, "a,b,a\n"), PRLE_EFORMAT, "column \"a\" is there twice");
    assert_fails(prle_csv_parse(&csv, "t.csv", "a\0b", 3), PRLE_EFORMAT, "zero byte");
    assert_fails(prle_csv_load(&csv, "/no/such.csv"), PRLE_EIO, "/no/such.csv");
    assert_null(csv.text);
    assert_ok(parse(&csv, "a\nnan\n1e999\n"));
    assert_fails(prle_csv_number(&csv, 0, 0, &value), PRLE_EFORMAT, "\"nan\" is not a number");
    assert_fails(prle_csv_number(&csv, 1, 0, &value), PRLE_EFORMAT, "\"1e999\"");
    prle_csv_deinit(&csv);
    assert_int_equal(prle_alloc_live(), live);
}

/* More rows than any first guess of the reader, and each allocation failed once. */
static void test_many_rows(void **state)
{
    (void)state;
    const int64_t live = prle_alloc_live();
    char text[20000] = "a,b\n";
    size_t n = 4;
    prle_csv csv = {0};
    bool done = false;

    for (int i = 0; i < 1500; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%d,%d\n", i, 2 * i);
    for (int64_t nth = 1; !done; nth++) {
        prle_alloc_fail_at(nth);
        done = prle_csv_parse(&csv, "t.csv", text, n) == PRLE_OK;
        prle_alloc_fail_at(0);
        assert_true(nth < 100);
    }
    assert_int_equal(csv.n_rows, 1500);
    assert_string_equal(prle_csv_text(&csv, 1499, 1), "2998");
    assert_int_equal(prle_csv_line(&csv, 1499), 1501);
    prle_csv_deinit(&csv);
    assert_int_equal(prle_alloc_live(), live);
}

/* What is written comes back. */
static void test_written(void **state)
{
    (void)state;
    static const char *const fields[] = {"plain", "", "a,b", "say \"so\"", "two\nlines", "\r", " a ", "\"", "\xc3\xa9"};
    const int64_t n = sizeof fields / sizeof fields[0];
    prle_text text = {0};
    char *bytes = NULL;
    prle_csv csv;

    prle_text_add(&text, "c0,c1,c2,c3,c4,c5,c6,c7,c8\n");
    for (int64_t i = 0; i < n; i++) {
        prle_csv_add_field(&text, fields[i]);
        prle_text_add(&text, "%s", i < n - 1 ? "," : "\n");
    }
    assert_ok(prle_text_take(&text, &bytes));
    assert_non_null(strstr(bytes, "\nplain,,\"a,b\",\"say \"\"so\"\"\","));
    assert_ok(prle_csv_parse(&csv, "written", bytes, strlen(bytes)));
    assert_int_equal(csv.n_rows, 1);
    for (int64_t i = 0; i < n; i++)
        assert_string_equal(prle_csv_text(&csv, 0, i), fields[i]);
    prle_csv_deinit(&csv);
    prle_free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_many_rows),
        cmocka_unit_test(test_written),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
