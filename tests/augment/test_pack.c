/* test_pack.c - trees of images into stores: what is found and kept, sizes, landmarks, masks, bad files, and being killed. */
#include <math.h>

#include "augment/pack.h"
#include "core/alloc.h"
#include "core/image.h"
#include "core/rng.h"
#include "core/text.h"
#include "tests/check.h"
#include "tests/faults.h"
#include "tests/folder.h"

static void picture_make(prle_image *image, int64_t height, int64_t width, int64_t channels, uint32_t key)
{
    prle_rng rng = prle_rng_make(11, key, 0, PRLE_RNG_TEST);

    assert_ok(prle_image_init(image, height, width, channels));
    for (size_t at = 0; at < prle_image_bytes(image); at++)
        image->data[at] = (uint8_t)(128 + prle_rng_below(&rng, 64));
}

static void save(const char *path, int64_t height, int64_t width, int64_t channels, uint32_t key)
{
    prle_image image = {0};
    char *folder = NULL;

    picture_make(&image, height, width, channels, key);
    assert_ok(prle_path_folder(path, &folder));
    assert_ok(prle_folder_make(folder));
    assert_ok(prle_image_save(path, &image, NULL));
    prle_free(folder);
    prle_image_deinit(&image);
}

static const char *under(const char *root, const char *name)
{
    static char path[8][256];
    static int turn;

    turn = (turn + 1) % 8;
    snprintf(path[turn], sizeof path[turn], "%s/%s", root, name);
    return path[turn];
}

/* A tree of 16 x 24 images with everything in it once; landmark k of an image lies at (k, 2k). */
static void tree_make(const char *root)
{
    static const char *const paths[] = {"train/real/a/f_0.jpg",       "train/real/a/f_1.png",      "train/real/a/f_10.jpg",
                                        "train/real/a/f_2.jpg",       "train/fake/swap/a+b/7.jpg", "train/fake/swap/a+b/8.jpg",
                                        "train/fake/mouth/a+b/7.jpg", "val/real/c/0.jpg",          "val/fake/swap/c+d/0.jpg",
                                        "test/real/a/0.jpg",          "test/fake/single/0.jpg"};
    prle_text csv = {0};
    char *text = NULL;

    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
        save(under(root, paths[i]), 16, 24, 3, (uint32_t)i);
    save(under(root, "masks/train/fake/swap/a+b/7.png"), 16, 24, 1, 100);
    save(under(root, "masks/train/fake/mouth/a+b/7.png"), 32, 48, 1, 101);
    save(under(root, "train/real/a/deeper/still/x.jpg"), 16, 24, 3, 102); /* too deep: "deeper" is a video without images */
    assert_ok(prle_file_write_atomic(under(root, "train/real/notes.txt"), "x", 1));
    prle_text_add(&csv, "path,identity,source");
    for (int k = 0; k < PRLE_FACES_LANDMARKS; k++)
        prle_text_add(&csv, ",x%d,y%d", k, k);
    for (int row = 0; row < 3; row++) {
        prle_text_add(&csv, "\n%s",
                      row == 0   ? "train/real/a/f_0.jpg,A,"
                      : row == 1 ? "train/fake/swap/a+b/7.jpg,A,B"
                                 : "val/real/c/0.jpg,C,");
        for (int k = 0; k < PRLE_FACES_LANDMARKS; k++)
            row == 2 ? prle_text_add(&csv, ",,") : prle_text_add(&csv, ",%d,%d", k, 2 * k);
    }
    assert_ok(prle_text_take(&csv, &text));
    assert_ok(prle_file_write_atomic(under(root, "landmarks.csv"), text, strlen(text)));
    prle_free(text);
}

static void test_layout(void **state)
{
    (void)state;
    const int64_t live = prle_alloc_live();
    const char *root = in_folder("tree"), *out = in_folder("tree.h5");
    prle_pack_opts opts = PRLE_PACK_OPTS_DEFAULT;
    prle_pack_report report;
    prle_faces *faces = NULL;

    tree_make(root);
    opts.src = root;
    opts.out = out;
    assert_ok(prle_pack_run(&opts, &report));
    assert_true(!report.already && report.n_found == 11 && report.n_packed == 11 && report.n_skipped == 0 &&
                report.n_resized == 0);
    assert_int_equal(report.n_masks, 2);
    assert_int_equal(report.n_landmarks, 2);
    assert_int_equal(report.n_ignored, 2);
    assert_int_equal(report.n_videos, 7);
    assert_true(report.count[0][0] == 4 && report.count[0][1] == 3 && report.count[1][0] == 1 && report.count[2][1] == 1);
    assert_false(prle_file_exists(under(test_folder, "tree.h5.parts")));
    assert_ok(prle_faces_open(out, &faces));
    assert_true(faces->height == 16 && faces->width == 24);
    const uint32_t frames[] = {0, 1, 2, 10, 7, 7, 8, 0, 0, 0, 0}; /* by number, not by name */
    for (int64_t i = 0; i < faces->n; i++)
        assert_int_equal(faces->frame[i], frames[i]);
    assert_string_equal(faces->video_names[faces->video[0]], "tree/real/raw/a");
    assert_string_equal(faces->video_names[faces->video[4]], "tree/mouth/raw/a+b");
    assert_string_equal(faces->video_names[faces->video[5]], "tree/swap/raw/a+b");
    assert_string_equal(faces->video_names[faces->video[9]], "tree/real/raw/test-real-a"); /* not the same as train's */
    assert_string_equal(faces->method_names[faces->method[10]], "fake");
    assert_string_equal(faces->identity_names[faces->identity[0]], "A");
    assert_string_equal(faces->identity_names[faces->source[5]], "B");
    assert_string_equal(faces->identity_names[faces->identity[7]], "C");
    assert_int_equal(faces->source[0], PRLE_IDENTITY_UNKNOWN);
    assert_int_equal(faces->identity[1], PRLE_IDENTITY_UNKNOWN);
    assert_true(faces->landmarks[5 * 136 + 2 * 67] == 67 && faces->landmarks[5 * 136 + 2 * 67 + 1] == 134);
    assert_true(isnan(faces->landmarks[7 * 136]) && isnan(faces->landmarks[136]));
    prle_faces_close(faces);
    assert_ok(prle_pack_run(&opts, &report));
    assert_true(report.already && report.n_packed == 11 && report.n_masks == 2);
    assert_int_equal(prle_alloc_live(), live);
}

/* The right size is kept byte for byte; a mask of another size is brought to it. */
static void test_bytes_as_found(void **state)
{
    (void)state;
    const char *root = in_folder("tree"), *out = in_folder("same.h5");
    prle_pack_opts opts = PRLE_PACK_OPTS_DEFAULT;
    prle_pack_report report;
    prle_faces *faces = NULL;
    uint8_t *file = NULL, stored[65536];
    size_t n_bytes = 0;
    prle_image_info info;

    tree_make(root);
    opts.src = root;
    opts.out = out;
    assert_ok(prle_pack_run(&opts, &report));
    assert_ok(prle_faces_open(out, &faces));
    const char *const paths[] = {"train/real/a/f_0.jpg", "train/real/a/f_1.png", "train/real/a/f_2.jpg"};
    for (int64_t i = 0; i < 3; i++) {
        assert_ok(prle_file_read_all(under(root, paths[i]), &file, &n_bytes));
        assert_int_equal(prle_faces_image_bytes(faces, i), n_bytes);
        assert_ok(prle_faces_read(faces, i, stored));
        assert_memory_equal(stored, file, n_bytes);
        prle_free(file);
    }
    assert_ok(prle_file_read_all(under(root, "masks/train/fake/swap/a+b/7.png"), &file, &n_bytes));
    assert_int_equal(prle_faces_mask_bytes(faces, 5), n_bytes);
    assert_ok(prle_faces_read_mask(faces, 5, stored));
    assert_memory_equal(stored, file, n_bytes);
    prle_free(file);
    assert_ok(prle_faces_read_mask(faces, 4, stored));
    assert_ok(prle_image_info_read(&info, stored, prle_faces_mask_bytes(faces, 4)));
    assert_true(info.format == PRLE_IMAGE_PNG && info.height == 16 && info.width == 24 && info.channels == 1);
    assert_int_equal(prle_faces_mask_bytes(faces, 6), 0);
    prle_faces_close(faces);
}

static void test_resize(void **state)
{
    (void)state;
    const char *root = in_folder("tree"), *out = in_folder("small.h5");
    prle_pack_opts opts = PRLE_PACK_OPTS_DEFAULT;
    prle_pack_report report;
    prle_faces *faces = NULL;
    uint8_t stored[65536];
    prle_image have = {0}, want = {0}, found = {0};

    tree_make(root);
    opts.src = root;
    opts.out = out;
    opts.size = 8;
    assert_ok(prle_pack_run(&opts, &report));
    assert_int_equal(report.n_resized, 11);
    assert_ok(prle_faces_open(out, &faces));
    assert_ok(prle_faces_read(faces, 3, stored));
    assert_ok(prle_image_decode(&have, stored, prle_faces_image_bytes(faces, 3), 3));
    assert_ok(prle_image_load(&found, under(root, "train/real/a/f_10.jpg"), 3));
    assert_ok(prle_image_init(&want, 8, 8, 3));
    assert_ok(prle_image_resize(&want, &found, PRLE_RESIZE_AREA));
    assert_memory_equal(have.data, want.data, prle_image_bytes(&want));
    /* (30, 60) of 24 x 16 to 8 x 8: 30.5 / 3 - 0.5, 60.5 / 2 - 0.5 */
    assert_true(fabsf(faces->landmarks[60] - (30.5f / 3 - 0.5f)) < 1e-4f && fabsf(faces->landmarks[61] - 29.75f) < 1e-4f);
    prle_faces_close(faces);
    prle_image_deinit(&have);
    prle_image_deinit(&want);
    prle_image_deinit(&found);
}

/* Bad images are left out and counted; a bad mask costs only the mask; a class that is missing is no error. */
static void test_bad_files(void **state)
{
    (void)state;
    const char *root = in_folder("bad"), *out = in_folder("bad.h5");
    prle_pack_opts opts = PRLE_PACK_OPTS_DEFAULT;
    prle_pack_report report;
    uint8_t *file = NULL;
    size_t n_bytes = 0;

    opts.src = root;
    opts.out = out;
    assert_fails(prle_pack_run(&opts, &report), PRLE_EIO, "bad: is no folder");
    assert_ok(prle_folder_make(under(root, "train/real")));
    assert_fails(prle_pack_run(&opts, &report), PRLE_EINVAL, "bad: no images at {train,val,test}");
    assert_ok(prle_folder_make(under(root, "train/real/v")));
    assert_ok(prle_file_write_atomic(under(root, "train/real/v/0.jpg"), "not a picture", 13));
    assert_ok(prle_file_write_atomic(under(root, "train/real/v/1.png"), "", 0));
    assert_fails(prle_pack_run(&opts, &report), PRLE_EFORMAT, "not one of 2 images can be read");
    opts.size = 16;
    assert_fails(prle_pack_run(&opts, &report), PRLE_EFORMAT, "not one of 2 images can be read");
    save(under(root, "train/real/v/2.jpg"), 16, 16, 3, 1);
    save(under(root, "train/real/v/3.jpg"), 16, 16, 3, 2);
    assert_ok(prle_file_read_all(under(root, "train/real/v/3.jpg"), &file, &n_bytes));
    assert_ok(prle_file_write_atomic(under(root, "train/real/v/4.jpg"), file, n_bytes / 2));
    assert_ok(prle_folder_make(under(root, "masks/train/real/v")));
    assert_ok(prle_file_write_atomic(under(root, "masks/train/real/v/2.png"), file, n_bytes / 2));
    prle_free(file);
    assert_ok(prle_pack_run(&opts, &report));
    assert_true(report.n_chosen == 5 && report.n_packed == 2 && report.n_skipped == 3 && report.n_masks == 0);
    assert_ok(prle_file_write_atomic(under(root, "landmarks.csv"), "path,identity,source\n", 21));
    assert_fails(prle_pack_run(&opts, &report), PRLE_EFORMAT, "landmarks.csv");
}

enum { MANY = 600 };

static void many_make(const char *root)
{
    char name[64];

    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "%s/%s/v%d/%03d.png", i % 3 == 0 ? "val" : "train", i % 2 == 0 ? "real" : "fake", i / 100, i);
        save(under(root, name), 8, 8, 3, (uint32_t)i);
    }
}

/* Of ten frames, two are the third and the eighth. */
static void test_frames(void **state)
{
    (void)state;
    const char *root = in_folder("frames"), *out = in_folder("frames.h5");
    prle_pack_opts opts = PRLE_PACK_OPTS_DEFAULT;
    prle_pack_report report;
    prle_faces *faces = NULL;
    char name[64];

    for (int video = 0; video < 3; video++) {
        for (int frame = 0; frame < (video == 2 ? 1 : 10); frame++) {
            snprintf(name, sizeof name, "test/real/v%d/frame%d.png", video, 5 * frame);
            save(under(root, name), 8, 8, 3, (uint32_t)(10 * video + frame));
        }
    }
    opts.src = root;
    opts.out = out;
    opts.frames = 2;
    assert_ok(prle_pack_run(&opts, &report));
    assert_true(report.n_found == 21 && report.n_chosen == 5);
    assert_ok(prle_faces_open(out, &faces));
    const uint32_t frames[] = {10, 35, 10, 35, 0};
    for (int64_t i = 0; i < 5; i++)
        assert_int_equal(faces->frame[i], frames[i]);
    prle_faces_close(faces);
}

static int parts_left;

static bool stop_after(void) { return parts_left-- == 0; }

/* Stopped after any number of parts, with rubbish left behind, it ends with the same bytes. */
static void test_resume(void **state)
{
    (void)state;
    const char *root = in_folder("many"), *out = in_folder("many.h5"), *parts = in_folder("many.h5.parts");
    prle_pack_opts opts = PRLE_PACK_OPTS_DEFAULT;
    prle_pack_report report;
    uint8_t *whole = NULL, *again = NULL;
    size_t n_whole = 0, n_again = 0;

    many_make(root);
    opts.src = root;
    opts.out = out;
    opts.stop = stop_after;
    parts_left = 100;
    assert_ok(prle_pack_run(&opts, &report));
    assert_int_equal(report.n_packed, MANY);
    assert_ok(prle_file_read_all(out, &whole, &n_whole));
    for (int done = 0; done < 3; done++) {
        assert_ok(prle_file_remove(out));
        parts_left = done;
        assert_fails(prle_pack_run(&opts, &report), PRLE_ESTOP, "of 3 parts: run again to go on");
        assert_false(prle_file_exists(out));
        assert_ok(prle_file_write_atomic(under(parts, ".unit-000001.h5.tmp.1"), "x", 1));
        if (done == 1) /* a part that is no part is made again */
            assert_ok(prle_file_write_atomic(under(parts, "unit-000000.h5"), "x", 1));
        parts_left = 100;
        assert_ok(prle_pack_run(&opts, &report));
        assert_int_equal(report.n_packed, MANY);
        assert_false(prle_file_exists(parts));
        assert_ok(prle_file_read_all(out, &again, &n_again));
        assert_int_equal(n_again, n_whole);
        assert_memory_equal(again, whole, n_whole);
        prle_free(again);
    }
    prle_free(whole);
}

/* Parts made of an image that has changed since are not taken. */
static void test_changed_source(void **state)
{
    (void)state;
    const char *root = in_folder("changed"), *out = in_folder("changed.h5");
    prle_pack_opts opts = PRLE_PACK_OPTS_DEFAULT;
    prle_pack_report report;
    prle_faces *faces = NULL;
    uint8_t *file = NULL, stored[4096];
    size_t n_bytes = 0;

    many_make(root);
    opts.src = root;
    opts.out = out;
    opts.stop = stop_after;
    parts_left = 2;
    assert_fails(prle_pack_run(&opts, &report), PRLE_ESTOP, "");
    save(under(root, "train/real/v0/002.png"), 8, 8, 3, 4242);
    parts_left = 100;
    assert_ok(prle_pack_run(&opts, &report));
    assert_ok(prle_faces_open(out, &faces));
    assert_ok(prle_file_read_all(under(root, "train/real/v0/002.png"), &file, &n_bytes));
    assert_int_equal(prle_faces_image_bytes(faces, 0), n_bytes);
    assert_ok(prle_faces_read(faces, 0, stored));
    assert_memory_equal(stored, file, n_bytes);
    prle_free(file);
    prle_faces_close(faces);
}

/* An image that cannot be read is a counted skip, and so is one whose reading fails once: run again, it is there. */
static prle_status tree_pack(void *user)
{
    prle_pack_report report = {0};
    prle_pack_opts opts = PRLE_PACK_OPTS_DEFAULT;

    (void)user;
    opts.src = in_folder("fail");
    opts.out = in_folder("fail.h5");
    const prle_status st = prle_pack_run(&opts, &report);
    assert_int_equal(report.n_packed + report.n_skipped, st == PRLE_OK ? 11 : 0);
    return st;
}

/* A store or none, never a torn one; the next run begins anew. */
static void store_check(void *user, bool done)
{
    prle_faces *faces = NULL;

    (void)user;
    assert_true(!done || prle_file_exists(in_folder("fail.h5")));
    if (prle_file_exists(in_folder("fail.h5"))) {
        assert_ok(prle_faces_open(in_folder("fail.h5"), &faces));
        prle_faces_close(faces);
    }
    assert_ok(prle_file_remove(in_folder("fail.h5")));
    assert_ok(prle_folder_remove(in_folder("fail.h5.parts")));
}

static void test_every_call_fails(void **state)
{
    (void)state;
    tree_make(in_folder("fail"));
    faults_each(tree_pack, store_check, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layout),         cmocka_unit_test(test_bytes_as_found),   cmocka_unit_test(test_resize),
        cmocka_unit_test(test_bad_files),      cmocka_unit_test(test_frames),           cmocka_unit_test(test_resume),
        cmocka_unit_test(test_changed_source), cmocka_unit_test(test_every_call_fails),
    };

    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
