/* exchange.c - see exchange.h. */
#include "nets/exchange.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/alloc.h"

static const char *const state_names[] = {
    [PRLE_IMPORT_LOADED] = "loaded",         [PRLE_IMPORT_CONVERTED] = "converted", [PRLE_IMPORT_NEW_HEAD] = "new head",
    [PRLE_IMPORT_CONSTANT] = "constant",     [PRLE_IMPORT_MISSING] = "missing",     [PRLE_IMPORT_UNFIT] = "unfit",
    [PRLE_IMPORT_UNEXPECTED] = "unexpected",
};

const char *prle_import_state_name(prle_import_state state) { return state_names[state]; }

/* ---- which names, behind which prefix ---- */

/* How many different tensors the best prefix has under one naming. */
typedef struct vote {
    const prle_naming *naming;
    char *prefix;
    int64_t n;
} vote;

/* The names that the network's tensors have there. */
static prle_status names_collect(prle_names *names, const prle_naming *naming, const prle_graph *graph)
{
    char name[PRLE_NAMING_BYTES];
    int64_t index;

    for (int i = 0; i < graph->n_segments; i++)
        if (prle_naming_apply(naming, graph->segment[i].name, name))
            PRLE_TRY(prle_names_intern(names, name, &index));
    return PRLE_OK;
}

typedef struct prefix_count {
    prle_names names;
    int64_t *n_votes; /* [names.list.n] */
} prefix_count;

static prle_status prefix_add(prefix_count *prefixes, const char *prefix)
{
    const int64_t n = prefixes->names.list.n;
    int64_t index = 0;

    PRLE_TRY(prle_names_intern(&prefixes->names, prefix, &index));
    if (index == n && (n & (n - 1)) == 0) /* room for as many again at 0, 1, 2, 4, ... */
        PRLE_TRY(
            prle_realloc((size_t)n, n > 0 ? 2 * (size_t)n : 1, sizeof *prefixes->n_votes, (prle_any_ptr *)&prefixes->n_votes));
    prefixes->n_votes[index]++;
    return PRLE_OK;
}

/* Each part of `name` that begins it or follows a dot, and is a name of the network, is a vote for what stands before it. */
static prle_status prefixes_count(prefix_count *prefixes, const prle_names *names, const char *name)
{
    char prefix[PRLE_ARCHIVE_NAME_BYTES];
    const char *part = name, *dot;

    do {
        if (prle_names_find(names, part) >= 0) {
            snprintf(prefix, sizeof prefix, "%.*s", (int)(part - name), name);
            PRLE_TRY(prefix_add(prefixes, prefix));
        }
        dot = strchr(part, '.');
        part = dot != NULL ? dot + 1 : NULL;
    } while (part != NULL);
    return PRLE_OK;
}

/* *best becomes this naming with its best prefix, where that is better. */
static prle_status naming_vote(vote *best, const prle_naming *naming, const prle_archive *archive, const prle_graph *graph)
{
    prle_status st = PRLE_OK;
    prle_names names = {0};
    prefix_count prefixes = {0};
    int64_t most = 0;

    PRLE_TRY_OUT(names_collect(&names, naming, graph));
    for (int64_t i = 0; i < archive->n; i++)
        PRLE_TRY_OUT(prefixes_count(&prefixes, &names, archive->tensor[i].name));
    for (int64_t i = 1; i < prefixes.names.list.n; i++)
        if (prefixes.n_votes[i] > prefixes.n_votes[most])
            most = i;
    if (prefixes.names.list.n > 0 && prefixes.n_votes[most] > best->n) {
        prle_free(best->prefix);
        *best = (vote){.naming = naming, .n = prefixes.n_votes[most]};
        PRLE_TRY_OUT(prle_strdup(prefixes.names.list.item[most], &best->prefix));
    }
out:
    prle_free(prefixes.n_votes);
    prle_names_deinit(&prefixes.names);
    prle_names_deinit(&names);
    return st;
}

static prle_status vote_all(vote *best, const prle_archive *archive, const prle_graph *graph)
{
    const prle_naming *naming;

    for (int i = 0; (naming = prle_naming_get(graph->name, i)) != NULL; i++)
        PRLE_TRY(naming_vote(best, naming, archive, graph));
    return PRLE_OK;
}

/* ---- whether a tensor fits ---- */

typedef enum fit {
    FIT_AS_IS,
    FIT_RESHAPED, /* the same numbers in the same order */
    FIT_SPREAD,   /* a stem for three channels, for one that has several times three */
    FIT_NOT,
} fit;

static bool same_shape(const prle_segment *s, const prle_archive_tensor *t)
{
    bool same = s->shape.n == t->n_dims;

    for (int d = 0; same && d < t->n_dims; d++)
        same = s->shape.dim[d] == t->dim[d];
    return same;
}

/* One is a matrix [K,C], the other [K,C,1,1], or [K,c,h,w] with C = c h w. */
static bool is_reshaped(const prle_segment *s, const prle_archive_tensor *t)
{
    const bool matrix = (s->shape.n == 2 && t->n_dims == 4) || (s->shape.n == 4 && t->n_dims == 2);
    int64_t count = 1;

    for (int d = 0; matrix && d < t->n_dims; d++)
        if (__builtin_mul_overflow(count, t->dim[d], &count))
            return false;
    return matrix && s->shape.dim[0] == t->dim[0] && s->count == count;
}

/* [K,3,R,S] for [K,3 groups,R,S]. */
static bool is_spread(const prle_segment *s, const prle_archive_tensor *t)
{
    return s->shape.n == 4 && t->n_dims == 4 && t->dim[1] == 3 && s->shape.dim[1] > 3 && s->shape.dim[1] % 3 == 0 &&
           s->shape.dim[0] == t->dim[0] && s->shape.dim[2] == t->dim[2] && s->shape.dim[3] == t->dim[3];
}

static fit fit_of(const prle_segment *s, const prle_archive_tensor *t)
{
    if (s->kind == PRLE_SEGMENT_COUNTER)
        return t->type <= PRLE_STORED_I64 && (t->n_dims == 0 || (t->n_dims == 1 && t->dim[0] == 1)) ? FIT_AS_IS : FIT_NOT;
    if (!prle_stored_is_real(t->type))
        return FIT_NOT;
    return same_shape(s, t) ? FIT_AS_IS : is_reshaped(s, t) ? FIT_RESHAPED : is_spread(s, t) ? FIT_SPREAD : FIT_NOT;
}

/* ---- rows ---- */

static void row_fill(prle_import_row *row, const prle_segment *s, const prle_archive_tensor *t)
{
    const fit fits = fit_of(s, t);
    char ours[96], theirs[192];
    int n = 0;

    prle_archive_shape_print(t, theirs);
    prle_shape_print(&s->shape, ours);
    if (fits == FIT_NOT) {
        row->state = s->head && prle_stored_is_real(t->type) ? PRLE_IMPORT_NEW_HEAD : PRLE_IMPORT_UNFIT;
        snprintf(row->how, sizeof row->how, "%s %s for %s", prle_stored_name(t->type), theirs, ours);
        return;
    }
    if (fits == FIT_RESHAPED)
        n = snprintf(row->how, sizeof row->how, "%s as %s", theirs, ours);
    else if (fits == FIT_SPREAD)
        n = snprintf(row->how, sizeof row->how, "copied to %" PRId64 " groups, divided by %" PRId64, s->shape.dim[1] / 3,
                     s->shape.dim[1] / 3);
    if (s->kind != PRLE_SEGMENT_COUNTER && t->type != PRLE_STORED_F32)
        n += snprintf(row->how + n, sizeof row->how - (size_t)n, "%sfrom %s", n > 0 ? ", " : "", prle_stored_name(t->type));
    row->state = n > 0 ? PRLE_IMPORT_CONVERTED : PRLE_IMPORT_LOADED;
}

static prle_import_row *row_new(prle_import *import, int segment, int64_t tensor)
{
    prle_import_row *row = &import->row[import->n++];

    *row = (prle_import_row){.segment = segment, .constant = -1, .tensor = tensor};
    return row;
}

/* The tensor in the file for segment i; -1: none. */
static int64_t tensor_for(const prle_import *import, const prle_archive *archive, const char *ours)
{
    char name[PRLE_NAMING_BYTES], whole[PRLE_ARCHIVE_NAME_BYTES + PRLE_NAMING_BYTES];

    if (!prle_naming_apply(import->naming, ours, name))
        return -1;
    snprintf(whole, sizeof whole, "%s%s", import->prefix, name);
    return prle_names_find(&archive->names, whole);
}

/* Weights that the original never reads may have any shape. */
static bool constant_fits(const prle_constant *c, const prle_archive_tensor *t)
{
    bool same = c->shape.n == t->n_dims && prle_stored_is_real(t->type);

    for (int d = 0; same && d < t->n_dims; d++)
        same = c->shape.dim[d] == t->dim[d];
    return same || c->kind == PRLE_CONSTANT_UNUSED;
}

static void constant_rows_make(prle_import *import, const prle_archive *archive, const prle_graph *graph, uint8_t *used)
{
    char ours[96], theirs[192];

    for (int i = 0; i < graph->n_constants; i++) {
        const prle_constant *c = &graph->constant[i];
        const int64_t t = tensor_for(import, archive, c->name);
        if (t < 0 || used[t])
            continue;
        used[t] = 1;
        prle_import_row *row = row_new(import, -1, t);
        row->constant = i;
        row->state = PRLE_IMPORT_CONSTANT;
        if (constant_fits(c, &archive->tensor[t]))
            continue;
        row->state = PRLE_IMPORT_UNFIT;
        prle_archive_shape_print(&archive->tensor[t], theirs);
        snprintf(row->how, sizeof row->how, "%s %s for %s", prle_stored_name(archive->tensor[t].type), theirs,
                 prle_shape_print(&c->shape, ours));
    }
}

static prle_status rows_make(prle_import *import, const prle_archive *archive, const prle_graph *graph)
{
    prle_status st = PRLE_OK;
    uint8_t *used = NULL;

    PRLE_TRY_OUT(PRLE_NEW(used, archive->n));
    PRLE_TRY_OUT(PRLE_NEW(import->row, graph->n_segments + archive->n));
    for (int i = 0; i < graph->n_segments; i++) {
        const prle_segment *s = &graph->segment[i];
        const int64_t t = tensor_for(import, archive, s->name);
        if (t < 0 && s->kind == PRLE_SEGMENT_COUNTER)
            continue;
        prle_import_row *row = row_new(import, i, t);
        if (t < 0) {
            row->state = PRLE_IMPORT_MISSING;
            continue;
        }
        used[t] = 1;
        row_fill(row, s, &archive->tensor[t]);
        if (s->head && archive->tensor[t].n_dims > 0)
            import->classes = archive->tensor[t].dim[0];
    }
    constant_rows_make(import, archive, graph, used);
    for (int64_t t = 0; t < archive->n; t++) {
        const bool inside = strncmp(archive->tensor[t].name, import->prefix, strlen(import->prefix)) == 0;
        import->n_outside += !inside;
        if (inside && !used[t])
            row_new(import, -1, t)->state = PRLE_IMPORT_UNEXPECTED;
    }
    for (int64_t i = 0; i < import->n; i++)
        import->count[import->row[i].state]++;
out:
    prle_free(used);
    return st;
}

/* Fewer than half: another network, or none; a table of all that is missing would say it less clearly. */
static prle_status votes_check(const vote *best, const prle_archive *archive, const prle_graph *graph)
{
    const char *net = NULL;
    int64_t n_found = 0, n = 0;

    if (2 * best->n >= graph->n_segments)
        return PRLE_OK;
    PRLE_TRY(prle_import_guess(&net, &n_found, &n, archive));
    return PRLE_FAIL(PRLE_EFORMAT, "%s: has only %" PRId64 " of the %d tensors of %s%s%s", archive->path, best->n,
                     graph->n_segments, graph->name, net != NULL ? "; it looks like " : "", net != NULL ? net : "");
}

prle_status prle_import_match(prle_import **out, const prle_archive *archive, const prle_graph *graph)
{
    prle_status st = PRLE_OK;
    prle_import *import = NULL;
    vote best = {0};

    PRLE_TRY_OUT(vote_all(&best, archive, graph));
    PRLE_TRY_OUT(votes_check(&best, archive, graph));
    PRLE_TRY_OUT(PRLE_NEW(import, 1));
    import->naming = best.naming;
    import->prefix = best.prefix;
    best.prefix = NULL;
    PRLE_TRY_OUT(rows_make(import, archive, graph));
    *out = import;
    import = NULL;
out:
    prle_import_destroy(import);
    prle_free(best.prefix);
    return st;
}

void prle_import_destroy(prle_import *import)
{
    if (import == NULL)
        return;
    prle_free(import->prefix);
    prle_free(import->row);
    prle_free(import);
}

/* ---- whether it may be used ---- */

/* The first row of a state: its name in the network, or in the file. */
static const char *first_of(const prle_import *import, const prle_archive *archive, const prle_graph *graph,
                            prle_import_state state, const char **how)
{
    int64_t i = 0;

    while (import->row[i].state != state)
        i++;
    *how = import->row[i].how;
    return import->row[i].segment >= 0 ? graph->segment[import->row[i].segment].name
                                       : archive->tensor[import->row[i].tensor].name;
}

prle_status prle_import_check(const prle_import *import, const prle_archive *archive, const prle_graph *graph, bool strict)
{
    const int64_t *count = import->count;
    const char *name, *how = "";

    if (count[PRLE_IMPORT_UNFIT] > 0) {
        name = first_of(import, archive, graph, PRLE_IMPORT_UNFIT, &how);
        return PRLE_FAIL(PRLE_EFORMAT, "%s: %" PRId64 " tensors do not fit %s, the first is %s: %s", archive->path,
                         count[PRLE_IMPORT_UNFIT], graph->name, name, how);
    }
    for (int state = PRLE_IMPORT_MISSING; strict && state < PRLE_IMPORT_STATES; state++)
        if (count[state] > 0) {
            name = first_of(import, archive, graph, (prle_import_state)state, &how);
            return PRLE_FAIL(PRLE_EFORMAT, "%s: %" PRId64 " tensors %s, the first is %s (--strict)", archive->path, count[state],
                             state_names[state], name);
        }
    return PRLE_OK;
}

/* ---- values ---- */

/* [K,3,R,S] behind each other to [K,3 groups,R,S]: each group sees the same, so their sum is what one alone gave. */
static void spread(void *out, const void *in, const prle_segment *s, prle_dtype dtype)
{
    const int64_t K = s->shape.dim[0], groups = s->shape.dim[1] / 3, block = 3 * s->shape.dim[2] * s->shape.dim[3];

    for (int64_t i = 0; i < K * groups * block; i++) {
        const int64_t from = i / (groups * block) * block + i % block;
        if (dtype == PRLE_F64)
            ((double *)out)[i] = ((const double *)in)[from] / (double)groups;
        else
            ((float *)out)[i] = ((const float *)in)[from] / (float)groups;
    }
}

static prle_status row_load(prle_model *model, const prle_import_row *row, const prle_archive *archive)
{
    const prle_segment *s = &model->graph->segment[row->segment];
    const prle_stored type = s->kind == PRLE_SEGMENT_COUNTER ? PRLE_STORED_I64
                             : model->dtype == PRLE_F64      ? PRLE_STORED_F64
                                                             : PRLE_STORED_F32;
    void *values = prle_model_segment(model, row->segment);
    prle_any_ptr narrow = NULL;

    if (fit_of(s, &archive->tensor[row->tensor]) != FIT_SPREAD)
        return prle_archive_read(archive, row->tensor, type, values);
    PRLE_TRY(prle_alloc((size_t)(s->count / (s->shape.dim[1] / 3)), prle_stored_bytes(type), &narrow));
    const prle_status st = prle_archive_read(archive, row->tensor, type, narrow);
    if (st == PRLE_OK)
        spread(values, narrow, s, model->dtype);
    prle_free(narrow);
    return st;
}

/* The file's values are ours but for rounding, to bfloat16 at worst. */
static prle_status constant_check(const prle_graph *graph, const prle_import_row *row, const prle_archive *archive)
{
    const prle_constant *c = &graph->constant[row->constant];
    const int64_t n = prle_shape_count(&c->shape);
    prle_status st = PRLE_OK;
    double *ours = NULL, *theirs = NULL;

    if (c->kind == PRLE_CONSTANT_UNUSED)
        return PRLE_OK;
    PRLE_TRY_OUT(PRLE_NEW(ours, n));
    PRLE_TRY_OUT(PRLE_NEW(theirs, n));
    prle_constant_fill(ours, c);
    PRLE_TRY_OUT(prle_archive_read(archive, row->tensor, PRLE_STORED_F64, theirs));
    for (int64_t i = 0; i < n; i++) {
        const bool same = fabs(theirs[i] - ours[i]) <= 0x1p-8 * fabs(ours[i]) + 1e-6;
        PRLE_CHECK_OUT(same, PRLE_EFORMAT, "%s: %s[%" PRId64 "] is %g, but %g in %s: another network", archive->path,
                       archive->tensor[row->tensor].name, i, theirs[i], ours[i], graph->name);
    }
out:
    prle_free(ours);
    prle_free(theirs);
    return st;
}

prle_status prle_import_load(prle_model *model, const prle_import *import, const prle_archive *archive)
{
    PRLE_TRY(prle_archive_verify(archive));
    for (int64_t i = 0; i < import->n; i++)
        if (import->row[i].state == PRLE_IMPORT_CONSTANT)
            PRLE_TRY(constant_check(model->graph, &import->row[i], archive));
    for (int64_t i = 0; i < import->n; i++)
        if (import->row[i].state == PRLE_IMPORT_LOADED || import->row[i].state == PRLE_IMPORT_CONVERTED)
            PRLE_TRY(row_load(model, &import->row[i], archive));
    model->version++;
    if (prle_model_check_finite(model) != PRLE_OK) {
        (void)prle_error_prefix("%s", archive->path);
        return PRLE_EFORMAT;
    }
    return PRLE_OK;
}

/* ---- which network ---- */

prle_status prle_import_guess(const char **net, int64_t *n_found, int64_t *n, const prle_archive *archive)
{
    prle_status st = PRLE_OK;
    const char *name, *best_name = NULL;
    prle_graph *graph = NULL;
    vote best = {0};

    *n_found = *n = 0;
    for (int i = 0; (name = prle_net_words[i]) != NULL; i++) {
        const int64_t before = best.n;
        PRLE_TRY_OUT(prle_net_build(&graph, name, &PRLE_NET_OPTS_DEFAULT));
        PRLE_TRY_OUT(vote_all(&best, archive, graph));
        if (best.n > before) {
            best_name = name;
            *n = graph->n_segments;
        }
        prle_graph_destroy(graph);
        graph = NULL;
    }
    *n_found = best.n;
    *net = 2 * best.n >= *n ? best_name : NULL;
out:
    prle_graph_destroy(graph);
    prle_free(best.prefix);
    return st;
}

/* ---- out ---- */

/* Name, type and shape of all segments of one kind, in the order of their buffer. */
static prle_status tensors_list(const prle_model *model, prle_segment_kind kind, const prle_naming *naming, prle_safetensor *out,
                                char (*names)[PRLE_NAMING_BYTES], int64_t *n)
{
    for (int i = 0; i < model->graph->n_segments; i++) {
        const prle_segment *s = &model->graph->segment[i];
        if (s->kind != kind)
            continue;
        PRLE_CHECK(prle_naming_apply(naming, s->name, names[*n]), PRLE_ENOTSUP, "%s has no name among those of %s", s->name,
                   naming->name);
        out[*n] = (prle_safetensor){.name = names[*n],
                                    .type = kind == PRLE_SEGMENT_COUNTER ? PRLE_STORED_I64
                                            : model->dtype == PRLE_F64   ? PRLE_STORED_F64
                                                                         : PRLE_STORED_F32,
                                    .shape = s->shape};
        ++*n;
    }
    return PRLE_OK;
}

/* Likewise of the constants, and their values behind each other in one fresh buffer. */
static prle_status constants_list(const prle_model *model, const prle_naming *naming, prle_safetensor *out,
                                  char (*names)[PRLE_NAMING_BYTES], int64_t *n, prle_any_ptr *values, size_t *n_bytes)
{
    const prle_graph *g = model->graph;
    const size_t size = prle_dtype_bytes(model->dtype);
    prle_status st = PRLE_OK;
    double *one = NULL;
    int64_t total = 0, at = 0;

    for (int i = 0; i < g->n_constants; i++)
        total += prle_shape_count(&g->constant[i].shape);
    PRLE_TRY(prle_alloc((size_t)total, size, values));
    *n_bytes = (size_t)total * size;
    PRLE_TRY_OUT(PRLE_NEW(one, total));
    for (int i = 0; i < g->n_constants; i++) {
        const prle_constant *c = &g->constant[i];
        PRLE_CHECK_OUT(prle_naming_apply(naming, c->name, names[*n]), PRLE_ENOTSUP, "%s has no name among those of %s", c->name,
                       naming->name);
        prle_constant_fill(one + at, c);
        at += prle_shape_count(&c->shape);
        out[*n] = (prle_safetensor){
            .name = names[*n], .type = model->dtype == PRLE_F64 ? PRLE_STORED_F64 : PRLE_STORED_F32, .shape = c->shape};
        ++*n;
    }
    for (int64_t i = 0; i < total; i++) {
        if (model->dtype == PRLE_F64)
            ((double *)*values)[i] = one[i];
        else
            ((float *)*values)[i] = (float)one[i];
    }
out:
    prle_free(one);
    return st;
}

prle_status prle_model_export(const prle_model *model, const char *path, const prle_naming *naming, const char *const *metadata)
{
    static const prle_segment_kind order[] = {PRLE_SEGMENT_COUNTER, PRLE_SEGMENT_WEIGHT, PRLE_SEGMENT_STAT}; /* 8 bytes first */
    prle_status st = PRLE_OK;
    const size_t size = prle_dtype_bytes(model->dtype);
    prle_piece piece[] = {
        {.bytes = model->counters, .n_bytes = (size_t)model->graph->n_counters * sizeof *model->counters},
        {.bytes = model->weights, .n_bytes = (size_t)model->graph->n_weights * size},
        {.bytes = model->stats, .n_bytes = (size_t)model->graph->n_stats * size},
        {.bytes = NULL}, /* constants */
    };
    prle_any_ptr constants = NULL;
    char(*names)[PRLE_NAMING_BYTES] = NULL;
    prle_safetensor *tensor = NULL;
    int64_t n = 0;

    PRLE_TRY_OUT(PRLE_NEW(names, model->graph->n_segments + model->graph->n_constants));
    PRLE_TRY_OUT(PRLE_NEW(tensor, model->graph->n_segments + model->graph->n_constants));
    for (int k = 0; k < 3; k++)
        PRLE_TRY_OUT(tensors_list(model, order[k], naming, tensor, names, &n));
    PRLE_TRY_OUT(constants_list(model, naming, tensor, names, &n, &constants, &piece[3].n_bytes));
    piece[3].bytes = constants;
    PRLE_TRY_OUT(prle_safetensors_write(path, tensor, n, piece, 4, metadata));
out:
    prle_free(constants);
    prle_free(tensor);
    prle_free(names);
    return st;
}
