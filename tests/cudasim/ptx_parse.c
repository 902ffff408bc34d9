/* ptx_parse.c - the text that nvcc embedded, into ptx_program. What is not known stops with its name. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/cudasim/ptx.h"

enum { NAME = 256 };

/* Stands for the address of the dynamic shared array until the size of the others is known. */
#define DYNAMIC ((uint64_t)0xD15A5A5A00000000)

const char *const ptx_op_names[PTX_N_OPS] = {
#define PTX_NAME(name, text) text,
    PTX_OPS(PTX_NAME)
#undef PTX_NAME
};

const char *const ptx_special_names[PTX_N_SPECIALS] = {
    "%tid.x",       "%tid.y",       "%tid.z",       "%ntid.x",      "%ntid.y",      "%ntid.z", "%ctaid.x",
    "%ctaid.y",     "%ctaid.z",     "%nctaid.x",    "%nctaid.y",    "%nctaid.z",    "%laneid", "%warpid",
    "%lanemask_lt", "%lanemask_eq", "%lanemask_le", "%lanemask_ge", "%lanemask_gt", "%clock64"};

/* %r<9>: the nine registers %r0 ... %r8; or one register. */
typedef struct registers {
    char name[NAME];
    int first, count; /* count 0: one, by its whole name */
    int depth;        /* of the { } it was declared in */
} registers;

typedef struct symbol {
    char name[NAME];
    uint64_t address;
} symbol;

typedef struct label {
    char name[NAME];
    int at;           /* instruction; of an unresolved one, who jumps */
    int table, entry; /* unresolved entry of a table, else table -1 */
} label;

typedef struct parser {
    const char *at, *kernel;
    ptx_program *to;
    registers *registers;
    symbol *symbols;
    label *labels, *jumps;
    char (*table_names)[NAME];
    int n_registers, n_symbols, n_labels, n_jumps, depth, line;
} parser;

/* ---- words ---- */

static void skip(parser *p)
{
    for (;;) {
        while (isspace((unsigned char)*p->at))
            p->at++;
        if (strncmp(p->at, "//", 2) == 0)
            p->at += strcspn(p->at, "\n");
        else if (strncmp(p->at, "/*", 2) == 0)
            p->at = strstr(p->at, "*/") + 2;
        else
            return;
    }
}

static _Noreturn void unknown(const parser *p, const char *what, const char *word)
{
    sim_fatal("PTX of %s, source line %d: %s '%s' is not simulated, near '%.60s'", p->kernel, p->line, what, word, p->at);
}

static bool eat(parser *p, char c)
{
    skip(p);
    if (*p->at != c)
        return false;
    p->at++;
    return true;
}

static void expect(parser *p, char c)
{
    const char text[2] = {c, '\0'};

    if (!eat(p, c))
        unknown(p, "a statement without", text);
}

static bool is_name(char c) { return isalnum((unsigned char)c) || c == '_' || c == '$' || c == '%'; }

/* dots: part of the word, as in ld.global.f32 and %tid.x. */
static void word(parser *p, char out[NAME], bool dots)
{
    size_t n = 0;

    skip(p);
    while (is_name(*p->at) || (dots && (*p->at == '.' || *p->at == ':'))) {
        if (n < NAME - 1)
            out[n++] = *p->at;
        p->at++;
    }
    out[n] = '\0';
}

/* 12, 0x1f, 0f3F800000, 0d3FF0000000000000, 7U */
static uint64_t number(const char *text)
{
    if (text[0] == '0' && text[1] != '\0' && strchr("fFdD", text[1]) != NULL && strlen(text) >= 10)
        return strtoull(text + 2, NULL, 16);
    return strtoull(text, NULL, 0);
}

static ptx_type type_of(const char *text)
{
    static const struct {
        const char *text;
        ptx_type type;
    } types[] = {{"b8", {PTX_BITS, 1, 1}},       {"b16", {PTX_BITS, 2, 1}},     {"b32", {PTX_BITS, 4, 1}},
                 {"b64", {PTX_BITS, 8, 1}},      {"u8", {PTX_UNSIGNED, 1, 1}},  {"u16", {PTX_UNSIGNED, 2, 1}},
                 {"u32", {PTX_UNSIGNED, 4, 1}},  {"u64", {PTX_UNSIGNED, 8, 1}}, {"s8", {PTX_SIGNED, 1, 1}},
                 {"s16", {PTX_SIGNED, 2, 1}},    {"s32", {PTX_SIGNED, 4, 1}},   {"s64", {PTX_SIGNED, 8, 1}},
                 {"f16", {PTX_HALF, 2, 1}},      {"f16x2", {PTX_HALF, 2, 2}},   {"bf16", {PTX_BFLOAT, 2, 1}},
                 {"bf16x2", {PTX_BFLOAT, 2, 2}}, {"f32", {PTX_FLOAT, 4, 1}},    {"f64", {PTX_FLOAT, 8, 1}},
                 {"pred", {PTX_PREDICATE, 1, 1}}};

    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(types[i].text, text) == 0)
            return types[i].type;
    return (ptx_type){PTX_NONE, 0, 0};
}

/* ---- names ---- */

static int register_find(const parser *p, const char *name)
{
    const size_t stem = strcspn(name, "0123456789");

    for (int i = p->n_registers - 1; i >= 0; i--) {
        const registers *r = &p->registers[i];
        if (r->count == 0 && strcmp(r->name, name) == 0)
            return r->first;
        if (r->count > 0 && strlen(r->name) == stem && strncmp(r->name, name, stem) == 0 && name[stem] != '\0') {
            const long at = strtol(name + stem, NULL, 10);
            if (at < r->count)
                return r->first + (int)at;
        }
    }
    return -1;
}

static void registers_declare(parser *p)
{
    char text[NAME];

    expect(p, '.');
    word(p, text, false);
    do {
        p->registers = sim_grow(p->registers, (size_t)p->n_registers, sizeof *p->registers);
        registers *r = &p->registers[p->n_registers++];
        *r = (registers){.first = p->to->n_registers, .depth = p->depth};
        word(p, r->name, false);
        if (eat(p, '<')) {
            word(p, text, false);
            r->count = (int)number(text);
            expect(p, '>');
        }
        p->to->n_registers += r->count > 0 ? r->count : 1;
    } while (eat(p, ','));
    expect(p, ';');
}

static void symbol_add(parser *p, const char *name, uint64_t address)
{
    p->symbols = sim_grow(p->symbols, (size_t)p->n_symbols, sizeof *p->symbols);
    symbol *s = &p->symbols[p->n_symbols++];
    snprintf(s->name, sizeof s->name, "%s", name);
    s->address = address;
}

static const symbol *symbol_find(const parser *p, const char *name)
{
    for (int i = p->n_symbols - 1; i >= 0; i--)
        if (strcmp(p->symbols[i].name, name) == 0)
            return &p->symbols[i];
    return NULL;
}

/* .align 16 .b8 name[4][8]: what stands behind the state space. count 0: an array of a size that the launch tells. */
typedef struct declaration {
    char name[NAME];
    ptx_type type;
    uint64_t count;
    uint32_t align;
} declaration;

static declaration declared(parser *p)
{
    declaration d = {.type = {PTX_BITS, 1, 1}, .count = 1, .align = 1};
    char text[NAME];

    while (eat(p, '.')) {
        word(p, text, false);
        if (strcmp(text, "align") == 0) {
            word(p, text, false);
            d.align = (uint32_t)number(text);
        } else if (type_of(text).kind != PTX_NONE) {
            d.type = type_of(text);
        } /* else: .ptr, .global and the like tell nothing here */
    }
    word(p, d.name, false);
    if (d.align < (uint32_t)ptx_width(d.type))
        d.align = (uint32_t)ptx_width(d.type);
    while (eat(p, '[')) {
        word(p, text, false);
        d.count *= number(text);
        expect(p, ']');
    }
    return d;
}

static uint32_t place(uint32_t *used, const declaration *d)
{
    const uint32_t at = (*used + d->align - 1) / d->align * d->align;

    *used = at + (uint32_t)d->count * (uint32_t)ptx_width(d->type);
    return at;
}

static void array_declare(parser *p, uint32_t *used)
{
    const declaration d = declared(p);

    if (d.count == 0)
        p->to->dynamic_shared = true;
    symbol_add(p, d.name, d.count == 0 ? DYNAMIC : place(used, &d));
    eat(p, ';');
}

/* ---- operands ---- */

static ptx_operand address_operand(parser *p)
{
    ptx_operand o = {.kind = PTX_O_NUMBER};
    char text[NAME];

    word(p, text, false);
    const int reg = register_find(p, text);
    const symbol *s = symbol_find(p, text);
    if (reg >= 0) {
        o.kind = PTX_O_REGISTER;
        o.reg = reg;
    } else if (s != NULL) {
        o.number = s->address;
    } else if (isdigit((unsigned char)text[0])) {
        o.number = number(text);
    } else {
        unknown(p, "symbol", text);
    }
    if (eat(p, '+')) {
        const bool minus = eat(p, '-');
        word(p, text, false);
        o.number += minus ? -number(text) : number(text);
    }
    expect(p, ']');
    return o;
}

static ptx_operand operand(parser *p)
{
    ptx_operand o = {.kind = PTX_O_NUMBER, .negated = eat(p, '!')};
    char text[NAME];

    if (eat(p, '['))
        return address_operand(p);
    const bool minus = eat(p, '-');
    word(p, text, true);
    if (isdigit((unsigned char)text[0])) {
        o.number = minus ? -number(text) : number(text);
        return o;
    }
    if (strcmp(text, "_") == 0)
        return (ptx_operand){.kind = PTX_O_NONE};
    if (strcmp(text, "WARP_SZ") == 0) {
        o.number = 32;
        return o;
    }
    o.reg = register_find(p, text);
    if (o.reg >= 0) {
        o.kind = PTX_O_REGISTER;
        return o;
    }
    for (o.reg = 0; o.reg < PTX_N_SPECIALS; o.reg++) {
        if (strcmp(ptx_special_names[o.reg], text) == 0) {
            o.kind = PTX_O_SPECIAL;
            return o;
        }
    }
    const symbol *s = symbol_find(p, text);
    if (s == NULL)
        unknown(p, "operand", text);
    o.number = s->address;
    return o;
}

/* {a, b}, a|b, or one. */
static int operand_list(parser *p, ptx_operand out[PTX_MAX_FROM])
{
    int n = 0;

    if (eat(p, '{')) {
        do {
            if (n == PTX_MAX_TO)
                unknown(p, "vector of more than four,", "...");
            out[n++] = operand(p);
        } while (eat(p, ','));
        expect(p, '}');
        return n;
    }
    out[n++] = operand(p);
    if (eat(p, '|'))
        out[n++] = operand(p);
    return n;
}

/* ---- instructions ---- */

typedef struct spelling {
    const char *text;
    int value;
} spelling;

static int spelled(const spelling *list, const char *text)
{
    for (; list->text != NULL; list++)
        if (strcmp(list->text, text) == 0)
            return list->value;
    return -1;
}

static const spelling spaces[] = {{"global", PTX_GLOBAL}, {"const", PTX_GLOBAL}, {"shared", PTX_SHARED},
                                  {"param", PTX_PARAM},   {"local", PTX_LOCAL},  {NULL, 0}};
static const spelling flags[] = {
    {"wide", PTX_WIDE},      {"hi", PTX_HIGH},        {"sat", PTX_SATURATE},   {"ftz", PTX_FTZ},   {"to", PTX_TO},
    {"shiftamt", PTX_TO},    {"NaN", PTX_NAN},        {"wrap", PTX_WRAP},      {"relu", PTX_RELU}, {"volatile", PTX_ATOMIC},
    {"relaxed", PTX_ATOMIC}, {"acquire", PTX_ATOMIC}, {"release", PTX_ATOMIC}, {NULL, 0}};
static const spelling roundings[] = {{"rzi", 'z'}, {"rz", 'z'},  {"rni", 'i'}, {"rn", 'n'}, {"rmi", 'm'},
                                     {"rm", 'm'},  {"rpi", 'p'}, {"rp", 'p'},  {NULL, 0}};
static const spelling comparisons[] = {{"eq", PTX_V_EQ},   {"ne", PTX_V_NE},   {"lt", PTX_V_LT},   {"le", PTX_V_LE},
                                       {"gt", PTX_V_GT},   {"ge", PTX_V_GE},   {"lo", PTX_V_LO},   {"ls", PTX_V_LS},
                                       {"hi", PTX_V_HI},   {"hs", PTX_V_HS},   {"equ", PTX_V_EQU}, {"neu", PTX_V_NEU},
                                       {"ltu", PTX_V_LTU}, {"leu", PTX_V_LEU}, {"gtu", PTX_V_GTU}, {"geu", PTX_V_GEU},
                                       {"num", PTX_V_NUM}, {"nan", PTX_V_NAN}, {NULL, 0}};
static const spelling atomics[] = {{"add", PTX_V_ADD}, {"exch", PTX_V_EXCH}, {"cas", PTX_V_CAS}, {"min", PTX_V_MIN},
                                   {"max", PTX_V_MAX}, {"and", PTX_V_AND},   {"or", PTX_V_OR},   {"xor", PTX_V_XOR},
                                   {"inc", PTX_V_INC}, {"dec", PTX_V_DEC},   {NULL, 0}};
static const spelling shuffles[] = {{"up", PTX_V_UP}, {"down", PTX_V_DOWN}, {"bfly", PTX_V_BFLY}, {"idx", PTX_V_IDX}, {NULL, 0}};
static const spelling votes[] = {{"any", PTX_V_ANY},   {"all", PTX_V_ALL}, {"ballot", PTX_V_BALLOT}, {"uni", PTX_V_UNI},
                                 {"popc", PTX_V_POPC}, {"and", PTX_V_AND}, {"or", PTX_V_OR},         {NULL, 0}};
static const spelling tests[] = {{"finite", PTX_V_FINITE},
                                 {"infinite", PTX_V_INFINITE},
                                 {"number", PTX_V_NUMBER},
                                 {"notanumber", PTX_V_NOTANUMBER},
                                 {"normal", PTX_V_NORMAL},
                                 {"subnormal", PTX_V_SUBNORMAL},
                                 {NULL, 0}};
/* Words that change nothing in a simulation. */
static const spelling ignored[] = {
    {"lo", 0},      {"approx", 0}, {"full", 0},    {"sync", 0}, {"aligned", 0},     {"uni", 0},         {"nc", 0},
    {"ca", 0},      {"cg", 0},     {"cs", 0},      {"lu", 0},   {"cv", 0},          {"wb", 0},          {"wt", 0},
    {"gpu", 0},     {"cta", 0},    {"sys", 0},     {"L1", 0},   {"L2", 0},          {"l", 0},           {"clamp", 0},
    {"b4e", 0},     {"noftz", 0},  {"weak", 0},    {"sc", 0},   {"no_allocate", 0}, {"evict_first", 0}, {"evict_last", 0},
    {"acq_rel", 0}, {"gl", 0},     {"cluster", 0}, {"idx", 0},  {NULL, 0}};

static const spelling *variants_of(ptx_op op, uint16_t set)
{
    switch (op) {
    case PTX_SETP:
    case PTX_SET: return comparisons;
    case PTX_ATOM:
    case PTX_RED:
    case PTX_REDUX: return atomics;
    case PTX_SHFL: return shuffles;
    case PTX_VOTE:
    case PTX_MATCH: return votes;
    case PTX_BAR:
    case PTX_BARRIER: return set & PTX_REDUCE ? votes : NULL;
    case PTX_TESTP: return tests;
    default: return NULL;
    }
}

static bool combines(ptx_instruction *i, const char *text)
{
    if (i->op != PTX_SETP || (strcmp(text, "and") != 0 && strcmp(text, "or") != 0 && strcmp(text, "xor") != 0))
        return false;
    i->combine = (uint8_t)text[0];
    return true;
}

static bool barrier_word(ptx_instruction *i, const char *text)
{
    if (i->op != PTX_BAR && i->op != PTX_BARRIER)
        return false;
    if (strcmp(text, "warp") == 0)
        i->flags |= PTX_WARP;
    else if (strcmp(text, "red") == 0)
        i->flags |= PTX_REDUCE;
    else
        return strcmp(text, "cta") == 0;
    return true;
}

static void modifier(const parser *p, ptx_instruction *i, const char *text)
{
    const ptx_type type = type_of(text);
    const spelling *variants = variants_of(i->op, i->flags);

    if (variants != NULL && i->variant == PTX_V_NONE && spelled(variants, text) >= 0)
        i->variant = (uint8_t)spelled(variants, text);
    else if (combines(i, text) || barrier_word(i, text))
        return;
    else if (type.kind != PTX_NONE && i->type.kind == PTX_NONE)
        i->type = type;
    else if (type.kind != PTX_NONE)
        i->from_type = type;
    else if (strcmp(text, "v2") == 0 || strcmp(text, "v4") == 0)
        i->vector = (uint8_t)(text[1] - '0');
    else if (i->op == PTX_SHF && strcmp(text, "r") == 0)
        i->flags |= PTX_RIGHT;
    else if (spelled(spaces, text) >= 0)
        i->space = (uint8_t)spelled(spaces, text);
    else if (spelled(flags, text) >= 0)
        i->flags = (uint16_t)(i->flags | spelled(flags, text));
    else if (spelled(roundings, text) >= 0)
        i->rounding = (uint8_t)spelled(roundings, text);
    else if (spelled(ignored, text) < 0)
        unknown(p, ptx_op_names[i->op], text);
}

static void opcode(const parser *p, ptx_instruction *i, char *text)
{
    char *rest = NULL, *part = strtok_r(text, ".:", &rest);
    int op = 0;

    while (op < PTX_N_OPS && strcmp(ptx_op_names[op], part) != 0)
        op++;
    if (op == PTX_N_OPS)
        unknown(p, "instruction", part);
    i->op = (uint8_t)op;
    while ((part = strtok_r(NULL, ".:", &rest)) != NULL)
        modifier(p, i, part);
}

static bool writes_nothing(const ptx_instruction *i)
{
    switch (i->op) {
    case PTX_ST:
    case PTX_RED:
    case PTX_RET:
    case PTX_EXIT:
    case PTX_TRAP:
    case PTX_MEMBAR:
    case PTX_FENCE:
    case PTX_PREFETCH:
    case PTX_NANOSLEEP: return true;
    case PTX_BAR:
    case PTX_BARRIER: return !(i->flags & PTX_REDUCE);
    default: return false;
    }
}

static void jump_add(parser *p, const char *name, int at, int table, int entry)
{
    p->jumps = sim_grow(p->jumps, (size_t)p->n_jumps, sizeof *p->jumps);
    label *l = &p->jumps[p->n_jumps++];
    *l = (label){.at = at, .table = table, .entry = entry};
    snprintf(l->name, sizeof l->name, "%s", name);
}

static void operands(parser *p, ptx_instruction *i)
{
    bool to = !writes_nothing(i), first = true;
    ptx_operand list[PTX_MAX_FROM];

    while (!eat(p, ';')) {
        if (!first)
            expect(p, ',');
        const int n = operand_list(p, list);
        for (int k = 0; k < n; k++) {
            if (to)
                i->to[i->n_to++] = list[k];
            else if (i->n_from < PTX_MAX_FROM)
                i->from[i->n_from++] = list[k];
            else
                unknown(p, ptx_op_names[i->op], "with more operands");
        }
        to = first = false;
    }
}

static void branch(parser *p, ptx_instruction *i, int at)
{
    char text[NAME];

    if (i->op == PTX_BRX) {
        i->from[i->n_from++] = operand(p);
        expect(p, ',');
        word(p, text, false);
        for (i->target = 0; i->target < p->to->n_tables && strcmp(p->table_names[i->target], text) != 0;)
            i->target++;
    } else {
        word(p, text, false);
        jump_add(p, text, at, -1, 0);
    }
    expect(p, ';');
}

static void instruction(parser *p)
{
    ptx_program *to = p->to;
    char text[NAME];

    to->code = sim_grow(to->code, (size_t)to->n, sizeof *to->code);
    ptx_instruction i = {.guard = -1, .line = p->line, .vector = 1};
    if (eat(p, '@')) {
        i.guard_negated = eat(p, '!');
        word(p, text, false);
        i.guard = register_find(p, text);
        if (i.guard < 0)
            unknown(p, "predicate", text);
    }
    word(p, text, true);
    opcode(p, &i, text);
    if (i.op == PTX_BRA || i.op == PTX_BRX)
        branch(p, &i, to->n);
    else
        operands(p, &i);
    to->code[to->n++] = i;
}

/* ---- the body ---- */

static void branch_table(parser *p, const char *name)
{
    ptx_program *to = p->to;
    const int table = to->n_tables;
    char text[NAME];
    int n = 0;

    to->tables = sim_grow(to->tables, (size_t)table, sizeof *to->tables);
    p->table_names = sim_grow(p->table_names, (size_t)table, sizeof *p->table_names);
    snprintf(p->table_names[to->n_tables++], NAME, "%s", name);
    do {
        word(p, text, false);
        jump_add(p, text, 0, table, n++);
    } while (eat(p, ','));
    expect(p, ';');
    to->tables[table] = (ptx_table){sim_new((size_t)n * sizeof(int32_t)), n};
}

static void directive(parser *p, const char *before)
{
    char text[NAME];

    word(p, text, false);
    if (strcmp(text, "reg") == 0) {
        registers_declare(p);
    } else if (strcmp(text, "shared") == 0) {
        array_declare(p, &p->to->shared_bytes);
    } else if (strcmp(text, "local") == 0) {
        array_declare(p, &p->to->local_bytes);
    } else if (strcmp(text, "loc") == 0) {
        strtol(p->at, (char **)&p->at, 10);
        p->line = (int)strtol(p->at, (char **)&p->at, 10);
        p->at += strcspn(p->at, "\n");
    } else if (strcmp(text, "pragma") == 0) {
        p->at += strcspn(p->at, ";") + 1;
    } else if (strcmp(text, "branchtargets") == 0) {
        branch_table(p, before);
    } else {
        unknown(p, "directive", text);
    }
}

static void scope_end(parser *p)
{
    while (p->n_registers > 0 && p->registers[p->n_registers - 1].depth == p->depth)
        p->n_registers--;
    p->depth--;
}

static void label_add(parser *p, const char *name)
{
    p->labels = sim_grow(p->labels, (size_t)p->n_labels, sizeof *p->labels);
    label *l = &p->labels[p->n_labels++];
    *l = (label){.at = p->to->n};
    snprintf(l->name, sizeof l->name, "%s", name);
}

static void body(parser *p)
{
    char text[NAME] = "";

    expect(p, '{');
    p->depth = 1;
    while (p->depth > 0) {
        skip(p);
        if (eat(p, '{')) {
            p->depth++;
        } else if (eat(p, '}')) {
            scope_end(p);
        } else if (eat(p, ';')) {
            continue;
        } else if (eat(p, '.')) {
            directive(p, text);
        } else {
            const char *begin = p->at;
            word(p, text, false);
            if (text[0] != '\0' && eat(p, ':')) {
                label_add(p, text);
                continue;
            }
            p->at = begin;
            instruction(p);
        }
    }
}

static void jumps_resolve(parser *p)
{
    for (int i = 0; i < p->n_jumps; i++) {
        const label *jump = &p->jumps[i];
        int k = 0;

        while (k < p->n_labels && strcmp(p->labels[k].name, jump->name) != 0)
            k++;
        if (k == p->n_labels)
            unknown(p, "label", jump->name);
        if (jump->table >= 0)
            p->to->tables[jump->table].targets[jump->entry] = p->labels[k].at;
        else
            p->to->code[jump->at].target = p->labels[k].at;
    }
}

/* The dynamic array lies behind the others. */
static void dynamic_resolve(ptx_program *to)
{
    to->shared_bytes = (to->shared_bytes + 15) / 16 * 16;
    for (int i = 0; i < to->n; i++) {
        for (int k = 0; k < to->code[i].n_from; k++) {
            ptx_operand *o = &to->code[i].from[k];
            if (o->number >= DYNAMIC && o->number - DYNAMIC < ((uint64_t)1 << 20))
                o->number = o->number - DYNAMIC + to->shared_bytes;
        }
    }
}

/* ---- the module ---- */

typedef struct variable {
    char name[NAME];
    const char *module;
    uint64_t address, n_bytes;
} variable;

static variable *variables;
static int n_variables;

uint64_t ptx_variable(const char *name, const char *module, uint64_t *n_bytes)
{
    for (int i = 0; i < n_variables; i++) {
        if (strcmp(variables[i].name, name) == 0 && (module == NULL || variables[i].module == module)) {
            *n_bytes = variables[i].n_bytes;
            return variables[i].address;
        }
    }
    return 0;
}

static void variable_make(const char *module, parser *p)
{
    const declaration d = declared(p);
    const size_t width = (size_t)ptx_width(d.type), n_bytes = d.count * width;
    sim_block *block = NULL;
    char text[NAME];

    if (sim_alloc(&block, n_bytes, false, NULL) != cudaSuccess)
        sim_fatal("no memory for the variable %s", d.name);
    block->module = true;
    uint8_t *to = sim_device((void *)block->begin, n_bytes, SIM_WRITE, d.name);
    memset(to, 0, n_bytes);
    if (eat(p, '=')) {
        const bool list = eat(p, '{');
        for (uint64_t i = 0; i < d.count; i++) {
            const bool minus = eat(p, '-');
            word(p, text, false);
            if (!isdigit((unsigned char)text[0]))
                unknown(p, "initialiser", text);
            const uint64_t value = minus ? -number(text) : number(text);
            memcpy(to + i * width, &value, width);
            if (!list || !eat(p, ','))
                break;
        }
    }
    variables = sim_grow(variables, (size_t)n_variables, sizeof *variables);
    variable *v = &variables[n_variables++];
    *v = (variable){.module = module, .address = block->begin, .n_bytes = n_bytes};
    snprintf(v->name, sizeof v->name, "%s", d.name);
}

/* The next line, at depth 0 of { }, that begins with one of the module's state spaces; what stands behind it, or NULL. */
static const char *module_line(const char **at, const char *space)
{
    static const char *const linkages[] = {".visible ", ".weak ", ".common ", ".extern "};
    int depth = 0;

    for (const char *s = *at; *s != '\0'; s++) {
        depth += (*s == '{') - (*s == '}');
        if (*s != '\n' || depth > 0)
            continue;
        const char *line = s + 1;
        for (int i = 0; i < 4; i++)
            if (strncmp(line, linkages[i], strlen(linkages[i])) == 0)
                line += strlen(linkages[i]);
        if (strncmp(line, space, strlen(space)) == 0) {
            *at = line;
            return line + strlen(space);
        }
    }
    return NULL;
}

void ptx_module_variables(const char *module)
{
    static const char *const in_memory[] = {".global ", ".const "};

    for (int i = 0; i < 2; i++) {
        const char *at = module;
        parser p = {.kernel = "the module"};
        while ((p.at = module_line(&at, in_memory[i])) != NULL)
            variable_make(module, &p);
    }
}

static void module_symbols(parser *p, const char *module)
{
    const char *at = module, *line;

    for (int i = 0; i < n_variables; i++)
        if (variables[i].module == module)
            symbol_add(p, variables[i].name, variables[i].address);
    while ((line = module_line(&at, ".shared ")) != NULL) {
        p->at = line;
        array_declare(p, &p->to->shared_bytes);
    }
}

static const char *entry_find(const char *kernel, const char *module)
{
    char text[NAME * 4];

    snprintf(text, sizeof text, ".entry %s(", kernel);
    const char *at = strstr(module, text);
    if (at == NULL)
        sim_fatal("kernel %s is not in its module's PTX", kernel);
    return at + strlen(text);
}

static void params(parser *p)
{
    ptx_program *to = p->to;

    while (!eat(p, ')')) {
        const declaration d = declared(p);
        if (to->n_params == PTX_MAX_PARAMS)
            unknown(p, "parameter", d.name);
        const uint32_t at = place(&to->params_bytes, &d);
        to->param_offset[to->n_params] = at;
        to->param_bytes[to->n_params++] = (uint32_t)d.count * (uint32_t)ptx_width(d.type);
        symbol_add(p, d.name, at);
        eat(p, ',');
    }
    if (to->params_bytes > PTX_PARAM_BYTES)
        sim_fatal("kernel %s has %u bytes of parameters", p->kernel, to->params_bytes);
}

/* .maxntid 256, 1, 1 and its like, between the parameters and the body. */
static void performance_directives(parser *p)
{
    char text[NAME];

    while (eat(p, '.')) {
        word(p, text, false);
        const bool limit = strcmp(text, "maxntid") == 0;
        uint64_t product = 1;
        do {
            word(p, text, false);
            product *= number(text);
        } while (eat(p, ','));
        if (limit)
            p->to->max_threads = (uint32_t)product;
    }
}

ptx_program *ptx_parse(const char *kernel, const char *module)
{
    parser p = {.kernel = kernel, .to = sim_new(sizeof *p.to)};

    module_symbols(&p, module);
    p.at = entry_find(kernel, module);
    params(&p);
    performance_directives(&p);
    body(&p);
    jumps_resolve(&p);
    dynamic_resolve(p.to);
    free(p.registers);
    free(p.symbols);
    free(p.labels);
    free(p.jumps);
    free(p.table_names);
    return p.to;
}
