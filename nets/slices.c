/* slices.c - how many images a step of inference computes at a time: so few that what it reads and writes stays in the
 * processor's cache until the next step wants it, as many as that allows.
 *
 * Groups in a row with as many images at a time make a stretch: its steps run for the first slice of the batch, then for the
 * second, and so on. Between stretches, and for the caller, a value exists for the whole batch. Numbers follow from shapes alone.
 */
#include "core/op/channels.h"
#include "nets/plan_impl.h"

static size_t image_bytes(const plan_group *gr)
{
    int64_t n = prle_shape_count(&gr->desc.out);

    for (int i = 0; i < gr->desc.n_in; i++)
        n += prle_shape_count(&gr->desc.in[i]);
    return (size_t)(n / gr->desc.out.dim[0]) * prle_dtype_bytes(gr->desc.memory);
}

/* Slices of one size, but for the last, which begins so early that it has it, too. */
static int64_t images_that_fit(const prle_plan *plan, const plan_group *gr)
{
    const int64_t batch = plan->opts.batch;
    int64_t images = 1;

    while (images < batch && 2 * (size_t)images * image_bytes(gr) <= plan->device->cache_bytes)
        images *= 2;
    const int64_t n_slices = (batch + images - 1) / images;
    return (batch + n_slices - 1) / n_slices;
}

static void images_set(plan_group *gr, int64_t images)
{
    gr->images = images;
    for (int i = 0; i < gr->desc.n_in; i++)
        gr->desc.in[i].dim[0] = images;
    gr->desc.out.dim[0] = images;
}

/* Images shrink on their way through a network: a group takes no more of them than those after it. */
void plan_slices_choose(prle_plan *plan)
{
    const prle_plan_opts *o = &plan->opts;
    const bool cuts = plan->device->cache_bytes > 0 && !o->batch_stats && !o->dropout && !o->param_grads && o->wanted.n == 0;
    int64_t images = o->batch;

    for (int i = plan->n_groups - 1; i >= 0; i--) {
        plan_group *gr = &plan->groups[i];
        const int64_t fit = cuts && gr->desc.kind != PRLE_OP_INPUT ? images_that_fit(plan, gr) : images;

        images = fit < images ? fit : images;
        if (gr->desc.kind != PRLE_OP_INPUT)
            images_set(gr, images);
    }
}

bool plan_slices_cross(const prle_plan *plan, const plan_group *gr)
{
    const plan_group *reader = gr, *end = plan->groups + plan->n_groups;

    for (int i = 0; i < plan->opts.keep.n; i++)
        if (plan->alias[plan->opts.keep.node[i]] == gr->out)
            return true;
    if (plan->alias[plan->model->graph->output] == gr->out)
        return true;
    while (reader < end && reader->images == gr->images)
        reader++;
    for (; reader < end; reader++)
        for (int i = 0; i < reader->desc.n_in; i++)
            if (reader->in[i] == gr->out)
                return true;
    return false;
}

int plan_slices_end(const prle_plan *plan, int first)
{
    int end = first;

    while (end < plan->n_forward && plan->steps[end].images == plan->steps[first].images)
        end++;
    return end;
}

static void live(prle_plan *plan, place at, int first, int end)
{
    if (at.kind != AT_BUFFER || plan->buffers[at.index].image_bytes == 0)
        return;
    arena_buffer *b = &plan->buffers[at.index];
    b->first = first < b->first ? first : b->first;
    b->last = end - 1 > b->last ? end - 1 : b->last;
}

void plan_slices_live(prle_plan *plan)
{
    for (int first = 0, end = 0; first < plan->n_forward; first = end) {
        end = plan_slices_end(plan, first);
        for (int i = first; i < end; i++) {
            for (int k = 0; k < PRLE_OP_MAX_IN; k++)
                live(plan, plan->steps[i].in[k], first, end);
            live(plan, plan->steps[i].out, first, end);
        }
    }
}
