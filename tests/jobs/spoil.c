/* spoil.c - for tests of commands: HDF5 files that only another program would write.
 *     spoil newer SCHEMA FILE   a file of a version to come
 *     spoil nan MODEL FILE      a checkpoint with a weight that is no number */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/alloc.h"
#include "nets/checkpoint.h"

enum { NEWER = 99 };

static prle_status newer(const char *schema, const char *path)
{
    prle_h5 *file = NULL;

    PRLE_TRY(prle_h5_create(path, schema, NEWER, &file));
    const prle_status st = prle_h5_commit(file);
    prle_h5_close(file);
    return st;
}

/* The first row of the first weight, in a file that is not committed yet. */
static prle_status weight_spoil(prle_h5 *file, const prle_model *model)
{
    prle_status st = PRLE_OK;
    const prle_segment *first = &model->graph->segment[0];
    const int64_t n = first->count / first->shape.dim[0];
    float *row = NULL;
    char *name = NULL;

    PRLE_TRY_OUT(PRLE_NEW(row, n));
    PRLE_TRY_OUT(prle_asprintf(&name, "state/%s", first->name));
    row[n - 1] = nanf("");
    PRLE_TRY_OUT(prle_h5_write_rows(file, name, PRLE_H5_F32, 0, 1, row));
out:
    prle_free(row);
    prle_free(name);
    return st;
}

static prle_status nan_weight(const char *from, const char *path)
{
    prle_status st = PRLE_OK;
    prle_model *model = NULL;
    prle_checkpoint_info info;
    prle_h5 *file = NULL;

    PRLE_TRY_OUT(prle_model_load(&model, &info, NULL, from, PRLE_F32));
    PRLE_TRY_OUT(prle_h5_create(path, PRLE_CHECKPOINT_SCHEMA, PRLE_CHECKPOINT_VERSION, &file));
    PRLE_TRY_OUT(prle_checkpoint_write(file, model, &info, NULL));
    PRLE_TRY_OUT(weight_spoil(file, model));
    PRLE_TRY_OUT(prle_h5_commit(file));
out:
    prle_h5_close(file);
    prle_model_destroy(model);
    return st;
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    const prle_status st = strcmp(argv[1], "newer") == 0 ? newer(argv[2], argv[3]) : nan_weight(argv[2], argv[3]);
    if (st != PRLE_OK)
        fprintf(stderr, "spoil: %s\n", prle_error_message());
    return st != PRLE_OK;
}
