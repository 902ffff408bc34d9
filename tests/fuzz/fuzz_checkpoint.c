/* fuzz_checkpoint.c - checkpoints: a model is made of the file, and a given one read back with its optimiser. */
#include "core/alloc.h"
#include "nets/checkpoint.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/seeds.h"

static const prle_net_opts net = {.height = 32, .width = 32, .classes = 1};

/* Another network is refused with PRLE_EINVAL: the message says which options do not fit. */
static prle_status resume(const char *path)
{
    prle_status st = PRLE_OK;
    prle_h5 *file = NULL;
    prle_model *model = NULL;
    prle_optim *optim = NULL;
    prle_checkpoint_info info;

    PRLE_TRY_OUT(prle_model_create(&model, "meso4", &net, PRLE_F32));
    PRLE_TRY_OUT(prle_optim_create(&optim, model, &PRLE_OPTIM_OPTS_DEFAULT));
    PRLE_TRY_OUT(prle_h5_open(path, PRLE_CHECKPOINT_SCHEMA, PRLE_CHECKPOINT_VERSION, &file));
    st = prle_checkpoint_read(file, model, &info, optim);
    st = st == PRLE_EINVAL ? PRLE_EFORMAT : st;
out:
    prle_h5_close(file);
    prle_optim_destroy(optim);
    prle_model_destroy(model);
    return st;
}

static prle_status load(const char *path)
{
    prle_checkpoint_info info;
    prle_model *model = NULL;
    uint64_t hash;

    PRLE_TRY(prle_model_load(&model, &info, &hash, path, PRLE_F64));
    prle_model_destroy(model);
    return PRLE_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    const char *path = fuzz_h5_file(bytes, n_bytes, seed_checkpoint);
    const int64_t live = prle_alloc_live();

    fuzz_check(resume(path), path);
    return fuzz_end(load(path), live, path);
}
