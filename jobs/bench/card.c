/* card.c - see card.h. */
#include "jobs/bench/card.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/alloc.h"
#include "core/table.h"
#include "jobs/bench/subject.h"

/* A device whose memory is not there: a plan on it can be made, and asked what it would take, but not run. The model is placed on
 * the real one. */
static prle_status nothing_alloc(size_t n_bytes, void **out)
{
    static char nowhere;

    *out = n_bytes > 0 ? &nowhere : NULL;
    return PRLE_OK;
}

static void nothing_free(void *ptr) { (void)ptr; }

static prle_status arena_of(prle_model *model, const prle_bench_opts *o, prle_dtype dtype, bool training, size_t *out)
{
    const prle_plan_opts opts = {
        .batch = o->batch, .dtype = dtype, .batch_stats = training, .dropout = training, .param_grads = training};
    prle_device device = *model->device;
    prle_plan *plan = NULL;

    device.alloc = nothing_alloc;
    device.free = nothing_free;
    PRLE_TRY(prle_plan_create(&plan, model, &device, &opts));
    *out = prle_plan_stats_get(plan).arena_bytes;
    prle_plan_destroy(plan);
    return PRLE_OK;
}

static prle_status memory(prle_card_run *run, const prle_bench_opts *o, const char *net)
{
    const prle_net_opts opts = {.height = o->size, .width = o->size, .classes = 2};
    prle_model *model = NULL;
    prle_status st = PRLE_OK;

    PRLE_TRY(prle_model_create(&model, net, &opts, run->dtype == PRLE_F64 ? PRLE_F64 : PRLE_F32));
    PRLE_TRY_OUT(prle_model_place(model, prle_subject_device(o, run->dtype)));
    PRLE_TRY_OUT(prle_model_grads_require(model));
    PRLE_TRY_OUT(arena_of(model, o, run->dtype, false, &run->inference_bytes));
    PRLE_TRY_OUT(arena_of(model, o, run->dtype, true, &run->training_bytes));
out:
    prle_model_destroy(model);
    return st;
}

static prle_status speed(prle_rate *out, const prle_bench_opts *o, const char *net, prle_dtype dtype, bool training)
{
    prle_subject s = {0};
    prle_status st = PRLE_OK;

    PRLE_TRY_OUT(prle_subject_init(&s, o, net, dtype, training ? PRLE_SUBJECT_TRAINING : PRLE_SUBJECT_INFERENCE));
    PRLE_TRY_OUT(prle_rate_measure(out, o, (double)o->batch, training ? prle_subject_train : prle_subject_infer, &s));
out:
    prle_subject_deinit(&s);
    return st;
}

prle_status prle_model_card_make(prle_model_card *card, const prle_bench_opts *o, const char *net, int64_t logits,
                                 const prle_dtype *dtypes, int n_dtypes)
{
    const prle_net_opts opts = {.height = o->size, .width = o->size, .classes = logits};
    prle_graph *g = NULL;

    *card = (prle_model_card){.net = net, .size = o->size, .batch = o->batch, .logits = logits};
    PRLE_TRY(prle_net_build(&g, net, &opts));
    card->count = prle_card_of(g);
    prle_graph_destroy(g);
    for (; card->n_runs < n_dtypes; card->n_runs++) {
        prle_card_run *run = &card->run[card->n_runs];
        run->dtype = dtypes[card->n_runs];
        PRLE_TRY(memory(run, o, net));
        if (o->seconds <= 0)
            continue;
        PRLE_TRY(speed(&run->infer, o, net, run->dtype, false));
        PRLE_TRY(speed(&run->train, o, net, run->dtype, true));
    }
    return PRLE_OK;
}

/* ---- beside the paper ---- */

/* arXiv 2307.12534, Table VIII: a batch of 64 at 299 px on two RTX 3090; training in f32, inference by autocast. */
typedef struct paper {
    const char *net;
    int64_t logits; /* that its counts are of */
    double params_m, batch_gmacs, train, train_masked, infer;
} paper;

enum { PAPER_SIZE = 299, PAPER_BATCH = 64 };
static const paper papers[] = {
    {"xception", 2, 20.81, 540.15, 269.72, 262.42, 902.98},
    {"resnet50", 1000, 25.56, 493.38, 281.19, 270.30, 916.58},
};

/* NULL where the paper has no figures of such a network, size and batch. */
static const paper *paper_of(const prle_model_card *c)
{
    for (size_t i = 0; i < sizeof papers / sizeof *papers; i++)
        if (strcmp(papers[i].net, c->net) == 0 && c->size == PAPER_SIZE && c->batch == PAPER_BATCH)
            return &papers[i];
    return NULL;
}

/* here 0: not measured. */
static void beside_add(prle_table *table, const char *what, const char *type, double theirs, double here)
{
    prle_table_add(table, "%s", what);
    prle_table_add(table, "%s", type);
    prle_table_add(table, "%.2f", theirs);
    if (here > 0) {
        prle_table_add(table, "%.2f", here);
        prle_table_add(table, "%.2f", here / theirs);
    } else {
        prle_table_add(table, "-");
        prle_table_add(table, "-");
    }
}

static prle_status paper_print(const prle_model_card *c, const paper *p)
{
    static const char *const header[] = {"Table VIII", "type", "paper", "here", "ratio"};
    prle_table table = {.columns = "llrrr"};
    char *text = NULL;

    for (size_t i = 0; i < sizeof header / sizeof *header; i++)
        prle_table_add(&table, "%s", header[i]);
    beside_add(&table, "parameters, M", "", p->params_m, 1e-6 * (double)c->count.n_params);
    beside_add(&table, "GFLOPs by its rule", "", p->batch_gmacs, 1e-9 * (double)c->batch * c->count.macs_paper);
    for (int i = 0; i < c->n_runs; i++) {
        const char *type = prle_dtype_name(c->run[i].dtype);
        beside_add(&table, "training, images/s", type, p->train, c->run[i].train.median);
        beside_add(&table, "inference, images/s", type, p->infer, c->run[i].infer.median);
    }
    PRLE_TRY(prle_table_take(&table, PRLE_TABLE_TEXT, &text));
    printf("\n%s", text);
    prle_free(text);
    printf("The paper's are of two RTX 3090 together: training in f32 with the loading of images (%.2f with its masks), "
           "inference by "
           "autocast; its counts have %" PRId64 " logits.\n",
           p->train_masked, p->logits);
    return PRLE_OK;
}

static void paper_add_json(const paper *p, prle_json_writer *json)
{
    prle_json_begin_object(json, "paper");
    prle_json_add_int(json, "logits", p->logits);
    prle_json_add_double(json, "parameters", 1e6 * p->params_m);
    prle_json_add_double(json, "batch_macs", 1e9 * p->batch_gmacs);
    prle_json_add_double(json, "training_images_per_s", p->train);
    prle_json_add_double(json, "training_masked_images_per_s", p->train_masked);
    prle_json_add_double(json, "inference_images_per_s", p->infer);
    prle_json_end(json);
}

/* ---- the card ---- */

static void rate_add(prle_table *table, const prle_rate *rate)
{
    if (rate->median > 0)
        prle_table_add(table, "%.1f", rate->median);
    else
        prle_table_add(table, "-");
}

prle_status prle_model_card_print(const prle_model_card *c)
{
    static const char *const header[] = {"type", "inference MiB", "images/s", "training MiB", "images/s"};
    prle_table table = {.columns = "lrrrr"};
    char *text = NULL;

    printf("%s, %" PRId64 " logits, %" PRId64 " x %" PRId64 " px\n", c->net, c->logits, c->size, c->size);
    printf("parameters             %.2f M (%" PRId64 ")\n", 1e-6 * (double)c->count.n_params, c->count.n_params);
    printf("multiply-accumulates   %.3f G an image, %.2f G a batch of %" PRId64 " (convolutions and linear layers)\n",
           1e-9 * c->count.macs, 1e-9 * (double)c->batch * c->count.macs, c->batch);
    printf("by the paper's rule    %.3f G an image, %.2f G a batch (arXiv 2307.12534, Table VIII: batch norm counts 4)\n",
           1e-9 * c->count.macs_paper, 1e-9 * (double)c->batch * c->count.macs_paper);
    printf("\nactivations of a batch of %" PRId64 ", without weights, and speed\n", c->batch);
    for (size_t i = 0; i < sizeof header / sizeof *header; i++)
        prle_table_add(&table, "%s", header[i]);
    for (int i = 0; i < c->n_runs; i++) {
        const prle_card_run *r = &c->run[i];
        prle_table_add(&table, "%s", prle_dtype_name(r->dtype));
        prle_table_add(&table, "%.0f", (double)r->inference_bytes / (1 << 20));
        rate_add(&table, &r->infer);
        prle_table_add(&table, "%.0f", (double)r->training_bytes / (1 << 20));
        rate_add(&table, &r->train);
    }
    PRLE_TRY(prle_table_take(&table, PRLE_TABLE_TEXT, &text));
    printf("%s", text);
    prle_free(text);
    return paper_of(c) != NULL ? paper_print(c, paper_of(c)) : PRLE_OK;
}

void prle_model_card_add_json(const prle_model_card *c, prle_json_writer *json)
{
    prle_json_begin_object(json, "model");
    prle_json_add_text(json, "net", c->net);
    prle_json_add_int(json, "logits", c->logits);
    prle_json_add_int(json, "size_px", c->size);
    prle_json_add_int(json, "batch", c->batch);
    prle_json_add_int(json, "parameters", c->count.n_params);
    prle_json_add_double(json, "image_macs", c->count.macs);
    prle_json_add_double(json, "image_macs_paper", c->count.macs_paper);
    if (paper_of(c) != NULL)
        paper_add_json(paper_of(c), json);
    prle_json_begin_list(json, "runs");
    for (int i = 0; i < c->n_runs; i++) {
        const prle_card_run *r = &c->run[i];
        prle_json_begin_object(json, NULL);
        prle_json_add_text(json, "dtype", prle_dtype_name(r->dtype));
        prle_json_add_int(json, "inference_bytes", (int64_t)r->inference_bytes);
        prle_json_add_int(json, "training_bytes", (int64_t)r->training_bytes);
        if (r->infer.median > 0) {
            prle_json_add_double(json, "inference_images_per_s", r->infer.median);
            prle_json_add_double(json, "training_images_per_s", r->train.median);
        }
        prle_json_end(json);
    }
    prle_json_end(json);
    prle_json_end(json);
}
