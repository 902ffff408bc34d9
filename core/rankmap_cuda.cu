/* rankmap_cuda.cu - see rankmap_cuda.h: a stable radix sort of each image by one block, in two passes. */
#include "core/rankmap.h"
#include "core/rankmap_cuda.h"

enum { WARP = 32, WARPS = 16, THREADS = WARPS * WARP, MAX_DIGIT_BITS = 11 };

/*
 * Each warp has a stretch of the items, in order, and a count for every digit. Counted once, the counts are summed over (digit,
 * warp) into the place of each warp's first item with that digit; gone through again in the same order, each item takes the next
 * place. No atomics: a warp's lanes with equal digits find each other, and the first of them moves the count. Places are below
 * 65,536; a count that would stand behind the last one wraps to 0 and is never used.
 */

/* How many lanes below this one have the same digit, and whether it is the first of them. */
__device__ static int peers_below(unsigned active, unsigned digit, int lane, bool *first, int *peers)
{
    const unsigned same = __match_any_sync(active, digit);
    const int below = __popc(same & ((1u << lane) - 1));

    *first = below == 0;
    *peers = __popc(same);
    return below;
}

/* counts[digit] of this warp moves by the lanes that have it; what it was before, plus the lanes below: the lane's place. */
__device__ static unsigned take_place(uint16_t *counts, unsigned active, unsigned digit, int lane)
{
    bool first;
    int peers;
    const int below = peers_below(active, digit, lane, &first, &peers);
    const unsigned place = (uint16_t)(counts[digit] + below);

    __syncwarp(active);
    if (first)
        counts[digit] = (uint16_t)(counts[digit] + peers);
    __syncwarp(active);
    return place;
}

/* Exclusive sum over the block's threads in their order; *total of all. `sums` [WARPS]. */
__device__ static unsigned block_scan(unsigned mine, unsigned *sums, unsigned *total)
{
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    unsigned upto = mine, before = 0;

    for (int step = 1; step < WARP; step *= 2) {
        const unsigned other = __shfl_up_sync(~0u, upto, step);
        if (lane >= step)
            upto += other;
    }
    if (lane == WARP - 1)
        sums[warp] = upto;
    __syncthreads();
    *total = 0;
    for (int w = 0; w < WARPS; w++) {
        before += w < warp ? sums[w] : 0;
        *total += sums[w];
    }
    __syncthreads();
    return before + upto - mine;
}

/* counts [WARPS,bins]: from how many to where the first one goes. Returns how many there are in all. */
__device__ static unsigned counts_to_places(uint16_t *counts, int bins, unsigned *sums)
{
    const int each = (bins + THREADS - 1) / THREADS, begin = threadIdx.x * each;
    const int end = begin + each < bins ? begin + each : bins;
    unsigned mine = 0, total;

    for (int d = begin; d < end; d++)
        for (int w = 0; w < WARPS; w++)
            mine += counts[w * bins + d];
    unsigned place = block_scan(mine, sums, &total);
    for (int d = begin; d < end; d++)
        for (int w = 0; w < WARPS; w++) {
            const unsigned here = counts[w * bins + d];
            counts[w * bins + d] = (uint16_t)place;
            place += here;
        }
    __syncthreads();
    return total;
}

__device__ static void counts_clear(uint16_t *counts, int bins)
{
    for (int i = threadIdx.x; i < WARPS * bins; i += THREADS)
        counts[i] = 0;
    __syncthreads();
}

/* Where a warp's stretch of n items begins; whole groups of 32. */
__device__ static int stretch_of(int n) { return (n + THREADS - 1) / THREADS * WARP; }

/* Keys are max_value - value, so that the greatest value comes first; positions outside of V take no part. */
__global__ void __launch_bounds__(THREADS) rank_from_values(const uint32_t *value, int n, uint32_t max_value, int low_bits,
                                                            int high_bits, uint32_t *scratch, uint16_t *rank, uint32_t *area)
{
    extern __shared__ uint16_t counts[]; /* [WARPS, digits] */
    __shared__ unsigned sums[WARPS];
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    uint16_t *own;

    value += (int64_t)blockIdx.x * n;
    scratch += (int64_t)blockIdx.x * n;
    rank += (int64_t)blockIdx.x * n;

    /* By the low digit; what goes to scratch: the high digit and the position. */
    int bins = 1 << low_bits, stretch = stretch_of(n);
    own = counts + warp * bins;
    counts_clear(counts, bins);
    for (int i = warp * stretch + lane, turn = 0; turn < stretch; i += WARP, turn += WARP) {
        const uint32_t v = i < n ? value[i] : 0;
        const unsigned active = __ballot_sync(~0u, v > 0);
        if (v > 0)
            take_place(own, active, (max_value - v) & (bins - 1), lane);
        else if (i < n)
            rank[i] = PRLE_RANK_NONE;
        __syncwarp();
    }
    __syncthreads();
    const int inside = (int)counts_to_places(counts, bins, sums);
    for (int i = warp * stretch + lane, turn = 0; turn < stretch; i += WARP, turn += WARP) {
        const uint32_t v = i < n ? value[i] : 0, key = max_value - v;
        const unsigned active = __ballot_sync(~0u, v > 0);
        if (v > 0)
            scratch[take_place(own, active, key & (bins - 1), lane)] = key >> low_bits << 16 | i;
        __syncwarp();
    }
    __syncthreads();

    /* By the high digit: the place is the rank. */
    bins = 1 << high_bits;
    stretch = stretch_of(inside);
    own = counts + warp * bins;
    counts_clear(counts, bins);
    for (int i = warp * stretch + lane, turn = 0; turn < stretch; i += WARP, turn += WARP) {
        const unsigned active = __ballot_sync(~0u, i < inside);
        if (i < inside)
            take_place(own, active, scratch[i] >> 16, lane);
        __syncwarp();
    }
    __syncthreads();
    counts_to_places(counts, bins, sums);
    for (int i = warp * stretch + lane, turn = 0; turn < stretch; i += WARP, turn += WARP) {
        const unsigned active = __ballot_sync(~0u, i < inside);
        if (i < inside) {
            const uint32_t item = scratch[i];
            rank[item & 0xFFFF] = (uint16_t)take_place(own, active, item >> 16, lane);
        }
        __syncwarp();
    }
    if (threadIdx.x == 0)
        area[blockIdx.x] = (uint32_t)inside;
}

static int bits_of(uint32_t most)
{
    int bits = 1;

    while (most >> bits > 0)
        bits++;
    return bits;
}

cudaError_t prle_rank_from_values_cuda(const uint32_t *value, int64_t n_images, int64_t n, uint32_t max_value, uint32_t *scratch,
                                       uint16_t *rank, uint32_t *area, cudaStream_t stream)
{
    const int bits = bits_of(max_value - 1), low = (bits + 1) / 2, high = bits - low > 0 ? bits - low : 1;
    const size_t shared = (size_t)WARPS * sizeof(uint16_t) << low;

    if (n < 1 || n > PRLE_RANK_MAX_PIXELS || max_value < 1 || low > MAX_DIGIT_BITS)
        return cudaErrorInvalidValue;
    const cudaError_t error = cudaFuncSetAttribute(rank_from_values, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)shared);
    if (error != cudaSuccess || n_images == 0)
        return error;
    rank_from_values<<<(unsigned)n_images, THREADS, shared, stream>>>(value, (int)n, max_value, low, high, scratch, rank, area);
    return cudaGetLastError();
}
