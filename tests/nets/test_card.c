/* test_card.c - multiply-accumulates against the table of facts and the paper's Table VIII, and against sums by hand. */
#include <math.h>

#include "core/op/cost.h"
#include "nets/card.h"
#include "nets/net.h"
#include "tests/check.h"

static prle_card card_of(const char *net, int64_t pixels, int64_t logits)
{
    const prle_net_opts opts = {.height = pixels, .width = pixels, .classes = logits};
    prle_graph *g = NULL;

    assert_ok(prle_net_build(&g, net, &opts));
    const prle_card card = prle_card_of(g);
    prle_graph_destroy(g);
    return card;
}

/* As printed: to so many decimals. */
static void prints(double value, int decimals, const char *expected)
{
    char text[64];

    snprintf(text, sizeof text, "%.*f", decimals, value);
    assert_string_equal(text, expected);
}

/* arXiv 2307.12534, Table VIII: a batch of 64 at 299 x 299. */
static void test_table_viii(void **state)
{
    (void)state;
    const prle_card xception = card_of("xception", 299, 2), resnet50 = card_of("resnet50", 299, 1000);

    prints(64e-9 * xception.macs_paper, 2, "540.15");
    prints(64e-9 * resnet50.macs_paper, 2, "493.38");
    prints(1e-6 * (double)xception.n_params, 2, "20.81");
    prints(1e-6 * (double)resnet50.n_params, 2, "25.56");
    assert_int_equal(xception.n_params, 20811050);
    assert_int_equal(resnet50.n_params, 25557032);
}

/* Computed apart from this program from the networks' sheets: GMAC of one image, two logits. */
static void test_macs(void **state)
{
    (void)state;
    prints(1e-9 * card_of("xception", 256, 2).macs, 3, "5.951");
    prints(1e-9 * card_of("xception", 299, 2).macs, 3, "8.355");
    prints(1e-9 * card_of("resnet50", 256, 2).macs, 3, "5.338");
    prints(1e-9 * card_of("resnet50", 299, 2).macs, 3, "7.626");
    prints(1e-9 * card_of("efficientnet_b4", 256, 2).macs, 3, "1.961");
    prints(1e-9 * card_of("efficientnet_b4", 299, 2).macs, 3, "2.520");
    prints(1e-9 * card_of("efficientnet_b4_same", 299, 2).macs, 3, "2.860");
    prints(1e-9 * card_of("efficientnet_b4_symmetric", 299, 2).macs, 3, "2.860");
    prints(1e-9 * card_of("vgg16", 256, 2).macs, 3, "20.164");
    prints(1e-9 * card_of("vgg16_bn", 299, 2).macs, 3, "26.923");
    prints(1e-9 * card_of("vgg19", 256, 2).macs, 3, "25.600");
    prints(1e-9 * card_of("vgg19_bn", 299, 2).macs, 3, "34.147");
    prints(1e-9 * card_of("f3net", 256, 2).macs, 3, "6.496");
    prints(1e-9 * card_of("f3net", 299, 2).macs, 3, "9.215");
    prints(1e-9 * card_of("f3net_both", 256, 2).macs, 2, "12.42");
    prints(1e-9 * card_of("f3net_both", 299, 2).macs, 2, "17.59");
    prints(64e-9 * card_of("xception", 256, 2).macs_paper, 2, "384.74");
    prints(64e-9 * card_of("resnet50", 256, 1000).macs_paper, 2, "345.51");
}

/* By hand, from the definition. */
static void test_op_macs(void **state)
{
    (void)state;
    prle_op_desc conv = {.kind = PRLE_OP_CONV2D, .n_in = 1, .in = {PRLE_SHAPE(3, 8, 10, 12)}, .dtype = PRLE_F32};
    prle_op_desc linear = {.kind = PRLE_OP_LINEAR, .n_in = 1, .in = {PRLE_SHAPE(3, 8)}, .dtype = PRLE_F32};
    prle_op_desc act = {.kind = PRLE_OP_ACT, .n_in = 1, .in = {PRLE_SHAPE(3, 8, 10, 12)}, .dtype = PRLE_F32};

    conv.u.conv2d = (prle_conv2d_attrs){.n_out = 6, .kernel_h = 3, .kernel_w = 5, .stride = 2, .groups = 2, .bias = true};
    linear.u.linear.n_out = 5;
    linear.u.linear.bias = true;
    act.u.act.act = PRLE_ACT_RELU;
    assert_ok(prle_op_infer(&conv));
    assert_ok(prle_op_infer(&linear));
    assert_ok(prle_op_infer(&act));
    assert_true(prle_op_macs(&conv) == 3.0 * 6 * (4 * 4) * (8.0 / 2) * (3 * 5));
    assert_true(prle_op_macs(&linear) == 3.0 * 5 * 8);
    assert_true(prle_op_macs(&act) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_table_viii), cmocka_unit_test(test_macs),
                                       cmocka_unit_test(test_op_macs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
