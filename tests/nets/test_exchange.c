/* test_exchange.c - tensors of foreign files find their place in a network by name, converted where sure, else refused. */
#include "nets/exchange.h"

#include <inttypes.h>
#include <math.h>

#include "core/alloc.h"
#include "tests/folder.h"

static const prle_net_opts opts = {.height = 64, .width = 64, .classes = 2};

/* ---- a file of meso4's tensors, changed ---- */

enum { MOST = 64 };

typedef struct change {
    const char *prefix;     /* before every name */
    const char *left_out;   /* a tensor that is not in the file */
    const char *reshaped;   /* a matrix, written as [K,C/4,2,2] */
    const char *wrong;      /* a tensor of another shape: one more dimension of 1 in front */
    const char *more;       /* one more tensor, a number */
    int64_t classes;        /* of the last layer; 0: as it is */
    bool doubles, counters; /* f64; with num_batches_tracked */
} change;

/* Element k of tensor i. */
static double value(int i, int64_t k) { return sin(1.0 + i) * 0.1 + (double)(k % 1000) / 4096; }

typedef struct content {
    prle_safetensor tensor[MOST];
    char name[MOST][PRLE_NAMING_BYTES];
    prle_piece piece[MOST];
    int n;
} content;

static void content_add(content *c, const char *prefix, const char *name, prle_stored type, prle_shape shape, int i)
{
    const int64_t n = prle_shape_count(&shape);
    prle_any_ptr data = NULL;

    assert_ok(prle_alloc((size_t)n, prle_stored_bytes(type), &data));
    for (int64_t k = 0; k < n; k++)
        switch (type) {
        case PRLE_STORED_I64: ((int64_t *)data)[k] = 5 + i; break;
        case PRLE_STORED_F64: ((double *)data)[k] = value(i, k); break;
        default: ((float *)data)[k] = (float)value(i, k); break;
        }
    snprintf(c->name[c->n], sizeof c->name[0], "%s%s", prefix, name);
    c->tensor[c->n] = (prle_safetensor){.name = c->name[c->n], .type = type, .shape = shape};
    c->piece[c->n++] = (prle_piece){.bytes = data, .n_bytes = (size_t)n * prle_stored_bytes(type)};
}

static bool is(const char *name, const char *other) { return other != NULL && strcmp(name, other) == 0; }

static prle_shape shape_of(const prle_segment *s, const change *with)
{
    prle_shape shape = s->shape;

    if (s->head && with->classes > 0)
        shape.dim[0] = with->classes;
    if (is(s->name, with->reshaped))
        return PRLE_SHAPE(shape.dim[0], shape.dim[1] / 4, 2, 2);
    if (is(s->name, with->wrong))
        return PRLE_SHAPE(1, shape.dim[0]);
    return shape;
}

static const char *file_make(const prle_graph *g, const change *with)
{
    const char *path = in_folder("weights.safetensors");
    content *c = NULL;

    assert_ok(PRLE_NEW(c, 1));
    for (int i = 0; i < g->n_segments; i++) {
        const prle_segment *s = &g->segment[i];
        const bool counter = s->kind == PRLE_SEGMENT_COUNTER;
        if (!is(s->name, with->left_out) && (!counter || with->counters))
            content_add(c, with->prefix, s->name,
                        counter         ? PRLE_STORED_I64
                        : with->doubles ? PRLE_STORED_F64
                                        : PRLE_STORED_F32,
                        shape_of(s, with), i);
    }
    if (with->more != NULL)
        content_add(c, "", with->more, PRLE_STORED_F32, PRLE_SHAPE(1), 0);
    assert_ok(prle_safetensors_write(path, c->tensor, c->n, c->piece, c->n, (const char *[]){NULL}));
    for (int i = 0; i < c->n; i++)
        prle_free((void *)(uintptr_t)c->piece[i].bytes);
    prle_free(c);
    return path;
}

/* ---- what becomes of it ---- */

typedef struct fixture {
    prle_model *model;
    prle_archive *archive;
    prle_import *import;
} fixture;

static void make(fixture *f, prle_dtype dtype, const change *with)
{
    *f = (fixture){0};
    assert_ok(prle_model_create(&f->model, "meso4", &opts, dtype));
    prle_model_init(f->model, 3);
    assert_ok(prle_archive_open(&f->archive, file_make(f->model->graph, with)));
    assert_ok(prle_import_match(&f->import, f->archive, f->model->graph));
}

static void drop(fixture *f)
{
    prle_import_destroy(f->import);
    prle_archive_close(f->archive);
    prle_model_destroy(f->model);
}

static void counts_are(const fixture *f, int64_t loaded, int64_t converted, int64_t new_head, int64_t missing, int64_t unfit,
                       int64_t unexpected)
{
    const int64_t expected[] = {loaded, converted, new_head, 0, missing, unfit, unexpected}; /* no constants */

    for (int i = 0; i < PRLE_IMPORT_STATES; i++)
        if (f->import->count[i] != expected[i])
            fail_msg("%" PRId64 " %s, expected %" PRId64, f->import->count[i], prle_import_state_name((prle_import_state)i),
                     expected[i]);
}

/* Segment i has the file's values. */
static bool has_values(const prle_model *model, int i)
{
    const prle_segment *s = &model->graph->segment[i];
    const void *at = prle_model_segment(model, i);
    bool ok = true;

    for (int64_t k = 0; k < s->count; k++)
        ok &= s->kind == PRLE_SEGMENT_COUNTER ? ((const int64_t *)at)[k] == 5 + i
              : model->dtype == PRLE_F64      ? ((const double *)at)[k] == value(i, k)
                                              : ((const float *)at)[k] == (float)value(i, k);
    return ok;
}

static int n_with_values(const prle_model *model)
{
    int n = 0;

    for (int i = 0; i < model->graph->n_segments; i++)
        n += has_values(model, i);
    return n;
}

static void test_as_is(void **state)
{
    const change with = {.prefix = "", .counters = true};
    fixture f;

    (void)state;
    make(&f, PRLE_F32, &with);
    counts_are(&f, f.model->graph->n_segments, 0, 0, 0, 0, 0);
    assert_int_equal(f.import->classes, 2);
    assert_ok(prle_import_check(f.import, f.archive, f.model->graph, true));
    assert_int_equal(n_with_values(f.model), 0);
    assert_ok(prle_import_load(f.model, f.import, f.archive));
    assert_int_equal(n_with_values(f.model), f.model->graph->n_segments);
    drop(&f);
}

/* Wrappers, other things beside them, no counters, doubles, a flattened matrix. */
static void test_converted(void **state)
{
    const change with = {
        .prefix = "state_dict.module.", .doubles = true, .reshaped = "fc1.weight", .more = "optimizer.state.0.step"};
    fixture f;

    (void)state;
    for (int dtype = PRLE_F32; dtype <= PRLE_F64; dtype++) {
        make(&f, (prle_dtype)dtype, &with);
        const int64_t n_counters = f.model->graph->n_counters;
        counts_are(&f, 0, f.model->graph->n_segments - n_counters, 0, 0, 0, 0);
        assert_string_equal(f.import->prefix, with.prefix);
        assert_int_equal(f.import->n_outside, 1);
        assert_ok(prle_import_check(f.import, f.archive, f.model->graph, true));
        assert_ok(prle_import_load(f.model, f.import, f.archive));
        assert_int_equal(n_with_values(f.model), f.model->graph->n_segments - n_counters);
        drop(&f);
    }
}

/* A last layer for 1000 classes is left out, and it alone. */
static void test_new_head(void **state)
{
    const change with = {.prefix = "model.", .classes = 1000, .counters = true};
    fixture f;

    (void)state;
    make(&f, PRLE_F32, &with);
    counts_are(&f, f.model->graph->n_segments - 2, 0, 2, 0, 0, 0);
    assert_int_equal(f.import->classes, 1000);
    assert_ok(prle_import_check(f.import, f.archive, f.model->graph, true));
    assert_ok(prle_import_load(f.model, f.import, f.archive));
    assert_int_equal(n_with_values(f.model), f.model->graph->n_segments - 2);
    drop(&f);
}

static void test_missing_and_unexpected(void **state)
{
    fixture f;

    (void)state;
    make(&f, PRLE_F32, &(const change){.prefix = "", .left_out = "bn2.bias", .more = "bn9.bias"});
    counts_are(&f, f.model->graph->n_segments - f.model->graph->n_counters - 1, 0, 0, 1, 0, 1);
    assert_ok(prle_import_check(f.import, f.archive, f.model->graph, false));
    assert_fails(prle_import_check(f.import, f.archive, f.model->graph, true), PRLE_EFORMAT,
                 "1 tensors missing, the first is bn2.bias");
    drop(&f);
    make(&f, PRLE_F32, &(const change){.prefix = "", .more = "bn9.bias"});
    assert_fails(prle_import_check(f.import, f.archive, f.model->graph, true), PRLE_EFORMAT, "unexpected, the first is bn9.bias");
    drop(&f);
    make(&f, PRLE_F32, &(const change){.prefix = "", .wrong = "bn1.running_var"});
    assert_fails(prle_import_check(f.import, f.archive, f.model->graph, false), PRLE_EFORMAT,
                 "bn1.running_var: f32 [1,8] for [8]");
    drop(&f);
}

/* Weights of another network are not taken for it, and its name is given. */
static void test_other_network(void **state)
{
    fixture f;
    prle_graph *g = NULL;
    prle_import *import = NULL;
    const char *net = NULL;
    int64_t n_found = 0, n = 0;

    (void)state;
    make(&f, PRLE_F32, &(const change){.prefix = "net.", .counters = true});
    assert_ok(prle_net_build(&g, "resnet50", &opts));
    assert_fails(prle_import_match(&import, f.archive, g), PRLE_EFORMAT, "it looks like meso4");
    assert_ok(prle_import_guess(&net, &n_found, &n, f.archive));
    assert_string_equal(net, "meso4");
    assert_int_equal(n_found, n);
    prle_graph_destroy(g);
    drop(&f);
}

/* A network as small as can be, whose stem sees the picture's three channels several times over. */
static void spread_model_make(prle_model **out, int64_t channels, prle_dtype dtype)
{
    prle_model *model = NULL;
    prle_node x;

    assert_ok(PRLE_NEW(model, 1));
    model->dtype = dtype;
    assert_ok(prle_graph_create(&model->graph, "f3net"));
    x = prle_graph_input(model->graph, channels, 8, 8);
    x = prle_graph_conv(model->graph, x, "FAD_xcep.conv1", (prle_conv_opts){.out = 4, .kernel = 3});
    x = prle_graph_batch_norm(model->graph, x, "FAD_xcep.bn1", (prle_bn_opts){0});
    prle_graph_cam(model->graph, x);
    prle_graph_output(model->graph, prle_graph_linear(model->graph, prle_graph_global_mean(model->graph, x, "mean"), "fc", 2));
    assert_ok(prle_graph_finish(model->graph));
    assert_ok(prle_alloc((size_t)model->graph->n_weights, prle_dtype_bytes(dtype), (prle_any_ptr *)&model->weights));
    assert_ok(prle_alloc((size_t)model->graph->n_stats, prle_dtype_bytes(dtype), (prle_any_ptr *)&model->stats));
    assert_ok(PRLE_NEW(model->counters, model->graph->n_counters));
    *out = model;
}

/* An Xception of three channels under its own names; the stem is copied to each three channels and divided by their number. */
static void test_spread(void **state)
{
    static const char *const names[] = {"conv1.weight", "bn1.weight", "bn1.bias", "bn1.running_mean", "bn1.running_var"};
    fixture f = {0};

    (void)state;
    for (int64_t groups = 2; groups <= 4; groups += 2) {
        const prle_dtype dtype = groups == 2 ? PRLE_F64 : PRLE_F32;
        content *c = NULL;
        assert_ok(PRLE_NEW(c, 1));
        for (int i = 0; i < 5; i++)
            content_add(c, "model.", names[i], PRLE_STORED_F64, i == 0 ? PRLE_SHAPE(4, 3, 3, 3) : PRLE_SHAPE(4), i);
        assert_ok(prle_safetensors_write(in_folder("stem"), c->tensor, c->n, c->piece, c->n, (const char *[]){NULL}));
        for (int i = 0; i < c->n; i++)
            prle_free((void *)(uintptr_t)c->piece[i].bytes);
        prle_free(c);
        spread_model_make(&f.model, 3 * groups, dtype);
        assert_ok(prle_archive_open(&f.archive, in_folder("stem")));
        assert_ok(prle_import_match(&f.import, f.archive, f.model->graph));
        assert_string_equal(f.import->naming->name, "xception");
        counts_are(&f, 0, 5, 0, 2, 0, 0); /* fc is missing */
        assert_ok(prle_import_load(f.model, f.import, f.archive));
        for (int64_t k = 0; k < 4 * 3 * groups * 9; k++) {
            const int64_t channel = k / 9 % (3 * groups), from = k / (27 * groups) * 27 + channel % 3 * 9 + k % 9;
            const double expected = value(0, from) / (double)groups;
            assert_true(dtype == PRLE_F64 ? ((double *)f.model->weights)[k] == expected
                                          : ((float *)f.model->weights)[k] == (float)value(0, from) / (float)groups);
        }
        drop(&f);
    }
}

/* Out and in again: the same bits. */
static void test_export(void **state)
{
    const char *path = in_folder("out.safetensors");
    prle_model *model = NULL, *back = NULL;
    prle_archive *archive = NULL;
    prle_import *import = NULL;

    (void)state;
    for (int dtype = PRLE_F32; dtype <= PRLE_F64; dtype++) {
        assert_ok(prle_model_create(&model, "meso4", &opts, (prle_dtype)dtype));
        assert_ok(prle_model_create(&back, "meso4", &opts, (prle_dtype)dtype));
        prle_model_init(model, 4);
        model->counters[1] = 77;
        assert_ok(prle_model_export(model, path, prle_naming_get("meso4", 0), (const char *[]){"format", "pt", NULL}));
        assert_ok(prle_archive_open(&archive, path));
        assert_ok(prle_import_match(&import, archive, back->graph));
        assert_ok(prle_import_check(import, archive, back->graph, true));
        assert_ok(prle_import_load(back, import, archive));
        assert_memory_equal(back->weights, model->weights, (size_t)model->graph->n_weights * prle_dtype_bytes(model->dtype));
        assert_memory_equal(back->stats, model->stats, (size_t)model->graph->n_stats * prle_dtype_bytes(model->dtype));
        assert_memory_equal(back->counters, model->counters, (size_t)model->graph->n_counters * sizeof *model->counters);
        prle_import_destroy(import);
        prle_archive_close(archive);
        prle_model_destroy(back);
        prle_model_destroy(model);
    }
}

/* F3-Net's files hold what follows from the network, too: written, recognised, and refused where it is another's. */
static void test_constants(void **state)
{
    const char *path = in_folder("f3net.safetensors");
    prle_model *model = NULL, *other = NULL;
    prle_archive *archive = NULL;
    prle_import *import = NULL;

    (void)state;
    assert_ok(prle_model_create(&model, "f3net_both", &opts, PRLE_F32));
    prle_model_init(model, 5);
    assert_ok(prle_model_export(model, path, prle_naming_get("f3net", 0), (const char *[]){"format", "pt", NULL}));
    assert_ok(prle_archive_open(&archive, path));
    assert_int_equal(archive->n, model->graph->n_segments + model->graph->n_constants);
    assert_ok(prle_import_match(&import, archive, model->graph));
    assert_ok(prle_import_check(import, archive, model->graph, true));
    assert_int_equal(import->count[PRLE_IMPORT_LOADED], model->graph->n_segments);
    assert_int_equal(import->count[PRLE_IMPORT_CONSTANT], 2 + 4 + 2 + 2 + 12 + 2); /* FAD: matrices, masks, fc; LFS: counts too */
    assert_ok(prle_import_load(model, import, archive));
    model->graph->constant[2].band.high += 1; /* the first mask */
    assert_fails(prle_import_load(model, import, archive), PRLE_EFORMAT, "FAD_head.filters.0.base[");
    prle_import_destroy(import);

    prle_net_opts larger = opts;
    larger.height = larger.width = 96;
    assert_ok(prle_model_create(&other, "f3net_both", &larger, PRLE_F32));
    assert_ok(prle_import_match(&import, archive, other->graph));
    assert_fails(prle_import_check(import, archive, other->graph, false), PRLE_EFORMAT, "10 tensors do not fit");
    prle_import_destroy(import);
    prle_archive_close(archive);
    prle_model_destroy(other);
    prle_model_destroy(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_is),         cmocka_unit_test(test_converted),
        cmocka_unit_test(test_new_head),      cmocka_unit_test(test_missing_and_unexpected),
        cmocka_unit_test(test_other_network), cmocka_unit_test(test_spread),
        cmocka_unit_test(test_export),        cmocka_unit_test(test_constants),
    };
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
