/* ptx_run.c - the threads of a launch, one after the other until they wait for each other. Each has its own place in the program
 * (independent thread scheduling); blocks, warps and lanes come in a random order. Every access to memory is checked: bounds,
 * alignment, whether somebody wrote what is read, and whether another thread of the launch touches the same bytes without a
 * barrier in between. Work between blocks of one launch has no order at all here: a kernel that hands values from block to block
 * by atomics and fences is reported. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/cudasim/ptx.h"

uint32_t sim_launch_number;

enum { WARP = 32, MAX_WARPS = 32 };
static uint64_t max_steps; /* of one launch, more is taken for a loop that never ends; CUDASIM_MAX_STEPS */

typedef enum thread_state { RUNNING, AT_BARRIER, AT_WARP, ENDED } thread_state;

typedef struct thread {
    uint64_t *registers;
    uint8_t *local;
    uint32_t id, x, y, z;
    int at; /* the next instruction */
    thread_state state;
    uint32_t mask; /* AT_WARP: the lanes that must come */
} thread;

/** Who touched a byte of shared memory last: thread + 1, and the barriers it had passed. */
typedef struct shared_touch {
    uint32_t writer_epoch, reader_epoch;
    uint16_t writer, reader;
    bool atomic, written;
} shared_touch;

enum { MANY = 0xFFFF }; /* readers */

typedef struct block {
    sim_kernel *kernel;
    const ptx_program *program;
    const uint8_t *params;
    uint8_t *shared;
    shared_touch *shared_touches;
    uint32_t shared_bytes, n_threads, number;
    dim3 grid, dim, index;
    uint32_t barriers;              /* passed by the whole block */
    uint32_t warp_syncs[MAX_WARPS]; /* passed by each warp */
    thread *threads;
} block;

static uint64_t steps;
static const sim_block *recent; /* the allocation that was accessed last */

/* ---- messages ---- */

static const ptx_instruction *current(const block *b, const thread *t) { return &b->program->code[t->at - 1]; }

/* Said once of each kernel and line: a mistake is made by many threads. */
static bool is_news(const sim_kernel *kernel, int line, const char *what)
{
    static struct {
        const sim_kernel *kernel;
        const char *what;
        int line;
    } * told;
    static size_t n_told;

    for (size_t i = 0; i < n_told; i++)
        if (told[i].kernel == kernel && told[i].line == line && told[i].what == what)
            return false;
    told = sim_grow(told, n_told, sizeof *told);
    told[n_told].kernel = kernel;
    told[n_told].what = what;
    told[n_told++].line = line;
    return true;
}

static void report_at(const block *b, const thread *t, const char *what, uint64_t address)
{
    const ptx_instruction *i = current(b, t);

    if (!is_news(b->kernel, i->line, what))
        return;
    sim_report("%s: %s, block (%u,%u,%u) thread (%u,%u,%u), source line %d, address 0x%llx [%s]", b->kernel->name, what,
               b->index.x, b->index.y, b->index.z, t->x, t->y, t->z, i->line, (unsigned long long)address, ptx_op_names[i->op]);
}

static _Noreturn void fatal_at(const block *b, const thread *t, const char *what, uint64_t address)
{
    report_at(b, t, what, address);
    sim_fatal("the launch cannot go on");
}

/* ---- memory ---- */

/* Barriers passed by the thread: of the block in the upper bits, of its warp in the lower ones. */
static uint32_t epoch_of(const block *b, const thread *t) { return b->barriers << 8 | (b->warp_syncs[t->id / WARP] & 0xFF); }

/* Does something keep thread `other` (of this block), then at `epoch`, and thread t, now, apart? */
static bool ordered(const block *b, const thread *t, uint32_t other, uint32_t epoch)
{
    if (other == t->id)
        return true;
    if (epoch >> 8 != b->barriers)
        return true;
    return other / WARP == t->id / WARP && other != MANY && epoch != epoch_of(b, t);
}

static const char *shared_conflict(const block *b, const thread *t, const shared_touch *s, bool write, bool atomic)
{
    if (s->writer > 0 && !(atomic && s->atomic) && !ordered(b, t, s->writer - 1u, s->writer_epoch))
        return write ? "race in shared memory (write after write)" : "race in shared memory (read after write)";
    if (write && !atomic && s->reader > 0 && !ordered(b, t, s->reader == MANY ? MANY : s->reader - 1u, s->reader_epoch))
        return "race in shared memory (write after read)";
    if (!write && !s->written)
        return "read of shared memory that nobody wrote";
    return NULL;
}

static void shared_record(const block *b, const thread *t, shared_touch *s, bool write, bool atomic)
{
    const uint16_t me = (uint16_t)(t->id + 1);

    if (write) {
        s->writer = me;
        s->writer_epoch = epoch_of(b, t);
        s->atomic = atomic;
        s->written = true;
        return;
    }
    s->reader = s->reader != 0 && s->reader != me && s->reader_epoch == epoch_of(b, t) ? MANY : me;
    s->reader_epoch = epoch_of(b, t);
}

static uint8_t *shared_at(const block *b, const thread *t, uint64_t address, uint32_t n, bool write, bool atomic)
{
    const char *conflict = NULL;

    if (address + n > b->shared_bytes)
        fatal_at(b, t, "access past the end of shared memory", address);
    for (uint32_t i = 0; i < n; i++) {
        shared_touch *s = &b->shared_touches[address + i];
        if (conflict == NULL)
            conflict = shared_conflict(b, t, s, write, atomic);
        shared_record(b, t, s, write, atomic);
    }
    if (conflict != NULL)
        report_at(b, t, conflict, address);
    return b->shared + address;
}

/* In sim_touch a thread is named by block and thread, from 1 on. */
static uint32_t global_name(const block *b, const thread *t) { return b->number * 1024 + t->id + 1; }

static bool global_ordered(const block *b, const thread *t, uint32_t name, uint32_t epoch)
{
    return (name - 1) / 1024 == b->number && ordered(b, t, (name - 1) % 1024, epoch);
}

static const char *global_conflict(const block *b, const thread *t, const sim_touch *s, uint8_t bytes, bool write, bool atomic)
{
    if (s->launch != sim_launch_number)
        return NULL;
    if (s->writer > 0 && (s->written & bytes) && !(atomic && s->atomic) && !global_ordered(b, t, s->writer, s->writer_epoch))
        return write ? "race in global memory (write after write)" : "race in global memory (read after another thread's write)";
    if (write && !atomic && s->reader > 0 && (s->read & bytes) && !global_ordered(b, t, s->reader, s->reader_epoch))
        return "race in global memory (write after another thread's read)";
    return NULL;
}

static void global_record(const block *b, const thread *t, sim_touch *s, uint8_t bytes, bool write, bool atomic)
{
    if (s->launch != sim_launch_number)
        *s = (sim_touch){.launch = sim_launch_number};
    if (write) {
        s->written = s->writer == global_name(b, t) ? s->written | bytes : bytes;
        s->writer = global_name(b, t);
        s->writer_epoch = epoch_of(b, t);
        s->atomic = atomic;
    } else {
        s->read = s->reader == global_name(b, t) ? s->read | bytes : bytes;
        s->reader = global_name(b, t);
        s->reader_epoch = epoch_of(b, t);
    }
}

/* bytes of the four-byte group at `address` that [address, address + n) covers */
static uint8_t covered(uint64_t address, uint32_t n) { return (uint8_t)((n >= 4 ? 0xF : (1u << n) - 1) << (address & 3)); }

static void races_check(const block *b, const thread *t, uint64_t address, uint32_t n, bool write, bool atomic)
{
    const char *conflict = NULL;

    for (uint32_t at = 0; at < n; at += 4) {
        sim_touch *s = sim_touched(address + at);
        const uint8_t bytes = covered(address + at, n - at);
        if (conflict == NULL)
            conflict = global_conflict(b, t, s, bytes, write, atomic);
        global_record(b, t, s, bytes, write, atomic);
    }
    if (conflict != NULL)
        report_at(b, t, conflict, address);
}

static uint8_t *global_at(const block *b, const thread *t, uint64_t address, uint32_t n, bool write, bool atomic)
{
    cudasim_traffic *traffic = &b->kernel->traffic;

    if (recent == NULL || address < recent->begin || address + n > recent->begin + recent->n_bytes || recent->freed) {
        recent = sim_is_ours((void *)address) ? sim_find(address) : NULL;
        if (recent == NULL)
            fatal_at(b, t, sim_follows(address) ? "access past the end of its memory" : "access outside of any device memory",
                     address);
        if (recent->pinned)
            fatal_at(b, t, "access to the host's pinned memory", address);
        if (recent->freed)
            fatal_at(b, t, "access to memory that is already freed", address);
        if (address + n > recent->begin + recent->n_bytes)
            fatal_at(b, t, "access past the end of its memory", address);
    }
    if (write) {
        memset(sim_valid(address), 1, n);
        traffic->written_bytes += n;
        traffic->distinct_written_bytes += sim_sectors(address, n, true, sim_launch_number);
    } else {
        if (memchr(sim_valid(address), 0, n) != NULL)
            report_at(b, t, "read of device memory that nobody wrote", address);
        traffic->read_bytes += n;
        traffic->distinct_read_bytes += sim_sectors(address, n, false, sim_launch_number);
    }
    races_check(b, t, address, n, write, atomic);
    return sim_view(address);
}

static uint8_t *memory_at(const block *b, const thread *t, uint64_t address, uint32_t n, bool write, bool atomic)
{
    ptx_space space = current(b, t)->space;

    if (space == PTX_GENERIC && address - PTX_SHARED_WINDOW < PTX_WINDOW_BYTES) {
        space = PTX_SHARED;
        address -= PTX_SHARED_WINDOW;
    } else if (space == PTX_GENERIC && address - PTX_LOCAL_WINDOW < PTX_WINDOW_BYTES) {
        space = PTX_LOCAL;
        address -= PTX_LOCAL_WINDOW;
    }
    if (address % n != 0)
        fatal_at(b, t, "misaligned access", address);
    if (space == PTX_SHARED)
        return shared_at(b, t, (uint32_t)address, n, write, atomic);
    if (space != PTX_LOCAL)
        return global_at(b, t, address, n, write, atomic);
    if (address + n > b->program->local_bytes)
        fatal_at(b, t, "access past the end of local memory", address);
    return t->local + address;
}

/* ---- operands ---- */

static uint64_t special(const block *b, const thread *t, ptx_special which)
{
    const uint32_t lane = t->id % WARP;
    const uint64_t up_to = ((uint64_t)2 << lane) - 1;

    switch (which) {
    case PTX_TID_X: return t->x;
    case PTX_TID_Y: return t->y;
    case PTX_TID_Z: return t->z;
    case PTX_NTID_X: return b->dim.x;
    case PTX_NTID_Y: return b->dim.y;
    case PTX_NTID_Z: return b->dim.z;
    case PTX_CTAID_X: return b->index.x;
    case PTX_CTAID_Y: return b->index.y;
    case PTX_CTAID_Z: return b->index.z;
    case PTX_NCTAID_X: return b->grid.x;
    case PTX_NCTAID_Y: return b->grid.y;
    case PTX_NCTAID_Z: return b->grid.z;
    case PTX_LANEID: return lane;
    case PTX_WARPID: return t->id / WARP;
    case PTX_LANEMASK_LT: return up_to >> 1;
    case PTX_LANEMASK_EQ: return (uint64_t)1 << lane;
    case PTX_LANEMASK_LE: return up_to;
    case PTX_LANEMASK_GE: return (uint32_t) ~(up_to >> 1);
    case PTX_LANEMASK_GT: return (uint32_t)~up_to;
    default: return steps;
    }
}

static inline uint64_t value(const block *b, const thread *t, const ptx_operand *o)
{
    if (o->kind == PTX_O_REGISTER)
        return o->negated ? !t->registers[o->reg] : t->registers[o->reg];
    return o->kind == PTX_O_SPECIAL ? special(b, t, (ptx_special)o->reg) : o->number;
}

static inline void result(thread *t, const ptx_operand *o, uint64_t v)
{
    if (o->kind == PTX_O_REGISTER)
        t->registers[o->reg] = v;
}

static uint64_t address_of(const thread *t, const ptx_instruction *i)
{
    const uint64_t a = i->from[0].number + (i->from[0].kind == PTX_O_REGISTER ? t->registers[i->from[0].reg] : 0);

    return i->space == PTX_SHARED ? (uint32_t)a : a;
}

/* ---- instructions ---- */

static uint64_t widened(const uint8_t *from, ptx_type type)
{
    uint64_t v = 0;

    memcpy(&v, from, (size_t)ptx_width(type));
    return v;
}

/* A load into a wider register extends the sign. */
static void load(const block *b, thread *t, const ptx_instruction *i)
{
    const int n = ptx_width(i->type);
    const uint64_t address = address_of(t, i);
    const uint8_t *from = i->space == PTX_PARAM
                              ? b->params + address
                              : memory_at(b, t, address, (uint32_t)(n * i->vector), false, i->flags & PTX_ATOMIC);

    for (int k = 0; k < i->n_to; k++) {
        const uint64_t v = widened(from + k * n, i->type);
        result(t, &i->to[k], i->type.kind == PTX_SIGNED ? (uint64_t)ptx_signed(v, n) : v);
    }
}

static void store(const block *b, thread *t, const ptx_instruction *i)
{
    const int n = ptx_width(i->type);
    uint8_t *to = memory_at(b, t, address_of(t, i), (uint32_t)(n * i->vector), true, i->flags & PTX_ATOMIC);

    for (int k = 0; k < i->vector; k++) {
        const uint64_t v = value(b, t, &i->from[1 + k]);
        memcpy(to + k * n, &v, (size_t)n);
    }
}

static uint64_t replaced(const ptx_instruction *i, uint64_t old, uint64_t a, uint64_t c)
{
    const int n = ptx_width(i->type);

    switch (i->variant) {
    case PTX_V_EXCH: return a;
    case PTX_V_CAS: return old == ptx_cut(a, n) ? c : old;
    case PTX_V_INC: return old >= ptx_cut(a, n) ? 0 : old + 1;
    case PTX_V_DEC: return old == 0 || old > ptx_cut(a, n) ? a : old - 1;
    default: return ptx_reduce(i->variant, i->type, old, a);
    }
}

static void atomic(const block *b, thread *t, const ptx_instruction *i)
{
    const int n = ptx_width(i->type);
    uint8_t *at = memory_at(b, t, address_of(t, i), (uint32_t)n, true, true);
    const uint64_t old = widened(at, i->type), fresh = replaced(i, old, value(b, t, &i->from[1]), value(b, t, &i->from[2]));

    memcpy(at, &fresh, (size_t)n);
    if (i->n_to > 0)
        result(t, &i->to[0], old);
}

/* mov.b32 d, {a, b} and mov.b32 {a, b}, d, and the plain one */
static void move(const block *b, thread *t, const ptx_instruction *i)
{
    const int n = ptx_width(i->type);
    uint64_t v = value(b, t, &i->from[0]);

    if (i->n_from > 1) {
        const int part = n / i->n_from;
        v = 0;
        for (int k = 0; k < i->n_from; k++)
            v |= ptx_cut(value(b, t, &i->from[k]), part) << (8 * part * k);
    }
    if (i->n_to == 1) {
        result(t, &i->to[0], i->type.kind == PTX_PREDICATE ? v : ptx_cut(v, n));
        return;
    }
    const int part = n / i->n_to;
    for (int k = 0; k < i->n_to; k++)
        result(t, &i->to[k], ptx_cut(v >> (8 * part * k), part));
}

static bool combined(int how, bool p, bool c) { return how == 'a' ? p && c : how == 'o' ? p || c : how == 'x' ? p != c : p; }

static void set_predicate(const block *b, thread *t, const ptx_instruction *i)
{
    const bool p = ptx_compare(i->variant, i->type, value(b, t, &i->from[0]), value(b, t, &i->from[1])),
               c = i->n_from > 2 && value(b, t, &i->from[2]) != 0;

    result(t, &i->to[0], combined(i->combine, p, c));
    if (i->n_to > 1)
        result(t, &i->to[1], combined(i->combine, !p, c));
}

static uint64_t generic_address(const ptx_instruction *i, uint64_t a)
{
    const uint64_t window = i->space == PTX_SHARED ? PTX_SHARED_WINDOW : i->space == PTX_LOCAL ? PTX_LOCAL_WINDOW : 0;

    return i->flags & PTX_TO ? a - window : a + window;
}

static void wait_for_block(const block *b, thread *t, const ptx_instruction *i)
{
    const int barrier = i->flags & PTX_REDUCE ? 1 : i->n_from;

    if (value(b, t, &i->from[0]) != 0 || barrier > 1)
        fatal_at(b, t, "a barrier that is not __syncthreads() is not simulated", value(b, t, &i->from[0]));
    t->state = AT_BARRIER;
}

static void wait_for_warp(thread *t, uint64_t mask)
{
    t->mask = (uint32_t)mask;
    t->state = AT_WARP;
}

/* One instruction whose guard holds. */
static void execute(const block *b, thread *t, const ptx_instruction *i)
{
    switch (i->op) {
    case PTX_MOV: move(b, t, i); return;
    case PTX_LD: load(b, t, i); return;
    case PTX_ST: store(b, t, i); return;
    case PTX_ATOM:
    case PTX_RED: atomic(b, t, i); return;
    case PTX_SETP: set_predicate(b, t, i); return;
    case PTX_BRA: t->at = i->target; return;
    case PTX_BRX: {
        const uint64_t which = value(b, t, &i->from[0]);
        if (which >= (uint64_t)b->program->tables[i->target].n)
            fatal_at(b, t, "jump past the end of its table", which);
        t->at = b->program->tables[i->target].targets[which];
        return;
    }
    case PTX_RET:
    case PTX_EXIT: t->state = ENDED; return;
    case PTX_TRAP: fatal_at(b, t, "trap", 0);
    case PTX_BAR:
    case PTX_BARRIER:
        if (i->flags & PTX_WARP)
            wait_for_warp(t, value(b, t, &i->from[0]));
        else
            wait_for_block(b, t, i);
        return;
    case PTX_SHFL: wait_for_warp(t, value(b, t, &i->from[3])); return;
    case PTX_VOTE:
    case PTX_MATCH:
    case PTX_REDUX: wait_for_warp(t, value(b, t, &i->from[1])); return;
    case PTX_MEMBAR:
    case PTX_FENCE:
    case PTX_PREFETCH:
    case PTX_NANOSLEEP: return;
    default: break;
    }
    const uint64_t x = value(b, t, &i->from[0]), y = value(b, t, &i->from[1]), z = value(b, t, &i->from[2]);
    uint64_t r;
    switch (i->op) {
    case PTX_ADD:
    case PTX_SUB:
    case PTX_MUL:
    case PTX_MAD:
    case PTX_FMA:
    case PTX_DIV:
    case PTX_REM:
    case PTX_MIN:
    case PTX_MAX: r = ptx_arithmetic(i, x, y, z); break;
    case PTX_SELP: r = z ? x : y; break;
    case PTX_SET: r = ptx_set(i, x, y); break;
    case PTX_CVT: r = ptx_convert(i, x, y); break;
    case PTX_CVTA: r = generic_address(i, x); break;
    case PTX_ACTIVEMASK: r = (uint64_t)1 << (t->id % WARP); break; /* any mask with the own lane is right */
    case PTX_AND:
    case PTX_OR:
    case PTX_XOR:
    case PTX_SHL:
    case PTX_SHR:
    case PTX_SHF:
    case PTX_LOP3:
    case PTX_PRMT:
    case PTX_BFE:
    case PTX_BFI:
    case PTX_BMSK: r = ptx_bits(i, x, y, z, value(b, t, &i->from[3])); break;
    default: r = ptx_unary(i, x, y); break;
    }
    result(t, &i->to[0], r);
}

/* Until the thread waits or ends. */
static void thread_run(const block *b, thread *t)
{
    const ptx_program *p = b->program;

    while (t->state == RUNNING) {
        if (t->at >= p->n) {
            t->state = ENDED;
            return;
        }
        const ptx_instruction *i = &p->code[t->at++];
        if (++steps > max_steps)
            fatal_at(b, t, "too many instructions: a loop that never ends?", 0);
        if (i->guard < 0 || (t->registers[i->guard] != 0) != i->guard_negated)
            execute(b, t, i);
    }
}

/* ---- warps ---- */

/* The lane whose value lane `me` gets from a shuffle; `inside` false: its own. */
static uint32_t shuffled(ptx_variant how, uint32_t me, uint64_t by, uint64_t clamp, bool *inside)
{
    const uint32_t b = (uint32_t)by & 31, segment = (uint32_t)(clamp >> 8) & 31, c = (uint32_t)clamp & 31;
    const uint32_t most = (me & segment) | (c & ~segment), least = me & segment;
    int64_t from;

    switch (how) {
    case PTX_V_UP:
        from = (int64_t)me - b;
        *inside = from >= (int64_t)most;
        break;
    case PTX_V_DOWN:
        from = (int64_t)me + b;
        *inside = from <= (int64_t)most;
        break;
    case PTX_V_BFLY:
        from = me ^ b;
        *inside = from <= (int64_t)most;
        break;
    default:
        from = least | (b & ~segment);
        *inside = from <= (int64_t)most;
        break;
    }
    return *inside ? (uint32_t)from : me;
}

static uint64_t voted(ptx_variant how, uint64_t ballot, uint64_t mask)
{
    switch (how) {
    case PTX_V_BALLOT: return ballot;
    case PTX_V_ANY: return ballot != 0;
    case PTX_V_ALL: return ballot == mask;
    default: return ballot == 0 || ballot == mask; /* uni */
    }
}

static uint64_t reduced(const ptx_instruction *i, const uint64_t source[WARP], uint32_t mask)
{
    uint64_t r = 0;
    bool first = true;

    for (uint32_t k = 0; k < WARP; k++) {
        if (!(mask >> k & 1))
            continue;
        r = first ? source[k] : ptx_reduce(i->variant, i->type, r, source[k]);
        first = false;
    }
    return r;
}

static uint64_t matching(const ptx_instruction *i, const uint64_t source[WARP], uint32_t mask, uint32_t me)
{
    uint64_t same = 0;

    if (i->variant != PTX_V_ANY)
        sim_fatal("match.all is not simulated");
    for (uint32_t k = 0; k < WARP; k++)
        if ((mask >> k & 1) && source[k] == source[me])
            same |= (uint64_t)1 << k;
    return same;
}

static void lane_finish(const block *b, thread *lanes, uint32_t me, const uint64_t source[WARP])
{
    thread *t = &lanes[me];
    const ptx_instruction *i = current(b, t);
    uint64_t ballot = 0;
    bool inside = true;

    for (uint32_t k = 0; k < WARP; k++)
        ballot |= (uint64_t)((t->mask >> k & 1) && source[k] != 0) << k;
    switch (i->op) {
    case PTX_SHFL: {
        uint32_t from = shuffled(i->variant, me, value(b, t, &i->from[1]), value(b, t, &i->from[2]), &inside);
        if (!(t->mask >> from & 1)) {
            report_at(b, t, "shuffle from a lane outside of its mask, lane", from);
            from = me;
        }
        result(t, &i->to[0], source[from]);
        if (i->n_to > 1)
            result(t, &i->to[1], inside);
        break;
    }
    case PTX_VOTE: result(t, &i->to[0], voted(i->variant, ballot, t->mask)); break;
    case PTX_REDUX: result(t, &i->to[0], reduced(i, source, t->mask)); break;
    case PTX_MATCH: result(t, &i->to[0], matching(i, source, t->mask, me)); break;
    default: break; /* bar.warp */
    }
}

/* Have all lanes that this one waits for come to the same place? */
static bool lanes_are_there(const block *b, const thread *lanes, uint32_t n, uint32_t me)
{
    const thread *t = &lanes[me];

    if (!(t->mask >> me & 1))
        fatal_at(b, t, "warp operation whose mask lacks the calling lane, mask", t->mask);
    for (uint32_t k = 0; k < WARP; k++) {
        if (!(t->mask >> k & 1))
            continue;
        if (k >= n || lanes[k].state == ENDED)
            fatal_at(b, t, "warp operation that names lanes which have ended or do not exist, mask", t->mask);
        if (lanes[k].state != AT_WARP || lanes[k].at != t->at || lanes[k].mask != t->mask)
            return false;
    }
    return true;
}

/* Completes one warp operation, if one is complete. */
static bool warp_finish(block *b, uint32_t warp)
{
    thread *lanes = &b->threads[warp * WARP];
    const uint32_t rest = b->n_threads - warp * WARP, n = rest < WARP ? rest : WARP;
    uint64_t source[WARP] = {0};

    for (uint32_t me = 0; me < n; me++) {
        if (lanes[me].state != AT_WARP || !lanes_are_there(b, lanes, n, me))
            continue;
        const ptx_instruction *i = current(b, &lanes[me]);
        const uint32_t mask = lanes[me].mask;
        for (uint32_t k = 0; k < n; k++)
            source[k] = mask >> k & 1 ? value(b, &lanes[k], &i->from[0]) : 0;
        for (uint32_t k = 0; k < n; k++)
            if (mask >> k & 1)
                lane_finish(b, lanes, k, source);
        for (uint32_t k = 0; k < n; k++)
            if (mask >> k & 1)
                lanes[k].state = RUNNING;
        b->warp_syncs[warp]++;
        return true;
    }
    return false;
}

/* All lanes, as far as they come; false when none could move. */
static bool warp_run(block *b, uint32_t warp)
{
    const uint32_t flip = sim_random() & (WARP - 1);
    bool moved = false, again;

    do {
        again = false;
        for (uint32_t k = 0; k < WARP; k++) {
            const uint32_t id = warp * WARP + (k ^ flip);
            if (id < b->n_threads && b->threads[id].state == RUNNING) {
                thread_run(b, &b->threads[id]);
                moved = true;
            }
        }
        while (warp_finish(b, warp))
            again = true;
    } while (again);
    return moved;
}

/* ---- blocks ---- */

typedef struct census {
    uint32_t at_barrier, ended;
    bool same_place;
    const thread *waiting;
} census;

static census count_threads(const block *b)
{
    census c = {.same_place = true};

    for (uint32_t i = 0; i < b->n_threads; i++) {
        const thread *t = &b->threads[i];
        c.ended += t->state == ENDED;
        if (t->state != AT_BARRIER)
            continue;
        c.at_barrier++;
        if (c.waiting == NULL)
            c.waiting = t;
        c.same_place = c.same_place && t->at == c.waiting->at;
    }
    return c;
}

static void barrier_reduce(const block *b, uint32_t n_there)
{
    uint32_t n_true = 0;

    for (uint32_t k = 0; k < b->n_threads; k++) {
        const ptx_instruction *i = current(b, &b->threads[k]);
        n_true += b->threads[k].state == AT_BARRIER && value(b, &b->threads[k], &i->from[i->n_from - 1]) != 0;
    }
    for (uint32_t k = 0; k < b->n_threads; k++) {
        thread *t = &b->threads[k];
        const ptx_instruction *i = current(b, t);
        if (t->state == AT_BARRIER)
            result(t, &i->to[0], i->variant == PTX_V_POPC ? n_true : i->variant == PTX_V_AND ? n_true == n_there : n_true > 0);
    }
}

static void barrier_pass(block *b, const census *c)
{
    if (!c->same_place)
        report_at(b, c->waiting, "threads of the block wait at different __syncthreads()", 0);
    else if (c->ended > 0)
        report_at(b, c->waiting, "__syncthreads() after some threads of the block have returned", c->ended);
    if (current(b, c->waiting)->flags & PTX_REDUCE)
        barrier_reduce(b, c->at_barrier);
    for (uint32_t i = 0; i < b->n_threads; i++)
        if (b->threads[i].state == AT_BARRIER)
            b->threads[i].state = RUNNING;
    b->barriers++;
}

static _Noreturn void stuck(const block *b)
{
    for (uint32_t i = 0; i < b->n_threads; i++)
        if (b->threads[i].state != ENDED)
            fatal_at(b, &b->threads[i], "deadlock: this thread waits for ever, mask", b->threads[i].mask);
    sim_fatal("deadlock");
}

static void block_run(block *b)
{
    const uint32_t n_warps = (b->n_threads + WARP - 1) / WARP;

    for (;;) {
        const uint32_t first = sim_random() % n_warps;
        const bool backwards = sim_random() & 1;
        bool moved = false;

        for (uint32_t k = 0; k < n_warps; k++)
            moved |= warp_run(b, (first + (backwards ? n_warps - k : k)) % n_warps);
        const census c = count_threads(b);
        if (c.ended == b->n_threads)
            return;
        if (c.at_barrier > 0 && c.at_barrier + c.ended == b->n_threads)
            barrier_pass(b, &c);
        else if (!moved)
            stuck(b);
    }
}

/* ---- launches ---- */

static void block_reset(block *b, uint64_t *registers, uint8_t *local, uint32_t number)
{
    const ptx_program *p = b->program;

    b->number = number;
    b->index = (dim3){number % b->grid.x, number / b->grid.x % b->grid.y, number / b->grid.x / b->grid.y};
    b->barriers = 1;
    memset(b->warp_syncs, 0, sizeof b->warp_syncs);
    memset(b->shared, 0xFF, b->shared_bytes);
    memset(b->shared_touches, 0, b->shared_bytes * sizeof *b->shared_touches);
    memset(registers, 0xFF, (size_t)p->n_registers * b->n_threads * sizeof *registers);
    memset(local, 0xFF, (size_t)p->local_bytes * b->n_threads);
    for (uint32_t i = 0; i < b->n_threads; i++)
        b->threads[i] = (thread){.registers = registers + (size_t)i * (size_t)p->n_registers,
                                 .local = local + (size_t)i * p->local_bytes,
                                 .id = i,
                                 .x = i % b->dim.x,
                                 .y = i / b->dim.x % b->dim.y,
                                 .z = i / b->dim.x / b->dim.y};
}

static uint64_t common_divisor(uint64_t a, uint64_t b) { return b == 0 ? a : common_divisor(b, a % b); }

/* A step that visits all n, from anywhere, in an order that looks random. */
static uint64_t stride_for(uint64_t n)
{
    uint64_t stride = n > 2 ? sim_random() % n : 1;

    while (common_divisor(stride == 0 ? n : stride, n) != 1)
        stride++;
    return stride;
}

void ptx_run(sim_kernel *kernel, dim3 grid, dim3 dim, size_t dynamic_bytes, const uint8_t *params)
{
    const ptx_program *p = kernel->program;
    const uint64_t n_blocks = (uint64_t)grid.x * grid.y * grid.z, stride = stride_for(n_blocks), first = sim_random() % n_blocks;
    block b = {.kernel = kernel, .program = p, .params = params, .grid = grid, .dim = dim, .n_threads = dim.x * dim.y * dim.z};

    b.shared_bytes = p->shared_bytes + (p->dynamic_shared ? (uint32_t)dynamic_bytes : 0);
    b.shared = sim_new(b.shared_bytes);
    b.shared_touches = sim_new(b.shared_bytes * sizeof *b.shared_touches);
    b.threads = sim_new(b.n_threads * sizeof *b.threads);
    uint64_t *registers = sim_new((size_t)p->n_registers * b.n_threads * sizeof *registers);
    uint8_t *local = sim_new((size_t)p->local_bytes * b.n_threads);
    if (max_steps == 0)
        max_steps = getenv("CUDASIM_MAX_STEPS") != NULL ? strtoull(getenv("CUDASIM_MAX_STEPS"), NULL, 10) : 4000000000u;
    steps = 0;
    recent = NULL;
    sim_launch_number++;
    for (uint64_t i = 0; i < n_blocks; i++) {
        block_reset(&b, registers, local, (uint32_t)((first + i * stride) % n_blocks));
        block_run(&b);
    }
    kernel->traffic.launches++;
    kernel->traffic.instructions += (int64_t)steps;
    sim_counts.launches++;
    free(b.shared);
    free(b.shared_touches);
    free(b.threads);
    free(registers);
    free(local);
}
