/* test_parity_xception.c - xception against PyTorch. */
#include "tests/check.h"
#include "tests/nets/parity.h"

static const parity_case two = {.net = "xception", .batch = 2, .size = 96, .classes = 2, .smooth = {48, "input/21"}};

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_train),
        cmocka_unit_test(test_frozen),
        cmocka_unit_test(test_infer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
