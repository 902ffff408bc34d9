/* option_help.c - options as text: what they accept, --help, the dump into run folders. */
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/alloc.h"
#include "core/option_internal.h"
#include "core/text.h"

enum { HELP_WIDTH = 100, HELP_INDENT = 28, EXPECTED_BYTES = PRLE_OPTION_EXPECTED_BYTES };

/* ---- what an option accepts, in words ---- */

static bool is_number(const prle_option *option)
{
    return option->words == NULL && option->type >= PRLE_OPTION_INT && option->type <= PRLE_OPTION_DOUBLE;
}

static bool has_range_shown(const prle_option *option)
{
    return prle_option_has_range(option) && (is_number(option) || option->type == PRLE_OPTION_STRINGS);
}

bool prle_option_is_enum(const prle_option *option)
{
    return option->words != NULL && (option->type == PRLE_OPTION_INT || option->type == PRLE_OPTION_ENUM);
}

bool prle_option_has_range(const prle_option *option) { return option->min != 0 || option->max != 0; }

/* Said "from MIN to MAX"; other ranges are "at least", "at most" or "more than" something. */
static bool is_span(const prle_option *option) { return !isinf(option->min) && !isinf(option->max) && !option->above_min; }

const char *prle_option_range_text(const prle_option *option, char text[EXPECTED_BYTES])
{
    char min[32], max[32];

    text[0] = '\0';
    if (!has_range_shown(option))
        return text;
    prle_text_double(option->min, min);
    prle_text_double(option->max, max);
    const char *items = option->type == PRLE_OPTION_STRINGS ? " items" : "";
    if (is_span(option))
        snprintf(text, EXPECTED_BYTES, "from %s to %s%s", min, max, items);
    else if (isinf(option->min))
        snprintf(text, EXPECTED_BYTES, "at most %s%s", max, items);
    else if (isinf(option->max))
        snprintf(text, EXPECTED_BYTES, "%s %s%s", option->above_min ? "more than" : "at least", min, items);
    else
        snprintf(text, EXPECTED_BYTES, "more than %s, at most %s", min, max);
    return text;
}

const char *prle_option_words_text(const char *const *words, char text[EXPECTED_BYTES])
{
    size_t used = 0;

    text[0] = '\0';
    for (int i = 0; words[i] != NULL && used < EXPECTED_BYTES; i++)
        used += (size_t)snprintf(text + used, EXPECTED_BYTES - used, "%s%s", i > 0 ? ", " : "", words[i]);
    return text;
}

const char *prle_option_expected_text(const prle_option *option, char text[EXPECTED_BYTES])
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
        snprintf(text, EXPECTED_BYTES, "one of %.300s", prle_option_words_text(option->words, part));
        return text;
    }
    prle_option_range_text(option, part);
    const bool has_range = part[0] != '\0', is_natural = option->type == PRLE_OPTION_UINT64 && !has_range;
    const char *const joint = is_natural ? " of at least 0" : !has_range ? "" : is_span(option) ? " " : " of ";
    snprintf(text, EXPECTED_BYTES, "%s%s%.200s%s%s", kinds[option->type], joint, part, option->unit != NULL ? ", in " : "",
             option->unit != NULL ? option->unit : "");
    return text;
}

const char *prle_option_placeholder(const prle_option *option)
{
    static const char *const words[] = {
        [PRLE_OPTION_BOOL] = "",    [PRLE_OPTION_INT] = "N",       [PRLE_OPTION_ENUM] = "WORD",
        [PRLE_OPTION_INT64] = "N",  [PRLE_OPTION_UINT64] = "N",    [PRLE_OPTION_FLOAT] = "X",
        [PRLE_OPTION_DOUBLE] = "X", [PRLE_OPTION_STRING] = "TEXT", [PRLE_OPTION_STRINGS] = "TEXT",
    };
    return option->value != NULL ? option->value : option->words != NULL ? "WORD" : words[option->type];
}

/* ---- value to text ---- */

static bool is_given(const opt_slot *slot)
{
    switch (slot->option->type) {
    case PRLE_OPTION_STRING: return *(const char *const *)slot->field != NULL;
    case PRLE_OPTION_FLOAT: return !isnan(*(const float *)slot->field);
    case PRLE_OPTION_DOUBLE: return !isnan(*(const double *)slot->field);
    case PRLE_OPTION_STRINGS: return slot->source.level > LEVEL_DEFAULT || ((const prle_strings *)slot->field)->n > 0;
    default: return true;
    }
}

static void text_value_add(prle_text *text, const char *value, bool quoted)
{
    if (quoted)
        prle_text_add_quoted(text, value);
    else
        prle_text_add(text, "%s", value);
}

static void list_value_add(prle_text *text, const prle_strings *list, bool quoted)
{
    prle_text_add(text, quoted ? "[" : "");
    for (int64_t i = 0; i < list->n; i++) {
        prle_text_add(text, i > 0 ? "," : "");
        text_value_add(text, list->item[i], quoted);
    }
    prle_text_add(text, quoted ? "]" : "");
}

/* `quoted`: as YAML; else as on the command line. */
static void value_add(prle_text *text, const opt_slot *slot, bool quoted)
{
    const void *field = slot->field;
    char digits[32];

    if (!is_given(slot)) {
        prle_text_add(text, "null");
        return;
    }
    if (prle_option_is_enum(slot->option)) {
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
    case PRLE_OPTION_STRING: text_value_add(text, *(const char *const *)field, quoted); break;
    case PRLE_OPTION_STRINGS: list_value_add(text, field, quoted); break;
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
        if (!prle_option_fits_level(options, slot, LEVEL_FILE))
            continue;
        prle_text_add(&text, "  %s: ", slot->option->name);
        value_add(&text, slot, true);
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
            prle_text_add(text, " --%s %s", option->name, prle_option_placeholder(option));
    }
    prle_text_add(text, " [OPTION]...");
    for (int i = 0; i < options->n_slots; i++) {
        const prle_option *option = options->slots[i].option;
        if (option->positional)
            prle_text_add(text, " %s%s%s%s", option->required ? "" : "[", prle_option_placeholder(option),
                          option->type == PRLE_OPTION_STRINGS ? "..." : "", option->required ? "" : "]");
    }
    prle_text_add(text, "\n");
}

/* What stands in brackets after the help text: "red, green; from 1 to 100 images; default 10". */
static void facts_add(prle_text *text, const opt_slot *slot)
{
    const prle_option *option = slot->option;
    char buffer[EXPECTED_BYTES];

    if (option->words != NULL)
        prle_text_add(text, "; %s", prle_option_words_text(option->words, buffer));
    if (prle_option_range_text(option, buffer)[0] != '\0')
        prle_text_add(text, "; %s%s%s", buffer, option->unit != NULL ? " " : "", option->unit != NULL ? option->unit : "");
    else if (option->unit != NULL)
        prle_text_add(text, "; in %s", option->unit);
    if (option->required)
        prle_text_add(text, "; required");
    else if (option->type == PRLE_OPTION_BOOL)
        prle_text_add(text, "%s", *(const bool *)slot->field ? "; on by default" : "");
    else if (is_given(slot)) {
        prle_text_add(text, "; default ");
        value_add(text, slot, false);
    }
    if (option->environment != NULL)
        prle_text_add(text, "; environment %s", option->environment);
}

/* "  -n, --count N", "  FILE..." */
static void names_add(prle_text *text, const opt_slot *slot)
{
    const prle_option *option = slot->option;
    const bool is_bool = option->type == PRLE_OPTION_BOOL;

    if (option->positional) {
        prle_text_add(text, "  ");
    } else {
        prle_text_add(text, option->letter != 0 ? "  -%c, " : "      ", option->letter);
        prle_text_add(text, "--%s%s%s", is_bool && *(const bool *)slot->field ? "[no-]" : "", option->name, is_bool ? "" : " ");
    }
    prle_text_add(text, "%s", prle_option_placeholder(option));
    if (option->type == PRLE_OPTION_STRINGS)
        prle_text_add(text, option->many || option->positional ? "..." : ",...");
}

static prle_status option_add(prle_text *text, const opt_slot *slot)
{
    const size_t line_begin = text->n_bytes;
    prle_text explanation = {0}, facts = {0};
    char *words = NULL;
    prle_status st = PRLE_OK;

    names_add(text, slot);
    const int column = (int)(text->n_bytes - line_begin);
    if (column >= HELP_INDENT)
        prle_text_add(text, "\n");
    prle_text_add(text, "%*s", column < HELP_INDENT ? HELP_INDENT - column : HELP_INDENT, "");
    facts_add(&facts, slot);
    PRLE_TRY_OUT(prle_text_take(&facts, &words));
    prle_text_add(&explanation, words[0] != '\0' ? "%s (%s)" : "%s", slot->option->help, words[0] != '\0' ? words + 2 : "");
    prle_free(words);
    words = NULL;
    PRLE_TRY_OUT(prle_text_take(&explanation, &words));
    prle_text_add_wrapped(text, words, HELP_INDENT, HELP_INDENT, HELP_WIDTH);
out:
    prle_free(words);
    prle_text_drop(&explanation);
    return st;
}

static prle_status groups_add(prle_text *text, const prle_options *options)
{
    for (int i = 0; i < options->n_slots; i++) {
        const char *group = options->slots[i].option->group;
        if (group != NULL || i == 0)
            prle_text_add(text, "\n%s\n", group != NULL ? group : "Options");
        PRLE_TRY(option_add(text, &options->slots[i]));
    }
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
    PRLE_TRY_OUT(groups_add(&text, options));
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
