/* test_parity_efficientnet_b4.c - efficientnet_b4 and its variants against PyTorch. */
#include "tests/check.h"
#include "tests/nets/parity.h"

static const parity_case two = {.net = "efficientnet_b4", .batch = 4, .size = 96, .classes = 2, .variance = 0.75};
static const parity_case variants[] = {
    {.net = "efficientnet_b4_same", .batch = 2, .size = 75, .classes = 2, .variance = 0.75},
    {.net = "efficientnet_b4_symmetric", .batch = 2, .size = 75, .classes = 2, .variance = 0.75},
};

static void test_train(void **state)
{
    (void)state;
    parity_train(&two);
}

static void test_frozen(void **state)
{
    (void)state;
    parity_frozen(&two);
}

static void test_infer(void **state)
{
    (void)state;
    parity_infer(&two, 256);
    parity_infer(&two, 299);
}

static void test_variants(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++) {
        parity_variant(&variants[i]);
        parity_infer(&variants[i], 256);
        parity_infer(&variants[i], 299);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_train),
        cmocka_unit_test(test_frozen),
        cmocka_unit_test(test_infer),
        cmocka_unit_test(test_variants),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
