/* golden.c - see golden.h; the formula is written out in weights.py. */
#include "tests/golden/golden.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/file.h"
#include "core/hash.h"

static const char header[] = "prle.golden 1\n";

/* --- the formula ---------------------------------------------------------------------------------------------------------- */

static uint64_t name_hash(const char *name) { return prle_hash(PRLE_HASH_INIT, name, strlen(name)); }

/* Uniform in [-1,1), exact. */
static double signed_unit(uint64_t hash, int64_t i)
{
    uint64_t h = hash + ((uint64_t)i + 1) * UINT64_C(0x9E3779B97F4A7C15);

    h = (h ^ h >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    h = (h ^ h >> 27) * UINT64_C(0x94D049BB133111EB);
    h ^= h >> 31;
    return 2.0 * ((double)(h >> 11) * 0x1p-53) - 1.0;
}

/* value = offset + factor s. */
static void kind_of(const char *name, const prle_shape *shape, double *offset, double *factor)
{
    const char *dot = strrchr(name, '.'), *word = dot == NULL ? "" : dot + 1;

    *offset = 0.0;
    *factor = 1.0;
    if (strcmp(word, "weight") == 0 && shape->n >= 2) {
        *factor = 0.8 * sqrt(6.0 / (double)(prle_shape_count(shape) / shape->dim[0]));
    } else if (strcmp(word, "weight") == 0) {
        *offset = 1.0;
        *factor = 0.2;
    } else if (strcmp(word, "bias") == 0 || strcmp(word, "running_mean") == 0) {
        *factor = 0.1;
    } else if (strcmp(word, "running_var") == 0) {
        *offset = 1.0;
        *factor = 0.3;
    }
}

void prle_golden_fill(void *out, prle_dtype dtype, const char *name, const prle_shape *shape)
{
    const uint64_t hash = name_hash(name);
    const int64_t n = prle_shape_count(shape);
    double offset, factor;

    kind_of(name, shape, &offset, &factor);
    for (int64_t i = 0; i < n; i++) {
        const double value = offset + factor * signed_unit(hash, i);
        if (dtype == PRLE_F64)
            ((double *)out)[i] = value;
        else
            ((float *)out)[i] = (float)value;
    }
}

void prle_golden_scale(void *values, prle_dtype dtype, int64_t n, double factor)
{
    for (int64_t i = 0; i < n; i++) {
        if (dtype == PRLE_F64)
            ((double *)values)[i] *= factor;
        else
            ((float *)values)[i] *= (float)factor;
    }
}

/* --- the file ------------------------------------------------------------------------------------------------------------- */

/* Where reading has come to in one line. */
typedef struct cursor {
    char *at;
} cursor;

/* The next word, cut out by a zero; "" at the end. */
static char *word_next(cursor *line)
{
    char *word = line->at;

    while (*line->at != ' ' && *line->at != '\0')
        line->at++;
    if (*line->at != '\0')
        *line->at++ = '\0';
    return word;
}

static bool number_next(cursor *line, double *out)
{
    const char *word = word_next(line);
    char *end = NULL;

    *out = strtod(word, &end);
    return end != word && *end == '\0' && isfinite(*out);
}

/* "64x3x7x7", or "scalar". */
static bool shape_parse(const char *text, prle_shape *shape)
{
    *shape = (prle_shape){0};
    if (strcmp(text, "scalar") == 0)
        return true;
    while (shape->n < PRLE_MAX_DIMS && isdigit((unsigned char)*text)) {
        char *end = NULL;
        errno = 0;
        shape->dim[shape->n] = strtoll(text, &end, 10);
        if (errno != 0 || shape->dim[shape->n] < 1 || shape->dim[shape->n] > 1 << 24)
            return false;
        shape->n++;
        if (*end == '\0')
            return true;
        if (*end != 'x')
            return false;
        text = end + 1;
    }
    return false;
}

static bool copy_word(char *to, size_t room, const char *word)
{
    const size_t n = strlen(word);

    if (n == 0 || n >= room)
        return false;
    memcpy(to, word, n + 1);
    return true;
}

/* One line: set, name, shape, norm, max, probes, first elements. What is wrong with it, or NULL. values: where the latter go. */
static const char *line_parse(char *text, prle_golden_tensor *t, double *values)
{
    cursor line = {text};

    if (!copy_word(t->set, sizeof t->set, word_next(&line)) || !copy_word(t->name, sizeof t->name, word_next(&line)))
        return "set or name is missing or too long";
    if (!shape_parse(word_next(&line), &t->shape))
        return "not a shape";
    if (!number_next(&line, &t->norm) || !number_next(&line, &t->max))
        return "norm or max is missing or not a finite number";
    for (int k = 0; k < PRLE_GOLDEN_PROBES; k++)
        if (!number_next(&line, &t->probe[k]))
            return "a probe is missing or not a finite number";
    for (t->first = values; *line.at != '\0'; t->n_first++)
        if (!number_next(&line, &values[t->n_first]))
            return "a value is not a finite number";
    if (t->n_first == 0 || t->n_first > prle_shape_count(&t->shape))
        return "number of values does not fit the shape";
    return NULL;
}

static size_t group_length(const char *name)
{
    const char *slash = strchr(name, '/');

    return slash == NULL ? strlen(name) + 1 : (size_t)(slash - name) + 1;
}

static bool same_group(const prle_golden_tensor *a, const prle_golden_tensor *b)
{
    return strcmp(a->set, b->set) == 0 && strncmp(a->name, b->name, group_length(a->name)) == 0;
}

static void scales_set(prle_golden *golden)
{
    for (int64_t i = 0; i < golden->n; i++) {
        prle_golden_tensor *t = &golden->tensor[i];
        double square = 0, max = 0;
        for (int64_t j = 0; j < golden->n; j++) {
            const prle_golden_tensor *other = &golden->tensor[j];
            if (!same_group(t, other))
                continue;
            square += other->norm * other->norm;
            max = fmax(max, other->max);
        }
        t->scale = t->norm < 1e-6 * sqrt(square) ? max : t->max;
    }
}

static prle_status parse(prle_golden *golden, const char *path, char *text)
{
    int64_t n_lines = 0, n_words = 0, n_values = 0;

    PRLE_CHECK(strncmp(text, header, strlen(header)) == 0, PRLE_EFORMAT, "%s: not a golden file: the first line is not \"%.*s\"",
               path, (int)strlen(header) - 1, header);
    text += strlen(header);
    for (const char *c = text; *c != '\0'; c++) {
        n_lines += *c == '\n';
        n_words += *c == '\n' || *c == ' ';
    }
    PRLE_TRY(PRLE_NEW(golden->tensor, n_lines));
    PRLE_TRY(PRLE_NEW(golden->values, n_words));
    while (*text != '\0') {
        char *end = strchr(text, '\n');
        PRLE_CHECK(end != NULL, PRLE_EFORMAT, "%s:%lld: cut short", path, (long long)golden->n + 2);
        *end = '\0';
        prle_golden_tensor *t = &golden->tensor[golden->n];
        const char *wrong = line_parse(text, t, golden->values + n_values);
        PRLE_CHECK(wrong == NULL, PRLE_EFORMAT, "%s:%lld: %s; make it again by tests/golden/make.py", path,
                   (long long)golden->n + 2, wrong);
        n_values += t->n_first;
        golden->n++;
        text = end + 1;
    }
    scales_set(golden);
    return PRLE_OK;
}

prle_status prle_golden_load(prle_golden **out, const char *path)
{
    prle_status st = PRLE_OK;
    prle_golden *golden = NULL;
    uint8_t *bytes = NULL;
    size_t n_bytes = 0;

    PRLE_TRY(prle_file_read_all(path, &bytes, &n_bytes));
    PRLE_TRY_OUT(PRLE_NEW(golden, 1));
    PRLE_TRY_OUT(parse(golden, path, (char *)bytes));
    *out = golden;
    golden = NULL;

out:
    prle_golden_destroy(golden);
    prle_free(bytes);
    return st;
}

void prle_golden_destroy(prle_golden *golden)
{
    if (golden == NULL)
        return;
    prle_free(golden->values);
    prle_free(golden->tensor);
    prle_free(golden);
}

const prle_golden_tensor *prle_golden_find(const prle_golden *golden, const char *set, const char *name)
{
    for (int64_t i = 0; i < golden->n; i++)
        if (strcmp(golden->tensor[i].set, set) == 0 && strcmp(golden->tensor[i].name, name) == 0)
            return &golden->tensor[i];
    return NULL;
}

/* --- the comparison ------------------------------------------------------------------------------------------------------- */

static double element(const void *a, prle_dtype dtype, int64_t i)
{
    return dtype == PRLE_F64 ? ((const double *)a)[i] : (double)((const float *)a)[i];
}

typedef struct summary {
    double norm, max, probe[PRLE_GOLDEN_PROBES];
} summary;

/* False when a value is not finite. Sums in long double: their rounding stays far below what they are compared for. */
static bool summarise(summary *s, const char *name, const void *a, prle_dtype dtype, int64_t n)
{
    uint64_t hash[PRLE_GOLDEN_PROBES];
    long double square = 0, sum[PRLE_GOLDEN_PROBES] = {0};

    *s = (summary){0};
    for (int k = 0; k < PRLE_GOLDEN_PROBES; k++) {
        char probe[96];
        snprintf(probe, sizeof probe, "%s/probe%d", name, k);
        hash[k] = name_hash(probe);
    }
    for (int64_t i = 0; i < n; i++) {
        const double value = element(a, dtype, i);
        if (!isfinite(value))
            return false;
        square += (long double)value * (long double)value;
        s->max = fmax(s->max, fabs(value));
        for (int k = 0; k < PRLE_GOLDEN_PROBES; k++)
            sum[k] += (long double)value * (long double)signed_unit(hash[k], i);
    }
    s->norm = sqrt((double)square);
    for (int k = 0; k < PRLE_GOLDEN_PROBES; k++)
        s->probe[k] = (double)sum[k];
    return true;
}

static double error_of(const prle_golden_tensor *b, const summary *s, const void *a, prle_dtype dtype)
{
    double d = 0;

    for (int64_t i = 0; i < b->n_first; i++)
        d = fmax(d, fabs(element(a, dtype, i) - b->first[i]));
    if (b->n_first < prle_shape_count(&b->shape)) {
        d = fmax(d, fmax(fabs(s->norm - b->norm), fabs(s->max - b->max)));
        for (int k = 0; k < PRLE_GOLDEN_PROBES; k++)
            d = fmax(d, sqrt(3.0) * fabs(s->probe[k] - b->probe[k]));
    }
    return d / b->scale;
}

double prle_golden_error(const prle_golden_tensor *b, const prle_shape *shape, const void *a, prle_dtype dtype)
{
    summary s;

    if (!prle_shape_equal(shape, &b->shape) || !(b->scale > 0) || !summarise(&s, b->name, a, dtype, prle_shape_count(shape)))
        return (double)NAN;
    return error_of(b, &s, a, dtype);
}

prle_status prle_golden_check(const prle_golden_tensor *b, const prle_shape *shape, const void *a, prle_dtype dtype,
                              double tolerance)
{
    char ours[96], theirs[96];
    summary s;

    PRLE_CHECK(prle_shape_equal(shape, &b->shape), PRLE_ENUMERIC, "%s %s: shape %s, recorded %s", b->set, b->name,
               prle_shape_print(shape, ours), prle_shape_print(&b->shape, theirs));
    PRLE_CHECK(summarise(&s, b->name, a, dtype, prle_shape_count(shape)), PRLE_ENUMERIC, "%s %s: a value is not finite", b->set,
               b->name);
    PRLE_CHECK(b->scale > 0, PRLE_ENUMERIC, "%s %s: mistrusted: the recorded tensor is all zero", b->set, b->name);
    const double error = error_of(b, &s, a, dtype);
    PRLE_CHECK(error <= tolerance, PRLE_ENUMERIC,
               "%s %s %s: error %.3g above %.3g; ours, recorded: norm %.17g %.17g, max %.17g %.17g, probe %.17g %.17g, "
               "first %.17g %.17g",
               b->set, b->name, prle_shape_print(shape, ours), error, tolerance, s.norm, b->norm, s.max, b->max, s.probe[0],
               b->probe[0], element(a, dtype, 0), b->first[0]);
    return PRLE_OK;
}
