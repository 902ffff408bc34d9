/* test_eval.c - from scores to the answer of `prle eval`: rows against brute force, tables, JSON, CSV, names. */
#include <math.h>

#include "core/alloc.h"
#include "core/csv.h"
#include "core/json.h"
#include "core/rng.h"
#include "jobs/eval/report.h"
#include "jobs/names.h"
#include "tests/check.h"

/* A store in memory: 12 videos of 3 frames, two of each person: 6 real, 4 of method "swap", 2 of "mouth". Method numbers are
 * not in the order of the names' first coming. */
enum { N_VIDEOS = 12, FRAMES = 3, N = N_VIDEOS * FRAMES, REAL = 1, MOUTH = 0, SWAP = 2 };

typedef struct store {
    prle_faces faces;
    uint8_t label[N];
    uint16_t method[N];
    uint32_t video[N], frame[N], identity[N];
    char video_text[N_VIDEOS][32];
    const char *video_names[N_VIDEOS];
    int64_t index[N];
} store;

static const char *const method_names[] = {[MOUTH] = "mouth", [REAL] = "real", [SWAP] = "swap, twice"};
static const char *const identity_names[] = {"A", "B", "C", "D", "E", "F"};

static void store_fill(store *s)
{
    memset(s, 0, sizeof *s);
    for (int v = 0; v < N_VIDEOS; v++) {
        snprintf(s->video_text[v], sizeof s->video_text[v], "set/x/raw/v%02d", v);
        s->video_names[v] = s->video_text[v];
    }
    for (int i = 0; i < N; i++) {
        const int v = i / FRAMES;
        s->label[i] = v >= 6;
        s->method[i] = v < 6 ? REAL : v < 10 ? SWAP : MOUTH;
        s->video[i] = (uint32_t)v;
        s->frame[i] = (uint32_t)(i % FRAMES * 10);
        s->identity[i] = (uint32_t)(v % 6);
        s->index[i] = i;
    }
    s->faces = (prle_faces){.path = "faces.h5",
                            .n = N,
                            .label = s->label,
                            .method = s->method,
                            .video = s->video,
                            .frame = s->frame,
                            .identity = s->identity,
                            .method_names = method_names,
                            .video_names = s->video_names,
                            .identity_names = identity_names,
                            .n_methods = 3,
                            .n_videos = N_VIDEOS,
                            .n_identities = 6};
}

static prle_eval_data data_of(store *s)
{
    return (prle_eval_data){.name = "faces", .path = "data/faces.h5", .faces = &s->faces, .index = s->index, .n = N};
}

static double *scores_make(const store *s, uint64_t seed, double shift)
{
    prle_rng rng = prle_rng_make(seed, 0, 0, PRLE_RNG_TEST);
    double *scores = NULL;

    assert_ok(PRLE_NEW(scores, N));
    for (int i = 0; i < N; i++)
        scores[i] = (prle_rng_below(&rng, 16) + shift * s->label[i]) / 32; /* with ties */
    return scores;
}

/* Two models on one store, groups "seen" (swap) and "both". */
static prle_eval_question question_make(const prle_eval_data *data, const store *s)
{
    prle_eval_question q = {.n_sets = 2, .n_models = 2, .n_groups = 2, .n_replicates = 50, .seed = 3};

    assert_ok(PRLE_NEW(q.set, 2));
    assert_ok(PRLE_NEW(q.group, 2));
    q.set[0] = (prle_eval_set){.model = "plain",
                               .model_path = "runs/plain",
                               .data = data,
                               .alpha = (double)NAN,
                               .threshold = 0.25,
                               .scores = scores_make(s, 1, 4)};
    q.set[1] = (prle_eval_set){.model = "prle",
                               .model_path = "runs/prle",
                               .data = data,
                               .alpha = (double)NAN,
                               .threshold = 0.5,
                               .scores = scores_make(s, 2, 9)};
    assert_ok(prle_strdup("seen", &q.group[0].name));
    assert_ok(prle_strings_add(&q.group[0].methods, "swap, twice"));
    assert_ok(prle_strdup("both", &q.group[1].name));
    assert_ok(prle_strings_add(&q.group[1].methods, "swap, twice"));
    assert_ok(prle_strings_add(&q.group[1].methods, "mouth"));
    return q;
}

static bool counts(const store *s, int i, const char *fakes)
{
    if (s->label[i] == 0 || strcmp(fakes, "all") == 0 || strcmp(fakes, "both") == 0)
        return true;
    return strcmp(method_names[s->method[i]], fakes) == 0 || (strcmp(fakes, "seen") == 0 && s->method[i] == SWAP);
}

/* AUC and ACC of a row by pairs of samples. */
static void brute(const store *s, const prle_eval_row *row, double *auc, double *acc)
{
    double score[N], wins = 0, pairs = 0, right = 0;
    int label[N], n = 0;

    for (int v = 0; v < N_VIDEOS; v++) {
        if (!counts(s, v * FRAMES, row->fakes))
            continue;
        const double *frames = row->set->scores + v * FRAMES;
        for (int f = 0; f < (row->by_video ? 1 : FRAMES); f++) {
            score[n] = row->by_video ? (frames[0] + frames[1] + frames[2]) / 3 : frames[f];
            label[n++] = s->label[v * FRAMES];
        }
    }
    for (int i = 0; i < n; i++) {
        right += (score[i] >= row->set->threshold) == (label[i] == 1);
        for (int j = 0; j < n; j++)
            if (label[i] == 1 && label[j] == 0) {
                pairs++;
                wins += score[i] > score[j] ? 1 : score[i] == score[j] ? 0.5 : 0;
            }
    }
    *auc = wins / pairs;
    *acc = right / n;
}

static void test_rows(void **state)
{
    (void)state;
    static const char *const fakes[] = {"all", "seen", "both", "mouth", "swap, twice"};
    static const int64_t n_fake[] = {6, 4, 6, 2, 4};
    const int64_t live = prle_alloc_live();
    store s;
    prle_eval_row *rows = NULL;
    int64_t n = 0;

    store_fill(&s);
    const prle_eval_data data = data_of(&s);
    prle_eval_question q = question_make(&data, &s);
    assert_ok(prle_eval_answer(&rows, &n, &q));
    assert_int_equal(n, 2 * 5 * 2);
    for (int64_t i = 0; i < n; i++) {
        const prle_eval_row *row = &rows[i];
        const int64_t frames = row->by_video ? 1 : FRAMES;
        double auc, acc, base_auc, base_acc;
        brute(&s, row, &auc, &acc);
        assert_true(row->set == &q.set[i / 10] && row->by_video == (i % 2 == 1));
        assert_string_equal(row->fakes, fakes[i % 10 / 2]);
        assert_int_equal(row->kind, i % 10 < 2 ? PRLE_EVAL_ALL : i % 10 < 6 ? PRLE_EVAL_GROUP : PRLE_EVAL_METHOD);
        assert_true(row->metrics.n_real == 6 * frames && row->metrics.n_fake == n_fake[i % 10 / 2] * frames);
        assert_true(fabs(row->metrics.value[PRLE_METRIC_AUC] - auc) <= 1e-15);
        assert_true(fabs(row->metrics.value[PRLE_METRIC_ACC] - acc) <= 1e-15);
        assert_true(isnan(row->metrics.value[PRLE_METRIC_TPR_FPR_1E2]));
        assert_true(row->interval.by_identity && row->interval.n_groups == 6);
        assert_true(row->interval.lo[PRLE_METRIC_AUC] <= auc && auc <= row->interval.hi[PRLE_METRIC_AUC]);
        assert_true((row->base == NULL) == (i < 10));
        if (row->base == NULL)
            continue;
        brute(&s, &rows[i - 10], &base_auc, &base_acc);
        assert_true(fabs(row->difference[PRLE_METRIC_AUC] - (auc - base_auc)) <= 1e-15);
        assert_true(fabs(row->difference[PRLE_METRIC_ACC] - (acc - base_acc)) <= 1e-15);
        assert_true(row->difference_interval.lo[PRLE_METRIC_AUC] <= row->difference_interval.hi[PRLE_METRIC_AUC]);
    }
    assert_true(rows[0].mean_score[1] > rows[0].mean_score[0]);
    prle_free(rows);
    prle_eval_question_deinit(&q);
    assert_int_equal(prle_alloc_live(), live);
}

/* One class only, or a group without fakes here: n/a, no interval, no error. Without a bootstrap there are no intervals. */
static void test_one_class(void **state)
{
    (void)state;
    store s;
    prle_eval_row *rows = NULL;
    char *text = NULL;
    int64_t n = 0;

    store_fill(&s);
    prle_eval_data data = data_of(&s);
    data.n = 6 * FRAMES; /* reals */
    prle_eval_question q = question_make(&data, &s);
    assert_ok(prle_eval_answer(&rows, &n, &q));
    assert_int_equal(n, 2 * 3 * 2); /* no methods: none of their fakes is there */
    for (int64_t i = 0; i < n; i++) {
        assert_int_equal(rows[i].metrics.n_fake, 0);
        assert_true(isnan(rows[i].metrics.value[PRLE_METRIC_AUC]) && isnan(rows[i].interval.lo[PRLE_METRIC_AUC]));
        assert_true(isnan(rows[i].mean_score[1]) && !isnan(rows[i].metrics.value[PRLE_METRIC_ACC]));
    }
    assert_ok(prle_eval_table(&text, rows, n, &q));
    assert_non_null(strstr(text, "prle   seen   video     6     0  1.0000         n/a  n/a  n/a       n/a       n/a  "));
    prle_free(text);
    prle_free(rows);
    q.n_replicates = 0;
    assert_ok(prle_eval_answer(&rows, &n, &q));
    assert_true(isnan(rows[0].interval.lo[PRLE_METRIC_ACC]) && rows[0].interval.n_groups == 0);
    prle_free(rows);
    prle_eval_question_deinit(&q);
}

/* An identity known for one frame holds for the video; where frames contradict each other it is unknown, and videos are drawn. */
static void test_identities(void **state)
{
    (void)state;
    store s;
    prle_eval_row *rows = NULL;
    int64_t n = 0;

    store_fill(&s);
    const prle_eval_data data = data_of(&s);
    prle_eval_question q = question_make(&data, &s);
    for (int v = 0; v < N_VIDEOS; v++)
        for (int f = 0; f < FRAMES; f++)
            if (f != v % FRAMES)
                s.identity[v * FRAMES + f] = PRLE_IDENTITY_UNKNOWN;
    assert_ok(prle_eval_answer(&rows, &n, &q));
    assert_true(rows[1].interval.by_identity && rows[1].interval.n_groups == 6);
    prle_free(rows);
    s.identity[0] = 0;
    s.identity[1] = 5;
    assert_ok(prle_eval_answer(&rows, &n, &q));
    assert_true(!rows[1].interval.by_identity && rows[1].interval.n_groups == N_VIDEOS);
    prle_free(rows);
    prle_eval_question_deinit(&q);
}

static void test_refused(void **state)
{
    (void)state;
    store s;
    prle_eval_row *rows = NULL;
    int64_t n = 77;

    store_fill(&s);
    const prle_eval_data data = data_of(&s);
    prle_eval_question q = question_make(&data, &s);
    assert_ok(prle_strings_add(&q.group[0].methods, "swop"));
    assert_fails(prle_eval_answer(&rows, &n, &q), PRLE_EINVAL, "group seen: no face store has a method \"swop\"");
    q.n_groups = 0;
    q.set[1].scores[4] = (double)NAN;
    assert_fails(prle_eval_answer(&rows, &n, &q), PRLE_ENUMERIC, "score 4 of 36");
    assert_true(rows == NULL && n == 77);
    q.n_groups = 2;
    prle_eval_question_deinit(&q);
}

/* The table leaves out what is the same everywhere. */
static void test_table(void **state)
{
    (void)state;
    store s;
    prle_eval_row *rows = NULL;
    char *text = NULL;
    int64_t n = 0;

    store_fill(&s);
    const prle_eval_data data = data_of(&s), other = {.name = "others", .faces = &s.faces, .index = s.index, .n = N};
    prle_eval_question q = question_make(&data, &s);
    assert_ok(prle_eval_answer(&rows, &n, &q));
    assert_ok(prle_eval_table(&text, rows, n, &q));
    assert_non_null(strstr(text, "model  fakes  by "));
    assert_non_null(strstr(text, "AUC - plain's [95 %]\n"));
    assert_non_null(strstr(text, "\nprle   seen   video     6     4  "));
    assert_null(strstr(text, "mouth")); /* groups stand instead of methods */
    prle_free(text);
    prle_free(rows);

    q.n_models = 1; /* two sets of one model: another store, another alpha */
    q.set[1].data = &other;
    q.set[0].alpha = 0.5;
    q.set[1].alpha = 1;
    q.n_replicates = 0;
    const int64_t n_groups = q.n_groups;
    q.n_groups = 0;
    assert_ok(prle_eval_answer(&rows, &n, &q));
    assert_ok(prle_eval_table(&text, rows, n, &q));
    assert_non_null(strstr(text, "data    alpha  fakes        by "));
    assert_non_null(strstr(text, "\nothers      1  swap, twice  frame    18    12  "));
    assert_null(strstr(text, "model"));
    assert_null(strstr(text, "95 %"));
    q.n_groups = n_groups;
    prle_free(text);
    prle_free(rows);
    prle_eval_question_deinit(&q);
}

static void test_json(void **state)
{
    (void)state;
    store s;
    prle_eval_row *rows = NULL;
    prle_json_writer json = {0};
    prle_json *root = NULL;
    char *text = NULL, *files[] = {"scores-plain.csv", "scores-prle.csv"};
    int64_t n = 0;
    double value;

    store_fill(&s);
    const prle_eval_data data = data_of(&s);
    prle_eval_question q = question_make(&data, &s);
    assert_ok(prle_eval_answer(&rows, &n, &q));
    prle_json_begin_object(&json, NULL);
    prle_eval_json(&json, rows, n, &q, files);
    prle_json_end(&json);
    assert_ok(prle_json_take(&json, false, &text));
    assert_ok(prle_json_parse("answer", text, strlen(text), &root));
    for (int64_t i = 0; i < n; i++) {
        const prle_json *set = prle_json_item(prle_json_get(root, "sets"), i / 10);
        const prle_json *row = prle_json_item(prle_json_get(set, "rows"), i % 10);
        assert_string_equal(prle_json_text(prle_json_get(set, "scores")), files[i / 10]);
        assert_string_equal(prle_json_text(prle_json_get(set, "model")), i < 10 ? "plain" : "prle");
        assert_string_equal(prle_json_text(prle_json_get(row, "fakes")), rows[i].fakes);
        assert_string_equal(prle_json_text(prle_json_get(row, "by")), i % 2 ? "video" : "frame");
        const prle_json *auc = prle_json_get(prle_json_get(row, "metrics"), "auc");
        assert_true(prle_json_double(prle_json_get(auc, "value"), &value) && value == rows[i].metrics.value[PRLE_METRIC_AUC]);
        assert_true(prle_json_double(prle_json_get(auc, "lo"), &value) && value == rows[i].interval.lo[PRLE_METRIC_AUC]);
        assert_false(prle_json_double(prle_json_get(prle_json_get(prle_json_get(row, "metrics"), "tpr_fpr_1e-2"), "value"),
                                      &value)); /* null */
        assert_true((prle_json_get(row, "minus_first_model") == NULL) == (i < 10));
    }
    prle_json_destroy(root);
    prle_free(text);
    prle_free(rows);
    prle_eval_question_deinit(&q);
}

static void test_csv(void **state)
{
    (void)state;
    store s;
    prle_csv csv;
    char *text = NULL, *name = NULL;
    double value;

    store_fill(&s);
    s.identity[2] = PRLE_IDENTITY_UNKNOWN;
    const prle_eval_data data = data_of(&s);
    prle_eval_question q = question_make(&data, &s);
    q.set[0].scores[7] = 1.0 / 3;
    assert_ok(prle_eval_csv(&text, &q.set[0]));
    assert_ok(prle_csv_parse(&csv, "scores.csv", text, strlen(text)));
    assert_int_equal(csv.n_rows, N);
    for (int64_t i = 0; i < N; i++) {
        assert_ok(prle_csv_number(&csv, i, prle_csv_find(&csv, "score"), &value));
        assert_true(value == q.set[0].scores[i]);
        assert_ok(prle_csv_number(&csv, i, prle_csv_find(&csv, "frame"), &value));
        assert_true(value == s.frame[i]);
        assert_string_equal(prle_csv_text(&csv, i, prle_csv_find(&csv, "video")), s.video_names[i / FRAMES]);
        assert_string_equal(prle_csv_text(&csv, i, prle_csv_find(&csv, "method")), method_names[s.method[i]]);
        assert_string_equal(prle_csv_text(&csv, i, prle_csv_find(&csv, "label")), s.label[i] ? "1" : "0");
        assert_string_equal(prle_csv_text(&csv, i, prle_csv_find(&csv, "identity")),
                            i == 2 ? "" : identity_names[i / FRAMES % 6]);
    }
    prle_csv_deinit(&csv);
    prle_free(text);
    assert_ok(prle_eval_csv_name(&name, &q.set[1], &q));
    assert_string_equal(name, "scores-prle.csv");
    prle_free(name);
    q.n_models = 1;
    assert_ok(prle_eval_csv_name(&name, &q.set[1], &q));
    assert_string_equal(name, "scores.csv");
    prle_free(name);
    q.set[1].alpha = 0.3;
    assert_ok(prle_eval_csv_name(&name, &q.set[1], &q));
    assert_string_equal(name, "scores-alpha0.3.csv");
    prle_free(name);
    prle_eval_question_deinit(&q);
}

static void names_check(const char *const paths[], const char *const want[], int n)
{
    prle_strings list = {0}, names = {0};

    for (int i = 0; i < n; i++)
        assert_ok(prle_strings_add(&list, paths[i]));
    assert_ok(prle_short_names(&names, &list));
    for (int i = 0; i < n; i++)
        assert_string_equal(names.item[i], want[i]);
    prle_strings_deinit(&list);
    prle_strings_deinit(&names);
}

static void test_names(void **state)
{
    (void)state;
    const int64_t live = prle_alloc_live();
    prle_strings list = {0}, names = {0};

    names_check((const char *[]){"runs/plain/", "/data/faces.h5", "x", "/"}, (const char *[]){"plain", "faces", "x", "-"}, 4);
    names_check((const char *[]){"a/faces.h5", "b/faces.h5", "c"}, (const char *[]){"a-faces", "b-faces", "c"}, 3);
    assert_ok(prle_short_names(&names, &list));
    assert_int_equal(names.n, 0);
    assert_ok(prle_strings_add(&list, "runs/a"));
    assert_ok(prle_strings_add(&list, "runs/a"));
    assert_fails(prle_short_names(&names, &list), PRLE_EINVAL, "runs/a is given twice");
    prle_strings_deinit(&list);
    assert_int_equal(prle_alloc_live(), live);
}

/* Whatever allocation fails, nothing leaks and nothing is answered. */
static void test_allocations_fail(void **state)
{
    (void)state;
    store s;
    prle_eval_row *rows = NULL;
    int64_t n = 0, nth = 1;

    store_fill(&s);
    const prle_eval_data data = data_of(&s);
    prle_eval_question q = question_make(&data, &s);
    q.n_replicates = 2;
    const int64_t live = prle_alloc_live();
    for (prle_status st = PRLE_ENOMEM; st != PRLE_OK; nth++) {
        prle_alloc_fail_at(nth);
        st = prle_eval_answer(&rows, &n, &q);
        prle_alloc_fail_at(0);
        assert_true(st == PRLE_OK || st == PRLE_ENOMEM);
        assert_int_equal(prle_alloc_live(), live + (st == PRLE_OK));
    }
    assert_true(nth > 100);
    prle_free(rows);
    prle_eval_question_deinit(&q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),    cmocka_unit_test(test_one_class), cmocka_unit_test(test_identities),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_table),     cmocka_unit_test(test_json),
        cmocka_unit_test(test_csv),     cmocka_unit_test(test_names),     cmocka_unit_test(test_allocations_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
