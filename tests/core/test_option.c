/* test_option.c - option tables: every source, precedence, every message, dump and reload, presets, random arguments. */
#include <math.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/option.h"
#include "core/rng.h"
#include "core/types.h"
#include "tests/check.h"

typedef enum colour { RED, GREEN, BLUE } colour;

typedef struct inner_opts {
    float rate;
    colour colour;
} inner_opts;

typedef struct test_args {
    bool fast, safe;
    int count;
    int64_t big;
    uint64_t seed;
    double scale, unset;
    const char *out, *name;
    prle_strings zoo, data, files;
    const char *src;
    inner_opts inner;
} test_args;

static const char *const colour_words[] = {[RED] = "red", [GREEN] = "green", [BLUE] = "blue", NULL};

static const prle_option inner_options[] = {
    {PRLE_OPTION_AT(inner_opts, rate), .name = "rate", .min = 0, .max = 1, .above_min = true, .help = "a float",
     .group = "Inner"},
    {PRLE_OPTION_AT(inner_opts, colour), .name = "colour", .words = colour_words, .help = "an enum"},
    PRLE_OPTION_END,
};

static const prle_option outer_options[] = {
    {PRLE_OPTION_AT(test_args, src), .name = "src", .value = "SRC", .positional = true, .help = "where from"},
    {PRLE_OPTION_AT(test_args, files), .name = "files", .value = "FILE", .positional = true, .max = 3, .many = true,
     .help = "files"},
    {PRLE_OPTION_AT(test_args, out), .name = "out", .letter = 'o', .value = "FILE", .required = true, .help = "where to"},
    {PRLE_OPTION_AT(test_args, fast), .name = "fast", .letter = 'f', .help = "hurry"},
    {PRLE_OPTION_AT(test_args, safe), .name = "safe", .help = "take care"},
    {PRLE_OPTION_AT(test_args, count), .name = "count", .letter = 'n', .min = 1, .max = 100, .unit = "images",
     .help = "how many"},
    {PRLE_OPTION_AT(test_args, big), .name = "big", .help = "an int64"},
    {PRLE_OPTION_AT(test_args, seed), .name = "seed", .help = "a uint64"},
    {PRLE_OPTION_AT(test_args, scale), .name = "scale", .min = 0, .max = INFINITY, .help = "a double"},
    {PRLE_OPTION_AT(test_args, unset), .name = "unset", .help = "a double that may be absent"},
    {PRLE_OPTION_AT(test_args, name), .name = "long-name", .help = "a text"},
    {PRLE_OPTION_AT(test_args, zoo), .name = "zoo", .min = 1, .max = 4, .help = "a list"},
    {PRLE_OPTION_AT(test_args, data), .name = "data", .many = true, .help = "paths"},
    PRLE_OPTION_END,
};

static const prle_option_part parts[] = {
    {.options = outer_options},
    {.options = inner_options, .offset = offsetof(test_args, inner)},
    {0},
};

static const prle_preset presets[] = {
    {.name = "paper",
     .help = "as published",
     .values = (const struct prle_preset_value[]){{"rate", "0.5"}, {"count", "64"}, {0}}},
    {.name = "wrong", .help = "out of range", .values = (const struct prle_preset_value[]){{"rate", "7"}, {0}}},
    {0},
};

static const char *const sections[] = {"other", NULL};

static const prle_option_spec spec = {.command = "test",
                                      .summary = "tests options",
                                      .description = "A paragraph.",
                                      .examples = "prle test -o x",
                                      .parts = parts,
                                      .presets = presets,
                                      .sections = sections};

static const test_args defaults = {.safe = true,
                                   .count = 10,
                                   .seed = 1,
                                   .scale = 0.1,
                                   .unset = NAN,
                                   .zoo = {.item = (const char *const[]){"x", "y"}, .n = 2},
                                   .inner = {.rate = 0.25f, .colour = GREEN}};

static test_args args;
static prle_options *options;

static prle_status parse(char **argv)
{
    int argc = 0;

    while (argv[argc] != NULL)
        argc++;
    prle_options_destroy(options);
    options = NULL;
    args = defaults;
    return prle_options_parse(&options, &spec, &args, argc, argv);
}

#define PARSE(...) parse((char *[]){__VA_ARGS__, NULL})

static int cleanup(void **state)
{
    (void)state;
    prle_options_destroy(options);
    options = NULL;
    return 0;
}

static void test_defaults(void **state)
{
    (void)state;
    assert_ok(PARSE("-o", "x"));
    assert_string_equal(args.out, "x");
    assert_int_equal(args.count, 10);
    assert_true(args.safe && !args.fast && isnan(args.unset));
    assert_int_equal(args.inner.colour, GREEN);
    assert_string_equal(prle_options_origin(options, "count"), "default");
    assert_string_equal(prle_options_origin(options, "out"), "command line");
    assert_null(prle_options_origin(options, "nothing"));
}

static void test_forms(void **state)
{
    (void)state;
    assert_ok(PARSE("--out=a=b", "--fast", "--no-safe", "-n7", "--big", "-9223372036854775808", "--seed=18446744073709551615",
                    "--scale", "1e-3", "--zoo", "a,b", "--zoo", "c", "--data", "1,2.h5", "3.h5", "--colour", "blue", "from", "--",
                    "--file", "g"));
    assert_string_equal(args.out, "a=b");
    assert_true(args.fast && !args.safe);
    assert_int_equal(args.count, 7);
    assert_true(args.big == INT64_MIN && args.seed == UINT64_MAX && args.scale == 1e-3);
    assert_int_equal(args.zoo.n, 3);
    assert_string_equal(args.zoo.item[2], "c");
    assert_int_equal(args.data.n, 2);
    assert_string_equal(args.data.item[0], "1,2.h5");
    assert_int_equal(args.inner.colour, BLUE);
    assert_string_equal(args.src, "from");
    assert_int_equal(args.files.n, 2);
    assert_string_equal(args.files.item[0], "--file");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_defaults, cleanup),
        cmocka_unit_test_teardown(test_forms, cleanup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
