/* ref.h - what the plain C reference operators share: plain layouts, no scratch of their own, the description as state. */
#pragma once
#include "core/op/op.h"
#include "core/op/real.h"

/** Refuses the other precision. */
static inline bool ref_supports(const prle_op_desc *desc, const char **why)
{
    *why = REAL_IS_DOUBLE ? "double precision only" : "single precision only";
    return desc->dtype == REAL_DTYPE;
}

/** Wants and gives plain layouts everywhere. */
static inline void ref_layouts(const prle_op_desc *desc, prle_op_plan *plan)
{
    for (int i = 0; i < desc->n_in; i++)
        plan->in[i] = plan->din[i] = prle_layout_plain(REAL_DTYPE, &desc->in[i]);
    for (int i = 0; i < desc->n_params; i++)
        plan->param[i] = plan->dparam[i] = prle_layout_plain(REAL_DTYPE, &desc->param[i]);
    plan->out = plan->dout = prle_layout_plain(REAL_DTYPE, &desc->out);
}

/** The same, for an operator that needs to keep nothing but its description. */
static inline prle_status ref_plan(const prle_op_desc *desc, prle_op_plan *plan)
{
    ref_layouts(desc, plan);
    return prle_op_keep_desc(desc, plan);
}

/** sum_i a[i] b[i stride], in eight partial sums: fixed order, and the compiler may use vectors. */
static inline real ref_dot(const real *a, const real *b, int64_t n, int64_t stride)
{
    real part[8] = {0}, sum = 0;
    int64_t i = 0;

    if (stride == 1) {
        for (; i + 8 <= n; i += 8)
            for (int lane = 0; lane < 8; lane++)
                part[lane] += a[i + lane] * b[i + lane];
    }
    for (; i < n; i++)
        sum += a[i] * b[i * stride];
    return ((part[0] + part[1]) + (part[2] + part[3])) + ((part[4] + part[5]) + (part[6] + part[7])) + sum;
}

#define PRLE_REF_IMPL(op, op_kind)                                                                                               \
    extern const prle_op_impl REAL_NAME(prle_##op##_ref);                                                                        \
    const prle_op_impl REAL_NAME(prle_##op##_ref) = {                                                                            \
        .name = "ref", .kind = op_kind, .supports = ref_supports, .plan = plan_pass, .run = run}
