/* report.c - see report.h. */
#include "jobs/eval/report.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/alloc.h"
#include "core/csv.h"
#include "core/table.h"
#include "core/text.h"

enum { CELL_BYTES = 48, MAX_COLUMNS = 16 };

/* What differs between the sets of a question: the rest need not be said in each row. */
typedef struct varying {
    bool model, data, alpha;
} varying;

static bool same_alpha(double a, double b) { return a == b || (isnan(a) && isnan(b)); }

static varying varying_of(const prle_eval_question *q)
{
    varying v = {.model = q->n_models > 1};

    for (int64_t s = 1; s < q->n_sets; s++) {
        v.data |= q->set[s].data != q->set[0].data;
        v.alpha |= !same_alpha(q->set[s].alpha, q->set[0].alpha);
    }
    return v;
}

/* "0.9312 [0.9011, 0.9544]", or with signs; without brackets where there is no interval. */
static const char *with_interval(char text[CELL_BYTES], bool with_sign, double value, double lo, double hi)
{
    if (isnan(value))
        return "n/a";
    if (isnan(lo))
        snprintf(text, CELL_BYTES, with_sign ? "%+.4f" : "%.4f", value);
    else
        snprintf(text, CELL_BYTES, with_sign ? "%+.4f [%+.4f, %+.4f]" : "%.4f [%.4f, %.4f]", value, lo, hi);
    return text;
}

/* Titles of the columns from "real" on; the order of row_add. */
static const char *const titles[] = {"real", "fake", "ACC", "AUC", "AP", "EER", "TPR@1e-2", "TPR@1e-3"};
enum { N_TITLES = sizeof titles / sizeof titles[0] };

static void header_add(prle_table *table, const varying *v, const prle_eval_question *q)
{
    if (v->model)
        prle_table_add(table, "model");
    if (v->data)
        prle_table_add(table, "data");
    if (v->alpha)
        prle_table_add(table, "alpha");
    prle_table_add(table, "fakes");
    prle_table_add(table, "by");
    for (int i = 0; i < N_TITLES; i++)
        prle_table_add(table, "%s%s", titles[i], q->n_replicates > 0 && i == 3 ? " [95 %]" : "");
    if (v->alpha)
        prle_table_add(table, "mean score of fakes");
    if (v->model)
        prle_table_add(table, "AUC - %s's%s", q->set[0].model, q->n_replicates > 0 ? " [95 %]" : "");
}

static void metric_add(prle_table *table, const prle_eval_row *row, prle_metric metric)
{
    char text[16];

    prle_table_add(table, "%s", prle_metric_print(row->metrics.value[metric], text));
}

static void row_add(prle_table *table, const varying *v, const prle_eval_row *row)
{
    const prle_metric auc = PRLE_METRIC_AUC;
    char text[CELL_BYTES], number[16];

    if (v->model)
        prle_table_add(table, "%s", row->set->model);
    if (v->data)
        prle_table_add(table, "%s", row->set->data->name);
    if (v->alpha)
        prle_table_add(table, "%g", row->set->alpha);
    prle_table_add(table, "%s", row->fakes);
    prle_table_add(table, "%s", row->by_video ? "video" : "frame");
    prle_table_add(table, "%" PRId64, row->metrics.n_real);
    prle_table_add(table, "%" PRId64, row->metrics.n_fake);
    metric_add(table, row, PRLE_METRIC_ACC);
    prle_table_add(table, "%s",
                   with_interval(text, false, row->metrics.value[auc], row->interval.lo[auc], row->interval.hi[auc]));
    metric_add(table, row, PRLE_METRIC_AP);
    metric_add(table, row, PRLE_METRIC_EER);
    metric_add(table, row, PRLE_METRIC_TPR_FPR_1E2);
    metric_add(table, row, PRLE_METRIC_TPR_FPR_1E3);
    if (v->alpha)
        prle_table_add(table, "%s", prle_metric_print(row->mean_score[1], number));
    if (v->model)
        prle_table_add(table, "%s",
                       row->base == NULL ? "-"
                                         : with_interval(text, true, row->difference[auc], row->difference_interval.lo[auc],
                                                         row->difference_interval.hi[auc]));
}

prle_status prle_eval_table(char **text, const prle_eval_row *rows, int64_t n_rows, const prle_eval_question *q)
{
    const varying v = varying_of(q);
    const prle_eval_kind detail = q->n_groups > 0 ? PRLE_EVAL_GROUP : PRLE_EVAL_METHOD;
    char columns[MAX_COLUMNS + 1] = "";
    prle_table table = {.columns = columns};
    int n = 0;

    for (int i = 0; i < v.model + v.data; i++)
        columns[n++] = 'l';
    if (v.alpha)
        columns[n++] = 'r';
    columns[n++] = 'l';
    columns[n++] = 'l';
    for (int i = 0; i < N_TITLES + v.alpha + v.model; i++)
        columns[n++] = 'r';
    header_add(&table, &v, q);
    for (int64_t i = 0; i < n_rows; i++)
        if (rows[i].kind == PRLE_EVAL_ALL || rows[i].kind == detail)
            row_add(&table, &v, &rows[i]);
    return prle_table_take(&table, PRLE_TABLE_TEXT, text);
}

/* {"acc": {"value": 0.9, "lo": 0.85, "hi": 0.95}, ...} */
static void metrics_json(prle_json_writer *json, const char *key, const double value[PRLE_METRIC_COUNT],
                         const prle_intervals *interval)
{
    prle_json_begin_object(json, key);
    for (int k = 0; k < PRLE_METRIC_COUNT; k++) {
        prle_json_begin_object(json, prle_metric_name((prle_metric)k));
        prle_json_add_double(json, "value", value[k]);
        prle_json_add_double(json, "lo", interval->lo[k]);
        prle_json_add_double(json, "hi", interval->hi[k]);
        prle_json_end(json);
    }
    prle_json_end(json);
}

static void row_json(prle_json_writer *json, const prle_eval_row *row)
{
    static const char *const kinds[] = {[PRLE_EVAL_ALL] = "all", [PRLE_EVAL_GROUP] = "group", [PRLE_EVAL_METHOD] = "method"};

    prle_json_begin_object(json, NULL);
    prle_json_add_text(json, "kind", kinds[row->kind]);
    prle_json_add_text(json, "fakes", row->fakes);
    prle_json_add_text(json, "by", row->by_video ? "video" : "frame");
    prle_json_add_int(json, "n_real", row->metrics.n_real);
    prle_json_add_int(json, "n_fake", row->metrics.n_fake);
    prle_json_add_double(json, "mean_score_real", row->mean_score[0]);
    prle_json_add_double(json, "mean_score_fake", row->mean_score[1]);
    prle_json_add_int(json, "resampled", row->interval.n_groups);
    prle_json_add_text(json, "resampled_by",
                       row->interval.n_groups == 0 ? NULL
                       : row->interval.by_identity ? "identity"
                                                   : "video");
    metrics_json(json, "metrics", row->metrics.value, &row->interval);
    if (row->base != NULL)
        metrics_json(json, "minus_first_model", row->difference, &row->difference_interval);
    prle_json_end(json);
}

void prle_eval_json(prle_json_writer *json, const prle_eval_row *rows, int64_t n_rows, const prle_eval_question *q,
                    char *const *score_files)
{
    prle_json_begin_list(json, "sets");
    for (int64_t s = 0; s < q->n_sets; s++) {
        const prle_eval_set *set = &q->set[s];
        prle_json_begin_object(json, NULL);
        prle_json_add_text(json, "model", set->model);
        prle_json_add_text(json, "model_path", set->model_path);
        prle_json_add_text(json, "data", set->data->name);
        prle_json_add_text(json, "data_path", set->data->path);
        prle_json_add_double(json, "alpha", set->alpha);
        prle_json_add_double(json, "threshold", set->threshold);
        prle_json_add_int(json, "images", set->data->n);
        prle_json_add_text(json, "scores", score_files != NULL ? score_files[s] : NULL);
        prle_json_begin_list(json, "rows");
        for (int64_t i = 0; i < n_rows; i++)
            if (rows[i].set == set)
                row_json(json, &rows[i]);
        prle_json_end(json);
        prle_json_end(json);
    }
    prle_json_end(json);
}

prle_status prle_eval_csv(char **text, const prle_eval_set *set)
{
    const prle_faces *faces = set->data->faces;
    prle_text csv = {0};
    char number[32];

    prle_text_add(&csv, "image,video,frame,identity,method,label,score\n");
    for (int64_t i = 0; i < set->data->n; i++) {
        const int64_t at = set->data->index[i];
        const uint32_t identity = faces->identity[at];

        prle_text_add(&csv, "%" PRId64 ",", at);
        prle_csv_add_field(&csv, faces->video_names[faces->video[at]]);
        prle_text_add(&csv, ",%" PRIu32 ",", faces->frame[at]);
        if (identity != PRLE_IDENTITY_UNKNOWN)
            prle_csv_add_field(&csv, faces->identity_names[identity]);
        prle_text_add(&csv, ",");
        prle_csv_add_field(&csv, faces->method_names[faces->method[at]]);
        prle_text_add(&csv, ",%d,%s\n", faces->label[at], prle_text_double(set->scores[i], number));
    }
    return prle_text_take(&csv, text);
}

prle_status prle_eval_csv_name(char **name, const prle_eval_set *set, const prle_eval_question *q)
{
    const varying v = varying_of(q);
    prle_text text = {0};

    prle_text_add(&text, "scores");
    if (v.model)
        prle_text_add(&text, "-%s", set->model);
    if (v.data)
        prle_text_add(&text, "-%s", set->data->name);
    if (v.alpha)
        prle_text_add(&text, "-alpha%g", set->alpha);
    prle_text_add(&text, ".csv");
    return prle_text_take(&text, name);
}
