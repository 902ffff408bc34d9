/* test_parity_vgg.c - vgg16 and vgg16_bn against PyTorch (torchvision's); of vgg19, which is more rows of the same table,
 * inference. Without batch norm a training step is a frozen one. */
#include "tests/check.h"
#include "tests/nets/parity.h"

static const parity_case vgg16 = {.net = "vgg16", .batch = 2, .size = 64, .classes = 2};
static const parity_case vgg16_bn = {.net = "vgg16_bn", .batch = 2, .size = 64, .classes = 2};

static void test_step(void **state)
{
    (void)state;
    parity_frozen(&vgg16);
    parity_train(&vgg16_bn);
}

static void test_infer(void **state)
{
    (void)state;
    parity_infer(&vgg16, 256);
    parity_infer(&vgg16, 299);
    parity_infer(&vgg16_bn, 256);
    parity_infer(&vgg16_bn, 299);
    parity_infer(&(parity_case){.net = "vgg19", .classes = 2}, 256);
    parity_infer(&(parity_case){.net = "vgg19", .classes = 2}, 299);
    parity_infer(&(parity_case){.net = "vgg19_bn", .classes = 2}, 256);
    parity_infer(&(parity_case){.net = "vgg19_bn", .classes = 2}, 299);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_step), cmocka_unit_test(test_infer)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
