/* test_parity_resnet50.c - resnet50 against PyTorch (torchvision's). */
#include "tests/check.h"
#include "tests/nets/parity.h"

static const parity_case two = {.net = "resnet50", .batch = 4, .size = 64, .classes = 2};

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

static void test_trajectory(void **state)
{
    (void)state;
    parity_trajectory(&two, &(parity_path){.set = "adam",
                                           .n_steps = 5,
                                           .optim = PRLE_OPTIM_OPTS_DEFAULT,
                                           .lr = 2e-4,
                                           .loss_tolerance = 1e-6,
                                           .weight_tolerance = 1e-6});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_train),
        cmocka_unit_test(test_frozen),
        cmocka_unit_test(test_infer),
        cmocka_unit_test(test_trajectory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
