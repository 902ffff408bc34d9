/* plan.c - making a plan, and running it: a loop over steps. */
#include "nets/plan.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "core/log.h"
#include "nets/plan_impl.h"

prle_status plan_append(prle_any_ptr *list, int *n, size_t size)
{
    enum { GROW = 64 };

    if (*n % GROW == 0)
        PRLE_TRY(prle_realloc((size_t)*n, (size_t)*n + GROW, size, list));
    (*n)++;
    return PRLE_OK;
}

static prle_status check_nodes(const prle_model *model, const prle_nodes *nodes, const char *what)
{
    PRLE_CHECK(nodes->n <= PRLE_PLAN_MAX_NODES, PRLE_EINVAL, "more than %d nodes to %s", PRLE_PLAN_MAX_NODES, what);
    for (int i = 0; i < nodes->n; i++)
        PRLE_CHECK(nodes->node[i] >= 0 && nodes->node[i] < model->graph->n_nodes, PRLE_EINVAL, "%s has no node %d to %s",
                   model->graph->name, nodes->node[i], what);
    return PRLE_OK;
}

static prle_status check_options(const prle_model *model, const prle_device *device, const prle_plan_opts *o)
{
    const prle_dtype wanted = o->dtype == PRLE_F64 ? PRLE_F64 : PRLE_F32;

    PRLE_CHECK(o->batch >= 1, PRLE_EINVAL, "a batch of %" PRId64, o->batch);
    PRLE_CHECK(model->dtype == wanted, PRLE_EINVAL, "a plan in %s needs a model in %s", prle_dtype_name(o->dtype),
               prle_dtype_name(wanted));
    PRLE_CHECK(!o->param_grads || model->grads != NULL, PRLE_EINVAL, "the model has no gradients");
    PRLE_CHECK(device->host_memory == model->device->host_memory || (device->host_memory && !o->param_grads), PRLE_EINVAL,
               "a plan on %s of a model whose numbers are on %s", device->name, model->device->name);
    PRLE_CHECK(o->seeds.n == 0 || o->param_grads || o->wanted.n > 0, PRLE_EINVAL, "seeds of a plan without a backward pass");
    for (int c = 0; c < 3 && o->pixels != NULL; c++) /* a straight line, finite where its ends are */
        PRLE_CHECK(isfinite(o->pixels->f32[c][0]) && isfinite(o->pixels->f32[c][255]), PRLE_EINVAL,
                   "pixels of channel %d become %g ... %g: a mean or std that is none", c, o->pixels->f64[c][0],
                   o->pixels->f64[c][255]);
    PRLE_TRY(check_nodes(model, &o->keep, "keep"));
    PRLE_TRY(check_nodes(model, &o->wanted, "want gradients of"));
    return check_nodes(model, &o->seeds, "seed");
}

static void log_choices(const prle_plan *plan)
{
    const prle_plan_stats s = prle_plan_stats_get(plan);

    if (!prle_log_enabled(PRLE_LOG_DEBUG, "plan"))
        return;
    for (int i = 0; i < plan->n_groups; i++) {
        const plan_group *gr = &plan->groups[i];
        if (gr->impl != NULL)
            prle_log(PRLE_LOG_DEBUG, "plan", "%s%s%s %s: %s%s", plan->model->graph->node[gr->first].name,
                     gr->out != gr->first ? " ... " : "", gr->out != gr->first ? plan->model->graph->node[gr->out].name : "",
                     prle_op_kind_name(gr->desc.kind), gr->impl->name, gr->out_layout.plain ? ", plain" : "");
    }
    prle_log(PRLE_LOG_DEBUG, "plan",
             "%s batch %" PRId64 " %s: %d + %d steps, %d reorders, arena %zu MiB, packed %zu MiB, scratch %zu MiB",
             plan->model->graph->name, plan->opts.batch, prle_dtype_name(plan->opts.dtype), s.n_forward, s.n_backward,
             s.n_reorders, s.arena_bytes >> 20, s.packed_bytes >> 20, s.scratch_bytes >> 20);
}

prle_status prle_plan_create(prle_plan **out, prle_model *model, const prle_device *device, const prle_plan_opts *opts)
{
    prle_status st = PRLE_OK;
    prle_plan *plan = NULL;

    PRLE_TRY(check_options(model, device, opts));
    PRLE_TRY(PRLE_NEW(plan, 1));
    plan->model = model;
    plan->device = device;
    plan->weights = device->host_memory ? model->weights : model->there.weights;
    plan->stats = device->host_memory ? model->stats : model->there.stats;
    plan->grads = model->grads;
    plan->opts = *opts;
    plan->compute = opts->dtype == PRLE_F64 ? PRLE_F64 : PRLE_F32;
    plan->memory = opts->dtype == PRLE_BF16 && device->has_bf16 != NULL && device->has_bf16() ? PRLE_BF16 : plan->compute;
    for (int i = 0; i <= PRLE_PLAN_MAX_NODES; i++)
        plan->seed[i] = -1;
    PRLE_TRY_OUT(PRLE_NEW(plan->alias, model->graph->n_nodes));
    PRLE_TRY_OUT(PRLE_NEW(plan->carries, model->graph->n_nodes));
    PRLE_TRY_OUT(PRLE_NEW(plan->grad, model->graph->n_nodes));
    PRLE_TRY_OUT(PRLE_NEW(plan->segment_uses, model->graph->n_segments));
    PRLE_TRY_OUT(PRLE_NEW(plan->segment_written, model->graph->n_segments));
    for (int i = 0; i < model->graph->n_nodes; i++)
        plan->grad[i] = -1;
    PRLE_CHECK_OUT(opts->dtype != PRLE_BF16 || plan->memory == PRLE_BF16 || device->host_memory, PRLE_ENOTSUP,
                   "%s has no bfloat16, and it is emulated in the host's memory only", device->name);
    PRLE_TRY_OUT(plan_groups_make(plan));
    plan_slices_choose(plan);
    PRLE_TRY_OUT(plan_build(plan));
    PRLE_TRY_OUT(plan_arena_assign(plan));
    PRLE_TRY_OUT(plan_resolve(plan));
    log_choices(plan);
    *out = plan;
    plan = NULL;
out:
    prle_plan_destroy(plan);
    return st;
}

void plan_step_deinit(plan_step *s)
{
    if (s->impl != NULL && s->impl->destroy != NULL)
        s->impl->destroy(s->state);
    else
        prle_free(s->state);
    s->state = NULL;
}

void prle_plan_destroy(prle_plan *plan)
{
    if (plan == NULL)
        return;
    for (int i = 0; i < plan->n_steps; i++)
        plan_step_deinit(&plan->steps[i]);
    for (int i = 0; i < plan->n_packs; i++)
        if (plan->packs[i].kind == PACK_REORDER)
            plan_step_deinit(&plan->packs[i].step);
    plan_step_deinit(&plan->pending);
    for (int i = 0; i < plan->n_packed; i++)
        plan->device->free(plan->packed[i].data);
    plan->device->free(plan->arena);
    plan->device->free(plan->scratch);
    prle_free(plan->groups);
    prle_free(plan->copies);
    prle_free(plan->buffers);
    prle_free(plan->steps);
    prle_free(plan->packed);
    prle_free(plan->packs);
    prle_free(plan->alias);
    prle_free(plan->carries);
    prle_free(plan->grad);
    prle_free(plan->segment_uses);
    prle_free(plan->segment_written);
    prle_free(plan->step_seconds);
    prle_free(plan);
}

void *plan_pointer(const prle_plan *plan, place at)
{
    const size_t offset = (size_t)at.index * prle_dtype_bytes(plan->compute);

    switch (at.kind) {
    case AT_BUFFER: return (char *)plan->arena + plan->buffers[at.index].offset;
    case AT_WEIGHTS: return (char *)plan->weights + offset;
    case AT_GRADS: return (char *)plan->grads + offset;
    case AT_STATS: return (char *)plan->stats + offset;
    case AT_PACKED: return plan->packed[at.index].data;
    case AT_NOWHERE: break;
    }
    return NULL;
}

void plan_step_resolve(prle_plan *plan, plan_step *s)
{
    prle_op_args *a = &s->args;

    for (int i = 0; i < PRLE_OP_MAX_IN; i++) {
        a->in[i] = plan_pointer(plan, s->in[i]);
        a->din[i] = plan_pointer(plan, s->din[i]);
    }
    for (int i = 0; i < PRLE_OP_MAX_PARAMS; i++) {
        a->param[i] = plan_pointer(plan, s->param[i]);
        a->dparam[i] = plan_pointer(plan, s->dparam[i]);
    }
    for (int i = 0; i < 2; i++)
        a->stats[i] = plan_pointer(plan, s->stats[i]);
    a->out = plan_pointer(plan, s->out);
    a->dout = plan_pointer(plan, s->dout);
    a->saved = plan_pointer(plan, s->saved);
    a->scratch = plan->scratch;
    a->info = &plan->info;
}

prle_status plan_resolve(prle_plan *plan)
{
    PRLE_TRY(plan->device->alloc(plan->arena_bytes, &plan->arena));
    PRLE_TRY(plan->device->alloc(plan->scratch_bytes, &plan->scratch));
    for (int i = 0; i < plan->n_steps; i++)
        plan_step_resolve(plan, &plan->steps[i]);
    for (int i = 0; i < plan->n_packs; i++)
        if (plan->packs[i].kind == PACK_REORDER)
            plan_step_resolve(plan, &plan->packs[i].step);
    return PRLE_OK;
}

static void *buffer_pointer(const prle_plan *plan, int index) { return plan_pointer(plan, (place){AT_BUFFER, index}); }

void *prle_plan_input(prle_plan *plan) { return buffer_pointer(plan, plan->input); }

prle_status prle_plan_input_set(prle_plan *plan, const void *images, int64_t n)
{
    char *input = prle_plan_input(plan);
    const size_t n_bytes = (size_t)n * (plan->buffers[plan->input].n_bytes / (size_t)plan->opts.batch);

    PRLE_CHECK(n >= 0 && n <= plan->opts.batch, PRLE_EINVAL, "%" PRId64 " images for a plan of %" PRId64, n, plan->opts.batch);
    PRLE_TRY(plan->device->feed(input, images, n_bytes));
    return plan->device->zero(input + n_bytes, plan->buffers[plan->input].n_bytes - n_bytes);
}

prle_status prle_plan_output_get(const prle_plan *plan, void *logits, int64_t n)
{
    const size_t row_bytes = (size_t)plan->model->opts.classes * prle_dtype_bytes(plan->compute);

    PRLE_CHECK(n >= 0 && n <= plan->opts.batch, PRLE_EINVAL, "%" PRId64 " rows of a plan of %" PRId64, n, plan->opts.batch);
    return plan->device->copy_out(logits, prle_plan_output(plan), (size_t)n * row_bytes);
}

static bool has_backward(const prle_plan *plan) { return plan->seed[PRLE_PLAN_MAX_NODES] >= 0; }

void *prle_plan_seed(prle_plan *plan)
{
    return has_backward(plan) ? buffer_pointer(plan, plan->seed[PRLE_PLAN_MAX_NODES]) : NULL;
}

const void *prle_plan_output(const prle_plan *plan) { return buffer_pointer(plan, plan->value[PRLE_PLAN_MAX_NODES]); }

static void *find(const prle_plan *plan, const prle_nodes *nodes, const int *buffers, prle_node node)
{
    for (int i = 0; i < nodes->n; i++)
        if (nodes->node[i] == node)
            return buffer_pointer(plan, buffers[i]);
    return NULL;
}

const void *prle_plan_value(const prle_plan *plan, prle_node node) { return find(plan, &plan->opts.keep, plan->value, node); }
const void *prle_plan_grad(const prle_plan *plan, prle_node node) { return find(plan, &plan->opts.wanted, plan->wanted, node); }
void *prle_plan_seed_at(prle_plan *plan, prle_node node) { return find(plan, &plan->opts.seeds, plan->seed, node); }

static size_t image_bytes(const prle_plan *plan, place at)
{
    return at.kind == AT_BUFFER ? plan->buffers[at.index].image_bytes : 0;
}

/* The buffers of the slice that begins with `image`. Steps that are cut into slices have inputs, an output and weights only. */
static prle_op_args args_at(const prle_plan *plan, const plan_step *s, int64_t image)
{
    prle_op_args args = s->args;

    for (int i = 0; i < PRLE_OP_MAX_IN && args.in[i] != NULL; i++)
        args.in[i] = (const char *)args.in[i] + (size_t)image * image_bytes(plan, s->in[i]);
    args.out = (char *)args.out + (size_t)image * image_bytes(plan, s->out);
    return args;
}

static prle_status step_run(prle_plan *plan, const plan_step *s, const prle_op_args *args)
{
    if (s->impl->run(s->state, s->pass, args) != PRLE_OK)
        return prle_error_prefix("%s: node %s", plan->model->graph->name, plan->model->graph->node[s->node].name);
    if (s->round_out > 0)
        plan_round_bf16(args->out, s->round_out);
    if (s->round_din > 0)
        plan_round_bf16(args->din[0], s->round_din);
    return PRLE_OK;
}

static prle_status seconds_add(prle_plan *plan, int i, double begin)
{
    PRLE_TRY(prle_device_wait(plan->device));
    plan->step_seconds[i] += prle_clock_s() - begin;
    return PRLE_OK;
}

/* Step i for the slice that begins with `image`; where a profile is wanted, the time it takes is added up. */
static prle_status step_run_timed(prle_plan *plan, int i, int64_t image)
{
    const double begin = plan->step_seconds != NULL ? prle_clock_s() : 0;
    const prle_op_args args = image > 0 ? args_at(plan, &plan->steps[i], image) : plan->steps[i].args;

    PRLE_TRY(step_run(plan, &plan->steps[i], &args));
    return plan->step_seconds != NULL ? seconds_add(plan, i, begin) : PRLE_OK;
}

static prle_status pack_run_timed(prle_plan *plan)
{
    if (plan->step_seconds != NULL)
        PRLE_TRY(prle_device_wait(plan->device)); /* for what is not the plan's */
    const double begin = plan->step_seconds != NULL ? prle_clock_s() : 0;

    PRLE_TRY(plan_pack_run(plan));
    return plan->step_seconds != NULL ? seconds_add(plan, plan->n_steps, begin) : PRLE_OK;
}

static prle_status info_set(prle_plan *plan, const prle_op_run_info *info)
{
    plan->info = info != NULL ? *info : (prle_op_run_info){.n_valid = plan->opts.batch};
    return plan->device->run_info != NULL ? plan->device->run_info(&plan->info, plan->opts.batch) : PRLE_OK;
}

prle_status prle_plan_begin(prle_plan *plan, const prle_op_run_info *info)
{
    PRLE_TRY(info_set(plan, info));
    return prle_model_bring(plan->model, plan->device);
}

prle_status prle_plan_forward_run(prle_plan *plan)
{
    const int64_t batch = plan->opts.batch;

    PRLE_TRY(pack_run_timed(plan));
    for (int first = 0, end = 0; first < plan->n_forward; first = end) {
        const int64_t images = plan->steps[first].images;

        end = plan_slices_end(plan, first);
        for (int64_t image = 0; image < batch; image += images)
            for (int i = first; i < end; i++)
                PRLE_TRY(step_run_timed(plan, i, image + images <= batch ? image : batch - images));
    }
    return PRLE_OK;
}

void prle_plan_forward_end(prle_plan *plan)
{
    for (int i = 0; i < plan->n_forward; i++)
        if (plan->steps[i].counter != NULL)
            ++*plan->steps[i].counter;
    const bool is_packed = plan->version == plan->model->version;
    if (plan->opts.batch_stats) /* for the others: the running statistics have moved, the weights have not */
        prle_model_moved(plan->model, plan->device);
    if (is_packed)
        plan->version = plan->model->version;
}

prle_status prle_plan_forward(prle_plan *plan, const prle_op_run_info *info)
{
    PRLE_TRY(prle_plan_begin(plan, info));
    PRLE_TRY(prle_plan_forward_run(plan));
    prle_plan_forward_end(plan);
    return PRLE_OK;
}

prle_status prle_plan_backward(prle_plan *plan, prle_plan_grads_ready ready, void *ctx)
{
    PRLE_CHECK(has_backward(plan), PRLE_EINVAL, "the plan has no backward pass");
    for (int i = plan->n_forward; i < plan->n_steps; i++) {
        const plan_step *s = &plan->steps[i];

        PRLE_TRY(step_run_timed(plan, i, 0));
        if (ready != NULL && s->grads_count > 0)
            PRLE_TRY(ready(ctx, s->grads_first, s->grads_count));
    }
    return PRLE_OK;
}

prle_plan_stats prle_plan_stats_get(const prle_plan *plan)
{
    prle_plan_stats s = {.n_forward = plan->n_forward,
                         .n_backward = plan->n_steps - plan->n_forward,
                         .arena_bytes = plan->arena_bytes,
                         .scratch_bytes = plan->scratch_bytes};

    for (int i = 0; i < plan->n_steps; i++)
        s.n_reorders += plan->steps[i].impl->kind == PRLE_OP_REORDER;
    for (int i = 0; i < plan->n_packed; i++)
        s.packed_bytes += plan->packed[i].n_bytes;
    return s;
}
