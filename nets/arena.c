/* arena.c - memory by liveness: big buffers first, each at the lowest offset where nobody alive at the same time lies. */
#include <stdlib.h>

#include "core/alloc.h"
#include "nets/plan_impl.h"

enum { ALIGNMENT = 64 };

static bool overlap_in_time(const arena_buffer *a, const arena_buffer *b) { return a->first <= b->last && b->first <= a->last; }

static size_t aligned(size_t n) { return (n + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT; }

static int larger_first(const void *a, const void *b)
{
    const arena_buffer *const *x = a, *const *y = b;

    if ((*x)->n_bytes != (*y)->n_bytes)
        return (*x)->n_bytes < (*y)->n_bytes ? 1 : -1;
    return *x < *y ? -1 : *x > *y; /* the same plan every time */
}

/* placed[0..n) is sorted by offset. */
static size_t lowest_gap(arena_buffer *const *placed, int n, const arena_buffer *b)
{
    size_t at = 0;

    for (int i = 0; i < n; i++) {
        if (!overlap_in_time(placed[i], b))
            continue;
        if (placed[i]->offset >= at + aligned(b->n_bytes))
            break;
        if (placed[i]->offset + aligned(placed[i]->n_bytes) > at)
            at = placed[i]->offset + aligned(placed[i]->n_bytes);
    }
    return at;
}

prle_status plan_arena_assign(prle_plan *plan)
{
    prle_status st = PRLE_OK;
    arena_buffer **order = NULL, **placed = NULL;

    PRLE_TRY_OUT(PRLE_NEW(order, plan->n_buffers));
    PRLE_TRY_OUT(PRLE_NEW(placed, plan->n_buffers));
    for (int i = 0; i < plan->n_buffers; i++)
        order[i] = &plan->buffers[i];
    qsort(order, (size_t)plan->n_buffers, sizeof *order, larger_first);
    for (int i = 0; i < plan->n_buffers; i++) {
        arena_buffer *b = order[i];
        int at = i;

        b->offset = lowest_gap(placed, i, b);
        for (; at > 0 && placed[at - 1]->offset > b->offset; at--)
            placed[at] = placed[at - 1];
        placed[at] = b;
        if (b->offset + aligned(b->n_bytes) > plan->arena_bytes)
            plan->arena_bytes = b->offset + aligned(b->n_bytes);
    }
out:
    prle_free(order);
    prle_free(placed);
    return st;
}
