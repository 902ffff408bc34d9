/* test_faces.c - the face store: round trip, one pread an image, selection, and every kind of wrong content. */
#include <math.h>
#include <pthread.h>

#include "augment/faces.h"
#include "core/alloc.h"
#include "core/file.h"
#include "core/hash.h"
#include "core/hdf5.h"
#include "core/rng.h"
#include "tests/check.h"
#include "tests/faults.h"
#include "tests/folder.h"

enum { N = 60, FRAMES = 10, MAX_BYTES = 900 };

/* Image i: some bytes that only i has. The store does not look into them. */
static size_t image_make(int64_t i, uint8_t out[MAX_BYTES])
{
    prle_rng rng = prle_rng_make(3, (uint32_t)i, 0, PRLE_RNG_TEST);
    const size_t n_bytes = 1 + prle_rng_below(&rng, MAX_BYTES - 1);

    for (size_t at = 0; at < n_bytes; at++)
        out[at] = (uint8_t)prle_rng_below(&rng, 256);
    return n_bytes;
}

/* Ten frames a video; videos 0 and 3 are real, the others by two methods; splits by video. Every third image has a mask. */
static const char *const methods[] = {"real", "swap", "mouth"};

static int method_of(int64_t i) { return (int)(i / FRAMES % 3); }
static prle_split split_of(int64_t i) { return i < N / 2 ? PRLE_SPLIT_TRAIN : i < N - FRAMES ? PRLE_SPLIT_VAL : PRLE_SPLIT_TEST; }
static bool has_mask(int64_t i) { return i % 3 == 0; }

static prle_status add_image(prle_faces_writer *writer, int64_t i)
{
    uint8_t image[MAX_BYTES], mask[MAX_BYTES];
    char video[64], identity[16];
    const float box[4] = {1, 2, (float)i, 4};
    float landmarks[2 * PRLE_FACES_LANDMARKS];

    for (int k = 0; k < 2 * PRLE_FACES_LANDMARKS; k++)
        landmarks[k] = (float)(i + k);
    snprintf(video, sizeof video, "set/%s/raw/%lld", methods[method_of(i)], (long long)(i / FRAMES));
    snprintf(identity, sizeof identity, "id%lld", (long long)(i / FRAMES % 4));
    const prle_faces_item item = {
        .image = image,
        .image_bytes = image_make(i, image),
        .mask = mask,
        .mask_bytes = has_mask(i) ? image_make(i + 1000, mask) : 0,
        .label = method_of(i) != 0,
        .split = split_of(i),
        .method = methods[method_of(i)],
        .video = video,
        .frame = (uint32_t)(7 * (i % FRAMES)),
        .identity = i % 2 == 0 ? identity : NULL,
        .source = method_of(i) == 1 ? "donor" : NULL,
        .box = i % 2 == 0 ? box : NULL,
        .landmarks = i % 2 == 0 ? landmarks : NULL,
    };
    return prle_faces_writer_add(writer, &item);
}

static prle_status write_store(const char *path)
{
    prle_status st = PRLE_OK;
    prle_faces_writer *writer = NULL;
    uint8_t bytes[MAX_BYTES];
    uint64_t image_bytes = 0, mask_bytes = 0;

    for (int64_t i = 0; i < N; i++) {
        image_bytes += image_make(i, bytes);
        mask_bytes += has_mask(i) ? image_make(i + 1000, bytes) : 0;
    }
    PRLE_TRY(prle_faces_writer_create(path, 256, 192, image_bytes, mask_bytes, &writer));
    for (int64_t i = 0; i < N; i++)
        PRLE_TRY_OUT(add_image(writer, i));
    PRLE_TRY_OUT(prle_faces_writer_note(writer, "origin", "test"));
    PRLE_TRY_OUT(prle_faces_writer_commit(writer));
out:
    prle_faces_writer_destroy(writer);
    return st;
}

static prle_status read_image(const prle_faces *faces, int64_t i)
{
    uint8_t have[MAX_BYTES], want[MAX_BYTES];
    const size_t n_bytes = image_make(i, want);

    PRLE_CHECK(prle_faces_image_bytes(faces, i) == n_bytes, PRLE_EFORMAT, "size");
    PRLE_TRY(prle_faces_read(faces, i, have));
    PRLE_CHECK(memcmp(have, want, n_bytes) == 0, PRLE_EFORMAT, "content");
    const size_t mask_bytes = has_mask(i) ? image_make(i + 1000, want) : 0;
    PRLE_CHECK(prle_faces_mask_bytes(faces, i) == mask_bytes, PRLE_EFORMAT, "mask size");
    PRLE_TRY(prle_faces_read_mask(faces, i, have));
    PRLE_CHECK(memcmp(have, want, mask_bytes) == 0, PRLE_EFORMAT, "mask");
    return PRLE_OK;
}

static prle_status read_store(const char *path)
{
    prle_status st = PRLE_OK;
    prle_faces *faces = NULL;

    PRLE_TRY(prle_faces_open(path, &faces));
    for (int64_t i = 0; i < N; i++)
        PRLE_TRY_OUT(read_image(faces, i));
out:
    prle_faces_close(faces);
    return st;
}

static void test_round_trip(void **state)
{
    (void)state;
    const int64_t live = prle_alloc_live();
    prle_faces *faces = NULL;

    assert_ok(write_store(in_folder("a.h5")));
    assert_ok(prle_faces_open(in_folder("a.h5"), &faces));
    assert_int_equal(faces->n, N);
    assert_int_equal(faces->height, 256);
    assert_int_equal(faces->width, 192);
    assert_int_equal(faces->n_methods, 3);
    assert_int_equal(faces->n_videos, N / FRAMES);
    assert_int_equal(faces->n_identities, 5);
    for (int64_t i = 0; i < N; i++) {
        assert_ok(read_image(faces, i));
        assert_int_equal(faces->label[i], method_of(i) != 0);
        assert_int_equal(faces->split[i], split_of(i));
        assert_string_equal(faces->method_names[faces->method[i]], methods[method_of(i)]);
        assert_int_equal(faces->video[i], i / FRAMES);
        assert_int_equal(faces->frame[i], 7 * (i % FRAMES));
        assert_true(i % 2 == 0 ? faces->box[4 * i + 2] == (float)i : isnan(faces->box[4 * i + 2]));
        assert_true(i % 2 == 0 ? faces->landmarks[136 * i + 135] == (float)(i + 135) : isnan(faces->landmarks[136 * i + 135]));
        assert_true((faces->identity[i] == PRLE_IDENTITY_UNKNOWN) == (i % 2 == 1));
        if (method_of(i) == 1)
            assert_string_equal(faces->identity_names[faces->source[i]], "donor");
    }
    assert_string_equal(faces->video_names[1], "set/swap/raw/1");
    assert_fails(prle_faces_read(faces, N, NULL), PRLE_EINVAL, "image 60 of 60");
    assert_fails(prle_faces_read(faces, -1, NULL), PRLE_EINVAL, "image -1 of 60");
    prle_faces_close(faces);
    assert_int_equal(prle_alloc_live(), live);
}

/* Any image, in any order, costs one system call and no allocation. */
static void test_one_pread(void **state)
{
    (void)state;
    prle_faces *faces = NULL;
    uint8_t bytes[MAX_BYTES];

    assert_ok(write_store(in_folder("a.h5")));
    assert_ok(prle_faces_open(in_folder("a.h5"), &faces));
    assert_true(faces->max_image_bytes <= MAX_BYTES && faces->max_image_bytes > 0);
    const int64_t calls = prle_io_count(), allocations = prle_alloc_count();
    for (int64_t i = 0; i < N; i++)
        assert_ok(prle_faces_read(faces, i * 37 % N, bytes));
    assert_int_equal(prle_io_count() - calls, N);
    assert_int_equal(prle_alloc_count(), allocations);
    prle_faces_close(faces);
}

static void *read_backwards(void *faces)
{
    for (int64_t i = N - 1; i >= 0; i--)
        if (read_image(faces, i) != PRLE_OK)
            return faces;
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    prle_faces *faces = NULL;
    pthread_t threads[4];
    void *failed = NULL;

    assert_ok(write_store(in_folder("a.h5")));
    assert_ok(prle_faces_open(in_folder("a.h5"), &faces));
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_backwards, faces), 0);
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    prle_faces_close(faces);
}

/* The hash names the content: the same again, another after any change. */
static void test_content_hash(void **state)
{
    (void)state;
    prle_faces *a = NULL, *b = NULL;
    prle_faces_writer *writer = NULL;
    uint64_t hashes[3];

    assert_ok(write_store(in_folder("a.h5")));
    assert_ok(write_store(in_folder("b.h5")));
    assert_ok(prle_faces_open(in_folder("a.h5"), &a));
    assert_ok(prle_faces_open(in_folder("b.h5"), &b));
    assert_true(a->content_hash == b->content_hash);
    assert_ok(prle_faces_verify(a));
    prle_faces_close(a);
    prle_faces_close(b);
    for (int kind = 0; kind < 3; kind++) {
        const prle_faces_item item = {
            .image = kind == 1 ? "y" : "x", .image_bytes = 1, .method = "real", .video = "v", .frame = kind == 2};
        assert_ok(prle_faces_writer_create(in_folder("c.h5"), 8, 8, 1, 0, &writer));
        assert_ok(prle_faces_writer_add(writer, &item));
        assert_ok(prle_faces_writer_commit(writer));
        prle_faces_writer_destroy(writer);
        assert_ok(prle_faces_open(in_folder("c.h5"), &a));
        assert_null(a->mask_offset);
        assert_int_equal(prle_faces_mask_bytes(a, 0), 0);
        hashes[kind] = a->content_hash;
        prle_faces_close(a);
    }
    assert_true(hashes[0] != hashes[1] && hashes[0] != hashes[2] && hashes[1] != hashes[2]);
}

/* A byte turned over in an image is seen by nobody but verify. */
static void test_verify(void **state)
{
    (void)state;
    prle_faces *faces = NULL;
    uint8_t *bytes = NULL, image[MAX_BYTES];
    size_t n_bytes = 0, at = 0;

    assert_ok(write_store(in_folder("a.h5")));
    assert_ok(prle_file_read_all(in_folder("a.h5"), &bytes, &n_bytes));
    const size_t n_image = image_make(17, image);
    while (memcmp(bytes + at, image, n_image) != 0)
        at++;
    bytes[at + n_image / 2] ^= 1;
    assert_ok(prle_file_write_atomic(in_folder("bad.h5"), bytes, n_bytes));
    assert_ok(prle_faces_open(in_folder("bad.h5"), &faces));
    assert_fails(prle_faces_verify(faces), PRLE_EFORMAT, "bad.h5: the content has the hash");
    prle_faces_close(faces);
    prle_free(bytes);
}

static void test_writer_refuses(void **state)
{
    (void)state;
    prle_faces_writer *writer = NULL;
    prle_faces_item item = {.image = "abc", .image_bytes = 3, .method = "real", .video = "v"};

    assert_ok(prle_faces_writer_create(in_folder("w.h5"), 8, 8, 5, 0, &writer));
    item.label = 2;
    assert_fails(prle_faces_writer_add(writer, &item), PRLE_EINVAL, "image 0: label 2");
    item.label = 0;
    item.split = PRLE_SPLIT_ANY;
    assert_fails(prle_faces_writer_add(writer, &item), PRLE_EINVAL, "split -1");
    item.split = PRLE_SPLIT_VAL;
    assert_ok(prle_faces_writer_add(writer, &item));
    assert_fails(prle_faces_writer_add(writer, &item), PRLE_EINVAL, "image 1: more bytes than announced (5 for images");
    assert_fails(prle_faces_writer_commit(writer), PRLE_EINVAL, "3 bytes of images");
    item.image_bytes = 0;
    assert_fails(prle_faces_writer_add(writer, &item), PRLE_EINVAL, "image 1 is empty");
    prle_faces_writer_destroy(writer);
    assert_false(prle_file_exists(in_folder("w.h5")));
}

/* Against a plain reading of what a query means. */
static void test_select(void **state)
{
    (void)state;
    prle_faces *faces = NULL;
    int64_t *index = NULL, n = 0;
    const char *const mouth[] = {"mouth"}, *const wrong[] = {"mouth", "nose"};

    assert_ok(write_store(in_folder("a.h5")));
    assert_ok(prle_faces_open(in_folder("a.h5"), &faces));
    for (int split = -1; split < PRLE_SPLITS; split++) {
        for (int label = -1; label < 2; label++) {
            for (int64_t n_methods = 0; n_methods < 2; n_methods++) {
                const prle_faces_query query = {split, label, n_methods == 0 ? NULL : mouth, n_methods, 0};
                assert_ok(prle_faces_select(faces, &query, &index, &n));
                int64_t at = 0;
                for (int64_t i = 0; i < N; i++) {
                    const bool want = (split < 0 || (int)split_of(i) == split) && (label < 0 || (method_of(i) != 0) == label) &&
                                      (n_methods == 0 || method_of(i) != 1);
                    if (want)
                        assert_int_equal(index[at++], i);
                }
                assert_int_equal(at, n);
                prle_free(index);
            }
        }
    }
    const prle_faces_query query = {PRLE_SPLIT_ANY, -1, wrong, 2, 0};
    assert_fails(prle_faces_select(faces, &query, &index, &n), PRLE_EINVAL, "no method \"nose\", it has real, swap, mouth");
    prle_faces_close(faces);
}

/* Three of ten frames are the middles of the three thirds, not the first three. */
static void test_select_spaced(void **state)
{
    (void)state;
    prle_faces *faces = NULL;
    int64_t *index = NULL, n = 0;
    prle_faces_query query = PRLE_FACES_QUERY_DEFAULT;

    assert_ok(write_store(in_folder("a.h5")));
    assert_ok(prle_faces_open(in_folder("a.h5"), &faces));
    query.max_frames = 3;
    assert_ok(prle_faces_select(faces, &query, &index, &n));
    assert_int_equal(n, 3 * N / FRAMES);
    for (int64_t video = 0; video < N / FRAMES; video++) {
        assert_int_equal(index[3 * video], FRAMES * video + 1);
        assert_int_equal(index[3 * video + 1], FRAMES * video + 5);
        assert_int_equal(index[3 * video + 2], FRAMES * video + 8);
    }
    prle_free(index);
    query.max_frames = 100;
    assert_ok(prle_faces_select(faces, &query, &index, &n));
    assert_int_equal(n, N);
    prle_free(index);
    prle_faces_close(faces);
    for (int64_t m = 1; m < 40; m++) {
        for (int64_t take = 1; take <= m; take++) {
            for (int64_t j = 0, before = -1; j < take; before = prle_spaced(m, take, j++))
                assert_true(prle_spaced(m, take, j) > before && prle_spaced(m, take, j) < m);
            assert_true(prle_spaced(m, take, 0) <= m - 1 - prle_spaced(m, take, take - 1) + 1); /* no end is favoured */
        }
    }
}

/* A store of two images with one thing wrong; `what` says which. */
static prle_status write_wrong(const char *path, const char *what)
{
    prle_status st = PRLE_OK;
    prle_h5 *file = NULL;
#define IS(name) (strcmp(what, name) == 0)
    const uint64_t offset[3] = {IS("first") ? 1 : 0, IS("order") ? 9 : IS("empty") ? 0 : 2, IS("last") ? 6 : 5};
    const uint8_t label[2] = {1, IS("label")        ? 2
                                 : IS("two labels") ? 0
                                                    : 1},
                  split[2] = {2, IS("split")        ? 3
                                 : IS("two splits") ? 1
                                                    : 2};
    const uint16_t method[2] = {0, IS("method") ? 1 : 0};
    const uint32_t video[2] = {0, IS("video") ? 7 : 0}, frame[2] = {0, 1};
    const uint32_t identity[2] = {0, IS("identity") ? 1 : UINT32_MAX}, source[2] = {IS("source") ? 5 : UINT32_MAX, 0};
    const float box[8] = {0}, landmarks[2 * 2 * PRLE_FACES_LANDMARKS] = {0};
    const uint64_t mask_offset[3] = {0, IS("mask order") ? 3 : 0, IS("mask last") ? 3 : 2};
    const char *const name[1] = {"x"};
    const prle_h5_layout chunked = {.chunk_rows = 2, .deflate = 1};

    PRLE_TRY(prle_h5_create(path, PRLE_FACES_SCHEMA, IS("version") ? 2 : 1, &file));
    PRLE_TRY_OUT(prle_h5_attr_write_int(file, "height", IS("height") ? 0 : 8));
    if (!IS("no width"))
        PRLE_TRY_OUT(prle_h5_attr_write_int(file, "width", 8));
    PRLE_TRY_OUT(prle_h5_attr_write_string(file, "content_hash", IS("hash") ? "0123456789abcdeg" : "0123456789abcdef"));
    if (IS("chunked"))
        PRLE_TRY_OUT(prle_h5_define(file, "bytes", PRLE_H5_U8, &PRLE_SHAPE(5), &chunked));
    else
        PRLE_TRY_OUT(prle_h5_write(file, "bytes", PRLE_H5_U8, &PRLE_SHAPE(5), "abcde"));
    PRLE_TRY_OUT(prle_h5_write(file, "offset", PRLE_H5_U64, &PRLE_SHAPE(3), offset));
    PRLE_TRY_OUT(prle_h5_write(file, "mask_bytes", PRLE_H5_U8, &PRLE_SHAPE(2), "ab"));
    PRLE_TRY_OUT(prle_h5_write(file, "mask_offset", PRLE_H5_U64, &PRLE_SHAPE(3), mask_offset));
    PRLE_TRY_OUT(prle_h5_write(file, "label", IS("type") ? PRLE_H5_F32 : PRLE_H5_U8, &PRLE_SHAPE(2),
                               IS("type") ? (const void *)box : label));
    PRLE_TRY_OUT(prle_h5_write(file, "method", PRLE_H5_U16, &PRLE_SHAPE(2), method));
    PRLE_TRY_OUT(prle_h5_write(file, "video", PRLE_H5_U32, &PRLE_SHAPE(2), video));
    PRLE_TRY_OUT(prle_h5_write(file, "frame", PRLE_H5_U32, &PRLE_SHAPE(IS("short") ? 1 : 2), frame));
    PRLE_TRY_OUT(prle_h5_write(file, "split", PRLE_H5_U8, &PRLE_SHAPE(2), split));
    PRLE_TRY_OUT(prle_h5_write(file, "identity", PRLE_H5_U32, &PRLE_SHAPE(2), identity));
    PRLE_TRY_OUT(prle_h5_write(file, "source", PRLE_H5_U32, &PRLE_SHAPE(2), source));
    PRLE_TRY_OUT(prle_h5_write(file, "box", PRLE_H5_F32, &PRLE_SHAPE(2, 4), box));
    PRLE_TRY_OUT(prle_h5_write(file, "landmarks", PRLE_H5_F32, &PRLE_SHAPE(2, 68, 2), landmarks));
    PRLE_TRY_OUT(prle_h5_write_strings(file, "method_names", name, 1));
    PRLE_TRY_OUT(prle_h5_write_strings(file, "video_names", name, 1));
    if (!IS("no names"))
        PRLE_TRY_OUT(prle_h5_write_strings(file, "identity_names", name, 1));
    PRLE_TRY_OUT(prle_h5_commit(file));
#undef IS
out:
    prle_h5_close(file);
    return st;
}

static void test_wrong_content(void **state)
{
    (void)state;
    static const struct {
        const char *what, *message;
    } wrong[] = {
        {"first", "'offset' goes from 1 to 5, expected 0 to 5"},
        {"last", "'offset' goes from 0 to 6, expected 0 to 5, the length of 'bytes'"},
        {"order", "image 1 has offset 9, the next one 5"},
        {"empty", "image 0 has offset 0, the next one 0"},
        {"label", "image 1: label 2, expected less than 2"},
        {"split", "image 1: split 3, expected less than 3"},
        {"method", "image 1: method 1, expected less than 1"},
        {"video", "image 1: video 7"},
        {"identity", "image 1: identity 1"},
        {"source", "image 0: source 5"},
        {"two labels", "images 0 and 1 of video x differ in label"},
        {"two splits", "images 0 and 1 of video x differ in label, method or split"},
        {"mask order", "mask 1 has offset 3, the next one 2"},
        {"mask last", "'mask_offset' goes from 0 to 3, expected 0 to 2"},
        {"height", "height 0, expected 1"},
        {"no width", "attribute 'width' is missing"},
        {"hash", "content_hash \"0123456789abcdeg\""},
        {"chunked", "'bytes' is not contiguous"},
        {"type", "dataset 'label' is f32, expected u8"},
        {"short", "dataset 'frame' is [1], expected [2]"},
        {"no names", "dataset 'identity_names' is missing"},
        {"version", "prle.faces version 2 is newer than this program reads (1)"},
    };
    const int64_t live = prle_alloc_live();
    prle_faces *faces = NULL;

    assert_ok(write_wrong(in_folder("wrong.h5"), "nothing"));
    assert_ok(prle_faces_open(in_folder("wrong.h5"), &faces));
    prle_faces_close(faces);
    faces = NULL;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_ok(write_wrong(in_folder("wrong.h5"), wrong[i].what));
        assert_fails(prle_faces_open(in_folder("wrong.h5"), &faces), PRLE_EFORMAT, wrong[i].message);
        assert_non_null(strstr(prle_error_message(), "wrong.h5"));
        assert_null(faces);
    }
    assert_int_equal(prle_alloc_live(), live);
}

static void test_cut_off(void **state)
{
    (void)state;
    const int64_t live = prle_alloc_live();
    uint8_t *bytes = NULL;
    size_t n_bytes = 0;

    assert_ok(write_store(in_folder("a.h5")));
    assert_ok(prle_file_read_all(in_folder("a.h5"), &bytes, &n_bytes));
    for (size_t cut = 0; cut < n_bytes; cut += 4096) {
        assert_ok(prle_file_write_atomic(in_folder("cut.h5"), bytes, cut));
        assert_fails(read_store(in_folder("cut.h5")), PRLE_EFORMAT, "cut.h5");
    }
    prle_free(bytes);
    assert_int_equal(prle_alloc_live(), live);
}

static prle_status store_write(void *user)
{
    (void)user;
    return write_store(in_folder("e.h5"));
}

/* All that is read of a store: images, everything against its hash, a selection, one that it does not have. */
static prle_status store_use(void *user)
{
    (void)user;
    prle_status st = PRLE_OK;
    prle_faces *faces = NULL;
    int64_t *index = NULL, *none = NULL, n = 0;
    const char *wanted[] = {"swap", "unknown"};
    prle_faces_query query = {.split = PRLE_SPLIT_TRAIN, .label = -1, .methods = wanted, .n_methods = 1};

    PRLE_TRY_OUT(read_store(in_folder("e.h5")));
    PRLE_TRY_OUT(prle_faces_open(in_folder("e.h5"), &faces));
    PRLE_TRY_OUT(prle_faces_verify(faces));
    PRLE_TRY_OUT(prle_faces_select(faces, &query, &index, &n));
    query.n_methods = 2;
    st = prle_faces_select(faces, &query, &none, &n);
    st = st == PRLE_EINVAL ? PRLE_OK : st;
out:
    prle_free(index);
    prle_faces_close(faces);
    return st;
}

static void store_check(void *user, bool done)
{
    (void)user, (void)done;
    assert_ok(read_store(in_folder("e.h5")));
}

static void test_every_call_fails(void **state)
{
    (void)state;
    assert_ok(store_write(NULL));
    faults_each(store_use, NULL, NULL);
    faults_each(store_write, store_check, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),   cmocka_unit_test(test_one_pread),        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_content_hash), cmocka_unit_test(test_verify),           cmocka_unit_test(test_writer_refuses),
        cmocka_unit_test(test_select),       cmocka_unit_test(test_select_spaced),    cmocka_unit_test(test_wrong_content),
        cmocka_unit_test(test_cut_off),      cmocka_unit_test(test_every_call_fails),
    };

    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
