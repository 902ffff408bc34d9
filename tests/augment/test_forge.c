/* test_forge.c - the generator on drawn faces: plan, methods, whole runs (same bytes, interrupted, refused), bad tables. */
#include <math.h>

#include "augment/forge/forge.h"
#include "augment/forge/methods.h"
#include "augment/forge/plan.h"
#include "augment/forge/quality.h"
#include "core/alloc.h"
#include "core/csv.h"
#include "core/threads.h"
#include "tests/augment/forge_faces.h"
#include "tests/faults.h"

enum { N_PEOPLE = 6, SIZE = 64, N_FRAMES = 2 };

static char folder[64], source[80], scratch[80];

static int setup(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "%s", temporary_pattern());
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(source, sizeof source, "%s/source", folder);
    snprintf(scratch, sizeof scratch, "%s/bad.csv", folder);
    faces_write(source, N_PEOPLE);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    return prle_folder_remove(folder) == PRLE_OK ? 0 : -1;
}

/* 0: as many as there are processors */
static void threads_set(int n)
{
    int n_set = 0;

    assert_ok(prle_threads_setup(n, 1, &n_set));
}

static prle_forge_opts small_opts(const char *out)
{
    prle_forge_opts opts = PRLE_FORGE_OPTS_DEFAULT;

    opts.src = source;
    opts.out = out;
    opts.size = SIZE;
    opts.frames = N_FRAMES;
    return opts;
}

/* ---- the plan ---- */

static void test_plan(void **state)
{
    (void)state;
    const prle_forge_opts opts = small_opts("unused");
    prle_forge_photos photos = {0};
    prle_forge_plan plan = {0}, again = {0};
    int64_t per_method[PRLE_FORGE_METHODS] = {0};

    assert_ok(prle_forge_photos_load(&photos, source));
    assert_int_equal(photos.n, 2 * N_PEOPLE);
    assert_int_equal(photos.n_identities, N_PEOPLE);
    assert_ok(prle_forge_plan_make(&plan, &photos, &opts));
    assert_ok(prle_forge_plan_make(&again, &photos, &opts));
    assert_int_equal(plan.n_identities[0] + plan.n_identities[1] + plan.n_identities[2], N_PEOPLE);
    for (int split = 0; split < PRLE_SPLITS; split++)
        assert_true(plan.n_identities[split] >= 2);
    assert_int_equal(plan.n_videos, 2 * N_PEOPLE * (1 + PRLE_FORGE_METHODS));
    for (int64_t i = 0; i < plan.n_videos; i++) {
        const prle_forge_video *v = &plan.video[i];
        const int32_t who = photos.photo[v->target].identity;
        assert_int_equal(plan.split[who], v->split);
        assert_string_equal(v->folder, again.video[i].folder);
        if (v->method == PRLE_FORGE_REAL)
            continue;
        per_method[v->method]++;
        const int32_t other = photos.photo[v->donor].identity;
        assert_int_equal(plan.split[other], v->split);
        assert_int_not_equal(v->donor, v->target);
        assert_int_equal(other == who, v->method == PRLE_FORGE_REENACT || v->method == PRLE_FORGE_MOUTH);
    }
    for (int m = 0; m < PRLE_FORGE_METHODS; m++)
        assert_int_equal(per_method[m], 2 * N_PEOPLE);
    prle_forge_plan_deinit(&plan);
    prle_forge_plan_deinit(&again);
    prle_forge_photos_deinit(&photos);
}

static void test_plan_seeds_and_shares(void **state)
{
    (void)state;
    prle_forge_opts opts = small_opts("unused");
    prle_forge_photos photos = {0};
    prle_forge_plan plan = {0};
    int splits_seen[PRLE_SPLITS] = {0};

    assert_ok(prle_forge_photos_load(&photos, source));
    for (opts.seed = 0; opts.seed < 30; opts.seed++) {
        assert_ok(prle_forge_plan_make(&plan, &photos, &opts));
        splits_seen[plan.split[0]]++;
        prle_forge_plan_deinit(&plan);
    }
    for (int i = 0; i < PRLE_SPLITS; i++)
        assert_true(splits_seen[i] > 0);
    opts.val_share = 0.6;
    assert_fails(prle_forge_plan_make(&plan, &photos, &opts), PRLE_EINVAL, "6 identities, 4 of them for val and 2 for test");
    opts.val_share = 0;
    assert_ok(prle_forge_plan_make(&plan, &photos, &opts));
    assert_int_equal(plan.n_identities[1], 2);
    prle_forge_plan_deinit(&plan);
    prle_forge_photos_deinit(&photos);
}

/* ---- the methods ---- */

/* Every pixel outside the mask is the target's; inside, something has happened. */
static void test_methods_and_masks(void **state)
{
    (void)state;
    enum { CANVAS = 76 };
    prle_point at[2][PRLE_LANDMARKS];
    prle_image photo[2];
    prle_face face[2];
    prle_studio real = {0}, fake = {0};

    for (int i = 0; i < 2; i++) {
        face_points(at[i], i, 1 + 0.05 * i);
        photo[i] = face_image(at[i], 10 + (uint64_t)i);
        assert_ok(prle_face_make(&face[i], &photo[i], at[i], 1.3, SIZE, CANVAS));
    }
    assert_ok(prle_studio_init(&real, CANVAS, SIZE));
    assert_ok(prle_studio_init(&fake, CANVAS, SIZE));
    for (int m = 0; m < PRLE_FORGE_METHODS; m++)
        for (int own = 0; own < 2; own++) {
            prle_rng rng = prle_rng_make(1, 0, 0, PRLE_RNG_TEST);
            const double leak = m == PRLE_FORGE_BLEND ? 25 : 0; /* coarse bands reach a little over the edge */
            double inside = 0, changed = 0;
            assert_ok(prle_forge_make(&real, PRLE_FORGE_REAL, &face[0], NULL, false, &rng));
            assert_ok(prle_forge_make(&fake, m, &face[0], &face[1], own, &rng));
            for (int64_t i = 0; i < CANVAS * CANVAS; i++) {
                const double difference = fabs((double)real.canvas.rgb[3 * i] - (double)fake.canvas.rgb[3 * i]);
                assert_true(real.alpha[i] == 0.0f && fake.alpha[i] >= 0.0f && fake.alpha[i] <= 1.0f);
                if (!(fake.alpha[i] > 0) && !(difference <= leak))
                    fail_msg("%s: pixel %d changed by %g outside the mask", prle_forge_method_names[m], (int)i, difference);
                inside += (double)fake.alpha[i];
                changed += difference > 1;
            }
            assert_true(inside > 0.02 * CANVAS * CANVAS && inside < 0.7 * CANVAS * CANVAS);
            assert_true(changed > 0.02 * CANVAS * CANVAS);
        }
    prle_studio_deinit(&real);
    prle_studio_deinit(&fake);
    prle_image_deinit(&photo[0]);
    prle_image_deinit(&photo[1]);
}

/* A swap with the same photograph changes nothing but rounding: the mesh is the identity and colours already match. */
static void test_swap_with_itself(void **state)
{
    (void)state;
    enum { CANVAS = 76 };
    prle_point at[PRLE_LANDMARKS];
    prle_face face;
    prle_studio real = {0}, fake = {0};
    prle_rng rng = prle_rng_make(1, 0, 0, PRLE_RNG_TEST);

    face_points(at, 0.4, 1);
    prle_image photo = face_image(at, 3);
    assert_ok(prle_face_make(&face, &photo, at, 1.3, SIZE, CANVAS));
    assert_ok(prle_studio_init(&real, CANVAS, SIZE));
    assert_ok(prle_studio_init(&fake, CANVAS, SIZE));
    assert_ok(prle_forge_make(&real, PRLE_FORGE_REAL, &face, NULL, false, &rng));
    assert_ok(prle_forge_make(&fake, PRLE_FORGE_SWAP, &face, &face, false, &rng));
    for (int64_t i = 0; i < CANVAS * CANVAS * 3; i++)
        assert_true(fabs((double)real.canvas.rgb[i] - (double)fake.canvas.rgb[i]) <= 0.2);
    prle_studio_deinit(&real);
    prle_studio_deinit(&fake);
    prle_image_deinit(&photo);
}

static void test_landmarks_of_methods(void **state)
{
    (void)state;
    prle_point at[2][PRLE_LANDMARKS], out[PRLE_LANDMARKS];
    prle_face face[2];

    for (int i = 0; i < 2; i++) {
        face_points(at[i], i, 1);
        assert_ok(prle_face_make(&face[i], NULL, at[i], 1.3, SIZE, SIZE));
    }
    assert_ok(prle_forge_landmarks(out, PRLE_FORGE_SWAP, &face[0], &face[1], false, SIZE));
    assert_memory_equal(out, face[0].at, sizeof out);
    assert_ok(prle_forge_landmarks(out, PRLE_FORGE_REENACT, &face[0], &face[1], true, SIZE));
    assert_memory_equal(out, face[0].at, 17 * sizeof *out); /* the jaw stays */
    assert_true(prle_face_mouth_opening(out) > prle_face_mouth_opening(face[0].at) + 0.1);
    assert_ok(prle_forge_landmarks(out, PRLE_FORGE_MOUTH, &face[0], &face[1], true, SIZE));
    assert_memory_equal(out, face[0].at, 48 * sizeof *out); /* only the lips move */
    assert_true(prle_face_mouth_opening(out) > prle_face_mouth_opening(face[0].at) + 0.1);
}

/* ---- whole runs ---- */

static void assert_same_file(const char *root_a, const char *root_b, const char *below)
{
    uint8_t *bytes[2] = {NULL, NULL};
    size_t n[2] = {0, 0};
    const char *const root[2] = {root_a, root_b};
    char path[512];

    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", root[i], below);
        assert_ok(prle_file_read_all(path, &bytes[i], &n[i]));
    }
    assert_int_equal(n[0], n[1]);
    assert_memory_equal(bytes[0], bytes[1], n[0]);
    prle_free(bytes[0]);
    prle_free(bytes[1]);
}

static void mask_path(char *out, size_t room, const char *frame)
{
    snprintf(out, room, "masks/%.*s.png", (int)strlen(frame) - 4, frame);
}

static void assert_same_sets(const char *a, const char *b)
{
    char path[512];
    prle_csv csv = {0};

    assert_same_file(a, b, "landmarks.csv");
    assert_same_file(a, b, "forge.json");
    snprintf(path, sizeof path, "%s/landmarks.csv", a);
    assert_ok(prle_csv_load(&csv, path));
    assert_int_equal(csv.n_rows, 2 * N_PEOPLE * (1 + PRLE_FORGE_METHODS) * N_FRAMES);
    for (int64_t i = 0; i < csv.n_rows; i++) {
        const char *frame = prle_csv_text(&csv, i, 0);
        assert_same_file(a, b, frame);
        mask_path(path, sizeof path, frame);
        if (strstr(frame, "/fake/") != NULL)
            assert_same_file(a, b, path);
    }
    prle_csv_deinit(&csv);
}

/* The white nose tip of each real frame lies where the table says; reals have no source and no mask, fakes have both. */
static void check_contents(const char *root)
{
    char path[512], mask[256];
    prle_csv csv = {0};

    snprintf(path, sizeof path, "%s/landmarks.csv", root);
    assert_ok(prle_csv_load(&csv, path));
    for (int64_t i = 0; i < csv.n_rows; i++) {
        const char *frame = prle_csv_text(&csv, i, 0);
        const bool fake = strstr(frame, "/fake/") != NULL;
        prle_image image = {0}, mask_image = {0};
        double x = 0, y = 0;
        assert_ok(prle_csv_number(&csv, i, prle_csv_find(&csv, "x30"), &x));
        assert_ok(prle_csv_number(&csv, i, prle_csv_find(&csv, "y30"), &y));
        snprintf(path, sizeof path, "%s/%s", root, frame);
        assert_ok(prle_image_load(&image, path, 3));
        assert_true(image.height == SIZE && image.width == SIZE);
        const uint8_t *nose = image.data + (lrint(y) * SIZE + lrint(x)) * 3;
        assert_true(fake || (nose[0] > 200 && nose[1] > 190 && nose[2] > 180));
        mask_path(mask, sizeof mask, frame);
        snprintf(path, sizeof path, "%s/%s", root, mask);
        assert_int_equal(prle_file_exists(path), fake);
        assert_memory_equal(prle_csv_text(&csv, i, 1), "person, \"", 9); /* written as it was read */
        assert_int_equal(prle_csv_text(&csv, i, 2)[0] != '\0', fake);
        if (fake) {
            assert_ok(prle_image_load(&mask_image, path, 1));
            assert_true(mask_image.height == SIZE && mask_image.data[0] == 0);
        }
        prle_image_deinit(&image);
        prle_image_deinit(&mask_image);
    }
    prle_csv_deinit(&csv);
}

typedef struct watcher {
    int64_t n_calls, n_last, n_videos;
} watcher;

static void watch(void *user, int64_t n_done, int64_t n_videos)
{
    watcher *w = user;

    w->n_calls++;
    w->n_last = n_done;
    w->n_videos = n_videos;
}

static void test_run(void **state)
{
    (void)state;
    const int64_t live = prle_alloc_live(), n_videos = 2 * N_PEOPLE * (1 + PRLE_FORGE_METHODS);
    char a[80], b[80], path[256];
    prle_forge_report report = {0};
    watcher w = {0};

    snprintf(a, sizeof a, "%s/a", folder);
    snprintf(b, sizeof b, "%s/b", folder);
    prle_forge_opts opts = small_opts(a);
    opts.progress = watch;
    opts.user = &w;
    assert_ok(prle_forge_run(&opts, &report));
    assert_int_equal(report.n_videos, n_videos);
    assert_int_equal(report.n_found, 0);
    assert_int_equal(report.n_frames, n_videos * N_FRAMES);
    assert_true(w.n_calls == n_videos && w.n_last == n_videos && w.n_videos == n_videos);
    check_contents(a);

    /* another number of threads; then what a killed run leaves: missing videos, an orphaned mask folder, temporary folders */
    threads_set(3);
    opts = small_opts(b);
    assert_ok(prle_forge_run(&opts, NULL));
    assert_same_sets(a, b);
    prle_csv csv = {0};
    snprintf(path, sizeof path, "%s/landmarks.csv", b);
    assert_ok(prle_csv_load(&csv, path));
    assert_ok(prle_file_remove(path));
    int64_t n_removed = 0;
    for (int64_t i = 0; i < csv.n_rows; i += 7 * N_FRAMES) {
        const char *frame = prle_csv_text(&csv, i, 0);
        snprintf(path, sizeof path, "%s/%.*s", b, (int)(strrchr(frame, '/') - frame), frame);
        assert_ok(prle_folder_remove(path));
        n_removed++;
    }
    snprintf(path, sizeof path, "%s/train/real/.gone.tmp.1", b);
    assert_ok(prle_folder_make(path));
    assert_ok(prle_forge_run(&opts, &report));
    assert_int_equal(report.n_found, n_videos - n_removed);
    assert_false(prle_file_exists(path));
    assert_same_sets(a, b);
    threads_set(0);
    prle_csv_deinit(&csv);

    opts.seed = 2;
    assert_fails(prle_forge_run(&opts, NULL), PRLE_EINVAL, "made with other settings or photographs (there: \"seed\": 1)");
    assert_int_equal(prle_alloc_live(), live);
}

static prle_status set_make(void *user) { return prle_forge_run(user, NULL); }

static prle_status set_measure(void *user)
{
    const prle_forge_opts *opts = user;
    prle_forge_quality quality;

    return prle_forge_quality_measure(&quality, opts->out);
}

/* Each allocation and each file call fails once. What is there stays, so that the next run goes on; a set that is whole is begun
 * anew. */
static void set_check(void *user, bool done)
{
    const prle_forge_opts *opts = user;

    if (done)
        assert_ok(prle_folder_remove(opts->out));
}

static void test_every_call_fails(void **state)
{
    (void)state;
    char out[80];

    snprintf(out, sizeof out, "%s/failing", folder);
    prle_forge_opts opts = small_opts(out);
    opts.methods = 1u << PRLE_FORGE_BLEND;
    opts.frames = 1;
    threads_set(1);
    faults_sparse(set_make, set_check, &opts);
    assert_ok(set_make(&opts));
    faults_sparse(set_measure, NULL, &opts);
    threads_set(0);
}

static void test_options_refused(void **state)
{
    (void)state;
    prle_forge_opts opts = small_opts("unused");

    opts.size = 8;
    assert_fails(prle_forge_run(&opts, NULL), PRLE_EINVAL, "size 8");
    opts = small_opts("unused");
    opts.frames = 0;
    assert_fails(prle_forge_run(&opts, NULL), PRLE_EINVAL, "0 frames");
    opts = small_opts("unused");
    opts.methods = 0;
    assert_fails(prle_forge_run(&opts, NULL), PRLE_EINVAL, "methods");
    opts = small_opts("unused");
    opts.quality_min = 96;
    assert_fails(prle_forge_run(&opts, NULL), PRLE_EINVAL, "96 to 95");
    opts = small_opts("unused");
    opts.margin = (double)NAN;
    assert_fails(prle_forge_run(&opts, NULL), PRLE_EINVAL, "margin");
    opts = small_opts(NULL);
    assert_fails(prle_forge_run(&opts, NULL), PRLE_EINVAL, "output folder");
}

/* ---- bad tables ---- */

/* A table of one good row; `wrong` replaces the value of `column`. */
static prle_status load_with(const char *column, const char *wrong)
{
    char text[4096];
    size_t n = 0;
    prle_point at[PRLE_LANDMARKS];
    prle_forge_photos photos = {0};

    face_points(at, 0, 1);
    n += (size_t)snprintf(text + n, sizeof text - n, "file,id");
    for (int i = 0; i < PRLE_LANDMARKS; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, ",x%d,y%d", i, i);
    n += (size_t)snprintf(text + n, sizeof text - n, "\n%s,%s", strcmp(column, "file") == 0 ? wrong : "source/img/p00_a.png",
                          strcmp(column, "id") == 0 ? wrong : "somebody");
    for (int i = 0; i < 2 * PRLE_LANDMARKS; i++) {
        char name[8];
        snprintf(name, sizeof name, "%c%d", "xy"[i % 2], i / 2);
        if (strcmp(column, name) == 0)
            n += (size_t)snprintf(text + n, sizeof text - n, ",%s", wrong);
        else
            n += (size_t)snprintf(text + n, sizeof text - n, ",%.2f", i % 2 == 0 ? at[i / 2].x : at[i / 2].y);
    }
    assert_ok(prle_file_write_atomic(scratch, text, n));
    const prle_status st = prle_forge_photos_load(&photos, scratch);
    prle_forge_photos_deinit(&photos);
    return st;
}

static void test_bad_tables(void **state)
{
    (void)state;
    const int64_t live = prle_alloc_live();
    prle_forge_photos photos = {0};
    char text[4096];
    size_t n = 0;

    assert_ok(load_with("", ""));
    assert_fails(load_with("x33", "12,5"), PRLE_EFORMAT, "bad.csv:2: 139 fields, the header has 138");
    assert_fails(load_with("y5", "high"), PRLE_EFORMAT, "bad.csv:2: column \"y5\": \"high\" is not a number");
    assert_fails(load_with("x7", "nan"), PRLE_EFORMAT, "\"nan\" is not a number");
    assert_fails(load_with("x7", "1e9"), PRLE_EFORMAT, "bad.csv:2: point 7 lies at (1e+09");
    assert_fails(load_with("file", "gone.png"), PRLE_EFORMAT, "bad.csv:2: gone.png is neither in");
    assert_fails(load_with("file", ""), PRLE_EFORMAT, "bad.csv:2: no file name");
    assert_fails(load_with("id", ""), PRLE_EFORMAT, "bad.csv:2: no id");
    assert_fails(load_with("file", "source/manifest.csv"), PRLE_EFORMAT, "neither JPEG nor PNG");
    n += (size_t)snprintf(text, sizeof text, "file,id,x0,y0\na,b,1,2\n");
    assert_ok(prle_file_write_atomic(scratch, text, n));
    assert_fails(prle_forge_photos_load(&photos, scratch), PRLE_EFORMAT, "no column \"x1\"");
    assert_fails(prle_forge_photos_load(&photos, folder), PRLE_EIO, "manifest.csv");
    assert_null(photos.photo);
    assert_int_equal(prle_alloc_live(), live);
}

/* All points in one place: no distance between the eyes. */
static void test_face_without_area(void **state)
{
    (void)state;
    prle_forge_photos photos = {0};
    char text[4096];
    size_t n = 0;

    n += (size_t)snprintf(text + n, sizeof text - n, "file,id");
    for (int i = 0; i < PRLE_LANDMARKS; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, ",x%d,y%d", i, i);
    n += (size_t)snprintf(text + n, sizeof text - n, "\nsource/img/p00_a.png,x");
    for (int i = 0; i < 2 * PRLE_LANDMARKS; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, ",50");
    assert_ok(prle_file_write_atomic(scratch, text, n));
    assert_fails(prle_forge_photos_load(&photos, scratch), PRLE_EFORMAT, "bad.csv:2: eyes 0 pixels apart");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plan),
        cmocka_unit_test(test_plan_seeds_and_shares),
        cmocka_unit_test(test_methods_and_masks),
        cmocka_unit_test(test_swap_with_itself),
        cmocka_unit_test(test_landmarks_of_methods),
        cmocka_unit_test(test_run),
        cmocka_unit_test(test_every_call_fails),
        cmocka_unit_test(test_options_refused),
        cmocka_unit_test(test_bad_tables),
        cmocka_unit_test(test_face_without_area),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
