/* parity.c - see parity.h. */
#include "tests/nets/parity.h"

#include <math.h>

#include "core/alloc.h"
#include "tests/check.h"

static const uint8_t labels[PARITY_MAX_BATCH] = {0, 1, 0, 1};

/* A model with the formula's weights, and a plan. */
typedef struct session {
    prle_model *model;
    prle_plan *plan;
    int64_t batch, classes;
    double loss; /* of the last step */
} session;

static prle_golden *golden_of(const parity_case *c)
{
    prle_golden *golden = NULL;
    char path[64];

    snprintf(path, sizeof path, "tests/golden/%s.txt", c->net);
    assert_ok(prle_golden_load(&golden, path));
    return golden;
}

static session session_open(const parity_case *c, int64_t size, prle_plan_opts opts)
{
    const prle_net_opts net_opts = {.height = size, .width = size, .classes = c->classes};
    session s = {.batch = opts.batch, .classes = c->classes};

    assert_true(opts.batch <= PARITY_MAX_BATCH);
    assert_ok(prle_model_create(&s.model, c->net, &net_opts, opts.dtype == PRLE_F64 ? PRLE_F64 : PRLE_F32));
    for (int i = 0; i < s.model->graph->n_segments; i++) {
        const prle_segment *segment = &s.model->graph->segment[i];
        if (segment->kind != PRLE_SEGMENT_COUNTER)
            prle_golden_fill(prle_model_segment(s.model, i), s.model->dtype, segment->name, &segment->shape);
        if (c->variance > 0 && strstr(segment->name, ".running_var") != NULL)
            prle_golden_scale(prle_model_segment(s.model, i), s.model->dtype, segment->count, c->variance);
    }
    s.model->version++;
    if (opts.param_grads)
        assert_ok(prle_model_grads_require(s.model));
    assert_ok(prle_plan_create(&s.plan, s.model, prle_device_cpu(), &opts));
    return s;
}

static void session_close(session *s)
{
    prle_plan_destroy(s->plan);
    prle_model_destroy(s->model);
}

static prle_shape input_shape(const session *s) { return PRLE_SHAPE(s->batch, 3, s->model->opts.height, s->model->opts.width); }

static void forward(session *s, const char *input)
{
    const prle_shape shape = input_shape(s);

    prle_golden_fill(prle_plan_input(s->plan), s->model->dtype, input, &shape);
    assert_ok(prle_plan_forward(s->plan, NULL));
}

static void step(session *s, const char *input)
{
    forward(s, input);
    s->loss = prle_loss(prle_plan_output(s->plan), s->batch, s->classes, s->model->dtype, labels, NULL, 1.0 / (double)s->batch,
                        prle_plan_seed(s->plan));
    assert_ok(prle_plan_backward(s->plan, NULL, NULL));
}

/* The largest error of a set, for one line of output. */
typedef struct worst {
    double error;
    const char *name;
    int n;
} worst;

static void check(worst *w, const prle_golden_tensor *t, const prle_shape *shape, const void *values, prle_dtype dtype,
                  double tolerance)
{
    assert_ok(prle_golden_check(t, shape, values, dtype, tolerance));
    const double error = prle_golden_error(t, shape, values, dtype);
    if (w->n++ == 0 || error > w->error) {
        w->error = error;
        w->name = t->name;
    }
}

static void report(const worst *w, const char *net, const char *set)
{
    print_message("%s %s: %d tensors, largest error %.2g (%s)\n", net, set, w->n, w->error, w->name);
}

/* The part of a name after "grad/" or whatever prefix, NULL when it has another one. */
static const char *after(const char *name, const char *prefix)
{
    const size_t n = strlen(prefix);

    return strncmp(name, prefix, n) == 0 ? name + n : NULL;
}

/* The value or gradient in `s` that a recorded tensor is of. */
static const void *find(const session *s, const char *name, prle_shape *shape)
{
    const char *segment = NULL;
    const bool grad = after(name, "grad/") != NULL;

    *shape = (prle_shape){0};
    if (strcmp(name, "loss") == 0)
        return &s->loss;
    if (strcmp(name, "logits") == 0) {
        *shape = PRLE_SHAPE(s->batch, s->classes);
        return prle_plan_output(s->plan);
    }
    if (strcmp(name, "grad/input") == 0) {
        *shape = input_shape(s);
        return prle_plan_grad(s->plan, 0);
    }
    segment = grad ? after(name, "grad/") : strchr(name, '/') + 1;
    const int i = prle_graph_segment_find(s->model->graph, segment);
    if (i < 0)
        fail_msg("%s has no %s", s->model->graph->name, segment);
    *shape = s->model->graph->segment[i].shape;
    if (grad)
        return (const char *)s->model->grads + (size_t)s->model->graph->segment[i].offset * prle_dtype_bytes(s->model->dtype);
    return prle_model_segment(s->model, i);
}

/* Each tensor of the set that begins with the prefix, in double; how many there are. */
static int check_set(worst *w, const prle_golden *golden, const char *set, const char *prefix, const session *s, double tolerance)
{
    int n = 0;

    for (int64_t i = 0; i < golden->n; i++) {
        const prle_golden_tensor *t = &golden->tensor[i];
        prle_shape shape;
        if (strcmp(t->set, set) != 0 || after(t->name, prefix) == NULL)
            continue;
        const void *values = find(s, t->name, &shape);
        check(w, t, &shape, values, PRLE_F64, tolerance);
        n++;
    }
    return n;
}

static int segments_of(const prle_model *model, prle_segment_kind kind)
{
    int n = 0;

    for (int i = 0; i < model->graph->n_segments; i++)
        n += model->graph->segment[i].kind == kind;
    return n;
}

static prle_plan_opts pass_opts(const parity_case *c, prle_dtype dtype, bool batch_stats)
{
    return (prle_plan_opts){
        .batch = c->batch, .dtype = dtype, .batch_stats = batch_stats, .param_grads = true, .wanted = {1, {0}}};
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* |single - exact| / |exact| in L2 of each gradient, ascending; a tensor below 1e-6 of the whole: against the whole. */
static int distances(double *out, const prle_model *single, const prle_model *exact)
{
    const double whole = prle_grad_norm(exact);
    int n = 0;

    for (int i = 0; i < exact->graph->n_segments; i++) {
        const prle_segment *s = &exact->graph->segment[i];
        const float *a = (const float *)single->grads + s->offset;
        const double *b = (const double *)exact->grads + s->offset;
        double diff = 0, norm = 0;
        if (s->kind != PRLE_SEGMENT_WEIGHT)
            continue;
        for (int64_t k = 0; k < s->count; k++) {
            diff += ((double)a[k] - b[k]) * ((double)a[k] - b[k]);
            norm += b[k] * b[k];
        }
        out[n] = sqrt(diff) / (sqrt(norm) < 1e-6 * whole ? whole : sqrt(norm));
        assert_true(isfinite(out[n]));
        n++;
    }
    qsort(out, (size_t)n, sizeof *out, by_value);
    return n;
}

/* The same pass in f32 against `exact`, which has just been through it. */
static void check_f32(const parity_case *c, const prle_golden *golden, bool batch_stats, const char *input, const session *exact)
{
    session single = session_open(c, exact->model->opts.height, pass_opts(c, PRLE_F32, batch_stats));
    const prle_golden_tensor *torch =
        prle_golden_find(golden, "torch_f32", batch_stats ? "train_gradient_median" : "frozen_gradient_max");
    double *distance = NULL;

    assert_non_null(torch);
    assert_ok(PRLE_NEW(distance, exact->model->graph->n_segments));
    step(&single, input);
    const int n = distances(distance, single.model, exact->model);
    const double median = (distance[(n - 1) / 2] + distance[n / 2]) / 2, largest = distance[n - 1];
    print_message("%s %s f32: gradient distance %.3g in the median, %.3g at most; PyTorch's %s %.3g\n", c->net,
                  batch_stats ? "train" : "frozen", median, largest, batch_stats ? "median" : "most", torch->first[0]);
    if (batch_stats)
        assert_true(median <= 2 * torch->first[0]);
    else
        assert_true(median <= 1e-3 && largest <= fmax(5e-3, torch->first[0]));
    prle_free(distance);
    session_close(&single);
}

/* A pass in f64: logits, loss, every gradient, every running statistic. */
static session check_f64(const parity_case *c, const prle_golden *golden, const char *set, bool batch_stats)
{
    session s = session_open(c, c->size, pass_opts(c, PRLE_F64, batch_stats));
    worst w = {0};

    step(&s, "input");
    const int n_grads = check_set(&w, golden, set, "grad/", &s, 1e-8), n_stats = check_set(&w, golden, set, "stat/", &s, 1e-8);
    assert_int_equal(check_set(&w, golden, set, "lo", &s, 1e-8), 2); /* logits, loss */
    assert_int_equal(n_grads, segments_of(s.model, PRLE_SEGMENT_WEIGHT) + 1);
    assert_int_equal(n_stats, batch_stats ? segments_of(s.model, PRLE_SEGMENT_STAT) : 0);
    report(&w, c->net, set);
    return s;
}

/* A pass in f64 against PyTorch, then in f32 against f64. */
static void check_pass(const parity_case *c, const char *set, bool batch_stats)
{
    prle_golden *golden = golden_of(c);
    session exact = check_f64(c, golden, set, batch_stats);
    const char *input = "input";

    if (c->smooth.input != NULL) {
        input = c->smooth.input;
        session_close(&exact);
        exact = session_open(c, c->smooth.size, pass_opts(c, PRLE_F64, batch_stats));
        step(&exact, input);
    }
    check_f32(c, golden, batch_stats, input, &exact);
    session_close(&exact);
    prle_golden_destroy(golden);
}

void parity_train(const parity_case *c) { check_pass(c, "train", true); }
void parity_frozen(const parity_case *c) { check_pass(c, "frozen", false); }

void parity_variant(const parity_case *c)
{
    prle_golden *golden = golden_of(c);
    session s = session_open(c, c->size, pass_opts(c, PRLE_F64, true));
    worst w = {0};

    step(&s, "input");
    assert_int_equal(check_set(&w, golden, "train", "lo", &s, 1e-8), 2); /* logits, loss */
    assert_true(check_set(&w, golden, "train", "grad/", &s, 1e-8) > 1);
    assert_true(check_set(&w, golden, "train", "stat/", &s, 1e-8) > 0);
    report(&w, c->net, "train");
    session_close(&s);
    prle_golden_destroy(golden);
}

void parity_one_logit(const parity_case *c)
{
    prle_golden *golden = golden_of(c);
    session s = check_f64(c, golden, "one_logit", true);

    session_close(&s);
    prle_golden_destroy(golden);
}

void parity_infer(const parity_case *c, int64_t size)
{
    static const struct {
        prle_dtype dtype;
        double tolerance;
    } ways[] = {{PRLE_F32, 1e-5}, {PRLE_BF16, 2e-2}};
    prle_golden *golden = golden_of(c);
    char set[32], own_name[32], input[32], what[32];

    snprintf(set, sizeof set, "infer%d", (int)size);
    snprintf(own_name, sizeof own_name, "infer%d_logits", (int)size);
    snprintf(input, sizeof input, "input/%d", (int)size);
    const prle_golden_tensor *t = prle_golden_find(golden, set, "logits");
    const prle_golden_tensor *torch = prle_golden_find(golden, "torch_bf16", own_name);
    assert_non_null(t);
    assert_true(torch != NULL || !c->bf16_as_torch);
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        const double own = ways[i].dtype == PRLE_BF16 && c->bf16_as_torch ? torch->first[0] : 0; /* PyTorch's distance */
        session s = session_open(c, size, (prle_plan_opts){.batch = 2, .dtype = ways[i].dtype});
        const prle_shape shape = PRLE_SHAPE(2, c->classes);
        worst w = {0};
        forward(&s, input);
        check(&w, t, &shape, prle_plan_output(s.plan), PRLE_F32, fmax(ways[i].tolerance, own));
        snprintf(what, sizeof what, "infer %s at %d", ways[i].dtype == PRLE_F32 ? "f32" : "bf16", (int)size);
        report(&w, c->net, what);
        session_close(&s);
    }
    prle_golden_destroy(golden);
}

void parity_trajectory(const parity_case *c, const parity_path *path)
{
    enum { MAX_STEPS = 32 };
    prle_golden *golden = golden_of(c);
    session s = session_open(c, c->size, pass_opts(c, PRLE_F64, true));
    prle_optim *optim = NULL;
    double losses[MAX_STEPS];
    const prle_golden_tensor *t = prle_golden_find(golden, path->set, "losses");
    const prle_shape shape = PRLE_SHAPE(path->n_steps);
    worst w = {0}, w_losses = {0};

    assert_non_null(t);
    assert_true(path->n_steps <= MAX_STEPS);
    assert_ok(prle_optim_create(&optim, s.model, &path->optim));
    for (int k = 0; k < path->n_steps; k++) {
        char input[32];
        snprintf(input, sizeof input, "input/step%d", k);
        step(&s, input);
        losses[k] = s.loss;
        const double factor = path->clip / (prle_grad_norm(s.model) + 1e-6); /* PyTorch's clip_grad_norm_ */
        if (path->clip > 0 && factor < 1)
            prle_grad_scale(s.model, factor);
        prle_optim_step(optim, s.model, path->lr);
    }
    check(&w_losses, t, &shape, losses, PRLE_F64, path->loss_tolerance);
    report(&w_losses, c->net, path->set);
    assert_true(check_set(&w, golden, path->set, "weight/", &s, path->weight_tolerance) > 0);
    report(&w, c->net, path->set);
    prle_optim_destroy(optim);
    session_close(&s);
    prle_golden_destroy(golden);
}
