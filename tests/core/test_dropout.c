/* test_dropout.c - what dropout draws: how often, for whom, and on what it does not depend. */
#include <math.h>

#include "core/alloc.h"
#include "core/device/device.h"
#include "tests/check.h"

enum { MAX = 4096 };

/* Which elements of out are not zero, for an input of ones [B,C,1,1]; samples NULL: positions. */
static void draw(bool *kept, int64_t B, int64_t C, prle_dropout_attrs attrs, const prle_op_run_info *info)
{
    prle_op_desc desc = {.kind = PRLE_OP_DROPOUT, .n_in = 1, .in = {PRLE_SHAPE(B, C, 1, 1)}, .dtype = PRLE_F32};
    const prle_op_impl *impl = NULL;
    prle_op_plan plan = {.training = true};
    float x[MAX], y[MAX];
    uint8_t saved[MAX];

    assert_true(B * C <= MAX);
    desc.u.dropout = attrs;
    assert_ok(prle_op_infer(&desc));
    assert_ok(prle_op_choose(prle_device_cpu()->impls, &desc, &impl));
    plan.in[0] = prle_layout_plain(PRLE_F32, &desc.in[0]);
    assert_ok(impl->plan(&desc, PRLE_PASS_FORWARD, &plan));
    assert_true(plan.out.plain && plan.saved_bytes <= sizeof saved);
    for (int64_t i = 0; i < B * C; i++)
        x[i] = 1;
    assert_ok(impl->run(plan.state, PRLE_PASS_FORWARD, &(prle_op_args){.in = {x}, .out = y, .saved = saved, .info = info}));
    prle_free(plan.state);
    for (int64_t i = 0; i < B * C; i++) {
        const double d = fabs((double)y[i] - 1 / (1 - attrs.p));
        assert_true(y[i] == 0 || d <= 1e-6);
        kept[i] = y[i] != 0;
    }
}

static double share(const bool *kept, int64_t n)
{
    int64_t n_kept = 0;

    for (int64_t i = 0; i < n; i++)
        n_kept += kept[i];
    return (double)n_kept / (double)n;
}

/* A share of 4096 draws deviates by sqrt(p (1-p) / 4096) <= 0.0078: five of those. */
static void test_share(void **state)
{
    (void)state;
    const prle_op_run_info info = {.n_valid = MAX, .seed = 3, .epoch = 1};
    bool kept[MAX];

    for (int i = 0; i < 5; i++) {
        const double p = 0.2 * i;
        draw(kept, MAX, 1, (prle_dropout_attrs){.p = p, .per_sample = true}, &info);
        assert_true(fabs(share(kept, MAX) - (1 - p)) <= 0.04);
        draw(kept, 2, MAX / 2, (prle_dropout_attrs){.p = p}, &info);
        assert_true(fabs(share(kept, MAX) - (1 - p)) <= 0.04);
    }
}

/* A sample lives or dies as a whole, and a single channel of it is enough to know. */
static void test_whole_samples(void **state)
{
    (void)state;
    const prle_op_run_info info = {.n_valid = 512, .seed = 3};
    const prle_dropout_attrs attrs = {.p = 0.5, .per_sample = true};
    bool wide[MAX], narrow[MAX];

    draw(wide, 512, 8, attrs, &info);
    draw(narrow, 512, 1, attrs, &info);
    for (int i = 0; i < MAX; i++)
        assert_int_equal(wide[i], narrow[i / 8]);
}

/* Other seeds, epochs, layers and samples have other draws, half of which differ; a place in the batch means nothing. */
static void test_keys(void **state)
{
    (void)state;
    enum { N = 1024 };
    static uint64_t forward[N], backward[N], others[N];
    const prle_dropout_attrs attrs = {.p = 0.5, .layer = 4, .per_sample = true};
    prle_dropout_attrs next_layer = attrs;
    bool kept[N], turned[N], other[4][N];

    next_layer.layer++;
    for (uint64_t i = 0; i < N; i++) {
        forward[i] = 5 * i;
        backward[N - 1 - i] = 5 * i;
        others[i] = 5 * i + 1;
    }
    const prle_op_run_info info = {.n_valid = N, .seed = 8, .epoch = 2, .samples = forward};
    prle_op_run_info changed[4] = {info, info, info, info};
    changed[0].seed++;
    changed[1].epoch++;
    changed[2].samples = others;
    draw(kept, N, 1, attrs, &info);
    for (int k = 0; k < 4; k++) {
        draw(other[k], N, 1, k == 3 ? next_layer : attrs, &changed[k]);
        int differing = 0;
        for (int i = 0; i < N; i++)
            differing += kept[i] != other[k][i];
        assert_true(abs(differing - N / 2) <= 80); /* five deviations of 16 */
    }
    changed[3].samples = backward;
    draw(turned, N, 1, attrs, &changed[3]);
    for (int i = 0; i < N; i++)
        assert_int_equal(kept[i], turned[N - 1 - i]);
    draw(turned, 3, 1, attrs, &info); /* in a smaller batch */
    assert_memory_equal(turned, kept, 3 * sizeof *kept);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_share), cmocka_unit_test(test_whole_samples),
                                       cmocka_unit_test(test_keys)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
