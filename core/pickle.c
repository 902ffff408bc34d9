/* pickle.c - see pickle.h: the stack machine of Python's pickletools.py, without anything that would act.
 *
 * Every instruction makes at most one value and moves what is on the stack; values and cells lie in two arrays, so that there is
 * nothing to free one by one and nothing that could recurse.
 */
#include "core/pickle.h"

#include <string.h>

#include "core/alloc.h"

/* Values that are there from the start; they hold nothing that could change. */
enum { ID_NONE = 1, ID_TRUE, ID_FALSE, ID_EMPTY_TUPLE, N_CONSTANTS };

typedef struct machine {
    prle_pickle *p;
    const char *name;
    const uint8_t *bytes;
    size_t n_bytes, at;
    struct ids {
        uint32_t *id;
        uint32_t n, room;
    } stack, marks, memo; /* marks: heights of the stack */
    bool done;
} machine;

#define BROKEN(m, what) PRLE_FAIL(PRLE_EFORMAT, "%s: its pickle is broken at byte %zu: %s", (m)->name, (m)->at, (what))

/* Room for one more of n elements. */
static prle_status room_make(prle_any_ptr *ptr, uint32_t n, uint32_t *room, size_t size)
{
    const uint32_t grown = *room > 0 ? 2 * *room : 64;

    if (n < *room)
        return PRLE_OK;
    PRLE_TRY(prle_realloc(*room, grown, size, ptr));
    *room = grown;
    return PRLE_OK;
}

static prle_status ids_push(struct ids *ids, uint32_t id)
{
    PRLE_TRY(room_make((prle_any_ptr *)&ids->id, ids->n, &ids->room, sizeof *ids->id));
    ids->id[ids->n++] = id;
    return PRLE_OK;
}

/* ---- bytes ---- */

static prle_status take(machine *m, size_t n, const uint8_t **out)
{
    if (n > m->n_bytes - m->at)
        return BROKEN(m, "it ends too early");
    *out = m->bytes + m->at;
    m->at += n;
    return PRLE_OK;
}

/* An unsigned number of n <= 8 bytes. */
static prle_status number(machine *m, size_t n, uint64_t *out)
{
    const uint8_t *bytes = NULL;

    PRLE_TRY(take(m, n, &bytes));
    *out = 0;
    for (size_t i = 0; i < n; i++)
        *out |= (uint64_t)bytes[i] << 8 * i;
    return PRLE_OK;
}

/* ---- values ---- */

static prle_status value_add(machine *m, prle_pickle_value value, prle_pickle_id *id)
{
    prle_pickle *p = m->p;

    PRLE_TRY(room_make((prle_any_ptr *)&p->value, p->n_values, &p->values_room, sizeof *p->value));
    p->value[p->n_values] = value;
    *id = p->n_values++;
    return PRLE_OK;
}

static prle_status push(machine *m, prle_pickle_value value)
{
    prle_pickle_id id = 0;

    PRLE_TRY(value_add(m, value, &id));
    return ids_push(&m->stack, id);
}

/* Not below the last mark. */
static prle_status pop(machine *m, prle_pickle_id *id)
{
    const uint32_t floor = m->marks.n > 0 ? m->marks.id[m->marks.n - 1] : 0;

    if (m->stack.n <= floor)
        return BROKEN(m, "its stack is empty");
    *id = m->stack.id[--m->stack.n];
    return PRLE_OK;
}

static prle_status top(machine *m, prle_pickle_id *id)
{
    PRLE_TRY(pop(m, id));
    m->stack.n++;
    return PRLE_OK;
}

/* Takes the last mark away; what lies above it begins at *from. */
static prle_status unmark(machine *m, uint32_t *from)
{
    if (m->marks.n == 0)
        return BROKEN(m, "no mark");
    *from = m->marks.id[--m->marks.n];
    return PRLE_OK;
}

static prle_status cell_add(machine *m, prle_pickle_id to, prle_pickle_id key, prle_pickle_id value)
{
    prle_pickle *p = m->p;
    prle_pickle_value *owner = &p->value[to];

    if (to < N_CONSTANTS || (owner->kind != PRLE_PICKLE_CALL && owner->kind != (key == 0 ? PRLE_PICKLE_LIST : PRLE_PICKLE_DICT)))
        return BROKEN(m, "an item for what has no items");
    PRLE_TRY(room_make((prle_any_ptr *)&p->cell, p->n_cells, &p->cells_room, sizeof *p->cell));
    p->cell[p->n_cells] = (prle_pickle_cell){.key = key, .value = value};
    if (owner->first == 0)
        owner->first = p->n_cells;
    else
        p->cell[owner->last].next = p->n_cells;
    owner->last = p->n_cells++;
    owner->n++;
    return PRLE_OK;
}

/* ---- instructions ---- */

static prle_status do_text(machine *m, size_t n_length)
{
    uint64_t n = 0;
    const uint8_t *text = NULL;

    PRLE_TRY(number(m, n_length, &n));
    const size_t at = m->at;
    PRLE_TRY(take(m, n, &text));
    return push(m, (prle_pickle_value){.kind = PRLE_PICKLE_TEXT, .text = {.at = (uint32_t)at, .n_bytes = (uint32_t)n}});
}

static prle_status do_int(machine *m, size_t n, bool with_sign)
{
    uint64_t bits = 0;

    PRLE_TRY(number(m, n, &bits));
    if (with_sign && n > 0 && n < 8 && (bits >> (8 * n - 1) & 1) != 0)
        bits |= UINT64_MAX << 8 * n;
    return push(m, (prle_pickle_value){.kind = PRLE_PICKLE_INT, .integer = (int64_t)bits});
}

/* A number of any length, two's complement. */
static prle_status do_long(machine *m, size_t n_length)
{
    uint64_t n = 0;
    const uint8_t *skipped = NULL;

    PRLE_TRY(number(m, n_length, &n));
    if (n <= 8)
        return do_int(m, n, true);
    PRLE_TRY(take(m, n, &skipped));
    return ids_push(&m->stack, ID_NONE);
}

/* Big-endian, the only such number. */
static prle_status do_real(machine *m)
{
    const uint8_t *bytes = NULL;
    uint64_t bits = 0;
    double real;

    PRLE_TRY(take(m, 8, &bytes));
    for (int i = 0; i < 8; i++)
        bits = bits << 8 | bytes[i];
    memcpy(&real, &bits, sizeof real);
    return push(m, (prle_pickle_value){.kind = PRLE_PICKLE_REAL, .real = real});
}

static prle_status line_add(machine *m, prle_pickle_id *id)
{
    const uint8_t *begin = m->bytes + m->at, *end = memchr(begin, '\n', m->n_bytes - m->at);

    if (end == NULL)
        return BROKEN(m, "it ends too early");
    const uint32_t at = (uint32_t)m->at, n = (uint32_t)(end - begin);
    m->at += (size_t)n + 1;
    return value_add(m, (prle_pickle_value){.kind = PRLE_PICKLE_TEXT, .text = {.at = at, .n_bytes = n}}, id);
}

static prle_status do_global(machine *m, bool from_stack)
{
    prle_pickle_id module = 0, name = 0;

    if (from_stack) {
        PRLE_TRY(pop(m, &name));
        PRLE_TRY(pop(m, &module));
    } else {
        PRLE_TRY(line_add(m, &module));
        PRLE_TRY(line_add(m, &name));
    }
    return push(m, (prle_pickle_value){.kind = PRLE_PICKLE_GLOBAL, .global = {.module = module, .name = name}});
}

/* A tuple of the values on the stack from `from` on. */
static prle_status tuple_of(machine *m, uint32_t from)
{
    prle_pickle_id tuple = 0;

    PRLE_TRY(value_add(m, (prle_pickle_value){.kind = PRLE_PICKLE_LIST}, &tuple));
    for (uint32_t i = from; i < m->stack.n; i++)
        PRLE_TRY(cell_add(m, tuple, 0, m->stack.id[i]));
    m->stack.n = from;
    return ids_push(&m->stack, tuple);
}

static prle_status do_tuple_marked(machine *m)
{
    uint32_t from = 0;

    PRLE_TRY(unmark(m, &from));
    return tuple_of(m, from);
}

static prle_status do_tuple(machine *m, uint32_t n)
{
    const uint32_t floor = m->marks.n > 0 ? m->marks.id[m->marks.n - 1] : 0;

    if (m->stack.n - floor < n)
        return BROKEN(m, "its stack is empty");
    return tuple_of(m, m->stack.n - n);
}

/* Items, or keys and values by turns, from `from` on, for what lies below them. */
static prle_status add_from(machine *m, uint32_t from, bool keys)
{
    const uint32_t step = keys ? 2 : 1;
    prle_pickle_id to = 0;
    uint32_t i;

    for (i = from; i + step <= m->stack.n && from > 0; i += step)
        PRLE_TRY(cell_add(m, m->stack.id[from - 1], keys ? m->stack.id[i] : 0, m->stack.id[i + step - 1]));
    if (i != m->stack.n)
        return BROKEN(m, "items without a place, or a key without a value");
    m->stack.n = from;
    return top(m, &to); /* that there is one */
}

static prle_status do_add_marked(machine *m, bool keys)
{
    uint32_t from = 0;

    PRLE_TRY(unmark(m, &from));
    return add_from(m, from, keys);
}

static prle_status do_add(machine *m, bool keys)
{
    const uint32_t n = keys ? 2 : 1, floor = m->marks.n > 0 ? m->marks.id[m->marks.n - 1] : 0;

    if (m->stack.n - floor < n + 1)
        return BROKEN(m, "its stack is empty");
    return add_from(m, m->stack.n - n, keys);
}

static prle_status do_call(machine *m)
{
    prle_pickle_id args = 0, callee = 0;

    PRLE_TRY(pop(m, &args));
    PRLE_TRY(pop(m, &callee));
    return push(m, (prle_pickle_value){.kind = PRLE_PICKLE_CALL, .call = {.callee = callee, .args = args}});
}

/* With keywords, which are left out. */
static prle_status do_call_keywords(machine *m)
{
    prle_pickle_id keywords = 0;

    PRLE_TRY(pop(m, &keywords));
    return do_call(m);
}

static prle_status do_build(machine *m)
{
    prle_pickle_id state = 0, object = 0;

    PRLE_TRY(pop(m, &state));
    PRLE_TRY(top(m, &object));
    if (m->p->value[object].kind == PRLE_PICKLE_CALL) /* a plain dictionary's attributes are of no use */
        m->p->value[object].state = state;
    return PRLE_OK;
}

static prle_status do_persistent(machine *m)
{
    prle_pickle_id inner = 0;

    PRLE_TRY(pop(m, &inner));
    return push(m, (prle_pickle_value){.kind = PRLE_PICKLE_PERSISTENT, .inner = inner});
}

static prle_status memo_put(machine *m, uint64_t i)
{
    prle_pickle_id id = 0;

    PRLE_TRY(top(m, &id));
    if (i > m->at) /* picklers count up from 0 or 1 */
        return BROKEN(m, "a place in its memo that cannot be");
    while (m->memo.n <= i)
        PRLE_TRY(ids_push(&m->memo, 0));
    m->memo.id[i] = id;
    return PRLE_OK;
}

static prle_status do_put(machine *m, size_t n_bytes)
{
    uint64_t i = 0;

    PRLE_TRY(number(m, n_bytes, &i));
    return memo_put(m, i);
}

static prle_status do_get(machine *m, size_t n_bytes)
{
    uint64_t i = 0;

    PRLE_TRY(number(m, n_bytes, &i));
    if (i >= m->memo.n || m->memo.id[i] == 0)
        return BROKEN(m, "its memo has nothing there");
    return ids_push(&m->stack, m->memo.id[i]);
}

static prle_status do_pop(machine *m)
{
    prle_pickle_id id = 0;

    if (m->marks.n > 0 && m->marks.id[m->marks.n - 1] == m->stack.n) {
        m->marks.n--;
        return PRLE_OK;
    }
    return pop(m, &id);
}

static prle_status do_pop_mark(machine *m) { return unmark(m, &m->stack.n); }

static prle_status do_dup(machine *m)
{
    prle_pickle_id id = 0;

    PRLE_TRY(top(m, &id));
    return ids_push(&m->stack, id);
}

static prle_status skip(machine *m, size_t n)
{
    const uint8_t *bytes = NULL;

    return take(m, n, &bytes);
}

static prle_status do_stop(machine *m)
{
    PRLE_TRY(pop(m, &m->p->root));
    m->done = true;
    return PRLE_OK;
}

static prle_status step(machine *m, uint8_t op)
{
    switch (op) {
    case 0x80: return skip(m, 1);                  /* PROTO */
    case 0x95: return skip(m, 8);                  /* FRAME */
    case '.': return do_stop(m);                   /* STOP */
    case 'N': return ids_push(&m->stack, ID_NONE); /* NONE */
    case 0x88: return ids_push(&m->stack, ID_TRUE);
    case 0x89: return ids_push(&m->stack, ID_FALSE);
    case 'K': return do_int(m, 1, false); /* BININT1 */
    case 'M': return do_int(m, 2, false); /* BININT2 */
    case 'J': return do_int(m, 4, true);  /* BININT */
    case 0x8A: return do_long(m, 1);      /* LONG1 */
    case 0x8B: return do_long(m, 4);      /* LONG4 */
    case 'G': return do_real(m);          /* BINFLOAT */
    case 'X': return do_text(m, 4);       /* BINUNICODE */
    case 0x8C: return do_text(m, 1);      /* SHORT_BINUNICODE */
    case 'T': return do_text(m, 4);       /* BINSTRING */
    case 'U': return do_text(m, 1);       /* SHORT_BINSTRING */
    case 'B': return do_text(m, 4);       /* BINBYTES */
    case 'C': return do_text(m, 1);       /* SHORT_BINBYTES */
    case '(': return ids_push(&m->marks, m->stack.n);
    case ')': return ids_push(&m->stack, ID_EMPTY_TUPLE);
    case 't': return do_tuple_marked(m);
    case 0x85: return do_tuple(m, 1);
    case 0x86: return do_tuple(m, 2);
    case 0x87: return do_tuple(m, 3);
    case 0x91: return do_tuple_marked(m);                                     /* FROZENSET */
    case ']':                                                                 /* EMPTY_LIST */
    case 0x8F: return push(m, (prle_pickle_value){.kind = PRLE_PICKLE_LIST}); /* EMPTY_SET */
    case '}': return push(m, (prle_pickle_value){.kind = PRLE_PICKLE_DICT});
    case 'a': return do_add(m, false);         /* APPEND */
    case 'e':                                  /* APPENDS */
    case 0x90: return do_add_marked(m, false); /* ADDITEMS */
    case 's': return do_add(m, true);          /* SETITEM */
    case 'u': return do_add_marked(m, true);   /* SETITEMS */
    case 'c': return do_global(m, false);      /* GLOBAL */
    case 0x93: return do_global(m, true);      /* STACK_GLOBAL */
    case 'R':                                  /* REDUCE */
    case 0x81: return do_call(m);              /* NEWOBJ */
    case 0x92: return do_call_keywords(m);     /* NEWOBJ_EX */
    case 'b': return do_build(m);              /* BUILD */
    case 'Q': return do_persistent(m);         /* BINPERSID */
    case 'q': return do_put(m, 1);             /* BINPUT */
    case 'r': return do_put(m, 4);             /* LONG_BINPUT */
    case 0x94: return memo_put(m, m->memo.n);  /* MEMOIZE */
    case 'h': return do_get(m, 1);             /* BINGET */
    case 'j': return do_get(m, 4);             /* LONG_BINGET */
    case '0': return do_pop(m);
    case '1': return do_pop_mark(m);
    case '2': return do_dup(m);
    default:
        return PRLE_FAIL(PRLE_EFORMAT, "%s: its pickle has the instruction 0x%02x at byte %zu, which torch.save does not write",
                         m->name, op, m->at - 1);
    }
}

static prle_status constants_add(machine *m)
{
    static const prle_pickle_value constants[N_CONSTANTS] = {[ID_TRUE] = {.kind = PRLE_PICKLE_BOOL, .integer = 1},
                                                             [ID_FALSE] = {.kind = PRLE_PICKLE_BOOL},
                                                             [ID_EMPTY_TUPLE] = {.kind = PRLE_PICKLE_LIST}};
    prle_pickle_id id = 0;

    for (int i = 0; i < N_CONSTANTS; i++) /* 0 is what stands for no value */
        PRLE_TRY(value_add(m, constants[i], &id));
    PRLE_TRY(room_make((prle_any_ptr *)&m->p->cell, 0, &m->p->cells_room, sizeof *m->p->cell));
    m->p->n_cells = 1; /* 0 ends a chain */
    return PRLE_OK;
}

prle_status prle_pickle_parse(prle_pickle *p, const char *name, const uint8_t *bytes, size_t n_bytes)
{
    prle_status st = PRLE_OK;
    machine m = {.p = p, .name = name, .bytes = bytes, .n_bytes = n_bytes};
    const uint8_t *op = NULL;

    PRLE_CHECK(n_bytes <= PRLE_PICKLE_MAX_BYTES, PRLE_ENOTSUP, "%s: a pickle of %zu bytes, more than %d", name, n_bytes,
               PRLE_PICKLE_MAX_BYTES);
    p->bytes = bytes;
    PRLE_TRY_OUT(constants_add(&m));
    while (!m.done) {
        PRLE_TRY_OUT(take(&m, 1, &op));
        PRLE_TRY_OUT(step(&m, *op));
    }
    p->n_used = m.at;
out:
    prle_free(m.stack.id);
    prle_free(m.marks.id);
    prle_free(m.memo.id);
    return st;
}

void prle_pickle_deinit(prle_pickle *p)
{
    prle_free(p->value);
    prle_free(p->cell);
    *p = (prle_pickle){0};
}

/* ---- looking at values ---- */

const prle_pickle_value *prle_pickle_get(const prle_pickle *p, prle_pickle_id id) { return &p->value[id]; }

bool prle_pickle_is_text(const prle_pickle *p, prle_pickle_id id, const char *text)
{
    const prle_pickle_value *v = &p->value[id];

    return v->kind == PRLE_PICKLE_TEXT && v->text.n_bytes == strlen(text) &&
           memcmp(p->bytes + v->text.at, text, v->text.n_bytes) == 0;
}

bool prle_pickle_is_global(const prle_pickle *p, prle_pickle_id id, const char *module, const char *name)
{
    const prle_pickle_value *v = &p->value[id];

    return v->kind == PRLE_PICKLE_GLOBAL && prle_pickle_is_text(p, v->global.module, module) &&
           prle_pickle_is_text(p, v->global.name, name);
}

prle_pickle_id prle_pickle_item(const prle_pickle *p, prle_pickle_id list, uint32_t i)
{
    uint32_t at = p->value[list].kind == PRLE_PICKLE_LIST ? p->value[list].first : 0;

    while (at != 0 && i-- > 0)
        at = p->cell[at].next;
    return p->cell[at].value; /* cell 0 is empty */
}

prle_pickle_id prle_pickle_entry(const prle_pickle *p, prle_pickle_id dict, const char *key)
{
    const prle_pickle_value *v = &p->value[dict];

    for (uint32_t at = v->kind == PRLE_PICKLE_DICT || v->kind == PRLE_PICKLE_CALL ? v->first : 0; at != 0; at = p->cell[at].next)
        if (prle_pickle_is_text(p, p->cell[at].key, key))
            return p->cell[at].value;
    return 0;
}

bool prle_pickle_int(const prle_pickle *p, prle_pickle_id id, int64_t *out)
{
    if (p->value[id].kind != PRLE_PICKLE_INT)
        return false;
    *out = p->value[id].integer;
    return true;
}

bool prle_pickle_text(const prle_pickle *p, prle_pickle_id id, char *out, size_t room)
{
    const prle_pickle_value *v = &p->value[id];

    if (v->kind != PRLE_PICKLE_TEXT || v->text.n_bytes >= room || memchr(p->bytes + v->text.at, '\0', v->text.n_bytes) != NULL)
        return false;
    memcpy(out, p->bytes + v->text.at, v->text.n_bytes);
    out[v->text.n_bytes] = '\0';
    return true;
}
