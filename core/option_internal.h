/* option_internal.h - what option.c (sources to values) and option_help.c (values to text) share. */
#pragma once
#include "core/option.h"

enum { PRLE_OPTION_EXPECTED_BYTES = 384, PRLE_OPTION_ENV_BYTES = 96 };

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

struct prle_options {
    const prle_option_spec *spec;
    builtin_args builtin;
    bool help_wanted;
    opt_slot *slots;
    int n_slots;
    void **owned; /* what values and origins point to */
    size_t n_owned, room_owned;
};

/** May this option be given at this level? --help belongs to the command line alone, and a file names no further file. */
bool prle_option_fits_level(const prle_options *options, const opt_slot *slot, opt_level level);

bool prle_option_is_enum(const prle_option *option);
bool prle_option_has_range(const prle_option *option);

/** "FILE", "N", "" for a bool. */
const char *prle_option_placeholder(const prle_option *option);

/** "from 0 to 1", "above 0", "at least 1 items", "" where anything goes. Returns text. */
const char *prle_option_range_text(const prle_option *option, char text[PRLE_OPTION_EXPECTED_BYTES]);

/** "red, green, blue". Returns text. */
const char *prle_option_words_text(const char *const *words, char text[PRLE_OPTION_EXPECTED_BYTES]);

/** "an integer from 1 to 100, in images". Returns text. */
const char *prle_option_expected_text(const prle_option *option, char text[PRLE_OPTION_EXPECTED_BYTES]);
