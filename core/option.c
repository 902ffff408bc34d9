/* option.c - see option.h. Sources are read in any order: a slot keeps the level of the value it holds. */
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/option_internal.h"
#include "core/text.h"
#include "core/yaml.h"

enum { ENV_NAME_BYTES = PRLE_OPTION_ENV_BYTES, EXPECTED_BYTES = PRLE_OPTION_EXPECTED_BYTES, MAX_SUGGESTIONS = 256 };

static const prle_option builtin_options[] = {
    {PRLE_OPTION_AT(builtin_args, help), .name = "help", .letter = 'h', .help = "show this page"},
    {PRLE_OPTION_AT(builtin_args, config), .name = "config", .value = "FILE", .help = "read options from a YAML file"},
    {PRLE_OPTION_AT(builtin_args, preset), .name = "preset", .value = "NAME", .help = "a named set of values, see below"},
    PRLE_OPTION_END,
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

static prle_status own_copy(prle_options *options, const char *text, const char **out)
{
    char *copy = NULL;

    PRLE_TRY(prle_strdup(text, &copy));
    PRLE_TRY(own(options, copy));
    *out = copy;
    return PRLE_OK;
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

bool prle_option_fits_level(const prle_options *options, const opt_slot *slot, opt_level level)
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
        if (strlen(slot->option->name) == n && strncmp(slot->option->name, name, n) == 0 &&
            prle_option_fits_level(options, slot, level))
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

static prle_status refuse(const prle_option *option, const char *text, size_t n, const char *origin)
{
    char expected[EXPECTED_BYTES], shown[96];
    const char *near = NULL;
    int n_words = 0;

    snprintf(shown, sizeof shown, "%.*s", (int)(n < sizeof shown ? n : sizeof shown), text);
    while (option->words != NULL && option->words[n_words] != NULL)
        n_words++;
    near = prle_text_nearest(shown, option->words, n_words);
    return PRLE_FAIL(PRLE_EINVAL, "option %s = \"%s\" (%s): expected %s%s%s%s", option->name, shown, origin,
                     prle_option_expected_text(option, expected), near != NULL ? "; did you mean " : "", near != NULL ? near : "",
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
    if (!prle_option_has_range(option))
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

static bool parse_word(const char *const *words, const char *text, size_t n, int *out)
{
    for (int i = 0; words[i] != NULL; i++)
        if (strlen(words[i]) == n && strncmp(text, words[i], n) == 0) {
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
                    : prle_option_is_enum(option)    ? parse_word(option->words, text, strlen(text), &out->i)
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
    int which = 0;

    PRLE_CHECK(prle_text_is_utf8(text), PRLE_EINVAL, "option %s (%s): the value is not UTF-8", option->name, origin);
    const bool ok = option->words != NULL ? parse_word(option->words, text, n, &which) : n > 0;
    return ok ? PRLE_OK : refuse(option, text, n, origin);
}

/* A list above its default belongs to the set. */
static void list_deinit(opt_slot *slot)
{
    if (slot->option->type == PRLE_OPTION_STRINGS && slot->source.level > LEVEL_DEFAULT)
        prle_strings_deinit(slot->field);
}

static void list_begin(opt_slot *slot, opt_source source)
{
    list_deinit(slot);
    *(prle_strings *)slot->field = (prle_strings){0};
    slot->source = source;
}

static prle_status list_append(opt_slot *slot, const char *text, size_t n)
{
    char *copy = NULL;

    PRLE_TRY(prle_asprintf(&copy, "%.*s", (int)n, text));
    const prle_status st = prle_strings_add(slot->field, copy);
    prle_free(copy);
    return st;
}

/* `split`: at commas. A value of a higher level than the list's replaces it, of the same level is appended. */
static prle_status list_set(opt_slot *slot, opt_source source, const char *text, bool split)
{
    if (source.level > slot->source.level)
        list_begin(slot, source);
    for (;;) {
        const size_t n = split && !slot->option->many ? strcspn(text, ",") : strlen(text);
        PRLE_TRY(check_text(slot->option, text, n, source.origin));
        if (source.level == slot->source.level)
            PRLE_TRY(list_append(slot, text, n));
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
        return list_set(slot, source, text, true);
    if (option->type == PRLE_OPTION_STRING) {
        const char *copy = NULL;
        PRLE_TRY(check_text(option, text, strlen(text), source.origin));
        PRLE_TRY(own_copy(options, text, &copy));
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
        if (!prle_option_fits_level(options, slot, LEVEL_ENVIRONMENT))
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
        if (source.level > slot->source.level)
            list_begin(slot, source);
        for (const prle_yaml_node *item = node->child; item != NULL; item = item->next) {
            PRLE_CHECK(item->kind == PRLE_YAML_SCALAR, PRLE_EINVAL, "option %s (%s): item in line %d is no text",
                       slot->option->name, source.origin, item->line);
            PRLE_TRY(list_set(slot, source, item->text, false));
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

static const char *nearest_section(const prle_options *options, const char *word)
{
    const char *names[MAX_SUGGESTIONS] = {options->spec->command};
    int n = 1;

    for (int i = 0; options->spec->sections != NULL && options->spec->sections[i] != NULL && n < MAX_SUGGESTIONS; i++)
        names[n++] = options->spec->sections[i];
    return prle_text_nearest(word, names, n);
}

static prle_status unknown_key(const prle_options *options, const char *path, const prle_yaml_node *node)
{
    const bool is_section = node->kind == PRLE_YAML_MAP;
    const char *near = is_section ? nearest_section(options, node->key) : nearest_option(options, node->key);

    if (near != NULL)
        return PRLE_FAIL(PRLE_EINVAL, "%s:%d: unknown %s \"%.80s\" for prle %s: did you mean %s?", path, node->line,
                         is_section ? "section" : "option", node->key, options->spec->command, near);
    return PRLE_FAIL(PRLE_EINVAL, "%s:%d: unknown %s \"%.80s\" for prle %s; options of other commands belong into sections", path,
                     node->line, is_section ? "section" : "option", node->key, options->spec->command);
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
                     prle_options_origin(options, "preset"), prle_option_words_text(names, list));
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

static prle_status missing(const prle_option *option)
{
    char environment[ENV_NAME_BYTES];
    const char *name = option->positional ? prle_option_placeholder(option) : option->name;

    return PRLE_FAIL(PRLE_EINVAL, "%s%s is missing: give it as an argument, as %s or as \"%s:\" in a --config file",
                     option->positional ? "" : "option --", name, environment_name(option, environment), option->name);
}

static prle_status check_complete(const opt_slot *slot)
{
    const prle_option *option = slot->option;
    const bool is_list = option->type == PRLE_OPTION_STRINGS;
    const int64_t n = is_list ? ((const prle_strings *)slot->field)->n : 1;
    char range[EXPECTED_BYTES];

    if (option->required && (slot->source.level == LEVEL_DEFAULT || n == 0))
        return missing(option);
    if (!is_list || !prle_option_has_range(option) || slot->source.level == LEVEL_DEFAULT)
        return PRLE_OK;
    PRLE_CHECK((double)n >= option->min && (double)n <= option->max, PRLE_EINVAL, "option %s (%s): %lld given, expected %s",
               option->name, slot->source.origin, (long long)n, prle_option_range_text(option, range));
    return PRLE_OK;
}

void prle_options_destroy(prle_options *options)
{
    if (options == NULL)
        return;
    for (int i = 0; i < options->n_slots; i++)
        list_deinit(&options->slots[i]);
    for (size_t i = 0; i < options->n_owned; i++)
        prle_free(options->owned[i]);
    prle_free(options->owned);
    prle_free(options->slots);
    prle_free(options);
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
