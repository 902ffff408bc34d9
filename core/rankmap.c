/* rankmap.c - values to ranks, ranks to masks. */
#include "core/rankmap.h"

#include <math.h>
#include <string.h>

#include "core/simd.h"

prle_status prle_rank_from_values(const uint32_t *value, int64_t n, uint32_t max_value, uint32_t *first, uint16_t *rank,
                                  uint32_t *area)
{
    uint32_t above = 0;

    PRLE_CHECK(n >= 1 && n <= PRLE_RANK_MAX_PIXELS, PRLE_ESHAPE,
               "a rank map of %lld positions: ranks are 16 bits wide, so H * W must be 1 ... %d", (long long)n,
               PRLE_RANK_MAX_PIXELS);
    memset(first, 0, ((size_t)max_value + 1) * sizeof *first);
    for (int64_t i = 0; i < n; i++)
        first[value[i]]++;
    for (uint32_t v = max_value; v > 0; v--) {
        const uint32_t here = first[v];
        first[v] = above;
        above += here;
    }
    for (int64_t i = 0; i < n; i++)
        rank[i] = value[i] > 0 ? (uint16_t)first[value[i]]++ : (uint16_t)PRLE_RANK_NONE;
    *area = above;
    return PRLE_OK;
}

prle_status prle_rank_count(uint32_t area, double alpha, uint32_t *count)
{
    PRLE_CHECK(alpha >= 0.0 && alpha <= 1.0, PRLE_EINVAL, "alpha %g: the share of the primary region must be in [0,1]", alpha);
    const double product = alpha * (double)area, whole = floor(product);

    /* Rounding may lift the product to an integer it does not reach; fma gives the sign of what was rounded away. */
    *count = (uint32_t)whole - (product == whole && fma(alpha, (double)area, -product) < 0.0);
    return PRLE_OK;
}

PRLE_SIMD_CLONES
static void mask_up_to(uint8_t *out, const uint16_t *rank, uint16_t last, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        out[i] = rank[i] <= last;
}

prle_status prle_mask_from_rank(const uint16_t *rank, int64_t n, uint32_t area, double alpha, uint8_t *out)
{
    uint32_t count = 0;

    PRLE_CHECK(n >= 1 && n <= PRLE_RANK_MAX_PIXELS, PRLE_ESHAPE, "a rank map of %lld positions: must be 1 ... %d", (long long)n,
               PRLE_RANK_MAX_PIXELS);
    PRLE_CHECK(area <= n, PRLE_EFORMAT,
               "rank map of %lld positions with area %u: damaged or never written, run `prle fuse` again", (long long)n, area);
    PRLE_TRY(prle_rank_count(area, alpha, &count));
    if (count == 0)
        memset(out, 0, (size_t)n);
    else
        mask_up_to(out, rank, (uint16_t)(count - 1), n);
    return PRLE_OK;
}
