/* graph.c - see graph.h. */
#include "nets/graph.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/alloc.h"

enum { GROW = 64 };

prle_status prle_graph_create(prle_graph **out, const char *name)
{
    prle_graph *g = NULL;

    PRLE_TRY(PRLE_NEW(g, 1));
    snprintf(g->name, sizeof g->name, "%s", name);
    g->output = g->cam = -1;
    *out = g;
    return PRLE_OK;
}

void prle_graph_destroy(prle_graph *g)
{
    if (g == NULL)
        return;
    prle_free(g->node);
    prle_free(g->segment);
    prle_free(g->constant);
    prle_free(g);
}

static prle_node fail(prle_graph *g, const char *name)
{
    g->status = prle_error_prefix("%s: node %s%s", g->name, g->scope, name);
    return -1;
}

static bool node_exists(const prle_graph *g, const char *name)
{
    for (int i = 0; i < g->n_nodes; i++)
        if (strcmp(g->node[i].name, name) == 0)
            return true;
    return false;
}

void prle_graph_scope_begin(prle_graph *g, const char *format, ...)
{
    const size_t used = strlen(g->scope), room = sizeof g->scope - used;
    char scope[PRLE_NAME_BYTES];
    va_list args;

    PRLE_ASSERT(g->n_scopes < PRLE_GRAPH_MAX_SCOPES);
    g->scope_bytes[g->n_scopes++] = used;
    va_start(args, format);
    vsnprintf(scope, sizeof scope, format, args);
    va_end(args);
    if ((size_t)snprintf(g->scope + used, room, "%s.", scope) >= room && g->status == PRLE_OK)
        g->status = PRLE_FAIL(PRLE_EINVAL, "%s: the scope %s is too long", g->name, g->scope);
}

void prle_graph_scope_end(prle_graph *g) { g->scope[g->scope_bytes[--g->n_scopes]] = '\0'; }

static prle_status name_make(const prle_graph *g, const char *name, char out[PRLE_NAME_BYTES])
{
    PRLE_CHECK(snprintf(out, PRLE_NAME_BYTES, "%s%s", g->scope, name) < PRLE_NAME_BYTES, PRLE_EINVAL,
               "the name is longer than %d bytes", PRLE_NAME_BYTES - 1);
    return PRLE_OK;
}

/* Adds the node described by `fresh` (kind, attributes, inputs), with shapes inferred. */
static prle_status node_append(prle_graph *g, const char *name, prle_graph_node *fresh, prle_node *out)
{
    PRLE_TRY(name_make(g, name, fresh->name));
    PRLE_CHECK(!node_exists(g, fresh->name), PRLE_EINVAL, "there is a node of this name already");
    for (int i = 0; i < fresh->desc.n_in; i++) {
        PRLE_CHECK(fresh->in[i] >= 0 && fresh->in[i] < g->n_nodes, PRLE_EINVAL, "input %d is no node", i);
        fresh->desc.in[i] = g->node[fresh->in[i]].desc.out;
    }
    if (fresh->desc.kind != PRLE_OP_INPUT)
        PRLE_TRY(prle_op_infer(&fresh->desc));
    if (g->n_nodes % GROW == 0)
        PRLE_TRY(prle_realloc((size_t)g->n_nodes, (size_t)g->n_nodes + GROW, sizeof *g->node, (prle_any_ptr *)&g->node));
    for (int i = 0; i < PRLE_OP_MAX_PARAMS; i++)
        fresh->param[i] = -1;
    fresh->stat[0] = fresh->stat[1] = fresh->counter = -1;
    g->node[g->n_nodes] = *fresh;
    *out = g->n_nodes++;
    return PRLE_OK;
}

static prle_status segment_append(prle_graph *g, const prle_segment *fresh, const char *node, const char *suffix, int *out)
{
    prle_segment segment = *fresh;
    int64_t *total = segment.kind == PRLE_SEGMENT_WEIGHT ? &g->n_weights
                     : segment.kind == PRLE_SEGMENT_STAT ? &g->n_stats
                                                         : &g->n_counters;

    PRLE_CHECK((size_t)snprintf(segment.name, sizeof segment.name, "%s.%s", node, suffix) < sizeof segment.name, PRLE_EINVAL,
               "the parameter's name is too long");
    PRLE_CHECK(prle_graph_segment_find(g, segment.name) < 0, PRLE_EINVAL, "there is a parameter %s already", segment.name);
    if (g->n_segments % GROW == 0)
        PRLE_TRY(
            prle_realloc((size_t)g->n_segments, (size_t)g->n_segments + GROW, sizeof *g->segment, (prle_any_ptr *)&g->segment));
    segment.count = prle_shape_count(&segment.shape);
    segment.offset = *total;
    *total += segment.count;
    g->segment[g->n_segments] = segment;
    *out = g->n_segments++;
    return PRLE_OK;
}

static prle_node node_add(prle_graph *g, const char *name, prle_graph_node fresh)
{
    prle_node node = -1;

    if (g->status != PRLE_OK)
        return -1;
    return node_append(g, name, &fresh, &node) == PRLE_OK ? node : fail(g, name);
}

static prle_graph_node unary(prle_op_kind kind, prle_node x)
{
    return (prle_graph_node){.desc = {.kind = kind, .n_in = 1}, .in = {x}};
}

prle_node prle_graph_input(prle_graph *g, int64_t channels, int64_t height, int64_t width)
{
    return node_add(g, "input",
                    (prle_graph_node){.desc = {.kind = PRLE_OP_INPUT, .out = PRLE_SHAPE(1, channels, height, width)}});
}

/* weight and, where there is one, bias of a convolution or linear layer. */
static prle_status weights_append(prle_graph *g, prle_node node, prle_init init, bool head)
{
    prle_graph_node *n = &g->node[node];
    const prle_shape *w = &n->desc.param[0];
    const int64_t taps = w->n == 4 ? w->dim[2] * w->dim[3] : 1;
    prle_segment weight = {.kind = PRLE_SEGMENT_WEIGHT,
                           .shape = *w,
                           .init = init,
                           .fan_in = w->dim[1] * taps,
                           .fan_out = w->dim[0] * taps,
                           .head = head};

    PRLE_TRY(segment_append(g, &weight, n->name, "weight", &n->param[0]));
    if (n->desc.n_params < 2)
        return PRLE_OK;
    prle_segment bias = weight;
    bias.shape = n->desc.param[1];
    bias.init = init == PRLE_INIT_TORCH ? PRLE_INIT_TORCH : PRLE_INIT_ZERO;
    bias.no_decay = true;
    return segment_append(g, &bias, n->name, "bias", &n->param[1]);
}

prle_node prle_graph_conv(prle_graph *g, prle_node x, const char *name, prle_conv_opts o)
{
    prle_graph_node fresh = unary(PRLE_OP_CONV2D, x);

    fresh.desc.u.conv2d = (prle_conv2d_attrs){.n_out = o.out,
                                              .kernel_h = o.kernel,
                                              .kernel_w = o.kernel,
                                              .stride = o.stride > 0 ? o.stride : 1,
                                              .pad_top = o.pad + o.pads.top,
                                              .pad_left = o.pad + o.pads.left,
                                              .pad_bottom = o.pad + o.pads.bottom,
                                              .pad_right = o.pad + o.pads.right,
                                              .groups = o.groups > 0 ? o.groups : 1,
                                              .bias = o.bias};
    const prle_node node = node_add(g, name, fresh);
    if (node >= 0 && weights_append(g, node, o.kaiming ? PRLE_INIT_KAIMING_FAN_OUT : PRLE_INIT_TORCH, false) != PRLE_OK)
        return fail(g, name);
    return node;
}

static prle_status norm_append(prle_graph *g, prle_node node)
{
    prle_graph_node *n = &g->node[node];
    prle_segment s = {.kind = PRLE_SEGMENT_WEIGHT, .shape = n->desc.param[0], .init = PRLE_INIT_ONE, .no_decay = true};
    const prle_segment counter = {.kind = PRLE_SEGMENT_COUNTER};

    PRLE_TRY(segment_append(g, &s, n->name, "weight", &n->param[0]));
    s.init = PRLE_INIT_ZERO;
    PRLE_TRY(segment_append(g, &s, n->name, "bias", &n->param[1]));
    s.kind = PRLE_SEGMENT_STAT;
    PRLE_TRY(segment_append(g, &s, n->name, "running_mean", &n->stat[0]));
    s.init = PRLE_INIT_ONE;
    PRLE_TRY(segment_append(g, &s, n->name, "running_var", &n->stat[1]));
    return segment_append(g, &counter, n->name, "num_batches_tracked", &n->counter);
}

/* Takes over the parameters of the batch norm called `name`. */
static prle_status norm_share(prle_graph *g, prle_node node, const char *name)
{
    char full[PRLE_NAME_BYTES];
    prle_node first = -1;

    PRLE_TRY(name_make(g, name, full));
    PRLE_TRY(prle_graph_find(g, full, &first));
    const prle_graph_node *from = &g->node[first];
    prle_graph_node *to = &g->node[node];
    PRLE_CHECK(from->desc.kind == PRLE_OP_BATCH_NORM && prle_shape_equal(&from->desc.param[0], &to->desc.param[0]), PRLE_ESHAPE,
               "cannot share the parameters of %s", name);
    memcpy(to->param, from->param, sizeof to->param);
    memcpy(to->stat, from->stat, sizeof to->stat);
    to->counter = from->counter;
    return PRLE_OK;
}

prle_node prle_graph_batch_norm(prle_graph *g, prle_node x, const char *name, prle_bn_opts o)
{
    prle_graph_node fresh = unary(PRLE_OP_BATCH_NORM, x);
    char unique[PRLE_NAME_BYTES];

    fresh.desc.u.batch_norm =
        (prle_batch_norm_attrs){.eps = o.eps > 0 ? o.eps : 1e-5, .momentum = o.momentum > 0 ? o.momentum : 0.1};
    snprintf(unique, sizeof unique, "%s%s", name, o.again ? ".again" : "");
    const prle_node node = node_add(g, unique, fresh);
    if (node >= 0 && (o.again ? norm_share(g, node, name) : norm_append(g, node)) != PRLE_OK)
        return fail(g, unique);
    return node;
}

prle_node prle_graph_act(prle_graph *g, prle_node x, const char *name, prle_act_attrs attrs)
{
    prle_graph_node fresh = unary(PRLE_OP_ACT, x);

    fresh.desc.u.act = attrs;
    return node_add(g, name, fresh);
}

prle_node prle_graph_relu(prle_graph *g, prle_node x, const char *name)
{
    return prle_graph_act(g, x, name, (prle_act_attrs){.act = PRLE_ACT_RELU});
}

prle_node prle_graph_leaky_relu(prle_graph *g, prle_node x, const char *name, double slope)
{
    return prle_graph_act(g, x, name, (prle_act_attrs){.act = PRLE_ACT_LEAKY_RELU, .slope = slope});
}

prle_node prle_graph_max_pool(prle_graph *g, prle_node x, const char *name, int64_t kernel, int64_t stride, int64_t pad)
{
    prle_graph_node fresh = unary(PRLE_OP_POOL, x);

    fresh.desc.u.pool = (prle_pool_attrs){.max = true, .kernel = kernel, .stride = stride, .pad = pad};
    return node_add(g, name, fresh);
}

prle_node prle_graph_adaptive_mean(prle_graph *g, prle_node x, const char *name, int64_t bins)
{
    prle_graph_node fresh = unary(PRLE_OP_POOL, x);

    fresh.desc.u.pool = (prle_pool_attrs){.bins = bins};
    return node_add(g, name, fresh);
}

prle_node prle_graph_global_mean(prle_graph *g, prle_node x, const char *name)
{
    prle_graph_node fresh = unary(PRLE_OP_POOL, x);

    fresh.desc.u.pool = (prle_pool_attrs){.global = true};
    return node_add(g, name, fresh);
}

prle_node prle_graph_squeeze(prle_graph *g, prle_node x, const char *name)
{
    prle_graph_node fresh = unary(PRLE_OP_POOL, x);

    fresh.desc.u.pool = (prle_pool_attrs){.global = true, .keep_dims = true};
    return node_add(g, name, fresh);
}

prle_node prle_graph_gate(prle_graph *g, prle_node x, prle_node gate, const char *name)
{
    return node_add(g, name, (prle_graph_node){.desc = {.kind = PRLE_OP_GATE, .n_in = 2}, .in = {x, gate}});
}

prle_node prle_graph_add(prle_graph *g, prle_node a, prle_node b, const char *name)
{
    return node_add(g, name, (prle_graph_node){.desc = {.kind = PRLE_OP_ADD, .n_in = 2}, .in = {a, b}});
}

prle_node prle_graph_concat(prle_graph *g, const prle_node *nodes, int n, const char *name)
{
    prle_graph_node fresh = {.desc = {.kind = PRLE_OP_CONCAT, .n_in = n}};

    for (int i = 0; i < n && i < PRLE_OP_MAX_IN; i++)
        fresh.in[i] = nodes[i];
    return node_add(g, name, fresh);
}

prle_node prle_graph_flatten(prle_graph *g, prle_node x, const char *name)
{
    return node_add(g, name, unary(PRLE_OP_FLATTEN, x));
}

prle_node prle_graph_dropout(prle_graph *g, prle_node x, const char *name, double p)
{
    prle_graph_node fresh = unary(PRLE_OP_DROPOUT, x);

    fresh.desc.u.dropout = (prle_dropout_attrs){.p = p, .layer = g->n_dropouts++};
    return node_add(g, name, fresh);
}

prle_node prle_graph_drop_samples(prle_graph *g, prle_node x, const char *name, double p)
{
    prle_graph_node fresh = unary(PRLE_OP_DROPOUT, x);

    fresh.desc.u.dropout = (prle_dropout_attrs){.p = p, .layer = g->n_dropouts++, .per_sample = true};
    return node_add(g, name, fresh);
}

prle_node prle_graph_linear(prle_graph *g, prle_node x, const char *name, int64_t out)
{
    prle_graph_node fresh = unary(PRLE_OP_LINEAR, x);

    fresh.desc.u.linear.n_out = out;
    fresh.desc.u.linear.bias = true;
    const prle_node node = node_add(g, name, fresh);
    if (node >= 0 && weights_append(g, node, PRLE_INIT_TORCH, false) != PRLE_OK)
        return fail(g, name);
    return node;
}

prle_node prle_graph_dct(prle_graph *g, prle_node x, const char *name, bool inverse)
{
    prle_graph_node fresh = unary(PRLE_OP_DCT, x);

    fresh.desc.u.dct.inverse = inverse;
    return node_add(g, name, fresh);
}

/* A node whose parameters are learnt gains of bands (core/op/band.h). */
static prle_node bands_add(prle_graph *g, const char *name, prle_graph_node fresh)
{
    const prle_node node = node_add(g, name, fresh);

    for (int m = 0; node >= 0 && m < g->node[node].desc.n_params; m++) {
        prle_graph_node *n = &g->node[node];
        const prle_segment gains = {
            .kind = PRLE_SEGMENT_WEIGHT, .shape = n->desc.param[m], .init = PRLE_INIT_NORMAL, .deviation = 0.1};
        char suffix[PRLE_NAME_BYTES];

        snprintf(suffix, sizeof suffix, "%d.learnable", m);
        if (segment_append(g, &gains, n->name, suffix, &n->param[m]) != PRLE_OK)
            return fail(g, name);
    }
    return node;
}

prle_node prle_graph_band_filter(prle_graph *g, prle_node x, const char *name, const prle_bands *bands)
{
    prle_graph_node fresh = unary(PRLE_OP_BAND_FILTER, x);

    fresh.desc.u.band_filter.bands = *bands;
    return bands_add(g, name, fresh);
}

prle_node prle_graph_local_spectrum(prle_graph *g, prle_node x, const char *name, const prle_local_spectrum_attrs *attrs)
{
    prle_graph_node fresh = unary(PRLE_OP_LOCAL_SPECTRUM, x);

    fresh.desc.u.local_spectrum = *attrs;
    return bands_add(g, name, fresh);
}

static prle_status constant_append(prle_graph *g, const char *name, prle_constant fresh)
{
    PRLE_TRY(name_make(g, name, fresh.name));
    if (fresh.kind == PRLE_CONSTANT_BAND_COUNT)
        fresh.shape = (prle_shape){0};
    else if (fresh.kind != PRLE_CONSTANT_UNUSED)
        fresh.shape = PRLE_SHAPE(fresh.n, fresh.n);
    if (g->n_constants % GROW == 0)
        PRLE_TRY(prle_realloc((size_t)g->n_constants, (size_t)g->n_constants + GROW, sizeof *g->constant,
                              (prle_any_ptr *)&g->constant));
    g->constant[g->n_constants++] = fresh;
    return PRLE_OK;
}

void prle_graph_constant(prle_graph *g, const char *name, prle_constant constant)
{
    if (g->status == PRLE_OK && constant_append(g, name, constant) != PRLE_OK)
        fail(g, name);
}

void prle_constant_fill(double *out, const prle_constant *c)
{
    double count = 0;

    for (int64_t i = 0; i < c->n; i++) {
        for (int64_t j = 0; j < c->n; j++) {
            const double in_band = prle_band_has(c->band, i, j);

            count += in_band;
            if (c->kind == PRLE_CONSTANT_BAND)
                out[i * c->n + j] = in_band;
            else if (c->kind == PRLE_CONSTANT_DCT)
                out[i * c->n + j] = prle_dct_element(i, j, c->n);
            else if (c->kind == PRLE_CONSTANT_DCT_TRANSPOSED)
                out[i * c->n + j] = prle_dct_element(j, i, c->n);
        }
    }
    if (c->kind == PRLE_CONSTANT_BAND_COUNT)
        *out = count;
    for (int64_t i = 0; i < prle_shape_count(&c->shape) && c->kind == PRLE_CONSTANT_UNUSED; i++)
        out[i] = 0;
}

void prle_graph_init_normal(prle_graph *g, prle_node node, double deviation)
{
    for (int i = 0; i < PRLE_OP_MAX_PARAMS && g->status == PRLE_OK; i++) {
        if (g->node[node].param[i] < 0)
            continue;
        prle_segment *s = &g->segment[g->node[node].param[i]];
        s->init = s->shape.n > 1 ? PRLE_INIT_NORMAL : PRLE_INIT_ZERO;
        s->deviation = deviation;
    }
}

void prle_graph_output(prle_graph *g, prle_node logits)
{
    if (g->status != PRLE_OK)
        return;
    g->output = logits;
    for (int i = 0; i < PRLE_OP_MAX_PARAMS && logits >= 0; i++)
        if (g->node[logits].param[i] >= 0)
            g->segment[g->node[logits].param[i]].head = true;
}

void prle_graph_cam(prle_graph *g, prle_node node) { g->cam = node; }

prle_status prle_graph_finish(prle_graph *g)
{
    if (g->status == PRLE_OK && (g->output < 0 || g->cam < 0))
        g->status =
            PRLE_FAIL(PRLE_EINVAL, "%s: no %s was named", g->name, g->output < 0 ? "output" : "node for class activation maps");
    return g->status;
}

prle_status prle_graph_find(const prle_graph *g, const char *name, prle_node *out)
{
    char names[512] = "";
    size_t used = 0;

    for (int i = 0; i < g->n_nodes; i++) {
        if (strcmp(g->node[i].name, name) == 0) {
            *out = i;
            return PRLE_OK;
        }
        if (g->n_nodes - i <= 12 && used < sizeof names)
            used += (size_t)snprintf(names + used, sizeof names - used, " %s", g->node[i].name);
    }
    return PRLE_FAIL(PRLE_EINVAL, "%s has no node \"%s\"; its last ones are%s", g->name, name, names);
}

int prle_graph_segment_find(const prle_graph *g, const char *name)
{
    for (int i = 0; i < g->n_segments; i++)
        if (strcmp(g->segment[i].name, name) == 0)
            return i;
    return -1;
}
