/* test_parity_f3net.c - f3net and f3net_both against PyTorch. */
#include "tests/check.h"
#include "tests/nets/parity.h"

static const parity_case fad = {.net = "f3net", .batch = 2, .size = 96, .classes = 2, .smooth = {48, "input/287"}};
static const parity_case both = {.net = "f3net_both", .batch = 2, .size = 64, .classes = 2, .bf16_as_torch = true};

static void test_train(void **state)
{
    (void)state;
    parity_train(&fad);
    parity_train(&both);
}

static void test_frozen(void **state)
{
    (void)state;
    parity_frozen(&fad);
    parity_frozen(&both);
}

static void test_infer(void **state)
{
    (void)state;
    parity_infer(&fad, 256);
    parity_infer(&fad, 299);
    parity_infer(&both, 256);
    parity_infer(&both, 299);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_train),
        cmocka_unit_test(test_frozen),
        cmocka_unit_test(test_infer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
