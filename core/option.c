/* option.c - see option.h. Sources are read in any order: a slot keeps the level of the value it holds. */
#include "core/option.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/text.h"
#include "core/yaml.h"

enum { ENV_NAME_BYTES = 96, EXPECTED_BYTES = 384, HELP_WIDTH = 100, HELP_INDENT = 28, MAX_SUGGESTIONS = 256 };

/* Where a value comes from; higher wins, equal replaces (of a list on the command line: appends). */
typedef enum opt_level {
    LEVEL_DEFAULT,
    LEVEL_PRESET,
    LEVEL_FILE,
    LEVEL_SECTION,
    LEVEL_ENVIRONMENT,
    LEVEL_ARGUMENT,
} opt_level;

typedef struct opt_source {
    opt_level level;
    const char *origin; /* owned by the set, or static */
} opt_source;

typedef struct opt_slot {
    const prle_option *option;
    void *field;
    opt_source source;
} opt_slot;

typedef struct builtin_args {
    bool help;
    const char *config;
    const char *preset;
} builtin_args;

static const prle_option builtin_options[] = {
    {PRLE_OPTION_AT(builtin_args, help), .name = "help", .letter = 'h', .help = "show this page"},
    {PRLE_OPTION_AT(builtin_args, config), .name = "config", .value = "FILE", .help = "read options from a YAML file"},
    {PRLE_OPTION_AT(builtin_args, preset), .name = "preset", .value = "NAME", .help = "a named set of values, see below"},
    PRLE_OPTION_END,
};

struct prle_options {
    const prle_option_spec *spec;
    builtin_args builtin;
    bool help_wanted;
    opt_slot *slots;
    int n_slots;
    void **owned; /* what values and origins point to */
    size_t n_owned, room_owned;
};

static bool same(const char *a, const char *b) { return strcmp(a, b) == 0; }

/* ---- what belongs to the set ---- */

static prle_status own(prle_options *options, void *block)
{
    if (options->n_owned == options->room_owned) {
        const size_t room = 2 * options->room_owned + 16;
        const prle_status st = prle_realloc(options->room_owned, room, sizeof *options->owned, (prle_any_ptr *)&options->owned);
        if (st != PRLE_OK) {
            prle_free(block);
            return st;
        }
        options->room_owned = room;
    }
    options->owned[options->n_owned++] = block;
    return PRLE_OK;
}

static prle_status own_copy(prle_options *options, const char *text, size_t n_bytes, const char **out)
{
    char *copy = NULL;

    PRLE_TRY(prle_asprintf(&copy, "%.*s", (int)n_bytes, text));
    PRLE_TRY(own(options, copy));
    *out = copy;
    return PRLE_OK;
}

void prle_options_destroy(prle_options *options)
{
    if (options == NULL)
        return;
    for (size_t i = 0; i < options->n_owned; i++)
        prle_free(options->owned[i]);
    prle_free(options->owned);
    prle_free(options->slots);
    prle_free(options);
}

/* ---- names ---- */

static const char *environment_name(const prle_option *option, char name[ENV_NAME_BYTES])
{
    if (option->environment != NULL)
        return option->environment;
    snprintf(name, ENV_NAME_BYTES, "PRLE_%s", option->name);
    for (char *at = name; *at != '\0'; at++)
        *at = *at == '-' ? '_' : (char)toupper((unsigned char)*at);
    return name;
}

static bool is_builtin(const prle_options *options, const opt_slot *slot)
{
    const char *field = slot->field, *begin = (const char *)&options->builtin;
    return field >= begin && field < begin + sizeof options->builtin;
}

/* --help belongs to the command line alone, and a file names no further file. */
static bool fits_source(const prle_options *options, const opt_slot *slot, opt_level level)
{
    if (slot->field == &options->builtin.help)
        return level == LEVEL_ARGUMENT;
    if (slot->field == &options->builtin.config)
        return level >= LEVEL_ENVIRONMENT;
    return !(is_builtin(options, slot) && level == LEVEL_PRESET);
}

static opt_slot *slot_find(const prle_options *options, const char *name, size_t n, opt_level level)
{
    for (int i = 0; i < options->n_slots; i++) {
        opt_slot *slot = &options->slots[i];
        if (strlen(slot->option->name) == n && strncmp(slot->option->name, name, n) == 0 && fits_source(options, slot, level))
            return slot;
    }
    return NULL;
}

static opt_slot *slot_find_letter(const prle_options *options, char letter)
{
    for (int i = 0; i < options->n_slots; i++)
        if (options->slots[i].option->letter == letter)
            return &options->slots[i];
    return NULL;
}

static const char *nearest_option(const prle_options *options, const char *word)
{
    const char *names[MAX_SUGGESTIONS];
    int n = 0;

    for (int i = 0; i < options->n_slots && n < MAX_SUGGESTIONS; i++)
        names[n++] = options->slots[i].option->name;
    return prle_text_nearest(word, names, n);
}

/* ---- what an option accepts, in words ---- */

static bool is_number(const prle_option *option)
{
    return option->words == NULL && option->type >= PRLE_OPTION_INT && option->type <= PRLE_OPTION_DOUBLE;
}

static bool has_range(const prle_option *option) { return option->min != 0 || option->max != 0; }

/* " from 0 to 1", " above 0", "" */
static const char *range_text(const prle_option *option, char text[EXPECTED_BYTES])
{
    char min[32], max[32];

    text[0] = '\0';
    if (!is_number(option) || !has_range(option))
        return text;
    prle_text_double(option->min, min);
    prle_text_double(option->max, max);
    const bool no_min = isinf(option->min), no_max = isinf(option->max);
    if (no_min)
        snprintf(text, EXPECTED_BYTES, "at most %s", max);
    else if (no_max)
        snprintf(text, EXPECTED_BYTES, "%s %s", option->above_min ? "above" : "at least", min);
    else if (option->above_min)
        snprintf(text, EXPECTED_BYTES, "above %s, at most %s", min, max);
    else
        snprintf(text, EXPECTED_BYTES, "from %s to %s", min, max);
    return text;
}

static const char *words_text(const char *const *words, char text[EXPECTED_BYTES])
{
    size_t used = 0;

    text[0] = '\0';
    for (int i = 0; words[i] != NULL && used < EXPECTED_BYTES; i++)
        used += (size_t)snprintf(text + used, EXPECTED_BYTES - used, "%s%s", i > 0 ? ", " : "", words[i]);
    return text;
}

static const char *expected_text(const prle_option *option, char text[EXPECTED_BYTES])
{
    static const char *const kinds[] = {
        [PRLE_OPTION_BOOL] = "true or false",
        [PRLE_OPTION_INT] = "an integer",
        [PRLE_OPTION_ENUM] = "a word",
        [PRLE_OPTION_INT64] = "an integer",
        [PRLE_OPTION_UINT64] = "an integer",
        [PRLE_OPTION_FLOAT] = "a number",
        [PRLE_OPTION_DOUBLE] = "a number",
        [PRLE_OPTION_STRING] = "a text that is not empty",
        [PRLE_OPTION_STRINGS] = "texts, none of them empty",
    };
    char part[EXPECTED_BYTES];

    if (option->words != NULL) {
        snprintf(text, EXPECTED_BYTES, "one of %.300s", words_text(option->words, part));
        return text;
    }
    range_text(option, part);
    const bool unsigned_any = option->type == PRLE_OPTION_UINT64 && !has_range(option);
    snprintf(text, EXPECTED_BYTES, "%s%s%.200s%s%s", kinds[option->type], part[0] != '\0' || unsigned_any ? " " : "",
             unsigned_any ? "of at least 0" : part, option->unit != NULL ? ", in " : "",
             option->unit != NULL ? option->unit : "");
    return text;
}

static prle_status refuse(const prle_option *option, const char *text, size_t n, const char *origin)
{
    char expected[EXPECTED_BYTES];
    const char *near = NULL;

    if (option->words != NULL) {
        int n_words = 0;
        while (option->words[n_words] != NULL)
            n_words++;
        near = prle_text_nearest(text, option->words, n_words);
    }
    return PRLE_FAIL(PRLE_EINVAL, "option %s = \"%.*s\" (%s): expected %s%s%s%s", option->name, (int)(n < 200 ? n : 200), text,
                     origin, expected_text(option, expected), near != NULL ? "; did you mean " : "", near != NULL ? near : "",
                     near != NULL ? "?" : "");
}

/* ---- text to value ---- */

typedef union opt_value {
    bool b;
    int i;
    int64_t i64;
    uint64_t u64;
    float f;
    double d;
} opt_value;

static bool in_range(const prle_option *option, double x)
{
    if (!has_range(option))
        return true;
    return x <= option->max && (option->above_min ? x > option->min : x >= option->min);
}

static bool parse_bool(const char *text, bool *out)
{
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on", "0", "1"};

    for (int i = 0; i < (int)(sizeof words / sizeof *words); i++)
        if (same(text, words[i])) {
            *out = i % 2 == 1;
            return true;
        }
    return false;
}

static bool parse_word(const char *const *words, const char *text, int *out)
{
    for (int i = 0; words[i] != NULL; i++)
        if (same(text, words[i])) {
            *out = i;
            return true;
        }
    return false;
}

static bool parse_number(const prle_option *option, const char *text, opt_value *out)
{
    char *end = NULL;
    double x = 0;

    if (text[0] == '\0' || isspace((unsigned char)text[0]))
        return false;
    errno = 0;
    switch (option->type) {
    case PRLE_OPTION_INT: {
        const int64_t wide = strtoll(text, &end, 10);
        if (wide < INT_MIN || wide > INT_MAX)
            return false;
        out->i = (int)wide;
        x = (double)wide;
        break;
    }
    case PRLE_OPTION_INT64:
        out->i64 = strtoll(text, &end, 10);
        x = (double)out->i64;
        break;
    case PRLE_OPTION_UINT64:
        if (text[0] == '-')
            return false;
        out->u64 = strtoull(text, &end, 10);
        x = (double)out->u64;
        break;
    case PRLE_OPTION_FLOAT:
        out->f = strtof(text, &end);
        x = strtod(text, NULL);
        if (!isfinite(out->f))
            return false;
        break;
    default: out->d = x = strtod(text, &end); break;
    }
    const bool underflow = errno == ERANGE && fabs(x) < 1; /* of a number near zero: taken as it rounds */
    return *end == '\0' && end != text && (errno == 0 || underflow) && isfinite(x) && in_range(option, x);
}

static prle_status parse_value(const prle_option *option, const char *text, const char *origin, opt_value *out)
{
    const bool ok = option->type == PRLE_OPTION_BOOL ? parse_bool(text, &out->b)
                    : option->words != NULL          ? parse_word(option->words, text, &out->i)
                                                     : parse_number(option, text, out);
    return ok ? PRLE_OK : refuse(option, text, strlen(text), origin);
}

static size_t value_bytes(prle_option_type type)
{
    static const size_t bytes[] = {
        [PRLE_OPTION_BOOL] = sizeof(bool),     [PRLE_OPTION_INT] = sizeof(int),         [PRLE_OPTION_ENUM] = sizeof(int),
        [PRLE_OPTION_INT64] = sizeof(int64_t), [PRLE_OPTION_UINT64] = sizeof(uint64_t), [PRLE_OPTION_FLOAT] = sizeof(float),
        [PRLE_OPTION_DOUBLE] = sizeof(double),
    };
    return bytes[type];
}

/* ---- setting a slot ---- */

static prle_status check_text(const prle_option *option, const char *text, size_t n, const char *origin)
{
    PRLE_CHECK(prle_text_is_utf8(text), PRLE_EINVAL, "option %s (%s): the value is not UTF-8", option->name, origin);
    return n > 0 ? PRLE_OK : refuse(option, text, n, origin);
}

static prle_status list_append(prle_options *options, opt_slot *slot, const char *text, size_t n)
{
    prle_strings *list = slot->field;
    const char **items = NULL;

    PRLE_TRY(PRLE_NEW(items, list->n + 1));
    for (int i = 0; i < list->n; i++)
        items[i] = list->item[i];
    PRLE_TRY(own(options, items));
    PRLE_TRY(own_copy(options, text, n, &items[list->n]));
    *list = (prle_strings){.item = items, .n = list->n + 1};
    return PRLE_OK;
}

/* `split`: at commas. A value of a higher level than the list's replaces it, of the same level is appended. */
static prle_status list_set(prle_options *options, opt_slot *slot, opt_source source, const char *text, bool split)
{
    if (source.level > slot->source.level) {
        *(prle_strings *)slot->field = (prle_strings){0};
        slot->source = source;
    }
    for (;;) {
        const size_t n = split && !slot->option->many ? strcspn(text, ",") : strlen(text);
        PRLE_TRY(check_text(slot->option, text, n, source.origin));
        if (source.level == slot->source.level)
            PRLE_TRY(list_append(options, slot, text, n));
        if (text[n] == '\0')
            return PRLE_OK;
        text += n + 1;
    }
}

static prle_status slot_set(prle_options *options, opt_slot *slot, opt_source source, const char *text)
{
    const prle_option *option = slot->option;
    opt_value parsed = {0};

    if (option->type == PRLE_OPTION_STRINGS)
        return list_set(options, slot, source, text, true);
    if (option->type == PRLE_OPTION_STRING) {
        const char *copy = NULL;
        PRLE_TRY(check_text(option, text, strlen(text), source.origin));
        PRLE_TRY(own_copy(options, text, strlen(text), &copy));
        if (source.level >= slot->source.level)
            *(const char **)slot->field = copy;
    } else {
        PRLE_TRY(parse_value(option, text, source.origin, &parsed));
        if (source.level >= slot->source.level)
            memcpy(slot->field, &parsed, value_bytes(option->type));
    }
    if (source.level >= slot->source.level)
        slot->source = source;
    return PRLE_OK;
}

/* ---- the command line ---- */

static const opt_source argument = {LEVEL_ARGUMENT, "command line"};

static bool looks_like_option(const char *text)
{
    return text[0] == '-' && text[1] != '\0' && text[1] != '.' && !isdigit((unsigned char)text[1]);
}

static prle_status unknown_option(const prle_options *options, const char *word)
{
    const char *name = word + strspn(word, "-"), *near = NULL;
    char bare[64];

    snprintf(bare, sizeof bare, "%.*s", (int)strcspn(name, "="), name);
    near = nearest_option(options, bare);
    if (near == NULL && strncmp(bare, "no-", 3) == 0)
        near = nearest_option(options, bare + 3);
    return PRLE_FAIL(PRLE_EINVAL, "unknown option %.80s%s%s%s (prle %s --help lists all)", word,
                     near != NULL ? ": did you mean --" : "", near != NULL ? near : "", near != NULL ? "?" : "",
                     options->spec->command);
}

/* The value of the option in argv[*at]: after `=`, or the next argument. *at moves to the last argument used. */
static prle_status argument_value(prle_options *options, opt_slot *slot, const char *attached, int argc, char *const argv[],
                                  int *at)
{
    const prle_option *option = slot->option;

    if (attached != NULL)
        return slot_set(options, slot, argument, attached);
    if (option->type == PRLE_OPTION_BOOL)
        return slot_set(options, slot, argument, "true");
    PRLE_CHECK(*at + 1 < argc && !looks_like_option(argv[*at + 1]), PRLE_EINVAL,
               "option --%s needs a value (--%s=VALUE where it begins with a dash)", option->name, option->name);
    do
        PRLE_TRY(slot_set(options, slot, argument, argv[++*at]));
    while (option->many && *at + 1 < argc && !looks_like_option(argv[*at + 1]));
    return PRLE_OK;
}

static prle_status long_option(prle_options *options, int argc, char *const argv[], int *at)
{
    const char *word = argv[*at], *name = word + 2, *equals = strchr(name, '=');
    const size_t n = equals != NULL ? (size_t)(equals - name) : strlen(name);

    opt_slot *slot = slot_find(options, name, n, LEVEL_ARGUMENT);
    if (slot != NULL)
        return argument_value(options, slot, equals != NULL ? equals + 1 : NULL, argc, argv, at);
    if (n > 3 && strncmp(name, "no-", 3) == 0) {
        slot = slot_find(options, name + 3, n - 3, LEVEL_ARGUMENT);
        if (slot != NULL && slot->option->type == PRLE_OPTION_BOOL && equals == NULL)
            return slot_set(options, slot, argument, "false");
    }
    return unknown_option(options, word);
}

static prle_status short_option(prle_options *options, int argc, char *const argv[], int *at)
{
    const char *word = argv[*at];
    opt_slot *slot = slot_find_letter(options, word[1]);

    if (slot == NULL || (word[2] != '\0' && slot->option->type == PRLE_OPTION_BOOL))
        return unknown_option(options, word);
    return argument_value(options, slot, word[2] != '\0' ? word + 2 + (word[2] == '=') : NULL, argc, argv, at);
}

static prle_status positional_take(prle_options *options, const char *text)
{
    for (int i = 0; i < options->n_slots; i++) {
        opt_slot *slot = &options->slots[i];
        const bool filled = slot->source.level == LEVEL_ARGUMENT && slot->option->type != PRLE_OPTION_STRINGS;
        if (slot->option->positional && !filled)
            return slot_set(options, slot, argument, text);
    }
    const char *near = nearest_option(options, text);
    return PRLE_FAIL(PRLE_EINVAL, "unexpected argument \"%.80s\"%s%s%s", text, near != NULL ? ": did you mean --" : "",
                     near != NULL ? near : "", near != NULL ? "?" : "");
}

static prle_status arguments_read(prle_options *options, int argc, char *const argv[])
{
    bool options_end = false;

    for (int i = 0; i < argc; i++) {
        const char *word = argv[i];
        if (options_end || word[0] != '-' || word[1] == '\0')
            PRLE_TRY(positional_take(options, word));
        else if (same(word, "--"))
            options_end = true;
        else if (word[1] == '-')
            PRLE_TRY(long_option(options, argc, argv, &i));
        else
            PRLE_TRY(short_option(options, argc, argv, &i));
    }
    return PRLE_OK;
}

/* ---- environment, file, preset ---- */

static prle_status environment_read(prle_options *options)
{
    for (int i = 0; i < options->n_slots; i++) {
        opt_slot *slot = &options->slots[i];
        char buffer[ENV_NAME_BYTES], *origin = NULL;
        if (!fits_source(options, slot, LEVEL_ENVIRONMENT))
            continue;
        const char *name = environment_name(slot->option, buffer), *text = getenv(name);
        if (text == NULL || text[0] == '\0')
            continue;
        PRLE_TRY(prle_asprintf(&origin, "environment %s", name));
        PRLE_TRY(own(options, origin));
        PRLE_TRY(slot_set(options, slot, (opt_source){LEVEL_ENVIRONMENT, origin}, text));
    }
    return PRLE_OK;
}

static prle_status node_take(prle_options *options, opt_slot *slot, const prle_yaml_node *node, opt_source source)
{
    switch (node->kind) {
    case PRLE_YAML_NULL: return PRLE_OK; /* "not given" */
    case PRLE_YAML_SCALAR: return slot_set(options, slot, source, node->text);
    case PRLE_YAML_LIST:
        PRLE_CHECK(slot->option->type == PRLE_OPTION_STRINGS, PRLE_EINVAL, "option %s (%s): takes one value, not a list",
                   slot->option->name, source.origin);
        if (source.level > slot->source.level) {
            *(prle_strings *)slot->field = (prle_strings){0};
            slot->source = source;
        }
        for (const prle_yaml_node *item = node->child; item != NULL; item = item->next) {
            PRLE_CHECK(item->kind == PRLE_YAML_SCALAR, PRLE_EINVAL, "option %s (%s): item in line %d is no text",
                       slot->option->name, source.origin, item->line);
            PRLE_TRY(list_set(options, slot, source, item->text, false));
        }
        return PRLE_OK;
    case PRLE_YAML_MAP: break;
    }
    return PRLE_FAIL(PRLE_EINVAL, "option %s (%s): takes a value, not a section", slot->option->name, source.origin);
}

static bool is_other_section(const prle_option_spec *spec, const char *key)
{
    for (int i = 0; spec->sections != NULL && spec->sections[i] != NULL; i++)
        if (same(spec->sections[i], key))
            return true;
    return false;
}

static prle_status unknown_key(const prle_options *options, const char *path, const prle_yaml_node *node)
{
    const char *near = nearest_option(options, node->key);

    return PRLE_FAIL(PRLE_EINVAL, "%s:%d: unknown option \"%.80s\" of prle %s%s%s%s", path, node->line, node->key,
                     options->spec->command, near != NULL ? ": did you mean " : "", near != NULL ? near : "",
                     near != NULL ? "?" : "; options of other commands belong into a section under their name");
}

static prle_status map_take(prle_options *options, const char *path, const prle_yaml_node *map, opt_level level)
{
    for (const prle_yaml_node *node = map->child; node != NULL; node = node->next) {
        char *origin = NULL;
        if (level == LEVEL_FILE && node->kind != PRLE_YAML_SCALAR && node->kind != PRLE_YAML_LIST) {
            if (same(node->key, options->spec->command)) {
                PRLE_TRY(map_take(options, path, node, LEVEL_SECTION));
                continue;
            }
            if (is_other_section(options->spec, node->key))
                continue;
        }
        opt_slot *slot = slot_find(options, node->key, strlen(node->key), level);
        if (slot == NULL)
            return unknown_key(options, path, node);
        PRLE_TRY(prle_asprintf(&origin, "%s:%d", path, node->line));
        PRLE_TRY(own(options, origin));
        PRLE_TRY(node_take(options, slot, node, (opt_source){level, origin}));
    }
    return PRLE_OK;
}

static prle_status file_read(prle_options *options)
{
    const char *path = options->builtin.config;
    prle_yaml *yaml = NULL;
    prle_status st = PRLE_OK;

    if (path == NULL)
        return PRLE_OK;
    PRLE_TRY(prle_yaml_load(path, &yaml));
    const prle_yaml_node *root = prle_yaml_root(yaml);
    PRLE_CHECK_OUT(root->kind == PRLE_YAML_MAP || root->kind == PRLE_YAML_NULL, PRLE_EFORMAT,
                   "%s:%d: expected lines \"option: value\"", path, root->line);
    PRLE_TRY_OUT(map_take(options, path, root, LEVEL_FILE));
out:
    prle_yaml_destroy(yaml);
    return st;
}

static prle_status preset_unknown(const prle_options *options)
{
    const char *names[MAX_SUGGESTIONS + 1] = {NULL};
    char list[EXPECTED_BYTES];

    for (int i = 0; options->spec->presets[i].name != NULL && i < MAX_SUGGESTIONS; i++)
        names[i] = options->spec->presets[i].name;
    return PRLE_FAIL(PRLE_EINVAL, "option preset = \"%.80s\" (%s): expected one of %s", options->builtin.preset,
                     prle_options_origin(options, "preset"), words_text(names, list));
}

static prle_status preset_read(prle_options *options)
{
    const prle_preset *preset = options->spec->presets;
    char *origin = NULL;

    if (options->builtin.preset == NULL)
        return PRLE_OK;
    while (preset->name != NULL && !same(preset->name, options->builtin.preset))
        preset++;
    if (preset->name == NULL)
        return preset_unknown(options);
    PRLE_TRY(prle_asprintf(&origin, "preset %s", preset->name));
    PRLE_TRY(own(options, origin));
    for (const struct prle_preset_value *value = preset->values; value->option != NULL; value++) {
        opt_slot *slot = slot_find(options, value->option, strlen(value->option), LEVEL_PRESET);
        PRLE_CHECK(slot != NULL, PRLE_EINVAL, "preset %s sets \"%s\", which is no option", preset->name, value->option);
        PRLE_TRY(slot_set(options, slot, (opt_source){LEVEL_PRESET, origin}, value->value));
    }
    return PRLE_OK;
}

/* ---- begin and end ---- */

static bool table_is_sound(const prle_options *options)
{
    for (int i = 0; i < options->n_slots; i++) {
        const prle_option *a = options->slots[i].option;
        if (a->type == PRLE_OPTION_NONE || a->help == NULL || (a->type == PRLE_OPTION_ENUM && a->words == NULL))
            return false;
        for (int j = 0; j < i; j++) {
            const prle_option *b = options->slots[j].option;
            if (same(a->name, b->name) || (a->letter != 0 && a->letter == b->letter))
                return false;
        }
    }
    return true;
}

static void slots_add(prle_options *options, const prle_option *table, void *values)
{
    for (const prle_option *option = table; option->name != NULL; option++) {
        if (values == &options->builtin && options->spec->presets == NULL && same(option->name, "preset"))
            continue;
        options->slots[options->n_slots++] =
            (opt_slot){.option = option, .field = (char *)values + option->offset, .source = {LEVEL_DEFAULT, "default"}};
    }
}

static int table_length(const prle_option *table)
{
    int n = 0;
    while (table[n].name != NULL)
        n++;
    return n;
}

static prle_status slots_make(prle_options *options, void *values)
{
    int n = table_length(builtin_options);

    for (const prle_option_part *part = options->spec->parts; part->options != NULL; part++)
        n += table_length(part->options);
    PRLE_TRY(PRLE_NEW(options->slots, n));
    for (const prle_option_part *part = options->spec->parts; part->options != NULL; part++)
        slots_add(options, part->options, (char *)values + part->offset);
    slots_add(options, builtin_options, &options->builtin);
    PRLE_ASSERT(table_is_sound(options));
    return PRLE_OK;
}

static const char *placeholder(const prle_option *option)
{
    static const char *const words[] = {
        [PRLE_OPTION_BOOL] = "",    [PRLE_OPTION_INT] = "N",       [PRLE_OPTION_ENUM] = "WORD",
        [PRLE_OPTION_INT64] = "N",  [PRLE_OPTION_UINT64] = "N",    [PRLE_OPTION_FLOAT] = "X",
        [PRLE_OPTION_DOUBLE] = "X", [PRLE_OPTION_STRING] = "TEXT", [PRLE_OPTION_STRINGS] = "TEXT,...",
    };
    return option->value != NULL ? option->value : option->words != NULL ? "WORD" : words[option->type];
}

static prle_status check_complete(const opt_slot *slot)
{
    const prle_option *option = slot->option;
    char environment[ENV_NAME_BYTES];

    PRLE_CHECK(!option->required || slot->source.level > LEVEL_DEFAULT, PRLE_EINVAL,
               option->positional ? "%s is missing: give it as an argument, as %s or as \"%s:\" in a --config file"
                                  : "option --%s is missing: give it on the command line, as %s or as \"%s:\" in a --config file",
               option->positional ? placeholder(option) : option->name, environment_name(option, environment), option->name);
    if (option->type != PRLE_OPTION_STRINGS || !has_range(option) || slot->source.level == LEVEL_DEFAULT)
        return PRLE_OK;
    const int n = ((const prle_strings *)slot->field)->n;
    PRLE_CHECK(n >= option->min && n <= option->max, PRLE_EINVAL, "option %s (%s): %d given, expected from %g to %g",
               option->name, slot->source.origin, n, option->min, option->max);
    return PRLE_OK;
}

static bool asks_for_help(int argc, char *const argv[])
{
    for (int i = 0; i < argc && !same(argv[i], "--"); i++)
        if (same(argv[i], "--help") || same(argv[i], "-h"))
            return true;
    return false;
}

prle_status prle_options_parse(prle_options **out, const prle_option_spec *spec, void *values, int argc, char *const argv[])
{
    prle_options *options = NULL;
    prle_status st = PRLE_OK;

    PRLE_TRY(PRLE_NEW(options, 1));
    options->spec = spec;
    PRLE_TRY_OUT(slots_make(options, values));
    options->help_wanted = asks_for_help(argc, argv);
    if (!options->help_wanted) {
        PRLE_TRY_OUT(arguments_read(options, argc, argv));
        PRLE_TRY_OUT(environment_read(options));
        PRLE_TRY_OUT(file_read(options));
        PRLE_TRY_OUT(preset_read(options));
        for (int i = 0; i < options->n_slots; i++)
            PRLE_TRY_OUT(check_complete(&options->slots[i]));
    }
    *out = options;
    options = NULL;
out:
    prle_options_destroy(options);
    return st;
}

bool prle_options_help_wanted(const prle_options *options) { return options->help_wanted; }

const char *prle_options_origin(const prle_options *options, const char *name)
{
    for (int i = 0; i < options->n_slots; i++)
        if (same(options->slots[i].option->name, name))
            return options->slots[i].source.origin;
    return NULL;
}

/* ---- value to text ---- */

static bool is_given(const opt_slot *slot)
{
    switch (slot->option->type) {
    case PRLE_OPTION_STRING: return *(const char *const *)slot->field != NULL;
    case PRLE_OPTION_FLOAT: return !isnan(*(const float *)slot->field);
    case PRLE_OPTION_DOUBLE: return !isnan(*(const double *)slot->field);
    default: return true;
    }
}

static void value_add(prle_text *text, const opt_slot *slot)
{
    const void *field = slot->field;
    char digits[32];

    if (!is_given(slot)) {
        prle_text_add(text, "null");
        return;
    }
    if (slot->option->words != NULL) {
        prle_text_add(text, "%s", slot->option->words[*(const int *)field]);
        return;
    }
    switch (slot->option->type) {
    case PRLE_OPTION_BOOL: prle_text_add(text, "%s", *(const bool *)field ? "true" : "false"); break;
    case PRLE_OPTION_NONE:
    case PRLE_OPTION_ENUM:
    case PRLE_OPTION_INT: prle_text_add(text, "%d", *(const int *)field); break;
    case PRLE_OPTION_INT64: prle_text_add(text, "%lld", (long long)*(const int64_t *)field); break;
    case PRLE_OPTION_UINT64: prle_text_add(text, "%llu", (unsigned long long)*(const uint64_t *)field); break;
    case PRLE_OPTION_FLOAT: prle_text_add(text, "%s", prle_text_float(*(const float *)field, digits)); break;
    case PRLE_OPTION_DOUBLE: prle_text_add(text, "%s", prle_text_double(*(const double *)field, digits)); break;
    case PRLE_OPTION_STRING: prle_text_add_quoted(text, *(const char *const *)field); break;
    case PRLE_OPTION_STRINGS: {
        const prle_strings *list = field;
        prle_text_add(text, "[");
        for (int i = 0; i < list->n; i++) {
            prle_text_add(text, "%s", i > 0 ? ", " : "");
            prle_text_add_quoted(text, list->item[i]);
        }
        prle_text_add(text, "]");
        break;
    }
    }
}

static void comment_add(prle_text *text, const char *lines)
{
    while (*lines != '\0') {
        const size_t n = strcspn(lines, "\n");
        prle_text_add(text, "# %.*s\n", (int)n, lines);
        lines += n + (lines[n] == '\n');
    }
}

prle_status prle_options_dump(const prle_options *options, const char *about, char **yaml)
{
    prle_text text = {0};

    if (about != NULL)
        comment_add(&text, about);
    prle_text_add(&text, "%s:\n", options->spec->command);
    for (int i = 0; i < options->n_slots; i++) {
        const opt_slot *slot = &options->slots[i];
        if (!fits_source(options, slot, LEVEL_FILE))
            continue;
        prle_text_add(&text, "  %s: ", slot->option->name);
        value_add(&text, slot);
        prle_text_add(&text, " # %s\n", slot->source.origin);
    }
    return prle_text_take(&text, yaml);
}

/* ---- --help ---- */

static void usage_add(prle_text *text, const prle_options *options)
{
    prle_text_add(text, "Usage: prle %s", options->spec->command);
    for (int i = 0; i < options->n_slots; i++) {
        const prle_option *option = options->slots[i].option;
        if (option->required && !option->positional)
            prle_text_add(text, " --%s %s", option->name, placeholder(option));
    }
    prle_text_add(text, " [OPTION]...");
    for (int i = 0; i < options->n_slots; i++) {
        const prle_option *option = options->slots[i].option;
        if (option->positional)
            prle_text_add(text, " %s%s%s%s", option->required ? "" : "[", placeholder(option),
                          option->type == PRLE_OPTION_STRINGS ? "..." : "", option->required ? "" : "]");
    }
    prle_text_add(text, "\n");
}

/* "help (words; range unit; default)" */
static void explanation_add(prle_text *text, const opt_slot *slot)
{
    const prle_option *option = slot->option;
    char buffer[EXPECTED_BYTES];
    const char *separator = " (";

    prle_text_add(text, "%s", option->help);
    if (option->words != NULL) {
        prle_text_add(text, "%s%s", separator, words_text(option->words, buffer));
        separator = "; ";
    }
    const bool ranged = range_text(option, buffer)[0] != '\0';
    if (ranged || option->unit != NULL) {
        prle_text_add(text, "%s%s%s%s", separator, ranged ? buffer : "in", option->unit != NULL ? " " : "",
                      option->unit != NULL ? option->unit : "");
        separator = "; ";
    }
    const bool empty_list = option->type == PRLE_OPTION_STRINGS && ((const prle_strings *)slot->field)->n == 0;
    if (option->required) {
        prle_text_add(text, "%srequired", separator);
        separator = "; ";
    } else if (is_given(slot) && !empty_list && option->type != PRLE_OPTION_BOOL) {
        prle_text_add(text, "%sdefault ", separator);
        value_add(text, slot);
        separator = "; ";
    } else if (option->type == PRLE_OPTION_BOOL && *(const bool *)slot->field) {
        prle_text_add(text, "%son by default", separator);
        separator = "; ";
    }
    if (option->environment != NULL) {
        prle_text_add(text, "%senvironment %s", separator, option->environment);
        separator = "; ";
    }
    prle_text_add(text, "%s", separator[0] == ';' ? ")" : "");
}

static prle_status option_add(prle_text *text, const opt_slot *slot, bool is_first)
{
    const prle_option *option = slot->option;
    char left[128], *words = NULL;
    prle_text explanation = {0};

    if (option->group != NULL)
        prle_text_add(text, "%s%s\n", is_first ? "" : "\n", option->group);
    else if (is_first)
        prle_text_add(text, "Options\n");
    if (option->positional)
        snprintf(left, sizeof left, "  %s", placeholder(option));
    else
        snprintf(left, sizeof left, "  %c%c%s --%s%s%s%s", option->letter != 0 ? '-' : ' ',
                 option->letter != 0 ? option->letter : ' ', option->letter != 0 ? "," : " ",
                 option->type == PRLE_OPTION_BOOL && *(bool *)slot->field ? "[no-]" : "", option->name,
                 placeholder(option)[0] != '\0' ? " " : "", placeholder(option));
    explanation_add(&explanation, slot);
    PRLE_TRY(prle_text_take(&explanation, &words));
    prle_text_add(text, "%s", left);
    if (strlen(left) >= HELP_INDENT)
        prle_text_add(text, "\n%*s", HELP_INDENT, "");
    else
        prle_text_add(text, "%*s", HELP_INDENT - (int)strlen(left), "");
    prle_text_add_wrapped(text, words, HELP_INDENT, HELP_INDENT, HELP_WIDTH);
    prle_free(words);
    return PRLE_OK;
}

static void presets_add(prle_text *text, const prle_preset *presets)
{
    if (presets == NULL)
        return;
    prle_text_add(text, "\nPresets (--preset NAME)\n");
    for (const prle_preset *preset = presets; preset->name != NULL; preset++) {
        prle_text_add(text, "  %-*s", HELP_INDENT - 2, preset->name);
        prle_text_add_wrapped(text, preset->help, HELP_INDENT, HELP_INDENT, HELP_WIDTH);
        for (const struct prle_preset_value *value = preset->values; value->option != NULL; value++)
            prle_text_add(text, "%*s%s %s\n", HELP_INDENT + 2, "--", value->option, value->value);
    }
}

prle_status prle_options_help(const prle_options *options, char **page)
{
    const prle_option_spec *spec = options->spec;
    prle_text text = {0};
    prle_status st = PRLE_OK;

    prle_text_add(&text, "prle %s - %s\n\n", spec->command, spec->summary);
    usage_add(&text, options);
    if (spec->description != NULL) {
        prle_text_add(&text, "\n");
        prle_text_add_wrapped(&text, spec->description, 0, 0, HELP_WIDTH);
    }
    prle_text_add(&text, "\n");
    for (int i = 0; i < options->n_slots; i++)
        PRLE_TRY_OUT(option_add(&text, &options->slots[i], i == 0));
    presets_add(&text, spec->presets);
    if (spec->examples != NULL) {
        prle_text_add(&text, "\nExamples\n  ");
        prle_text_add_wrapped(&text, spec->examples, 2, 2, INT_MAX);
    }
    prle_text_add(&text, "\n");
    prle_text_add_wrapped(
        &text,
        "Each option is also read from the environment as PRLE_NAME (--log-level: PRLE_LOG_LEVEL, dashes become "
        "underscores) and from the YAML file given with --config, at its top level or under the command's name "
        "(\"lambda: 0.2\"). Later ones win: default, preset, file, environment, command line.",
        0, 0, HELP_WIDTH);
    PRLE_TRY_OUT(prle_text_take(&text, page));
out:
    prle_text_drop(&text);
    return st;
}
