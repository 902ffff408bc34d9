/* test_nets.c - parameter counts, initial values, and what a network refuses. */
#include <math.h>

#include "nets/model.h"
#include "tests/check.h"

static void count_is(const char *net, prle_net_opts opts, int64_t weights)
{
    prle_graph *g = NULL;

    assert_ok(prle_net_build(&g, net, &opts));
    assert_int_equal(g->n_weights, weights);
    prle_graph_destroy(g);
}

static void test_parameter_counts(void **state)
{
    (void)state;
    prle_net_opts opts = PRLE_NET_OPTS_DEFAULT;

    count_is("resnet50", opts, 23512130);
    count_is("xception", opts, 20811050);
    count_is("meso4", opts, 27898);
    opts.classes = 1;
    count_is("resnet50", opts, 23510081);
    count_is("xception", opts, 20809001);
}

static void test_errors(void **state)
{
    (void)state;
    prle_graph *g = NULL;
    prle_model *model = NULL;
    prle_net_opts opts = PRLE_NET_OPTS_DEFAULT;

    assert_fails(prle_net_build(&g, "resnet51", &opts), PRLE_EINVAL, "xception, resnet50, meso4");
    opts.height = 2;
    assert_fails(prle_net_build(&g, "xception", &opts), PRLE_ESHAPE, "conv1");
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
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_parameter_counts), cmocka_unit_test(test_errors),
                                       cmocka_unit_test(test_init)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
