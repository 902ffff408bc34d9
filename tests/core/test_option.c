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
    {PRLE_OPTION_AT(test_args, scale), .name = "scale", .min = 0, .max = HUGE_VAL, .help = "a double"},
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
                                   .unset = (double)NAN,
                                   .zoo = {.item = (char *[]){"x", "y"}, .n = 2},
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

/* ---- files and environment ---- */

static char yaml_path[64];

static void yaml_write(const char *text)
{
    FILE *file = fopen(yaml_path, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static void test_file(void **state)
{
    (void)state;
    yaml_write("# a comment\n"
               "count: 20\n"
               "zoo: [a, \"b,c\"]\n"
               "fast: yes\n"
               "long-name: \"top: \\\"level\\\"\"\n"
               "out: ~\n"
               "test:\n"
               "  count: 30\n"
               "  out: here\n"
               "other: {whatever: [1, {a: b}]}\n");
    assert_ok(PARSE("--config", yaml_path));
    assert_int_equal(args.count, 30); /* the section wins over the top level */
    assert_true(args.fast);
    assert_int_equal(args.zoo.n, 2);
    assert_string_equal(args.zoo.item[1], "b,c");
    assert_string_equal(args.name, "top: \"level\"");
    assert_string_equal(args.out, "here");
    assert_non_null(strstr(prle_options_origin(options, "count"), ":8"));
    yaml_write("zoo: a,b\n");
    assert_ok(PARSE("--config", yaml_path, "-o", "x"));
    assert_int_equal(args.zoo.n, 2);
    yaml_write("");
    assert_ok(PARSE("--config", yaml_path, "-o", "x"));
}

static void test_precedence(void **state)
{
    (void)state;
    yaml_write("count: 20\nrate: 0.125\n");
    assert_ok(PARSE("-o", "x", "--preset", "paper"));
    assert_int_equal(args.count, 64);
    assert_true(args.inner.rate == 0.5f);
    assert_string_equal(prle_options_origin(options, "count"), "preset paper");
    assert_ok(PARSE("-o", "x", "--preset=paper", "--config", yaml_path));
    assert_int_equal(args.count, 20);
    setenv("PRLE_COUNT", "40", 1);
    setenv("PRLE_LONG_NAME", "from outside", 1);
    setenv("PRLE_RATE", "", 1); /* counts as absent */
    setenv("PRLE_ZOO", "p,q,r", 1);
    assert_ok(PARSE("-o", "x", "--config", yaml_path));
    assert_int_equal(args.count, 40);
    assert_string_equal(args.name, "from outside");
    assert_string_equal(prle_options_origin(options, "count"), "environment PRLE_COUNT");
    assert_true(args.inner.rate == 0.125f);
    assert_int_equal(args.zoo.n, 3);
    assert_ok(PARSE("--count", "50", "-o", "x", "--config", yaml_path, "--zoo", "z"));
    assert_int_equal(args.count, 50);
    assert_int_equal(args.zoo.n, 1);
    assert_ok(PARSE("--count", "50", "--count=51", "-o", "x")); /* the last one wins */
    assert_int_equal(args.count, 51);
    setenv("PRLE_CONFIG", yaml_path, 1);
    assert_ok(PARSE("-o", "x"));
    assert_true(args.inner.rate == 0.125f);
    unsetenv("PRLE_COUNT");
    unsetenv("PRLE_LONG_NAME");
    unsetenv("PRLE_RATE");
    unsetenv("PRLE_ZOO");
    unsetenv("PRLE_CONFIG");
}

static void test_argument_messages(void **state)
{
    (void)state;
    const struct {
        const char *word, *message;
    } cases[] = {
        {"--cuont=3", "unknown option --cuont=3: did you mean --count? (prle test --help lists all)"},
        {"--no-fats", "unknown option --no-fats: did you mean --fast?"},
        {"--xyzzy", "unknown option --xyzzy (prle test --help lists all)"},
        {"--long", "unknown option --long: did you mean --long-name?"},
        {"--no-count", "unknown option --no-count: did you mean --count?"},
        {"--no-fast=1", "unknown option --no-fast=1: did you mean --fast?"},
        {"-z", "unknown option -z"},
        {"-fast", "unknown option -fast: did you mean --fast?"},
        {"--count", "option --count needs a value (--count=VALUE where it begins with a dash)"},
        {"--count=0", "option count = \"0\" (command line): expected an integer from 1 to 100, in images"},
        {"--count=101", "expected an integer from 1 to 100"},
        {"--count=3x", "option count = \"3x\" (command line)"},
        {"--count=", "option count = \"\""},
        {"--count= 3", "option count = \" 3\""},
        {"--count=99999999999999999999", "expected an integer"},
        {"--count=4294967297", "expected an integer"},
        {"--big=9223372036854775808", "option big = \"9223372036854775808\" (command line): expected an integer"},
        {"--seed=-1", "expected an integer of at least 0"},
        {"--seed=18446744073709551616", "expected an integer of at least 0"},
        {"--scale=nan", "option scale = \"nan\" (command line): expected a number of at least 0"},
        {"--scale=inf", "expected a number of at least 0"},
        {"--scale=1e999", "expected a number of at least 0"},
        {"--scale=-1", "expected a number of at least 0"},
        {"--rate=0", "option rate = \"0\" (command line): expected a number of more than 0, at most 1"},
        {"--rate=1.0000001", "more than 0, at most 1"},
        {"--fast=maybe", "option fast = \"maybe\" (command line): expected true or false"},
        {"--colour=gren", "option colour = \"gren\" (command line): expected one of red, green, blue; did you mean green?"},
        {"--zoo=a,,b", "option zoo = \"\" (command line): expected texts, none of them empty"},
        {"--zoo=a,b,c,d,e", "option zoo (command line): 5 given, expected from 1 to 4 items"},
        {"--long-name=", "option long-name = \"\" (command line): expected a text that is not empty"},
        {"--long-name=\xff", "option long-name (command line): the value is not UTF-8"},
        {"--preset=papr", "option preset = \"papr\" (command line): expected one of paper, wrong"},
        {"--preset=wrong", "option rate = \"7\" (preset wrong): expected a number of more than 0, at most 1"},
        {"--config=/nowhere/x.yaml", "/nowhere/x.yaml: cannot open: No such file"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char word[64];
        snprintf(word, sizeof word, "%s", cases[i].word);
        assert_int_not_equal(PARSE("-o", "x", word), PRLE_OK);
        if (strstr(prle_error_message(), cases[i].message) == NULL)
            fail_msg("%s: message \"%s\" does not contain \"%s\"", word, prle_error_message(), cases[i].message);
    }
    assert_fails(PARSE("a"), PRLE_EINVAL,
                 "option --out is missing: give it as an argument, as PRLE_OUT or as \"out:\" in a --config file");
    assert_fails(PARSE("-o", "x", "--count", "--fast"), PRLE_EINVAL, "--count needs a value");
    assert_fails(PARSE("-o"), PRLE_EINVAL, "--out needs a value");
    assert_fails(PARSE("-o", "x", "1", "2", "3", "4", "5"), PRLE_EINVAL, "option files (command line): 4 given");
}

static void test_file_messages(void **state)
{
    (void)state;
    const struct {
        const char *text;
        prle_status code;
        const char *message;
    } cases[] = {
        {"count: 20\ncuont: 3\n", PRLE_EINVAL, ":2: unknown option \"cuont\" for prle test: did you mean count?"},
        {"lr: 3\n", PRLE_EINVAL, ":1: unknown option \"lr\" for prle test; options of other commands belong into sections"},
        {"tset: {count: 3}\n", PRLE_EINVAL, ":1: unknown section \"tset\" for prle test: did you mean test?"},
        {"test: {count: 3, nest: {}}\n", PRLE_EINVAL, ":1: unknown section \"nest\" for prle test: did you mean test?"},
        {"\ncount: many\n", PRLE_EINVAL, ":2): expected an integer from 1 to 100"},
        {"count: [1]\n", PRLE_EINVAL, "takes one value, not a list"},
        {"count: {a: 1}\n", PRLE_EINVAL, "takes a value, not a section"},
        {"zoo:\n- a\n- [b]\n", PRLE_EINVAL, "item in line 3 is no text"},
        {"zoo: []\n", PRLE_EINVAL, ":1): 0 given, expected from 1 to 4 items"},
        {"help: true\n", PRLE_EINVAL, "unknown option \"help\""},
        {"config: x\n", PRLE_EINVAL, "unknown option \"config\""},
        {"count: 1\ncount: 2\n", PRLE_EFORMAT, ":2: \"count\" stands here and in line 1"},
        {"count: &a 1\nbig: *a\n", PRLE_EFORMAT, ":2: aliases (*name) are not accepted"},
        {"- a\n", PRLE_EFORMAT, ":1: expected lines \"option: value\""},
        {"just text\n", PRLE_EFORMAT, ":1: expected lines"},
        {"a: 1\n---\nb: 1\n", PRLE_EFORMAT, ":2: a second document begins"},
        {"? [a]\n: b\n", PRLE_EFORMAT, ":1: a key must be a word"},
        {"a: \"\\0\"\n", PRLE_EFORMAT, ":1: text holds a zero byte"},
        {"a: [1, 2\n", PRLE_EFORMAT, ":2: did not find expected ',' or ']'"},
        {"\tcount: 1\n", PRLE_EFORMAT, ":1: found character that cannot start any token"},
        {"count: \xff\n", PRLE_EFORMAT, "UTF-8"},
        {"x: [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]\n", PRLE_EFORMAT,
         "nested deeper than 32 levels"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        yaml_write(cases[i].text);
        const prle_status st = PARSE("-o", "x", "--config", yaml_path);
        if (st != cases[i].code || strstr(prle_error_message(), cases[i].message) == NULL)
            fail_msg("%s: %s, message \"%s\" does not contain \"%s\"", cases[i].text, prle_status_name(st), prle_error_message(),
                     cases[i].message);
    }
    yaml_write("count: 0\n");
    assert_fails(PARSE("-o", "x", "--count=5", "--config", yaml_path), PRLE_EINVAL, ":1): expected"); /* although it loses */
    setenv("PRLE_COUNT", "none", 1);
    assert_fails(PARSE("-o", "x"), PRLE_EINVAL, "option count = \"none\" (environment PRLE_COUNT): expected an integer");
    unsetenv("PRLE_COUNT");
}

/* ---- dump, help ---- */

static void test_dump_reload(void **state)
{
    (void)state;
    char *first = NULL, *second = NULL;

    assert_ok(PARSE("-o", "x y\t\"z\"\\ \xc3\xa9\xe2\x80\xa8\xc2\x85\n#", "--preset", "paper", "--scale", "0.1", "--rate=0.3",
                    "--zoo", "a: b,[c]", "--data", "1,2", "null", "--big=-5", "--no-safe", "--colour=red", "in.h5", "f1"));
    assert_ok(prle_options_dump(options, "prle 0\nprle test -o x", &first));
    assert_non_null(strstr(first, "# prle 0\n# prle test -o x\ntest:\n"));
    assert_non_null(strstr(first, "  count: 64 # preset paper\n"));
    assert_non_null(strstr(first, "  rate: 0.3 # command line\n"));
    assert_non_null(strstr(first, "  seed: 1 # default\n"));
    assert_non_null(strstr(first, "  unset: null # default\n"));
    yaml_write(first);
    const test_args before = args;
    char out[64];
    snprintf(out, sizeof out, "%s", args.out);
    assert_ok(PARSE("--config", yaml_path));
    assert_string_equal(args.out, out);
    assert_true(args.scale == before.scale && args.inner.rate == before.inner.rate && args.big == -5 && !args.safe);
    assert_true(isnan(args.unset) && args.name == NULL);
    assert_string_equal(args.zoo.item[0], "a: b");
    assert_string_equal(args.data.item[1], "null");
    assert_string_equal(args.src, "in.h5");
    assert_int_equal(args.inner.colour, RED);
    assert_ok(prle_options_dump(options, NULL, &second));
    /* Same values, other origins: equal up to the comments. */
    const char *a = strstr(first, "test:"), *b = second;
    while (*a != '\0' && *b != '\0') {
        const char *a_end = strstr(a, " # "), *b_end = strstr(b, " # ");
        if (a_end == NULL || b_end == NULL)
            break;
        assert_int_equal(a_end - a, b_end - b);
        assert_memory_equal(a, b, (size_t)(a_end - a));
        a = strchr(a_end, '\n') + 1;
        b = strchr(b_end, '\n') + 1;
    }
    assert_true(*a == '\0' && *b == '\0');
    prle_free(first);
    prle_free(second);
}

static void test_help(void **state)
{
    (void)state;
    char *page = NULL;
    const char *const expected[] = {
        "prle test - tests options\n",
        "Usage: prle test --out FILE [OPTION]... [SRC] [FILE...]\n",
        "A paragraph.\n",
        "  -o, --out FILE            where to (required)\n",
        "      --[no-]safe           take care (on by default)\n",
        "  -n, --count N             how many (from 1 to 100 images; default 10)\n",
        "      --scale X             a double (at least 0; default 0.1)\n",
        "      --zoo TEXT,...        a list (from 1 to 4 items; default x,y)\n",
        "      --data TEXT...        paths\n",
        "\nInner\n      --rate X              a float (more than 0, at most 1; default 0.25)\n",
        "      --colour WORD         an enum (red, green, blue; default green)\n",
        "  -h, --help                show this page\n",
        "Presets (--preset NAME)\n  paper                     as published\n",
        "--rate 0.5\n",
        "Examples\n  prle test -o x\n",
        "Later ones win: default, preset, file,",
    };

    assert_ok(PARSE("--bogus", "--help"));
    assert_true(prle_options_help_wanted(options));
    assert_ok(prle_options_help(options, &page));
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
        if (strstr(page, expected[i]) == NULL)
            fail_msg("help does not contain \"%s\":\n%s", expected[i], page);
    for (const char *line = page; *line != '\0'; line += strcspn(line, "\n") + 1)
        assert_in_range(strcspn(line, "\n"), 0, 100);
    prle_free(page);
    assert_fails(PARSE("--", "--help"), PRLE_EINVAL, "--out is missing");
    assert_ok(PARSE("-o", "x", "-n", "3"));
    assert_false(prle_options_help_wanted(options));
}

/* ---- never a crash, never a leak ---- */

static void test_random_arguments(void **state)
{
    (void)state;
    static char *words[] = {
        "-o",
        "--out",
        "--out=",
        "x",
        "",
        "-",
        "--",
        "---",
        "-n",
        "-n5",
        "-n=5",
        "--count",
        "--count=7",
        "7",
        "-7",
        "--fast",
        "--no-fast",
        "--no-",
        "--no",
        "-f",
        "-ff",
        "--zoo",
        "a,b",
        ",",
        "--data",
        "--rate=.5",
        "--rate=-",
        "--colour",
        "blue",
        "--preset=paper",
        "--config=/dev/null",
        "--config",
        "-\xff",
        "--\xc3",
        "=",
        "--=",
        "--seed=0x10",
        "--big=1e3",
        "--unset=0",
        "--src",
        "--files=q",
        "%s%n",
    };
    const uint32_t n_words = sizeof words / sizeof *words;
    prle_rng rng = prle_rng_make(7, 0, 0, PRLE_RNG_TEST);
    int n_ok = 0;

    prle_options_destroy(options);
    options = NULL;
    const int64_t live = prle_alloc_live();
    for (int i = 0; i < 20000; i++) {
        char *argv[9] = {"-o", "x"};
        const uint32_t n = 2 + prle_rng_below(&rng, 7);
        for (uint32_t j = prle_rng_below(&rng, 3); j < n; j++)
            argv[j] = words[prle_rng_below(&rng, n_words)];
        for (uint32_t j = 0; j < n; j++)
            if (argv[j] == NULL)
                argv[j] = "y";
        const prle_status st = parse(argv);
        assert_true(st == PRLE_OK || st == PRLE_EINVAL || st == PRLE_EIO);
        assert_true(st == PRLE_OK || prle_error_message()[0] != '\0');
        n_ok += st == PRLE_OK;
    }
    assert_in_range(n_ok, 200, 19800);
    prle_options_destroy(options);
    options = NULL;
    assert_int_equal(prle_alloc_live(), live);
}

static void test_every_allocation_fails(void **state)
{
    (void)state;
    int64_t nth = 1;
    prle_status st = PRLE_ENOMEM;

    prle_options_destroy(options);
    options = NULL;
    yaml_write("test: {zoo: [a, b], out: x}\ncount: 3\n");
    const int64_t live = prle_alloc_live();
    for (; st == PRLE_ENOMEM && nth < 500; nth++) {
        char *page = NULL, *yaml = NULL;
        prle_alloc_fail_at(nth);
        st = PARSE("--config", yaml_path, "--preset=paper", "--data", "1", "2", "3", "4", "5", "--long-name=t");
        if (st == PRLE_OK)
            st = prle_options_help(options, &page);
        if (st == PRLE_OK)
            st = prle_options_dump(options, "about", &yaml);
        prle_alloc_fail_at(0);
        prle_free(page);
        prle_free(yaml);
        prle_options_destroy(options);
        options = NULL;
        assert_int_equal(prle_alloc_live(), live);
    }
    assert_ok(st);
    assert_in_range(nth, 30, 499);
}

static void test_long_list(void **state)
{
    (void)state;
    enum { N = 20000 };
    static char *argv[N + 4] = {"-o", "x", "--data"};

    for (int i = 0; i < N; i++)
        argv[3 + i] = i % 2 != 0 ? "odd" : "even";
    assert_ok(parse(argv));
    assert_int_equal(args.data.n, N);
    assert_string_equal(args.data.item[N - 1], "odd");
}

static int setup(void **state)
{
    (void)state;
    snprintf(yaml_path, sizeof yaml_path, "/tmp/prle_test_option.%d.yaml", (int)getpid());
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(yaml_path);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_defaults, cleanup),
        cmocka_unit_test_teardown(test_forms, cleanup),
        cmocka_unit_test_teardown(test_file, cleanup),
        cmocka_unit_test_teardown(test_precedence, cleanup),
        cmocka_unit_test_teardown(test_argument_messages, cleanup),
        cmocka_unit_test_teardown(test_file_messages, cleanup),
        cmocka_unit_test_teardown(test_dump_reload, cleanup),
        cmocka_unit_test_teardown(test_help, cleanup),
        cmocka_unit_test_teardown(test_random_arguments, cleanup),
        cmocka_unit_test_teardown(test_every_allocation_fails, cleanup),
        cmocka_unit_test_teardown(test_long_list, cleanup),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
