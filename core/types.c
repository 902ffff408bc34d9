/* types.c - see types.h. */
#include "core/types.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *const dtype_names[] = {[PRLE_F32] = "f32", [PRLE_F64] = "f64", [PRLE_BF16] = "bf16"};

size_t prle_dtype_bytes(prle_dtype dtype) { return dtype == PRLE_F64 ? 8 : dtype == PRLE_F32 ? 4 : 2; }
const char *prle_dtype_name(prle_dtype dtype) { return dtype_names[dtype]; }

prle_status prle_dtype_parse(const char *name, prle_dtype *out)
{
    for (int i = PRLE_F32; i <= PRLE_BF16; i++) {
        if (strcmp(name, dtype_names[i]) == 0) {
            *out = (prle_dtype)i;
            return PRLE_OK;
        }
    }
    return PRLE_FAIL(PRLE_EINVAL, "dtype \"%s\" is unknown: f32, bf16 or f64", name);
}

int64_t prle_shape_count(const prle_shape *shape)
{
    int64_t count = 1;

    for (int i = 0; i < shape->n; i++)
        count *= shape->dim[i];
    return count;
}

bool prle_shape_equal(const prle_shape *a, const prle_shape *b)
{
    return a->n == b->n && memcmp(a->dim, b->dim, (size_t)a->n * sizeof a->dim[0]) == 0;
}

const char *prle_shape_print(const prle_shape *shape, char text[96])
{
    int used = snprintf(text, 96, "[");

    for (int i = 0; i < shape->n && used < 90; i++)
        used += snprintf(text + used, 96 - (size_t)used, "%s%" PRId64, i > 0 ? "," : "", shape->dim[i]);
    snprintf(text + used, 96 - (size_t)used, "]");
    return text;
}
