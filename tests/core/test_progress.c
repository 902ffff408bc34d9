/* test_progress.c - what progress writes: on a terminal, in lines, on other ranks, from several threads. */
#include <pthread.h>
#include <unistd.h>

#include "core/log.h"
#include "core/progress.h"
#include "tests/check.h"

static char path[64];
static int stderr_copy;

static void capture_begin(void)
{
    fflush(stderr);
    stderr_copy = dup(STDERR_FILENO);
    assert_non_null(freopen(path, "w", stderr));
}

/* What was written to stderr since capture_begin. */
static const char *capture_end(void)
{
    static char text[1 << 16];

    fflush(stderr);
    dup2(stderr_copy, STDERR_FILENO);
    close(stderr_copy);
    FILE *file = fopen(path, "r");
    const size_t n = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[n] = '\0';
    return text;
}

static int count(const char *text, const char *part)
{
    int n = 0;

    for (const char *at = strstr(text, part); at != NULL; at = strstr(at + 1, part))
        n++;
    return n;
}

static prle_progress *create(prle_progress_style style, int rank, double interval_s)
{
    prle_progress_opts opts = PRLE_PROGRESS_OPTS_DEFAULT;
    prle_progress *progress = NULL;

    opts.what = "cam";
    opts.total = 40;
    opts.done = 10;
    opts.rank = rank;
    opts.style = style;
    opts.interval_s = interval_s;
    assert_ok(prle_progress_create(&progress, &opts));
    return progress;
}

static void test_lines(void **state)
{
    (void)state;
    capture_begin();
    prle_progress *progress = create(PRLE_PROGRESS_LINES, 0, 0);
    usleep(1000);
    prle_progress_note(progress, "loss %.2f", 0.5);
    prle_progress_add(progress, 10);
    prle_progress_add(progress, 20);
    prle_progress_end(progress);
    prle_progress_destroy(progress);
    const char *text = capture_end();
    assert_non_null(strstr(text, "info progress: cam: 20/40 images (50 %), "));
    assert_non_null(strstr(text, " s left, loss 0.50\n"));
    assert_non_null(strstr(text, "cam: 40/40 images (100 %)"));
    assert_non_null(strstr(text, "progress: cam: 30 images in 0.0 s, ")); /* the 10 of an earlier run are not counted */
    assert_int_equal(count(text, "\n"), 3);
    assert_int_equal(count(text, "\r"), 0);
}

static void test_interval(void **state)
{
    (void)state;
    capture_begin();
    prle_progress *progress = create(PRLE_PROGRESS_LINES, 0, 3600);
    for (int i = 0; i < 30; i++)
        prle_progress_add(progress, 1);
    prle_progress_destroy(progress); /* an error: no last line */
    assert_string_equal(capture_end(), "");
}

static void test_terminal(void **state)
{
    (void)state;
    capture_begin();
    prle_progress *progress = create(PRLE_PROGRESS_TERMINAL, 0, 0);
    usleep(120000);
    for (int i = 0; i < 1000; i++)
        prle_progress_add(progress, 0);
    prle_log(PRLE_LOG_WARN, "test", "in between");
    prle_progress_end(progress);
    prle_progress_destroy(progress);
    prle_log(PRLE_LOG_WARN, "test", "afterwards");
    const char *text = capture_end();
    assert_int_equal(count(text, "\r\033[Kcam: 10"), 1); /* a thousand calls, one is shown */
    assert_non_null(strstr(text, "\r\033[K"));
    const char *warning = strstr(text, "in between");
    assert_non_null(warning);
    while (*warning != '\r' && warning > text)
        warning--;
    assert_memory_equal(warning, "\r\033[K", 4);                   /* the log line removes the progress line first */
    assert_int_equal(count(strstr(text, "0 images in"), "\r"), 0); /* the last line stays, and so does what follows */
}

static void test_silent(void **state)
{
    (void)state;
    capture_begin();
    prle_progress *progress = create(PRLE_PROGRESS_LINES, 1, 0);
    prle_progress_add(progress, 1);
    prle_progress_end(progress);
    prle_progress_destroy(progress);
    assert_ok(prle_log_setup("warn"));
    progress = create(PRLE_PROGRESS_TERMINAL, 0, 0);
    usleep(110000);
    prle_progress_add(progress, 1);
    prle_progress_end(progress);
    prle_progress_destroy(progress);
    assert_ok(prle_log_setup("info"));
    prle_progress_add(NULL, 1);
    prle_progress_note(NULL, "x");
    prle_progress_end(NULL);
    prle_progress_destroy(NULL);
    assert_string_equal(capture_end(), "");
    prle_progress_opts nameless = PRLE_PROGRESS_OPTS_DEFAULT;
    assert_fails(prle_progress_create(&progress, &nameless), PRLE_EINVAL, "needs a name");
}

static void *add_many(void *progress)
{
    for (int i = 0; i < 10000; i++) {
        prle_progress_add(progress, 1);
        if (i % 1000 == 0)
            prle_progress_note(progress, "i %d", i);
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    pthread_t threads[4];

    capture_begin();
    prle_progress *progress = create(PRLE_PROGRESS_LINES, 0, 0.001);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, add_many, progress), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    prle_progress_end(progress);
    prle_progress_destroy(progress);
    assert_non_null(strstr(capture_end(), "cam: 40000 images in "));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),  cmocka_unit_test(test_interval), cmocka_unit_test(test_terminal),
        cmocka_unit_test(test_silent), cmocka_unit_test(test_threads),
    };
    snprintf(path, sizeof path, "/tmp/prle_test_progress.%d", (int)getpid());
    const int rc = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return rc;
}
