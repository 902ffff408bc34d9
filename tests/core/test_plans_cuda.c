/* test_plans_cuda.c - plans of convolutions that are kept on disk: the next process takes them from there and computes the same
 * bits; what is damaged or cannot be written costs time only. */
#include <stdlib.h>

#include "core/alloc.h"
#include "core/file.h"
#include "core/op/conv2d_cudnn.h"
#include "tests/folder.h"
#include "tests/gpu.h"

enum { X = 1, W, Y, N_MAX = 4096 };

/* A plan, and what it computes of values that are always the same. */
typedef struct made {
    bool kept;          /* it says that it came from the disk */
    int64_t heuristics; /* asked for it; -1: a real GPU does not say */
    size_t scratch_bytes;
    int64_t n;
    float values[N_MAX];
} made;

static prle_op_desc conv_of(int64_t groups)
{
    prle_op_desc desc = {.kind = PRLE_OP_CONV2D, .n_in = 1, .dtype = PRLE_F32, .memory = PRLE_F32};

    desc.in[0] = PRLE_SHAPE(2, 8, 9, 7);
    desc.u.conv2d = (prle_conv2d_attrs){
        .n_out = 8, .kernel_h = 3, .kernel_w = 3, .stride = 2, .groups = groups, .pad_bottom = 1, .pad_right = 1};
    assert_ok(prle_op_infer(&desc));
    return desc;
}

static int64_t count_of(const prle_shape *shape) { return shape->dim[0] * shape->dim[1] * shape->dim[2] * shape->dim[3]; }

static float *filled(int64_t n)
{
    float *host = NULL;

    assert_ok(PRLE_NEW(host, n));
    for (int64_t i = 0; i < n; i++)
        host[i] = (float)(i * 37 % 101) / 64 - 0.75F;
    float *there = gpu_put(host, (size_t)n * sizeof *host);
    prle_free(host);
    return there;
}

static made make(const prle_op_desc *desc, prle_op_pass pass, bool deterministic)
{
    const prle_cudnn_wishes wishes = {
        .deterministic = deterministic, .exact = true, .most_scratch_bytes = PRLE_CONV2D_MOST_SCRATCH};
    const prle_shape *shapes[] = {&desc->in[0], &desc->param[0], &desc->out}, *out = shapes[pass == PRLE_PASS_FORWARD    ? 2
                                                                                            : pass == PRLE_PASS_BACKWARD ? 0
                                                                                                                         : 1];
    const int64_t ids[] = {X, W, Y};
    prle_cudnn_plan *plan = NULL;
    cudasim_counts counts;
    made m = {.heuristics = -1, .n = count_of(out)};
    void *at[3];

    assert_in_range(m.n, 1, N_MAX);
    gpu_counts_reset();
    assert_ok(prle_conv2d_cudnn_plan(desc, pass, false, &wishes, &plan));
    if (gpu_counts(&counts))
        m.heuristics = counts.heuristics;
    m.kept = strstr(prle_cudnn_plan_name(plan), "kept") != NULL;
    m.scratch_bytes = prle_cudnn_plan_scratch(plan);
    for (int i = 0; i < 3; i++)
        at[i] = filled(count_of(shapes[i]));
    void *scratch = gpu_new(m.scratch_bytes + 16);
    assert_ok(prle_cudnn_plan_run(plan, 3, ids, at, scratch));
    gpu_get(m.values, at[pass == PRLE_PASS_FORWARD ? 2 : pass == PRLE_PASS_BACKWARD ? 0 : 1], (size_t)m.n * sizeof *m.values);
    for (int i = 0; i < 3; i++)
        gpu_free(at[i]);
    gpu_free(scratch);
    prle_cudnn_plan_destroy(plan);
    return m;
}

static void assert_same(const made *a, const made *b)
{
    assert_int_equal(a->scratch_bytes, b->scratch_bytes);
    assert_int_equal(a->n, b->n);
    assert_memory_equal(a->values, b->values, (size_t)a->n * sizeof *a->values);
}

static void assert_kept(const made *m, bool kept)
{
    assert_int_equal(m->kept, kept);
    if (m->heuristics >= 0)
        assert_int_equal(m->heuristics > 0, !kept);
}

static void test_second_time_from_disk(void **state)
{
    (void)state;
    for (int64_t groups = 1; groups <= 8; groups += 7) {
        const prle_op_desc desc = conv_of(groups);
        for (int pass = 0; pass < PRLE_N_PASSES; pass++) {
            const made first = make(&desc, (prle_op_pass)pass, true), second = make(&desc, (prle_op_pass)pass, true);
            assert_kept(&first, false);
            assert_kept(&second, true);
            assert_same(&first, &second);
        }
    }
}

/* Sums in any order only for who allows them: the weights' gradient of resnet50's stem on an H100 is such a case. A plan that is
 * kept for one of the two is not the other's. */
static void test_deterministic_unless_told(void **state)
{
    prle_op_desc desc = {.kind = PRLE_OP_CONV2D, .n_in = 1, .dtype = PRLE_F32, .memory = PRLE_F32};
    cudasim_counts counts;

    (void)state;
    desc.in[0] = PRLE_SHAPE(64, 3, 256, 256);
    desc.u.conv2d = (prle_conv2d_attrs){.n_out = 64,
                                        .kernel_h = 7,
                                        .kernel_w = 7,
                                        .stride = 2,
                                        .groups = 1,
                                        .pad_top = 3,
                                        .pad_left = 3,
                                        .pad_bottom = 3,
                                        .pad_right = 3};
    assert_ok(prle_op_infer(&desc));
    for (int turn = 0; turn < 2; turn++) { /* found, then from the disk */
        bool varying[2];
        for (int deterministic = 0; deterministic < 2; deterministic++) {
            const prle_cudnn_wishes wishes = {.deterministic = deterministic, .most_scratch_bytes = PRLE_CONV2D_MOST_SCRATCH};
            prle_cudnn_plan *plan = NULL;
            assert_ok(prle_conv2d_cudnn_plan(&desc, PRLE_PASS_WEIGHTS, false, &wishes, &plan));
            varying[deterministic] = strstr(prle_cudnn_plan_name(plan), "varying") != NULL;
            prle_cudnn_plan_destroy(plan);
        }
        assert_false(varying[1]);
        if (gpu_counts(&counts)) /* another GPU's heuristics may prefer others */
            assert_true(varying[0]);
    }
}

/* Whatever decides a plan is in its key. */
static void test_other_wishes_other_plan(void **state)
{
    prle_op_desc desc = conv_of(1);

    (void)state;
    const made other = make(&desc, PRLE_PASS_FORWARD, false);
    assert_kept(&other, false);
    desc.u.conv2d.pad_top = 1;
    desc.u.conv2d.pad_bottom = 0;
    assert_ok(prle_op_infer(&desc));
    const made padded = make(&desc, PRLE_PASS_FORWARD, true);
    assert_kept(&padded, false);
    desc.in[0].dim[0] = 3;
    assert_ok(prle_op_infer(&desc));
    const made larger = make(&desc, PRLE_PASS_FORWARD, true);
    assert_kept(&larger, false);
}

/* The files of the cache, each spoilt by `spoil`. */
static void files_spoil(void (*spoil)(const char *path))
{
    prle_strings kinds = {0}, names = {0};

    assert_ok(prle_folder_list(in_folder("cache"), &kinds));
    assert_int_equal(kinds.n, 1);
    const char *folder = in_folder("cache");
    char *kind = NULL;
    assert_ok(prle_path_join(folder, kinds.item[0], &kind));
    assert_ok(prle_folder_list(kind, &names));
    assert_true(names.n >= 6);
    for (int64_t i = 0; i < names.n; i++) {
        char *path = NULL;
        assert_ok(prle_path_join(kind, names.item[i], &path));
        spoil(path);
        prle_free(path);
    }
    prle_free(kind);
    prle_strings_deinit(&names);
    prle_strings_deinit(&kinds);
}

static void cut(const char *path)
{
    uint8_t *bytes = NULL;
    size_t n = 0;

    assert_ok(prle_file_read_all(path, &bytes, &n));
    assert_ok(prle_file_write(path, bytes, n - 100));
    prle_free(bytes);
}

static void flip(const char *path)
{
    uint8_t *bytes = NULL;
    size_t n = 0;

    assert_ok(prle_file_read_all(path, &bytes, &n));
    bytes[n - 50] ^= 1;
    assert_ok(prle_file_write(path, bytes, n));
    prle_free(bytes);
}

static void test_damaged_files_are_replaced(void **state)
{
    void (*const spoils[])(const char *) = {cut, flip};
    const prle_op_desc desc = conv_of(1);
    const made whole = make(&desc, PRLE_PASS_WEIGHTS, true);

    (void)state;
    for (size_t i = 0; i < sizeof spoils / sizeof *spoils; i++) {
        files_spoil(spoils[i]);
        const made anew = make(&desc, PRLE_PASS_WEIGHTS, true), mended = make(&desc, PRLE_PASS_WEIGHTS, true);
        assert_kept(&anew, false);
        assert_kept(&mended, true);
        assert_same(&whole, &anew);
        assert_same(&whole, &mended);
    }
}

static void test_without_a_folder(void **state)
{
    const prle_op_desc desc = conv_of(1);
    const made kept = make(&desc, PRLE_PASS_FORWARD, true);

    (void)state;
    assert_ok(prle_file_write(in_folder("file"), "x", 1));
    const char *const nowhere[] = {in_folder("file"), ""};
    for (int i = 0; i < 2; i++) {
        setenv("PRLE_CACHE", nowhere[i], 1);
        for (int turn = 0; turn < 2; turn++) {
            const made m = make(&desc, PRLE_PASS_FORWARD, true);
            assert_kept(&m, false);
            assert_same(&kept, &m);
        }
    }
    setenv("PRLE_CACHE", in_folder("cache"), 1);
}

static int begin(void **state)
{
    return folder_make(state) != 0 || setenv("PRLE_CACHE", in_folder("cache"), 1) != 0 ? -1 : gpu_suite_begin(state);
}

static int end(void **state)
{
    gpu_suite_end(state);
    return folder_remove(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_second_time_from_disk),   cmocka_unit_test(test_deterministic_unless_told),
        cmocka_unit_test(test_other_wishes_other_plan), cmocka_unit_test(test_damaged_files_are_replaced),
        cmocka_unit_test(test_without_a_folder),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
