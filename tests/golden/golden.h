/* golden.h - what PyTorch computed (tests/golden/make.py), the formula of its inputs, and how far a tensor of ours is from it. */
#pragma once
#include "core/types.h"

enum { PRLE_GOLDEN_PROBES = 3 };

/** A recorded tensor. */
typedef struct prle_golden_tensor {
    char set[24];  /* "train" */
    char name[80]; /* "grad/conv1.weight" */
    prle_shape shape;
    double norm, max; /* L2; largest magnitude */
    double scale;     /* what errors are relative to: see prle_golden_load */
    double probe[PRLE_GOLDEN_PROBES];
    int64_t n_first; /* recorded elements, from the beginning; all of them in a small tensor */
    double *first;   /* [n_first] */
} prle_golden_tensor;

typedef struct prle_golden {
    int64_t n;
    prle_golden_tensor *tensor; /* [n] in the order of the file: sets one after the other */
    double *values;             /* owned; the tensors' first */
} prle_golden;

/**
 * Reads tests/golden/NAME.txt. A tensor's scale is its max; but the max of the largest tensor of its group (the same set, the
 * same name up to '/') when its norm is below 1e-6 of the whole group's: such a tensor is the noise of a true zero. PRLE_EFORMAT
 * names file and line.
 */
PRLE_NODISCARD prle_status prle_golden_load(prle_golden **out, const char *path);
void prle_golden_destroy(prle_golden *golden); /* NULL is fine */

/** NULL when there is none. */
const prle_golden_tensor *prle_golden_find(const prle_golden *golden, const char *set, const char *name);

/** The tensor that weights.py makes for this name and shape, the same bits; rounded once for F32. */
void prle_golden_fill(void *out, prle_dtype dtype, const char *name, const prle_shape *shape);

/** values[i] *= factor: running variances, where CASES of make.py have a `variance`. */
void prle_golden_scale(void *values, prle_dtype dtype, int64_t n, double factor);

/**
 * An estimate of max|a - b| / scale between ours (a) and the recorded tensor (b).
 *
 * Exactly that when all of b was recorded. Otherwise, with d = a - b, the largest of
 *   sqrt(3) |<p_k,d>| over the probes, | |a| - |b| |, | max a - max b |, |d_i| of the first elements,     over scale.
 * A probe's elements are independent and uniform in [-1,1], so sqrt(3) <p_k,d> has the root mean square |d|, the L2 norm, which
 * is at least max|d|. All three fall below |d|/10 with probability under 1e-3: a tensor that passes is, but for that chance,
 * within ten times the tolerance even where one element has all the error; where many share it, the estimate errs on the strict
 * side.
 *
 * NaN (which passes no tolerance) when shapes differ, when a value of ours is not finite, or when b is all zero and says nothing.
 */
double prle_golden_error(const prle_golden_tensor *b, const prle_shape *shape, const void *a, prle_dtype dtype);

/** PRLE_ENUMERIC, with both sides' figures, unless prle_golden_error is <= tolerance. */
PRLE_NODISCARD prle_status prle_golden_check(const prle_golden_tensor *b, const prle_shape *shape, const void *a,
                                             prle_dtype dtype, double tolerance);
