/* test_parity_meso4.c - meso4 against PyTorch, with every optimiser. */
#include "tests/check.h"
#include "tests/nets/parity.h"

static const parity_case two = {.net = "meso4", .batch = 4, .size = 256, .classes = 2};
static const parity_case one = {.net = "meso4", .batch = 4, .size = 256, .classes = 1};

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

static void test_one_logit(void **state)
{
    (void)state;
    parity_one_logit(&one);
}

static void test_infer(void **state)
{
    (void)state;
    parity_infer(&two, 256);
}

static void test_trajectories(void **state)
{
    (void)state;
    static const prle_optim_opts adam = {.kind = PRLE_OPTIM_ADAM, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .head_lr_factor = 1};
    static const prle_optim_opts sgd = {.kind = PRLE_OPTIM_SGD, .momentum = 0.9, .head_lr_factor = 1};
    prle_optim_opts adam_decay = adam, adamw = adam, sgd_decay = sgd;

    adam_decay.weight_decay = sgd_decay.weight_decay = 5e-4;
    adam_decay.decay_all = sgd_decay.decay_all = true;
    adamw.kind = PRLE_OPTIM_ADAMW;
    adamw.weight_decay = 0.01;
    const parity_path paths[] = {
        {.set = "adam", .n_steps = 20, .optim = adam, .lr = 2e-4},
        {.set = "adam_decay", .n_steps = 5, .optim = adam_decay, .lr = 2e-4},
        {.set = "adamw", .n_steps = 5, .optim = adamw, .lr = 2e-4},
        {.set = "sgd", .n_steps = 5, .optim = sgd_decay, .lr = 0.01},
        {.set = "sgd_clip", .n_steps = 5, .optim = sgd, .lr = 0.01, .clip = 0.5},
    };

    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        parity_path path = paths[i];
        path.loss_tolerance = path.weight_tolerance = 1e-9;
        parity_trajectory(&two, &path);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_train), cmocka_unit_test(test_frozen),       cmocka_unit_test(test_one_logit),
        cmocka_unit_test(test_infer), cmocka_unit_test(test_trajectories),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
