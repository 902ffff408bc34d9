/* test_units.c - the stage runner: what it makes, keeps, makes again and refuses, on any number of ranks. */
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/file.h"
#include "core/rows.h"
#include "dist/stop.h"
#include "dist/units.h"
#include "tests/dist/ranks.h"
#include "tests/folder.h"

enum { N_ITEMS = 540, UNIT = 16, N_UNITS = 34, FAILING = 21, NONE = -1 };

/* A stage that writes each unit's items as text; what it did is counted. */
typedef struct stage {
    char parts[256], result[256];
    int64_t fail_first;   /* the unit that begins here fails while it is made */
    int64_t full_first;   /* this one while it is committed */
    int64_t forget_first; /* this one is not committed */
    int64_t signal_first; /* before this one a stop is asked for */
    int64_t slot_first[2], slot_n[2];
    bool finish_fails;
    bool waits, overlapped; /* the first commit waits until the next unit is begun; it was */
    _Atomic int64_t n_made; /* which the committing thread looks at */
    int64_t n_finished, n_checked;
    prle_units_progress last;
} stage;

static prle_status make(void *ctx, int64_t first, int64_t n, int slot)
{
    stage *s = ctx;

    s->n_made++;
    if (first == s->signal_first)
        raise(SIGUSR1);
    PRLE_CHECK(first != s->fail_first, PRLE_ENUMERIC, "a NaN on purpose");
    s->slot_first[slot] = first;
    s->slot_n[slot] = n;
    return PRLE_OK;
}

/* What lies in the slot. */
static prle_status commit(void *ctx, int64_t first, int64_t n, int slot, const char *path)
{
    stage *s = ctx;
    char text[32 * UNIT];
    int used = 0;

    for (int ms = 0; s->waits && !s->overlapped && ms < 5000; ms++) {
        s->overlapped = s->n_made >= 2;
        usleep(1000);
    }
    PRLE_CHECK(s->slot_first[slot] == first && s->slot_n[slot] == n, PRLE_EINVAL, "slot %d holds another unit", slot);
    PRLE_CHECK(first != s->full_first, PRLE_EIO, "%s: a full disk on purpose", path);
    for (int64_t i = first; i < first + n; i++)
        used += snprintf(text + used, sizeof text - (size_t)used, "%lld %lld\n", (long long)i, (long long)(i * i % 97));
    return first == s->forget_first ? PRLE_OK : prle_file_write_atomic(path, text, (size_t)used);
}

static prle_status check(void *ctx, int64_t first, int64_t n, const char *path)
{
    stage *s = ctx;
    uint8_t *text = NULL;
    size_t n_bytes = 0;
    long long last = -1;

    s->n_checked++;
    PRLE_TRY(prle_file_read_all(path, &text, &n_bytes));
    const char *end = n_bytes > 1 ? memrchr(text, '\n', n_bytes - 1) : NULL;
    const bool whole = end != NULL && sscanf(end, "%lld", &last) == 1 && last == first + n - 1;
    prle_free(text);
    PRLE_CHECK(whole, PRLE_EFORMAT, "%s: torn", path);
    return PRLE_OK;
}

/* All unit files, one after another, into the result. */
static prle_status finish(void *ctx, const char *parts_dir, int64_t n_units, prle_comm *comm)
{
    stage *s = ctx;
    char *path = NULL, all[32 * N_ITEMS];
    size_t used = 0;

    s->n_finished++;
    PRLE_CHECK(!s->finish_fails, PRLE_EIO, "cannot finish on purpose");
    for (int64_t unit = 0; unit < n_units; unit++) {
        uint8_t *text = NULL;
        size_t n_bytes = 0;
        PRLE_TRY(prle_rows_part_path(parts_dir, unit, &path));
        PRLE_TRY(prle_file_read_all(path, &text, &n_bytes));
        memcpy(all + used, text, n_bytes);
        used += n_bytes;
        prle_free(text);
        prle_free(path);
        PRLE_TRY(prle_units_beat(comm));
    }
    return prle_file_write_atomic(s->result, all, used);
}

static void progress(void *ctx, const prle_units_progress *now) { ((stage *)ctx)->last = *now; }

static stage stage_make(const char *name)
{
    stage s = {.fail_first = NONE, .full_first = NONE, .forget_first = NONE, .signal_first = NONE};

    snprintf(s.parts, sizeof s.parts, "%s.parts", in_folder(name));
    snprintf(s.result, sizeof s.result, "%s", in_folder(name));
    return s;
}

static prle_status stage_run_n(stage *s, int64_t n_items)
{
    prle_units_opts opts = PRLE_UNITS_OPTS_DEFAULT;

    opts.parts_dir = s->parts;
    opts.n_items = n_items;
    opts.items_per_unit = UNIT;
    opts.lock_wait_s = 0.2;
    opts.ctx = s;
    opts.make = make;
    opts.commit = commit;
    opts.check = check;
    opts.finish = finish;
    opts.progress = progress;
    return prle_units_run(world, &opts);
}

static prle_status stage_run(stage *s) { return stage_run_n(s, N_ITEMS); }

static int64_t sum_over_ranks(int64_t value) { return prle_comm_sum_i64(world, &value, 1, "test") == PRLE_OK ? value : -1; }

/* The result against the closed form, on rank 0. */
static bool result_is_right(const stage *s, int64_t n_items)
{
    uint8_t *text = NULL;
    size_t n_bytes = 0;
    char *at;
    bool right = true;

    if (world->rank != 0)
        return true;
    if (prle_file_read_all(s->result, &text, &n_bytes) != PRLE_OK)
        return false;
    at = (char *)text;
    for (int64_t i = 0; i < n_items && right; i++)
        right = strtoll(at, &at, 10) == i && strtoll(at, &at, 10) == i * i % 97 && *at++ == '\n';
    right = right && at == (char *)text + n_bytes;
    prle_free(text);
    return right;
}

/* Writes a file into the parts folder, from rank 0. */
static void plant(const stage *s, const char *name, const char *text)
{
    char path[320];
    prle_status st = PRLE_OK;

    snprintf(path, sizeof path, "%s/%s", s->parts, name);
    if (world->rank == 0)
        st = prle_folder_make(s->parts);
    if (world->rank == 0 && st == PRLE_OK)
        st = prle_file_write_atomic(path, text, strlen(text));
    assert_all_ok(st);
}

static bool part_exists(const stage *s, const char *name)
{
    char path[320];

    snprintf(path, sizeof path, "%s/%s", s->parts, name);
    return prle_file_exists(path);
}

static void test_whole_run(void **state)
{
    (void)state;
    const int64_t live = prle_alloc_live();
    stage s = stage_make("whole");

    assert_all_ok(stage_run(&s));
    assert_all(sum_over_ranks(s.n_made) == N_UNITS);
    assert_all(s.n_finished == (world->rank == 0));
    assert_all(s.last.own_done == s.n_made && s.last.own_total == s.n_made && s.last.n_units == N_UNITS);
    assert_all(s.n_made >= N_UNITS / world->size); /* shared out evenly */
    assert_all(result_is_right(&s, N_ITEMS));
    assert_all(!prle_file_exists(s.parts));
    assert_all(prle_alloc_live() == live);
}

static void test_few_items(void **state)
{
    (void)state;
    static const int64_t counts[] = {0, 1, UNIT, UNIT + 1};

    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        stage s = stage_make("few");
        assert_all_ok(stage_run_n(&s, counts[i]));
        assert_all(sum_over_ranks(s.n_made) == (counts[i] + UNIT - 1) / UNIT);
        assert_all(result_is_right(&s, counts[i]));
    }
}

/* Whole units stay; torn ones, foreign ones and temporary files do not. */
static void test_resume(void **state)
{
    (void)state;
    stage s = stage_make("resume");
    char text[32 * UNIT];
    int used = 0;

    for (int64_t i = 2 * UNIT; i < 3 * UNIT; i++)
        used += snprintf(text + used, sizeof text - (size_t)used, "%lld %lld\n", (long long)i, (long long)(i * i % 97));
    plant(&s, "unit-000002.h5", text);
    plant(&s, "unit-000005.h5", "80 94\n81 6");
    plant(&s, "unit-000007.h5", "");
    plant(&s, ".unit-000003.h5.tmp.99999", "half");
    plant(&s, ".unit-000002.h5.tmp.1", "half");
    plant(&s, "notes", "somebody's");
    s.fail_first = 33 * UNIT; /* keeps the folder for a look */
    (void)stage_run(&s);
    assert_all(!part_exists(&s, ".unit-000003.h5.tmp.99999") && !part_exists(&s, ".unit-000002.h5.tmp.1"));
    assert_all(part_exists(&s, "notes"));
    assert_all(sum_over_ranks(s.n_checked) == 3);
    assert_all(sum_over_ranks(s.n_made) == N_UNITS - 1);
    s.fail_first = NONE;
    s.n_made = 0;
    assert_all_ok(stage_run(&s));
    assert_all(sum_over_ranks(s.n_made) == 1);
    assert_all(s.last.all_total == 1 && s.last.n_units == N_UNITS);
    assert_all(result_is_right(&s, N_ITEMS));
}

/* One unit fails: its rank stops, the others make all of theirs, and all hear of it. */
static void test_a_unit_fails(void **state)
{
    (void)state;
    stage s = stage_make("fails");

    s.fail_first = FAILING * UNIT;
    const bool failing = FAILING % world->size == world->rank;
    const prle_status st = stage_run(&s);
    const bool named = !failing || strstr(prle_error_message(), "items 336 ... 351: a NaN on purpose") != NULL;
    assert_all(st == (failing ? PRLE_ENUMERIC : PRLE_EPEER) && named && s.n_finished == 0);
    assert_all(failing || s.last.own_done == s.last.own_total);
    assert_all(!part_exists(&s, "unit-000021.h5"));
    const int64_t missing = sum_over_ranks(s.last.own_total - s.last.own_done);
    s = stage_make("fails");
    assert_all_ok(stage_run(&s));
    assert_all(sum_over_ranks(s.n_made) == missing && result_is_right(&s, N_ITEMS));
}

/* So does one that cannot be committed; one more may have been made meanwhile. */
static void test_a_commit_fails(void **state)
{
    (void)state;
    stage s = stage_make("full");

    s.full_first = FAILING * UNIT;
    const bool failing = FAILING % world->size == world->rank;
    const prle_status st = stage_run(&s);
    const bool named = !failing || (strstr(prle_error_message(), "items 336 ... 351: ") != NULL &&
                                    strstr(prle_error_message(), "a full disk on purpose") != NULL);
    assert_all(st == (failing ? PRLE_EIO : PRLE_EPEER) && named && s.n_finished == 0);
    assert_all(failing || s.last.own_done == s.last.own_total);
    assert_all(!part_exists(&s, "unit-000021.h5"));
    const int64_t missing = sum_over_ranks(s.last.own_total - s.last.own_done);
    s = stage_make("full");
    assert_all_ok(stage_run(&s));
    assert_all(sum_over_ranks(s.n_made) == missing && result_is_right(&s, N_ITEMS));
}

static void test_commits_beside(void **state)
{
    (void)state;
    stage s = stage_make("beside");

    s.waits = true;
    assert_all_ok(stage_run(&s));
    assert_all(s.overlapped && result_is_right(&s, N_ITEMS));
}

static void test_a_unit_is_not_committed(void **state)
{
    (void)state;
    stage s = stage_make("forgets");

    s.forget_first = 0;
    const prle_status st = stage_run(&s);
    const bool named = world->rank != 0 || strstr(prle_error_message(), "was not committed") != NULL;
    assert_all(st == (world->rank == 0 ? PRLE_EIO : PRLE_EPEER) && named);
}

static void test_stop(void **state)
{
    (void)state;
    stage s = stage_make("stop");

    assert_all_ok(prle_stop_begin());
    s.signal_first = 0; /* rank 0's first unit */
    const prle_status st = stage_run(&s);
    prle_stop_end();
    assert_all(st == PRLE_ESTOP && strstr(prle_error_message(), "units still missing") != NULL);
    assert_all(s.n_made == (world->rank == 0 ? 1 : 8)); /* the others hear of it when they meet */
    const int64_t done = sum_over_ranks(s.n_made);
    s = stage_make("stop");
    assert_all_ok(stage_run(&s));
    assert_all(sum_over_ranks(s.n_made) == N_UNITS - done && result_is_right(&s, N_ITEMS));
}

static void test_finish_fails(void **state)
{
    (void)state;
    stage s = stage_make("finish");

    s.finish_fails = true;
    const prle_status st = stage_run(&s);
    assert_all(st == (world->rank == 0 ? PRLE_EIO : PRLE_EPEER));
    assert_all(part_exists(&s, "unit-000000.h5"));
    s = stage_make("finish");
    assert_all_ok(stage_run(&s));
    assert_all(s.n_made == 0 && result_is_right(&s, N_ITEMS));
}

static void test_foreign_folder(void **state)
{
    (void)state;
    stage s = stage_make("foreign");

    plant(&s, "unit-000034.h5", "544 1\n");
    const prle_status st = stage_run(&s);
    const bool named = world->rank != 0 || strstr(prle_error_message(), "has 34 units only") != NULL;
    assert_all(st == (world->rank == 0 ? PRLE_EFORMAT : PRLE_EPEER) && named && s.n_made == 0);
}

/* Somebody holds that lock as another run's rank does. */
static void other_run(const char *name, int how)
{
    stage s = stage_make(name);
    char path[320];
    int other = -1;

    plant(&s, name, "");
    snprintf(path, sizeof path, "%s/%s", s.parts, name);
    if (world->rank == 0) {
        other = open(path, O_RDWR);
        assert_int_equal(flock(other, how), 0);
    }
    assert_all_ok(prle_comm_barrier(world, "lock"));
    const prle_status st = stage_run(&s);
    const bool named = world->rank != 0 || strstr(prle_error_message(), "another run works there") != NULL;
    if (world->rank == 0)
        close(other);
    assert_all(st == (world->rank == 0 ? PRLE_EIO : PRLE_EPEER) && named && s.n_made == 0);
    assert_all_ok(stage_run(&s));
    assert_all(result_is_right(&s, N_ITEMS));
}

static void test_two_runs_in_one_folder(void **state)
{
    (void)state;
    other_run("lock", LOCK_EX);
    other_run("presence", LOCK_SH);
}

static void test_refuses(void **state)
{
    (void)state;
    stage s = stage_make("refuses");
    prle_units_opts opts = PRLE_UNITS_OPTS_DEFAULT;

    assert_all(stage_run_n(&s, -1) == PRLE_EINVAL);
    opts.parts_dir = s.parts;
    opts.items_per_unit = 0;
    assert_all(prle_units_run(world, &opts) == PRLE_EINVAL);
    opts = PRLE_UNITS_OPTS_DEFAULT;
    opts.parts_dir = "/proc/no/such/folder";
    assert_all(prle_units_run(world, &opts) == (world->rank == 0 ? PRLE_EIO : PRLE_EPEER));
}

/* One folder for all ranks. */
static int shared_folder_make(void **state)
{
    const bool made = world->rank != 0 || folder_make(state) == 0;

    return prle_comm_broadcast(world, test_folder, sizeof test_folder, 0, "folder") == PRLE_OK && made ? 0 : -1;
}

static int shared_folder_remove(void **state) { return world->rank == 0 ? folder_remove(state) : 0; }

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_run),
        cmocka_unit_test(test_few_items),
        cmocka_unit_test(test_resume),
        cmocka_unit_test(test_a_unit_fails),
        cmocka_unit_test(test_a_commit_fails),
        cmocka_unit_test(test_commits_beside),
        cmocka_unit_test(test_a_unit_is_not_committed),
        cmocka_unit_test(test_stop),
        cmocka_unit_test(test_finish_fails),
        cmocka_unit_test(test_foreign_folder),
        cmocka_unit_test(test_two_runs_in_one_folder),
        cmocka_unit_test(test_refuses),
    };

    ranks_begin();
    return ranks_end(cmocka_run_group_tests(tests, shared_folder_make, shared_folder_remove));
}
