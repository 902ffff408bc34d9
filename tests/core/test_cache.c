/* test_cache.c - what is kept between processes: where, and that nothing but what was put under a key comes back for it. */
#include <stdlib.h>

#include "core/alloc.h"
#include "core/cache.h"
#include "tests/check.h"
#include "tests/faults.h"
#include "tests/folder.h"

static const char *folder_now(void)
{
    static char text[256];
    char *folder = NULL;

    assert_ok(prle_cache_folder(&folder));
    snprintf(text, sizeof text, "%s", folder != NULL ? folder : "none");
    prle_free(folder);
    return text;
}

static void test_which_folder(void **state)
{
    (void)state;
    unsetenv("PRLE_CACHE");
    setenv("HOME", "/home/x", 1);
    unsetenv("XDG_CACHE_HOME");
    assert_string_equal(folder_now(), "/home/x/.cache/prle");
    setenv("XDG_CACHE_HOME", "/y", 1);
    assert_string_equal(folder_now(), "/y/prle");
    setenv("XDG_CACHE_HOME", "relative", 1); /* its specification: not to be believed */
    assert_string_equal(folder_now(), "/home/x/.cache/prle");
    setenv("PRLE_CACHE", "here", 1);
    assert_string_equal(folder_now(), "here");
    setenv("PRLE_CACHE", "", 1);
    assert_string_equal(folder_now(), "none");
    unsetenv("PRLE_CACHE");
    unsetenv("XDG_CACHE_HOME");
    unsetenv("HOME");
    assert_string_equal(folder_now(), "none");
    setenv("PRLE_CACHE", in_folder("cache"), 1);
}

static void assert_kept(const char *key, const char *value, size_t n_bytes)
{
    uint8_t *got = NULL;
    size_t n = 0;

    assert_ok(prle_cache_get("kind", key, &got, &n));
    assert_int_equal(n, n_bytes);
    assert_memory_equal(got, value, n_bytes);
    assert_int_equal(got[n], 0);
    prle_free(got);
}

static void assert_gone(const char *key, prle_status why)
{
    uint8_t *got = NULL;
    size_t n = 7;

    assert_int_equal(prle_cache_get("kind", key, &got, &n), why);
    assert_null(got);
    assert_int_equal(n, 7);
}

static void test_get_what_was_put(void **state)
{
    const int64_t live = prle_alloc_live();

    (void)state;
    assert_gone("a", PRLE_ENOTSUP);
    assert_ok(prle_cache_put("kind", "a", "1\0002", 3));
    assert_ok(prle_cache_put("kind", "a longer key\nof two lines", "", 0));
    assert_kept("a", "1\0002", 3);
    assert_kept("a longer key\nof two lines", "", 0);
    assert_gone("b", PRLE_ENOTSUP);
    assert_ok(prle_cache_put("kind", "a", "other", 5));
    assert_kept("a", "other", 5);
    assert_int_equal(prle_alloc_live(), live);
}

/* The one file of a kind. */
static char *entry_of(const char *kind)
{
    prle_strings names = {0};
    char *path = NULL, *folder = NULL;

    assert_ok(prle_path_join(in_folder("cache"), kind, &folder));
    assert_ok(prle_folder_list(folder, &names));
    assert_int_equal(names.n, 1);
    assert_ok(prle_path_join(folder, names.item[0], &path));
    prle_strings_deinit(&names);
    prle_free(folder);
    return path;
}

/* Any byte changed, any cut, anything behind: not believed; and put mends it. */
static void test_damage(void **state)
{
    static const char key[] = "the key", value[] = "the value";
    uint8_t *whole = NULL, *bytes = NULL;
    size_t n = 0, got = 0;

    (void)state;
    assert_ok(prle_cache_put("damage", key, value, sizeof value));
    char *path = entry_of("damage");
    assert_ok(prle_file_read_all(path, &whole, &n));
    for (size_t at = 0; at < n; at++) {
        whole[at] ^= 0x10;
        assert_ok(prle_file_write(path, whole, n));
        assert_fails(prle_cache_get("damage", key, &bytes, &got), PRLE_EFORMAT, path);
        whole[at] ^= 0x10;
        assert_ok(prle_file_write(path, whole, at)); /* the first bytes only */
        assert_fails(prle_cache_get("damage", key, &bytes, &got), PRLE_EFORMAT, path);
    }
    assert_null(bytes);
    assert_ok(prle_realloc(n + 1, n + 9, 1, (prle_any_ptr *)&whole));
    assert_ok(prle_file_write(path, whole, n + 8));
    assert_fails(prle_cache_get("damage", key, &bytes, &got), PRLE_EFORMAT, "damaged");
    assert_ok(prle_cache_put("damage", key, value, sizeof value));
    assert_ok(prle_cache_get("damage", key, &bytes, &got));
    assert_int_equal(got, sizeof value);
    prle_free(bytes);
    prle_free(whole);
    prle_free(path);
}

/* Two keys of one hash would share a file. */
static void test_file_of_another_key(void **state)
{
    uint8_t *bytes = NULL;
    size_t n = 0;

    (void)state;
    assert_ok(prle_cache_put("mine", "my key", "x", 1));
    assert_ok(prle_cache_put("other", "his key", "y", 1));
    char *mine = entry_of("mine"), *other = entry_of("other");
    assert_int_equal(rename(other, mine), 0);
    assert_fails(prle_cache_get("mine", "my key", &bytes, &n), PRLE_EFORMAT, "of something else");
    prle_free(mine);
    prle_free(other);
}

static void test_nowhere_to_write(void **state)
{
    (void)state;
    assert_ok(prle_file_write(in_folder("file"), "x", 1));
    setenv("PRLE_CACHE", in_folder("file"), 1);
    assert_fails(prle_cache_put("kind", "a", "x", 1), PRLE_EIO, in_folder("file"));
    assert_gone("a", PRLE_ENOTSUP);
    setenv("PRLE_CACHE", "", 1);
    assert_ok(prle_cache_put("kind", "a", "x", 1));
    assert_gone("a", PRLE_ENOTSUP);
    setenv("PRLE_CACHE", in_folder("cache"), 1);
}

static prle_status put_and_get(void *user)
{
    uint8_t *bytes = NULL;
    size_t n = 0;

    (void)user;
    PRLE_TRY(prle_cache_put("faults", "key", "value", 5));
    PRLE_TRY(prle_cache_get("faults", "key", &bytes, &n));
    prle_free(bytes);
    return PRLE_OK;
}

static void test_faults(void **state)
{
    (void)state;
    faults_each(put_and_get, NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_which_folder),        cmocka_unit_test(test_get_what_was_put), cmocka_unit_test(test_damage),
        cmocka_unit_test(test_file_of_another_key), cmocka_unit_test(test_nowhere_to_write), cmocka_unit_test(test_faults),
    };

    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
