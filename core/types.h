/* types.h - element types and shapes, the words every room shares. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum prle_dtype {
    PRLE_F32,
    PRLE_F64,
    PRLE_BF16, /* activations and packed weights in bfloat16, masters in f32 */
} prle_dtype;

enum { PRLE_MAX_DIMS = 4 };

/** Dimensions in row-major order, outermost first: [B,C,H,W] for images, [B,C] for vectors. */
typedef struct prle_shape {
    int n;
    int64_t dim[PRLE_MAX_DIMS];
} prle_shape;

#define PRLE_SHAPE(...) ((prle_shape){.n = (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), .dim = {__VA_ARGS__}})

size_t prle_dtype_bytes(prle_dtype dtype);
const char *prle_dtype_name(prle_dtype dtype); /* "f32", "f64", "bf16" */
PRLE_NODISCARD prle_status prle_dtype_parse(const char *name, prle_dtype *out);

int64_t prle_shape_count(const prle_shape *shape); /* elements; 1 for a scalar (n = 0) */
bool prle_shape_equal(const prle_shape *a, const prle_shape *b);

/** "[16,3,256,256]" into text, which has room for 96 bytes; returns text. */
const char *prle_shape_print(const prle_shape *shape, char text[96]);

#ifdef __cplusplus
}
#endif
