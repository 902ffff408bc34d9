/* test_cam_parity.c - every kind of map of the network named as argument against PyTorch's autograd (tests/golden/cams.txt):
 * f64 within 1e-8, f32 within 1e-4, on the native maps; in f32 by the closed form and by the backward pass both. */
#include <math.h>

#include "cam/cam.h"
#include "core/alloc.h"
#include "tests/check.h"
#include "tests/golden/golden.h"

enum { N = 2, SQUARE = 32 }; /* CAM_SQUARE of make.py */

/* A set of cams.txt. */
typedef struct set {
    const char *name, *net;
    int64_t classes, size;
    double variance;   /* factor of running variances */
    const char *input; /* tests/golden/make.py: CASES */
} set;

/* Our nodes for CAM_NODES of models.py; where there is no line, the network's default. */
static const struct {
    const char *net, *nodes, *node[PRLE_PLAN_MAX_NODES];
} node_names[] = {
    {"resnet50", "two", {"layer3.5.relu3", "layer4.2.relu3"}},
    {"xception", "before_bn", {"conv4.pointwise"}},
    {"xception", "bn", {"bn4"}},
    {"efficientnet_b4", "before_bn", {"_conv_head"}},
    {"xception", "two", {"conv3.pointwise", "conv4.pointwise"}},
};

static prle_model *model_make(const set *s, prle_dtype dtype)
{
    const prle_net_opts opts = {.height = s->size, .width = s->size, .classes = s->classes};
    prle_model *model = NULL;

    assert_ok(prle_model_create(&model, s->net, &opts, dtype));
    for (int i = 0; i < model->graph->n_segments; i++) {
        const prle_segment *segment = &model->graph->segment[i];
        if (segment->kind != PRLE_SEGMENT_COUNTER)
            prle_golden_fill(prle_model_segment(model, i), dtype, segment->name, &segment->shape);
        if (strstr(segment->name, ".running_var") != NULL)
            prle_golden_scale(prle_model_segment(model, i), dtype, segment->count, s->variance);
    }
    return model;
}

/* Squares of one value of the formula each. */
static void *images_make(const set *s, prle_dtype dtype)
{
    const int64_t side = s->size, n = side / SQUARE;
    const prle_shape coarse_shape = PRLE_SHAPE(N, 3, n, n);
    double *coarse = NULL;
    char *images = NULL;

    assert_ok(PRLE_NEW(coarse, prle_shape_count(&coarse_shape)));
    assert_ok(PRLE_NEW(images, (size_t)(N * 3 * side * side) * prle_dtype_bytes(dtype)));
    prle_golden_fill(coarse, PRLE_F64, s->input, &coarse_shape);
    for (int64_t i = 0; i < N * 3 * side * side; i++) {
        const int64_t plane = i / (side * side), y = i / side % side, x = i % side;
        const double value = coarse[(plane * n + y / SQUARE) * n + x / SQUARE];
        if (dtype == PRLE_F64)
            ((double *)images)[i] = value;
        else
            ((float *)images)[i] = (float)value;
    }
    prle_free(coarse);
    return images;
}

static int word_index(const char *const *words, const char *word)
{
    for (int i = 0; words[i] != NULL; i++)
        if (strcmp(words[i], word) == 0)
            return i;
    fail_msg("no such word: %s", word);
    return -1;
}

/* What a record's name, METHOD/NODES/SCORE, asks for. */
static prle_cam_opts opts_of(const prle_model *model, const char *name)
{
    prle_cam_opts opts = {.batch = N, .dtype = model->dtype};
    char method[16], nodes[16], score[16];

    assert_int_equal(sscanf(name, "%15[^/]/%15[^/]/%15s", method, nodes, score), 3);
    opts.method = (prle_cam_method)word_index(prle_cam_method_words, method);
    opts.score = (prle_cam_score)word_index(prle_cam_score_words, score);
    for (size_t i = 0; i < sizeof node_names / sizeof *node_names; i++)
        if (strcmp(node_names[i].net, model->graph->name) == 0 && strcmp(node_names[i].nodes, nodes) == 0)
            for (; node_names[i].node[opts.nodes.n] != NULL; opts.nodes.n++)
                assert_ok(prle_graph_find(model->graph, node_names[i].node[opts.nodes.n], &opts.nodes.node[opts.nodes.n]));
    assert_true(opts.nodes.n > 0 || strcmp(nodes, "default") == 0);
    return opts;
}

/* What compare() has counted. */
typedef struct tally {
    double worst;
    int n, n_by_way[3];
} tally;

/* NODES/SCORE of a record's name: what one pass through the network serves. */
static bool same_pass(const prle_golden_tensor *a, const prle_golden_tensor *b)
{
    return strcmp(a->set, b->set) == 0 && strcmp(strchr(a->name, '/'), strchr(b->name, '/')) == 0;
}

/* How a record is tried. */
typedef struct trial {
    bool general; /* by the backward pass, even where the closed form would do */
    bool alone;   /* by an engine for its method; else one engine serves all methods, from one pass through the network */
    double tolerance;
} trial;

/* Record `first`, and unless it is alone those of the same pass. */
static void compare_pass(tally *to, const prle_golden *golden, int64_t first, prle_model *model, const void *images, trial way)
{
    static const uint8_t labels[N] = {0, 1};
    prle_cam_opts opts = opts_of(model, golden->tensor[first].name);
    prle_cam_engine *engine = NULL;
    double *maps = NULL;
    int64_t h = 0, w = 0;

    opts.general = way.general;
    assert_ok(prle_cam_engine_create(&engine, model, &opts));
    prle_cam_engine_size(engine, &h, &w);
    assert_ok(PRLE_NEW(maps, N * h * w));
    const prle_shape shape = PRLE_SHAPE(N, h, w);
    assert_ok(prle_cam_engine_run(engine, images, labels, N, maps, NULL));
    for (int64_t i = first; i < (way.alone ? first + 1 : golden->n); i++) {
        const prle_golden_tensor *t = &golden->tensor[i];
        if (!same_pass(t, &golden->tensor[first]))
            continue;
        if (i > first)
            assert_ok(prle_cam_engine_again(engine, opts_of(model, t->name).method, labels, maps));
        assert_ok(prle_golden_check(t, &shape, maps, PRLE_F64, way.tolerance));
        to->worst = fmax(to->worst, prle_golden_error(t, &shape, maps, PRLE_F64));
        to->n_by_way[prle_cam_engine_way(engine)]++;
        to->n++;
    }
    prle_cam_engine_destroy(engine);
    prle_free(maps);
}

/* Whether an earlier record begins that pass. */
static bool begun(const prle_golden *golden, int64_t i)
{
    for (int64_t k = 0; k < i; k++)
        if (same_pass(&golden->tensor[k], &golden->tensor[i]))
            return true;
    return false;
}

static void compare(const prle_golden *golden, const set *s, prle_dtype dtype, double tolerance)
{
    prle_model *model = model_make(s, dtype);
    void *images = images_make(s, dtype);
    bool tried[PRLE_CAM_N_METHODS] = {false};
    tally to = {0};

    for (int64_t i = 0; i < golden->n; i++) {
        if (strcmp(golden->tensor[i].set, s->name) != 0)
            continue;
        tried[opts_of(model, golden->tensor[i].name).method] = true;
        if (dtype == PRLE_F32)
            compare_pass(&to, golden, i, model, images, (trial){.alone = true, .tolerance = tolerance});
        if (!begun(golden, i)) /* f64's "two" goes backward as it is, and time is dear */
            compare_pass(&to, golden, i, model, images, (trial){.general = dtype == PRLE_F32, .tolerance = tolerance});
    }
    for (int method = 0; method < PRLE_CAM_N_METHODS; method++)
        if (!tried[method])
            fail_msg("no map of %s by %s in cams.txt: CAM_METHODS of tests/golden/make.py", s->name,
                     prle_cam_method_words[method]);
    print_message("%s %s: %d maps, %d without gradients, %d closed form, %d backward; largest error %.2g\n", s->name,
                  prle_dtype_name(dtype), to.n, to.n_by_way[0], to.n_by_way[1], to.n_by_way[2], to.worst);
    prle_free(images);
    prle_model_destroy(model);
}

static const set sets[] = {
    {"meso4", "meso4", 2, 256, 1, "input/cam"},
    {"meso4_one", "meso4", 1, 256, 1, "input/cam"},
    {"resnet50", "resnet50", 2, 96, 1, "input/cam1"},
    {"resnet50_one", "resnet50", 1, 96, 1, "input/cam1"},
    {"xception", "xception", 2, 96, 1, "input/cam"},
    {"xception_one", "xception", 1, 96, 1, "input/cam"},
    {"vgg16", "vgg16", 2, 64, 1, "input/cam"},
    {"vgg16_one", "vgg16", 1, 64, 1, "input/cam"},
    {"vgg16_bn", "vgg16_bn", 2, 64, 1, "input/cam"},
    {"vgg16_bn_one", "vgg16_bn", 1, 64, 1, "input/cam"},
    {"f3net", "f3net", 2, 96, 1, "input/cam"},
    {"f3net_one", "f3net", 1, 96, 1, "input/cam"},
    {"efficientnet_b4", "efficientnet_b4", 2, 96, 0.75, "input/cam"},
    {"efficientnet_b4_one", "efficientnet_b4", 1, 96, 0.75, "input/cam"},
};
enum { N_SETS = sizeof sets / sizeof *sets };

static const char *wanted; /* network */

static void test_network(void **state)
{
    (void)state;
    prle_golden *golden = NULL;
    int n = 0;

    assert_ok(prle_golden_load(&golden, "tests/golden/cams.txt"));
    for (int i = 0; i < N_SETS; i++) {
        if (strcmp(sets[i].net, wanted) != 0)
            continue;
        compare(golden, &sets[i], PRLE_F64, 1e-8);
        compare(golden, &sets[i], PRLE_F32, 1e-4);
        n++;
    }
    assert_int_equal(n, 2); /* two logits, and one */
    prle_golden_destroy(golden);
}

/* Every set of the file is looked at for some network. */
static void test_none_forgotten(void **state)
{
    (void)state;
    prle_golden *golden = NULL;
    bool found = true;

    assert_ok(prle_golden_load(&golden, "tests/golden/cams.txt"));
    for (int64_t t = 0; t < golden->n && found; t++) {
        found = false;
        for (int i = 0; i < N_SETS; i++)
            found = found || strcmp(golden->tensor[t].set, sets[i].name) == 0;
    }
    assert_true(found);
    prle_golden_destroy(golden);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_none_forgotten), cmocka_unit_test(test_network)};

    wanted = argc > 1 ? argv[1] : "meso4";
    return cmocka_run_group_tests(tests, NULL, NULL);
}
