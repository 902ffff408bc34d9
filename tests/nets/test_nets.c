/* test_nets.c - parameter counts, initial values, and what a network refuses. */
#include <math.h>
#include <unistd.h>

#include "nets/model.h"
#include "tests/check.h"

static void count_is(const char *net, prle_net_opts opts, int64_t weights)
{
    prle_graph *g = NULL;

    assert_ok(prle_net_build(&g, net, &opts));
    assert_int_equal(g->n_weights, weights);
    prle_graph_destroy(g);
}

/* Parameters of two logits, at 256 pixels. */
static const struct {
    const char *net;
    int64_t weights;
} counts[] = {
    {"resnet50", 23512130},
    {"xception", 20811050},
    {"efficientnet_b4", 17552202},
    {"efficientnet_b4_same", 17552202},
    {"efficientnet_b4_symmetric", 17552202},
    {"meso4", 27898},
    {"vgg16", 134268738},
    {"vgg16_bn", 134277186},
    {"vgg19", 139578434},
    {"vgg19_bn", 139589442},
    {"f3net", 21075786},
    {"f3net_both", 41888298},
};
enum { N_COUNTS = sizeof counts / sizeof *counts };

/* Every network has a count above and PyTorch's numbers. */
static void test_none_forgotten(void **state)
{
    (void)state;
    for (int i = 0; prle_net_words[i] != NULL; i++) {
        char golden[128];
        int k = 0;

        while (k < N_COUNTS && strcmp(counts[k].net, prle_net_words[i]) != 0)
            k++;
        if (k == N_COUNTS)
            fail_msg("%s: how many parameters has it?", prle_net_words[i]);
        snprintf(golden, sizeof golden, "tests/golden/%s.txt", prle_net_words[i]);
        if (access(golden, R_OK) != 0)
            fail_msg("%s is not here: CASES of tests/golden/make.py", golden);
    }
}

static void test_parameter_counts(void **state)
{
    (void)state;
    prle_net_opts opts = PRLE_NET_OPTS_DEFAULT;

    for (int i = 0; i < N_COUNTS; i++)
        count_is(counts[i].net, opts, counts[i].weights);
    count_is("f3net", (prle_net_opts){.height = 299, .width = 299, .classes = 2}, 21171246);
    opts.classes = 1;
    count_is("resnet50", opts, 23510081);
    count_is("xception", opts, 20809001);
    count_is("vgg16", opts, 134264641);
    count_is("vgg16_bn", opts, 134273089);
    count_is("vgg19", opts, 139574337);
    count_is("vgg19_bn", opts, 139585345);
    count_is("f3net", opts, 21073737);
    count_is("f3net_both", opts, 41884201);
    count_is("efficientnet_b4", opts, 17550409);
    opts.classes = 1000;
    count_is("efficientnet_b4", opts, 19341616);
}

static void test_scopes(void **state)
{
    static const char *const names[] = {"input", "a.1.b.one", "a.1.two", "three"};
    prle_graph *g = NULL;
    prle_node node = -1, x;

    (void)state;
    assert_ok(prle_graph_create(&g, "scopes"));
    x = prle_graph_input(g, 3, 8, 8);
    prle_graph_scope_begin(g, "a.%d", 1);
    prle_graph_scope_begin(g, "b");
    x = prle_graph_relu(g, x, "one");
    prle_graph_scope_end(g);
    x = prle_graph_relu(g, x, "two");
    prle_graph_scope_end(g);
    prle_graph_relu(g, x, "three");
    for (int i = 0; i < 4; i++) {
        assert_ok(prle_graph_find(g, names[i], &node));
        assert_int_equal(node, i);
    }
    prle_graph_scope_begin(g, "%0*d", PRLE_NAME_BYTES, 0);
    assert_fails(prle_graph_finish(g), PRLE_EINVAL, "too long");
    prle_graph_destroy(g);
}

/* Padding of a convolution, and the size of its result. */
static void pads_are(const char *net, int64_t size, const char *conv, int64_t before, int64_t after, int64_t out)
{
    prle_graph *g = NULL;
    prle_net_opts opts = PRLE_NET_OPTS_DEFAULT;
    prle_node node = -1;

    opts.height = opts.width = size;
    assert_ok(prle_net_build(&g, net, &opts));
    assert_ok(prle_graph_find(g, conv, &node));
    const prle_op_desc *desc = &g->node[node].desc;
    assert_int_equal(desc->u.conv2d.pad_top, before);
    assert_int_equal(desc->u.conv2d.pad_left, before);
    assert_int_equal(desc->u.conv2d.pad_bottom, after);
    assert_int_equal(desc->u.conv2d.pad_right, after);
    assert_int_equal(desc->out.dim[2], out);
    assert_int_equal(desc->out.dim[3], out);
    prle_graph_destroy(g);
}

/* The five strided convolutions, computed by hand: lukemelas' padding for 380 px, TensorFlow's SAME, and (k - 1) / 2. */
static void test_efficientnet_padding(void **state)
{
    (void)state;
    static const char *const convs[5] = {"_conv_stem", "_blocks.2._depthwise_conv", "_blocks.6._depthwise_conv",
                                         "_blocks.10._depthwise_conv", "_blocks.22._depthwise_conv"};
    static const struct {
        const char *net;
        int64_t size, before[5], after[5], out[5];
    } cases[] = {
        {"efficientnet_b4", 256, {0, 0, 2, 0, 1}, {1, 1, 2, 1, 2}, {128, 64, 32, 16, 8}},
        {"efficientnet_b4", 299, {0, 0, 2, 0, 1}, {1, 1, 2, 1, 2}, {149, 74, 37, 18, 9}},
        {"efficientnet_b4_same", 256, {0, 0, 1, 0, 1}, {1, 1, 2, 1, 2}, {128, 64, 32, 16, 8}},
        {"efficientnet_b4_same", 299, {1, 0, 2, 0, 2}, {1, 1, 2, 1, 2}, {150, 75, 38, 19, 10}},
        {"efficientnet_b4_symmetric", 256, {1, 1, 2, 1, 2}, {1, 1, 2, 1, 2}, {128, 64, 32, 16, 8}},
        {"efficientnet_b4_symmetric", 299, {1, 1, 2, 1, 2}, {1, 1, 2, 1, 2}, {150, 75, 38, 19, 10}},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int k = 0; k < 5; k++)
            pads_are(cases[i].net, cases[i].size, convs[k], cases[i].before[k], cases[i].after[k], cases[i].out[k]);
        pads_are(cases[i].net, cases[i].size, "_blocks.3._depthwise_conv", 1, 1, cases[i].out[1]);
        pads_are(cases[i].net, cases[i].size, "_blocks.29._depthwise_conv", 2, 2, cases[i].out[4]);
    }
}

static const prle_constant *constant_of(const prle_graph *g, const char *name)
{
    for (int i = 0; i < g->n_constants; i++)
        if (strcmp(g->constant[i].name, name) == 0)
            return &g->constant[i];
    fail_msg("%s has no constant %s", g->name, name);
    return NULL;
}

/* How many elements are not zero; their sum. */
static void constant_is(const prle_graph *g, const char *name, int64_t count, int64_t nonzero, double sum)
{
    static double values[256 * 256];
    const prle_constant *c = constant_of(g, name);
    int64_t n = 0;

    assert_int_equal(prle_shape_count(&c->shape), count);
    prle_constant_fill(values, c);
    for (int64_t i = 0; i < count; i++) {
        n += values[i] != 0;
        sum -= values[i];
    }
    assert_int_equal(n, nonzero);
    assert_true(fabs(sum) <= 1e-9);
}

/* What F3-Net's checkpoints hold beside parameters: 393,216 values at 256 in FAD (github.com/yyk-wew/F3Net), fc not
 * counted. */
static void test_f3net_constants(void **state)
{
    (void)state;
    prle_graph *g = NULL;
    prle_net_opts opts = PRLE_NET_OPTS_DEFAULT;
    int64_t n = 0;

    assert_ok(prle_net_build(&g, "f3net_both", &opts));
    for (int i = 0; i < g->n_constants; i++)
        if (strncmp(g->constant[i].name, "FAD_head.", 9) == 0)
            n += prle_shape_count(&g->constant[i].shape);
    assert_int_equal(n, 393216);
    /* i + j <= 90; 90 <= i + j <= 128; 128 <= i + j: sums of 1 to n + 1 */
    constant_is(g, "FAD_head.filters.0.base", 65536, 91 * 92 / 2, 91 * 92 / 2);
    constant_is(g, "FAD_head.filters.1.base", 65536, 129 * 130 / 2 - 90 * 91 / 2, 129 * 130 / 2 - 90 * 91 / 2);
    constant_is(g, "FAD_head.filters.2.base", 65536, 65536 - 128 * 129 / 2, 65536 - 128 * 129 / 2);
    constant_is(g, "FAD_head.filters.3.base", 65536, 65536, 65536);
    constant_is(g, "FAD_head._DCT_all", 65536, 65536, 16); /* each column but the first sums to zero: 256 / sqrt(256) */
    constant_is(g, "FAD_head._DCT_all_T", 65536, 65536, 16);
    constant_is(g, "LFS_head._DCT_patch", 100, 100, sqrt(10));
    constant_is(g, "LFS_head.filters.0.base", 100, 10, 10);            /* i + j <= 3.33 */
    constant_is(g, "LFS_head.filters.2.ft_num", 1, 1, 8 + 9 + 10 + 9); /* 6.67 to 10 */
    constant_is(g, "LFS_head.filters.3.ft_num", 1, 1, 9 + 8 + 7 + 6);  /* 10 to 13.3: the diagonal 10 is in both */
    constant_is(g, "FAD_xcep.fc.weight", 2 * 2048, 0, 0);
    constant_is(g, "LFS_xcep.fc.bias", 2, 0, 0);
    prle_graph_destroy(g);
}

static void test_errors(void **state)
{
    (void)state;
    prle_graph *g = NULL;
    prle_model *model = NULL;
    prle_net_opts opts = PRLE_NET_OPTS_DEFAULT;

    assert_fails(prle_net_build(&g, "resnet51", &opts), PRLE_EINVAL, "xception, resnet50, efficientnet_b4");
    opts.height = 2;
    assert_fails(prle_net_build(&g, "xception", &opts), PRLE_ESHAPE, "conv1");
    opts = (prle_net_opts){.height = 64, .width = 96, .classes = 2};
    assert_fails(prle_net_build(&g, "f3net", &opts), PRLE_ESHAPE, "square pictures, not 64 x 96");
    opts = (prle_net_opts){.height = 64, .width = 64, .classes = 0};
    assert_fails(prle_net_build(&g, "meso4", &opts), PRLE_EINVAL, "0 logits");
    assert_null(g);
    opts.classes = 3;
    assert_fails(prle_model_create(&model, "meso4", &opts, PRLE_F32), PRLE_EINVAL, "3 logits");
    assert_null(model);
}

static void test_init(void **state)
{
    (void)state;
    prle_model *model = NULL;
    const prle_net_opts opts = {.height = 64, .width = 64, .classes = 2};
    double sum = 0;

    assert_ok(prle_model_create(&model, "resnet50", &opts, PRLE_F32));
    prle_model_init(model, 7);
    assert_ok(prle_model_check_finite(model));
    const int at = prle_graph_segment_find(model->graph, "layer1.0.conv2.weight");
    const float *w = prle_model_segment(model, at);
    for (int64_t i = 0; i < model->graph->segment[at].count; i++)
        sum += (double)(w[i] * w[i]);
    /* normal with variance 2 / (64 * 9), 36,864 values: the mean square is within 3 % */
    assert_true(sum / (double)model->graph->segment[at].count / (2.0 / 576) > 0.97);
    assert_true(sum / (double)model->graph->segment[at].count / (2.0 / 576) < 1.03);
    ((float *)prle_model_segment(model, at))[5] = NAN;
    assert_fails(prle_model_check_finite(model), PRLE_ENUMERIC, "layer1.0.conv2.weight[5]");
    prle_model_destroy(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_none_forgotten),
                                       cmocka_unit_test(test_parameter_counts),
                                       cmocka_unit_test(test_scopes),
                                       cmocka_unit_test(test_f3net_constants),
                                       cmocka_unit_test(test_efficientnet_padding),
                                       cmocka_unit_test(test_errors),
                                       cmocka_unit_test(test_init)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
