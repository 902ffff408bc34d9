/* option.h - one table says name, type, default, range and help of each option; command line, environment, YAML file, presets,
 * --help and the dump into run folders all come from it. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"
#include "core/strings.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * A command keeps its options in a plain struct whose initialiser holds the defaults, and describes them:
 *
 *     typedef struct fuse_args {
 *         prle_fuse_opts fuse;
 *         const char *out;
 *     } fuse_args;
 *
 *     static const prle_option options[] = {
 *         {PRLE_OPTION_AT(fuse_args, out), .name = "out", .letter = 'o', .value = "FILE", .required = true, .help = "..."},
 *         {PRLE_OPTION_AT(fuse_args, fuse.lambda), .name = "lambda", .min = 0, .max = 1, .help = "..."},
 *         {PRLE_OPTION_AT(fuse_args, fuse.rule), .name = "rule", .words = prle_fuse_rule_words, .help = "..."},
 *         PRLE_OPTION_END,
 *     };
 *
 * A value comes from, later ones winning: default, --preset, top level of the --config file, the command's own section in it,
 * environment (PRLE_LAMBDA; an empty variable counts as absent), command line. Each is checked even where another one wins.
 */

/** Chosen by PRLE_OPTION_AT from the field; what is accepted on the command line stands beside it. */
typedef enum prle_option_type {
    PRLE_OPTION_NONE,
    PRLE_OPTION_BOOL,    /* bool: --name, --no-name, --name=true|false|yes|no|on|off|1|0 */
    PRLE_OPTION_INT,     /* int, or an enum where `words` is given: one of the words */
    PRLE_OPTION_ENUM,    /* an enum without negative values */
    PRLE_OPTION_INT64,   /* int64_t */
    PRLE_OPTION_UINT64,  /* uint64_t */
    PRLE_OPTION_FLOAT,   /* float; a finite number */
    PRLE_OPTION_DOUBLE,  /* double; a finite number. A default of (double)NAN means "not given" */
    PRLE_OPTION_STRING,  /* const char *: UTF-8, not empty. A default of NULL means "not given" */
    PRLE_OPTION_STRINGS, /* prle_strings: --name a,b --name c. Default: {.item = (char *[]){"a"}, .n = 1} */
} prle_option_type;

#define PRLE_OPTION_AT(Struct, field)                                                                                            \
    .type = _Generic(((Struct *)0)->field,                                                                                       \
                     bool: PRLE_OPTION_BOOL,                                                                                     \
                     int: PRLE_OPTION_INT,                                                                                       \
                     unsigned: PRLE_OPTION_ENUM,                                                                                 \
                     int64_t: PRLE_OPTION_INT64,                                                                                 \
                     uint64_t: PRLE_OPTION_UINT64,                                                                               \
                     float: PRLE_OPTION_FLOAT,                                                                                   \
                     double: PRLE_OPTION_DOUBLE,                                                                                 \
                     char *: PRLE_OPTION_STRING,                                                                                 \
                     const char *: PRLE_OPTION_STRING,                                                                           \
                     prle_strings: PRLE_OPTION_STRINGS),                                                                         \
    .offset = offsetof(Struct, field)

typedef struct prle_option {
    const char *name; /* "weight-decay": --weight-decay, PRLE_WEIGHT_DECAY, and the key in a file */
    char letter;      /* 'o' for -o; 0 for none */
    prle_option_type type;
    size_t offset; /* of the field in the part's struct; this and type by PRLE_OPTION_AT */
    const char *const
        *words;              /* of an enum, in the order of its values from 0, ended by NULL; of a text or list: what it may be */
    double min, max;         /* inclusive; of a list: how many items. Both 0: any. -HUGE_VAL, HUGE_VAL: open on that side */
    bool above_min;          /* min itself is refused */
    bool required;           /* a value must come from somewhere */
    bool positional;         /* also filled from arguments without a dash, in the order of the table; a list takes the rest */
    bool many;               /* a list of paths: takes all arguments up to the next option; commas do not split */
    const char *unit;        /* "images", "s", "px" */
    const char *value;       /* placeholder in the help: "FILE"; NULL: from the type */
    const char *help;        /* lower case, no full stop at the end; default, range and unit are added */
    const char *group;       /* a heading before this option */
    const char *environment; /* instead of PRLE_<NAME> */
} prle_option;

#define PRLE_OPTION_END                                                                                                          \
    {                                                                                                                            \
        .name = NULL                                                                                                             \
    }

/** Several tables make one command: a library's own table, say, with `offset` where its struct lies in the command's. */
typedef struct prle_option_part {
    const prle_option *options; /* ended by PRLE_OPTION_END; NULL ends the parts */
    size_t offset;
} prle_option_part;

/** A named set of values, between the defaults and everything else. */
typedef struct prle_preset {
    const char *name;
    const char *help;
    const struct prle_preset_value {
        const char *option, *value;
    } * values; /* ended by {0}; values as on the command line */
} prle_preset;

/** Everything --help shows of a command. All borrowed, static as a rule. */
typedef struct prle_option_spec {
    const char *command;     /* "fuse": name in messages, and of the section in a file */
    const char *summary;     /* one line */
    const char *description; /* one paragraph */
    const char *examples;    /* lines "prle fuse ...", NULL for none */
    const prle_option_part *parts;
    const prle_preset *presets;  /* ended by {0}; NULL: no --preset */
    const char *const *sections; /* names of other commands that a file may also hold, ended by NULL; NULL: none */
} prle_option_spec;

typedef struct prle_options prle_options;

/**
 * Fills the struct at `values`, which holds the defaults, from all sources. argv: what stands after the command's name.
 * With --help or -h among the arguments nothing else is read: see prle_options_help_wanted. Built in: --help, --config, --preset.
 * PRLE_EINVAL names option, value, origin (command line, environment, file:line, preset) and what is accepted; `values` must
 * not be read then. Texts in `values` belong to *out.
 */
PRLE_NODISCARD prle_status prle_options_parse(prle_options **out, const prle_option_spec *spec, void *values, int argc,
                                              char *const argv[]);

bool prle_options_help_wanted(const prle_options *options);

/** The whole page: usage, description, options with range and default, examples, where values come from. */
PRLE_NODISCARD prle_status prle_options_help(const prle_options *options, char **page);

/**
 * Every effective value with its origin, as YAML that --config reads back to the same values. `about` (lines, NULL for none)
 * becomes a comment at the top: program version, command line.
 */
PRLE_NODISCARD prle_status prle_options_dump(const prle_options *options, const char *about, char **yaml);

/** "default", "preset paper", "run.yaml:3", "environment PRLE_LR", "command line"; NULL when there is no such option. */
const char *prle_options_origin(const prle_options *options, const char *name);

/** Frees the texts and lists in `values` too, which must still be there. NULL is fine. */
void prle_options_destroy(prle_options *options);

#ifdef __cplusplus
}
#endif
