/* answer.c - see answer.h. Every row makes its own samples anew: next to the bootstrap that costs nothing. */
#include "jobs/eval/answer.h"

#include <math.h>
#include <string.h>

#include "core/alloc.h"

/* What a row asks for, in the numbers of one store. */
typedef struct fakes {
    const char *name;
    prle_eval_kind kind;
    const uint16_t *methods; /* [n] */
    int64_t n;
} fakes;

/* All questions about a store. */
typedef struct fakes_list {
    fakes *item;
    int64_t n;
    uint16_t *every;  /* [n_methods] 0, 1, 2, ... */
    uint16_t *groups; /* methods of all groups, one after the other */
} fakes_list;

static void fakes_list_deinit(fakes_list *list)
{
    prle_free(list->item);
    prle_free(list->every);
    prle_free(list->groups);
}

static int64_t method_find(const prle_faces *faces, const char *name)
{
    for (int64_t m = 0; m < faces->n_methods; m++)
        if (strcmp(faces->method_names[m], name) == 0)
            return m;
    return -1;
}

/* A misspelt method would silently answer another question. */
static prle_status groups_check(const prle_eval_question *q)
{
    for (int64_t g = 0; g < q->n_groups; g++)
        for (int64_t m = 0; m < q->group[g].methods.n; m++) {
            const char *name = q->group[g].methods.item[m];
            bool found = false;
            for (int64_t s = 0; s < q->n_sets && !found; s++)
                found = method_find(q->set[s].data->faces, name) >= 0;
            PRLE_CHECK(found, PRLE_EINVAL, "group %s: no face store has a method \"%s\" (see `prle inspect FILE`)",
                       q->group[g].name, name);
        }
    return PRLE_OK;
}

static bool method_is_there(const prle_eval_data *data, int64_t method)
{
    for (int64_t i = 0; i < data->n; i++)
        if (data->faces->label[data->index[i]] == 1 && data->faces->method[data->index[i]] == method)
            return true;
    return false;
}

static void fakes_add(fakes_list *list, const char *name, prle_eval_kind kind, const uint16_t *methods, int64_t n)
{
    list->item[list->n++] = (fakes){.name = name, .kind = kind, .methods = methods, .n = n};
}

static prle_status fakes_list_init(fakes_list *out, const prle_eval_question *q, const prle_eval_data *data)
{
    prle_status st = PRLE_OK;
    const prle_faces *faces = data->faces;
    fakes_list list = {0};
    uint16_t *next = NULL;
    int64_t n_group_methods = 0;

    for (int64_t g = 0; g < q->n_groups; g++)
        n_group_methods += q->group[g].methods.n;
    PRLE_TRY_OUT(PRLE_NEW(list.item, 1 + q->n_groups + faces->n_methods));
    PRLE_TRY_OUT(PRLE_NEW(list.every, faces->n_methods));
    PRLE_TRY_OUT(PRLE_NEW(list.groups, n_group_methods));
    for (int64_t m = 0; m < faces->n_methods; m++)
        list.every[m] = (uint16_t)m;
    fakes_add(&list, "all", PRLE_EVAL_ALL, list.every, faces->n_methods);
    next = list.groups;
    for (int64_t g = 0; g < q->n_groups; g++) {
        uint16_t *first = next;
        for (int64_t m = 0; m < q->group[g].methods.n; m++) {
            const int64_t method = method_find(faces, q->group[g].methods.item[m]);
            if (method >= 0)
                *next++ = (uint16_t)method;
        }
        fakes_add(&list, q->group[g].name, PRLE_EVAL_GROUP, first, next - first);
    }
    for (int64_t m = 0; m < faces->n_methods; m++)
        if (method_is_there(data, m))
            fakes_add(&list, faces->method_names[m], PRLE_EVAL_METHOD, list.every + m, 1);
    *out = list;
    list = (fakes_list){0};
out:
    fakes_list_deinit(&list);
    return st;
}

/* identity [n_videos]: the one that the asked images of a video agree on. */
static void identities_find(uint32_t *identity, const prle_eval_data *data)
{
    const prle_faces *faces = data->faces;

    memset(identity, 0xFF, (size_t)faces->n_videos * sizeof *identity); /* PRLE_IDENTITY_UNKNOWN */
    for (int64_t i = 0; i < data->n; i++)
        if (faces->identity[data->index[i]] != PRLE_IDENTITY_UNKNOWN)
            identity[faces->video[data->index[i]]] = faces->identity[data->index[i]];
    for (int64_t i = 0; i < data->n; i++) {
        const uint32_t known = faces->identity[data->index[i]];
        uint32_t *agreed = &identity[faces->video[data->index[i]]];
        if (known != PRLE_IDENTITY_UNKNOWN && known != *agreed)
            *agreed = PRLE_IDENTITY_UNKNOWN;
    }
}

static prle_status frames_make(prle_score **out, const prle_eval_set *set)
{
    const prle_eval_data *data = set->data;
    const prle_faces *faces = data->faces;
    prle_score *frames = NULL;
    uint32_t *identity = NULL;

    _Static_assert(PRLE_IDENTITY_UNKNOWN == PRLE_IDENTITY_NONE, "stores and metrics say \"unknown\" alike");
    PRLE_TRY(PRLE_NEW(identity, faces->n_videos));
    const prle_status st = PRLE_NEW(frames, data->n);
    if (st == PRLE_OK) {
        identities_find(identity, data);
        for (int64_t i = 0; i < data->n; i++) {
            const int64_t at = data->index[i];
            frames[i] = (prle_score){.score = set->scores[i],
                                     .video = faces->video[at],
                                     .identity = identity[faces->video[at]],
                                     .method = faces->method[at],
                                     .label = faces->label[at]};
        }
        *out = frames;
    }
    prle_free(identity);
    return st;
}

/* The samples of a set that a row counts; prle_free them. */
static prle_status samples_make(prle_score **out, int64_t *n, const prle_eval_set *set, const fakes *f, bool by_video)
{
    prle_status st = PRLE_OK;
    prle_score *frames = NULL, *chosen = NULL;
    int64_t n_chosen = 0;

    PRLE_TRY_OUT(frames_make(&frames, set));
    PRLE_TRY_OUT(prle_scores_of_methods(&chosen, &n_chosen, frames, set->data->n, f->methods, f->n));
    if (by_video) {
        PRLE_TRY_OUT(prle_scores_by_video(out, n, chosen, n_chosen));
    } else {
        *out = chosen;
        *n = n_chosen;
        chosen = NULL;
    }
out:
    prle_free(chosen);
    prle_free(frames);
    return st;
}

static void mean_scores(double mean[2], const prle_score *samples, int64_t n)
{
    double sum[2] = {0}, count[2] = {0};

    for (int64_t i = 0; i < n; i++) {
        sum[samples[i].label] += samples[i].score;
        count[samples[i].label]++;
    }
    for (int label = 0; label < 2; label++)
        mean[label] = count[label] > 0 ? sum[label] / count[label] : (double)NAN;
}

static prle_intervals no_intervals(void)
{
    prle_intervals none = {0};

    for (int k = 0; k < PRLE_METRIC_COUNT; k++)
        none.lo[k] = none.hi[k] = (double)NAN;
    return none;
}

/* The row's set against the first model's. */
static prle_status difference_make(prle_eval_row *row, const prle_score *own, int64_t n, const fakes *f,
                                   const prle_eval_question *q)
{
    prle_status st = PRLE_OK;
    prle_score *base = NULL;
    int64_t n_base = 0;
    prle_metrics metrics;

    PRLE_TRY_OUT(samples_make(&base, &n_base, row->base, f, row->by_video));
    PRLE_TRY_OUT(prle_metrics_compute(&metrics, base, n_base, row->base->threshold));
    for (int k = 0; k < PRLE_METRIC_COUNT; k++)
        row->difference[k] = row->metrics.value[k] - metrics.value[k];
    if (q->n_replicates > 0)
        PRLE_TRY_OUT(prle_metrics_bootstrap_difference(&row->difference_interval, base, row->base->threshold, own,
                                                       row->set->threshold, n, q->n_replicates, q->seed));
out:
    prle_free(base);
    return st;
}

static prle_status row_make(prle_eval_row *out, const prle_eval_question *q, int64_t set, const fakes *f, bool by_video)
{
    prle_status st = PRLE_OK;
    const int64_t per_model = q->n_sets / q->n_models;
    prle_score *own = NULL;
    int64_t n = 0;
    prle_eval_row row = {.set = &q->set[set],
                         .kind = f->kind,
                         .fakes = f->name,
                         .by_video = by_video,
                         .interval = no_intervals(),
                         .difference_interval = no_intervals(),
                         .base = set < per_model ? NULL : &q->set[set % per_model]};

    PRLE_TRY_OUT(samples_make(&own, &n, row.set, f, by_video));
    PRLE_TRY_OUT(prle_metrics_compute(&row.metrics, own, n, row.set->threshold));
    if (q->n_replicates > 0)
        PRLE_TRY_OUT(prle_metrics_bootstrap(&row.interval, own, n, row.set->threshold, q->n_replicates, q->seed));
    mean_scores(row.mean_score, own, n);
    if (row.base != NULL)
        PRLE_TRY_OUT(difference_make(&row, own, n, f, q));
    *out = row;
out:
    prle_free(own);
    return st;
}

/* Appends the rows of one set. */
static prle_status set_answer(prle_eval_row **rows, int64_t *n_rows, const prle_eval_question *q, int64_t set)
{
    prle_status st = PRLE_OK;
    fakes_list list = {0};

    PRLE_TRY_OUT(fakes_list_init(&list, q, q->set[set].data));
    PRLE_TRY_OUT(prle_realloc((size_t)*n_rows, (size_t)(*n_rows + 2 * list.n), sizeof **rows, (prle_any_ptr *)rows));
    for (int64_t i = 0; i < list.n; i++)
        for (int by_video = 0; by_video < 2; by_video++)
            PRLE_TRY_OUT(row_make(&(*rows)[(*n_rows)++], q, set, &list.item[i], by_video == 1));
out:
    fakes_list_deinit(&list);
    return st;
}

prle_status prle_eval_answer(prle_eval_row **rows, int64_t *n_rows, const prle_eval_question *q)
{
    prle_status st = PRLE_OK;
    prle_eval_row *all = NULL;
    int64_t n = 0;

    PRLE_TRY(groups_check(q));
    for (int64_t set = 0; set < q->n_sets && st == PRLE_OK; set++)
        st = set_answer(&all, &n, q, set);
    if (st != PRLE_OK) {
        prle_free(all);
        return st;
    }
    *rows = all;
    *n_rows = n;
    return PRLE_OK;
}

void prle_eval_question_deinit(prle_eval_question *q)
{
    for (int64_t s = 0; q->set != NULL && s < q->n_sets; s++)
        prle_free(q->set[s].scores);
    for (int64_t g = 0; q->group != NULL && g < q->n_groups; g++) {
        prle_free(q->group[g].name);
        prle_strings_deinit(&q->group[g].methods);
    }
    prle_free(q->set);
    prle_free(q->group);
    *q = (prle_eval_question){0};
}
