/* test_json.c - JSON records out and in: exact numbers, misuse, torn lines, every allocation failing. */
#include <math.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/file.h"
#include "core/json.h"
#include "core/rng.h"
#include "tests/check.h"
#include "tests/faults.h"

static char path[64];

static void record_fill(prle_json_writer *json)
{
    prle_json_begin_object(json, NULL);
    prle_json_add_int(json, "step", INT64_MAX);
    prle_json_add_double(json, "loss_nats", 0.1);
    prle_json_add_double(json, "bad", (double)NAN);
    prle_json_add_double(json, "huge", -HUGE_VAL);
    prle_json_add_bool(json, "done", true);
    prle_json_add_text(json, "name", "a \"b\"\n\xc3\xa9");
    prle_json_add_text(json, "none", NULL);
    prle_json_begin_list(json, "aucs");
    prle_json_add_double(json, NULL, 1.0);
    prle_json_begin_object(json, NULL);
    prle_json_end(json);
    prle_json_end(json);
    prle_json_end(json);
}

static void test_write(void **state)
{
    (void)state;
    prle_json_writer json = {0};
    char *text = NULL;

    record_fill(&json);
    assert_ok(prle_json_take(&json, false, &text));
    assert_string_equal(text, "{\"step\":9223372036854775807,\"loss_nats\":0.10000000000000001,\"bad\":null,\"huge\":null,"
                              "\"done\":true,\"name\":\"a \\\"b\\\"\\n\xc3\xa9\",\"none\":null,\"aucs\":[1.0,{}]}");
    prle_free(text);
}

static void test_numbers_read_back(void **state)
{
    (void)state;
    prle_rng rng = prle_rng_make(3, 0, 0, PRLE_RNG_TEST);

    for (int i = 0; i < 2000; i++) {
        const uint64_t bits = (uint64_t)prle_rng_u32(&rng) << 32 | prle_rng_u32(&rng);
        double value, back = 0;
        prle_json_writer json = {0};
        prle_json *read = NULL;
        char *text = NULL;
        memcpy(&value, &bits, sizeof value);
        if (!isfinite(value))
            continue;
        prle_json_begin_list(&json, NULL);
        prle_json_add_double(&json, NULL, value);
        prle_json_end(&json);
        assert_ok(prle_json_take(&json, true, &text));
        assert_ok(prle_json_parse("text", text, strlen(text), &read));
        assert_true(prle_json_double(prle_json_item(read, 0), &back));
        assert_memory_equal(&value, &back, sizeof value);
        prle_json_destroy(read);
        prle_free(text);
    }
}

static void test_misuse(void **state)
{
    (void)state;
    prle_json_writer json = {0};
    char *text = NULL;

    assert_fails(prle_json_take(&json, false, &text), PRLE_EINVAL, "not complete");
    prle_json_begin_object(&json, NULL);
    assert_fails(prle_json_take(&json, false, &text), PRLE_EINVAL, "not complete");
    prle_json_begin_object(&json, NULL);
    prle_json_add_int(&json, "a", 1);
    prle_json_add_int(&json, "a", 2);
    prle_json_end(&json);
    assert_fails(prle_json_take(&json, false, &text), PRLE_EINVAL, "\"a\" does not fit here or stands twice");
    prle_json_begin_object(&json, NULL);
    prle_json_add_int(&json, NULL, 1);
    prle_json_add_text(&json, "t", "\xff"); /* the first failure is the one that is kept */
    assert_fails(prle_json_take(&json, false, &text), PRLE_EINVAL, "does not fit here");
    prle_json_begin_list(&json, NULL);
    prle_json_add_text(&json, NULL, "\xff");
    assert_fails(prle_json_take(&json, false, &text), PRLE_EINVAL, "not UTF-8");
    prle_json_end(&json);
    assert_fails(prle_json_take(&json, false, &text), PRLE_EINVAL, "ends more often");
    for (int i = 0; i < PRLE_JSON_DEPTH + 1; i++)
        prle_json_begin_list(&json, NULL);
    assert_fails(prle_json_take(&json, false, &text), PRLE_EINVAL, "nested deeper");
    assert_null(text);
}

static void test_read(void **state)
{
    (void)state;
    static const char text[] = "{\"b\": [1, 2.5, \"x\", true], \"a\": {\"n\": -3}, \"c\": null}";
    prle_json *root = NULL;
    int64_t n = 0;
    double x = 0;
    bool flag = false;

    assert_ok(prle_json_parse("text", text, strlen(text), &root));
    assert_true(prle_json_int(prle_json_get(prle_json_get(root, "a"), "n"), &n) && n == -3);
    const prle_json *list = prle_json_get(root, "b");
    assert_int_equal(prle_json_count(list), 4);
    assert_true(prle_json_double(prle_json_item(list, 0), &x) && x == 1.0);
    assert_false(prle_json_int(prle_json_item(list, 1), &n));
    assert_string_equal(prle_json_text(prle_json_item(list, 2)), "x");
    assert_true(prle_json_bool(prle_json_item(list, 3), &flag) && flag);
    assert_null(prle_json_item(list, 4));
    assert_null(prle_json_item(list, -1));
    assert_null(prle_json_get(NULL, "a"));
    assert_null(prle_json_text(NULL));
    assert_int_equal(prle_json_count(NULL), 0);
    assert_string_equal(prle_json_next_key(root, NULL), "b");
    assert_string_equal(prle_json_next_key(root, "b"), "a");
    assert_null(prle_json_next_key(root, "c"));
    assert_null(prle_json_next_key(list, NULL));
    prle_json_destroy(root);
    assert_fails(prle_json_parse("f.json", "{\n\"a\": }", 8, &root), PRLE_EFORMAT, "f.json:2: unexpected token near '}'");
    assert_fails(prle_json_parse("f.json", "{\"a\":1,\"a\":2}", 13, &root), PRLE_EFORMAT, "duplicate object key");
    assert_fails(prle_json_parse("f.json", "", 0, &root), PRLE_EFORMAT, "f.json:1:");
    assert_fails(prle_json_load("/nowhere.json", &root), PRLE_EIO, "/nowhere.json");
}

static void append_ok(prle_jsonl *log, int64_t step)
{
    prle_json_writer json = {0};

    prle_json_begin_object(&json, NULL);
    prle_json_add_int(&json, "step", step);
    prle_json_end(&json);
    assert_ok(prle_jsonl_append(log, &json));
}

static void assert_content(const char *expected)
{
    uint8_t *bytes = NULL;
    size_t n = 0;

    assert_ok(prle_file_read_all(path, &bytes, &n));
    assert_string_equal((const char *)bytes, expected);
    prle_free(bytes);
}

static void test_jsonl(void **state)
{
    (void)state;
    prle_jsonl *log = NULL;

    assert_ok(prle_jsonl_open(&log, path, 0));
    append_ok(log, 1);
    const int64_t at = prle_jsonl_bytes(log);
    append_ok(log, 2);
    prle_jsonl_close(log);
    assert_content("{\"step\":1}\n{\"step\":2}\n");
    assert_ok(prle_jsonl_open(&log, path, at)); /* a resumed run */
    append_ok(log, 3);
    prle_jsonl_close(log);
    assert_content("{\"step\":1}\n{\"step\":3}\n");
    FILE *file = fopen(path, "a"); /* a line torn by a full disk, longer than a block */
    for (int i = 0; i < 5000; i++)
        fputc('x', file);
    fclose(file);
    assert_ok(prle_jsonl_open(&log, path, -1));
    append_ok(log, 4);
    assert_int_equal(prle_jsonl_bytes(log), 33);
    prle_jsonl_close(log);
    assert_content("{\"step\":1}\n{\"step\":3}\n{\"step\":4}\n");
    assert_fails(prle_jsonl_open(&log, path, 1000), PRLE_EFORMAT, "has 33 bytes, the checkpoint knows of 1000");
    assert_ok(prle_jsonl_open(&log, path, 0));
    prle_jsonl_close(log);
    assert_content("");
    assert_fails(prle_jsonl_open(&log, "/nowhere/log.jsonl", 0), PRLE_EIO, "/nowhere/log.jsonl: cannot open");
    assert_fails(prle_jsonl_open(&log, "/dev/full", 0), PRLE_EIO, "/dev/full");
}

static void test_every_allocation_fails(void **state)
{
    (void)state;
    const int64_t live = prle_alloc_live();
    prle_status st = PRLE_ENOMEM;
    int64_t nth = 1;

    for (; st == PRLE_ENOMEM && nth < 200; nth++) {
        prle_json_writer json = {0};
        prle_json *read = NULL;
        char *text = NULL;
        prle_alloc_fail_at(nth);
        record_fill(&json);
        st = prle_json_take(&json, false, &text);
        if (st == PRLE_OK)
            st = prle_json_parse("text", text, strlen(text), &read);
        prle_alloc_fail_at(0);
        prle_json_destroy(read);
        prle_free(text);
        assert_int_equal(prle_alloc_live(), live);
    }
    assert_ok(st);
    assert_in_range(nth, 20, 199);
}

static prle_status log_work(void *user)
{
    (void)user;
    prle_jsonl *log = NULL;
    prle_json_writer json = {0};

    PRLE_TRY(prle_jsonl_open(&log, path, -1));
    record_fill(&json);
    const prle_status st = prle_jsonl_append(log, &json);
    prle_jsonl_close(log);
    return st;
}

/* Whole lines only, whatever failed. */
static void log_check(void *user, bool done)
{
    (void)user, (void)done;
    uint8_t *bytes = NULL;
    size_t n_bytes = 0;

    assert_ok(prle_file_read_all(path, &bytes, &n_bytes));
    assert_true(n_bytes == 0 || bytes[n_bytes - 1] == '\n');
    prle_free(bytes);
}

static void test_every_call_of_a_log_fails(void **state)
{
    (void)state;
    assert_ok(prle_file_write_atomic(path, "", 0));
    faults_each(log_work, log_check, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_write),
        cmocka_unit_test(test_numbers_read_back),
        cmocka_unit_test(test_misuse),
        cmocka_unit_test(test_read),
        cmocka_unit_test(test_jsonl),
        cmocka_unit_test(test_every_allocation_fails),
        cmocka_unit_test(test_every_call_of_a_log_fails),
    };
    snprintf(path, sizeof path, "/tmp/prle_test_json.%d.jsonl", (int)getpid());
    const int rc = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return rc;
}
