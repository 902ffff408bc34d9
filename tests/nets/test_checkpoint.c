/* test_checkpoint.c - checkpoints come back bit for bit; cut or damaged anywhere, they are refused; so are another network's. */
#include "core/alloc.h"
#include "core/file.h"
#include "core/rng.h"
#include "nets/checkpoint.h"
#include "tests/check.h"
#include "tests/folder.h"

/* A model with its optimiser, as training has them. */
typedef struct pair {
    prle_model *model;
    prle_optim *optim;
} pair;

static const prle_net_opts net = {.height = 64, .width = 64, .classes = 2};

static pair pair_make(uint64_t seed, prle_dtype dtype)
{
    pair p;

    assert_ok(prle_model_create(&p.model, "meso4", &net, dtype));
    prle_model_init(p.model, seed);
    assert_ok(prle_optim_create(&p.optim, p.model, &PRLE_OPTIM_OPTS_DEFAULT));
    return p;
}

static void pair_drop(pair *p)
{
    prle_optim_destroy(p->optim);
    prle_model_destroy(p->model);
}

/* Some steps with random gradients: moments and counters that are not zero. */
static void pair_train(pair *p)
{
    prle_rng rng = prle_rng_make(3, 0, 0, PRLE_RNG_TEST);

    assert_ok(prle_model_grads_require(p->model));
    for (int step = 0; step < 3; step++) {
        for (int64_t i = 0; i < p->model->graph->n_weights; i++) {
            const double g = prle_rng_uniform(&rng) - 0.5;
            if (p->model->dtype == PRLE_F64)
                ((double *)p->model->grads)[i] = g;
            else
                ((float *)p->model->grads)[i] = (float)g;
        }
        prle_optim_step(p->optim, p->model, 1e-3);
        for (int64_t i = 0; i < p->model->graph->n_counters; i++)
            p->model->counters[i]++;
    }
}

static void assert_same(const pair *a, const pair *b)
{
    const prle_graph *g = a->model->graph;
    const size_t size = prle_dtype_bytes(a->model->dtype);

    assert_memory_equal(a->model->weights, b->model->weights, (size_t)g->n_weights * size);
    assert_memory_equal(a->model->stats, b->model->stats, (size_t)g->n_stats * size);
    assert_memory_equal(a->model->counters, b->model->counters, (size_t)g->n_counters * sizeof *a->model->counters);
    assert_memory_equal(a->optim->m, b->optim->m, (size_t)g->n_weights * size);
    assert_memory_equal(a->optim->v, b->optim->v, (size_t)g->n_weights * size);
    assert_int_equal(a->optim->steps, b->optim->steps);
}

static const prle_checkpoint_info written = {
    .mean = {0.5F, 0.4F, 0.3F}, .std = {0.25F, 0.5F, 1}, .threshold_eer = 0.625, .epoch = 4, .step = 77, .val_auc = 0.75};

static void assert_info(const prle_checkpoint_info *info)
{
    assert_memory_equal(info->mean, written.mean, sizeof info->mean);
    assert_memory_equal(info->std, written.std, sizeof info->std);
    assert_true(info->threshold_eer == written.threshold_eer && info->val_auc == written.val_auc);
    assert_true(info->epoch == written.epoch && info->step == written.step);
}

static void save(const char *path, const pair *p)
{
    prle_h5 *file = NULL;

    assert_ok(prle_h5_create(path, PRLE_CHECKPOINT_SCHEMA, PRLE_CHECKPOINT_VERSION, &file));
    assert_ok(prle_checkpoint_write(file, p->model, &written, p->optim));
    assert_ok(prle_h5_commit(file));
    prle_h5_close(file);
}

static prle_status load(const char *path, const pair *p, prle_checkpoint_info *info)
{
    prle_h5 *file = NULL;

    PRLE_TRY(prle_h5_open(path, PRLE_CHECKPOINT_SCHEMA, PRLE_CHECKPOINT_VERSION, &file));
    const prle_status st = prle_checkpoint_read(file, p->model, info, p->optim);
    prle_h5_close(file);
    return st;
}

static void comes_back(prle_dtype dtype, const char *name)
{
    pair a = pair_make(1, dtype), b = pair_make(2, dtype);
    prle_checkpoint_info info = {0};
    const char *path = in_folder(name);

    pair_train(&a);
    save(path, &a);
    assert_ok(load(path, &b, &info));
    assert_same(&a, &b);
    assert_info(&info);
    pair_drop(&a);
    pair_drop(&b);
}

static void test_comes_back(void **state)
{
    (void)state;
    comes_back(PRLE_F32, "f32.h5");
    comes_back(PRLE_F64, "f64.h5");
}

/* A file of the first n bytes; the byte at `flip`, where it is not negative, is changed. */
static const char *damaged_file(const uint8_t *bytes, size_t n, int64_t flip)
{
    const char *path = in_folder("damaged.h5");
    uint8_t *copy = NULL;

    assert_ok(PRLE_NEW(copy, (int64_t)n + 1));
    memcpy(copy, bytes, n);
    if (flip >= 0)
        copy[flip] ^= 0x10;
    assert_ok(prle_file_write(path, copy, n));
    prle_free(copy);
    return path;
}

/* Every byte counts: it is checked, or it means nothing. */
static void test_damage(void **state)
{
    pair a = pair_make(1, PRLE_F32), b = pair_make(2, PRLE_F32);
    prle_checkpoint_info info = {0};
    uint8_t *bytes = NULL;
    size_t n_bytes = 0;
    int refused = 0;

    (void)state;
    pair_train(&a);
    save(in_folder("whole.h5"), &a);
    assert_ok(prle_file_read_all(in_folder("whole.h5"), &bytes, &n_bytes));
    for (size_t n = 0; n < n_bytes; n += 4096)
        assert_fails(load(damaged_file(bytes, n, -1), &b, &info), PRLE_EFORMAT, "damaged.h5: ");
    for (size_t at = 0; at < n_bytes; at += at < 8192 ? 7 : 1021) {
        const prle_status st = load(damaged_file(bytes, n_bytes, (int64_t)at), &b, &info);

        if (st != PRLE_OK) {
            assert_fails(st, PRLE_EFORMAT, "damaged.h5: ");
            refused++;
            continue;
        }
        assert_same(&a, &b);
        assert_info(&info);
    }
    assert_true(refused > 100);
    prle_free(bytes);
    pair_drop(&a);
    pair_drop(&b);
}

static void test_another(void **state)
{
    pair a = pair_make(1, PRLE_F32);
    prle_model *other = NULL;
    prle_checkpoint_info info;
    prle_h5 *file = NULL;

    (void)state;
    save(in_folder("meso4.h5"), &a);
    assert_ok(prle_h5_open(in_folder("meso4.h5"), PRLE_CHECKPOINT_SCHEMA, PRLE_CHECKPOINT_VERSION, &file));
    assert_ok(prle_model_create(&other, "meso4", &(const prle_net_opts){.height = 64, .width = 96, .classes = 2}, PRLE_F32));
    assert_fails(prle_checkpoint_read(file, other, &info, NULL), PRLE_EINVAL,
                 "is of meso4 at 64 x 64 with 2 logits, not of meso4 at 64 x 96 with 2");
    prle_model_destroy(other);
    a.optim->opts.kind = PRLE_OPTIM_SGD;
    assert_fails(prle_checkpoint_read(file, a.model, &info, a.optim), PRLE_EINVAL, "another optimiser");
    prle_h5_close(file);
    pair_drop(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_comes_back),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_another),
    };
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
