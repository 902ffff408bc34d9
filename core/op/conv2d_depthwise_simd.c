/* conv2d_depthwise_simd.c - depthwise convolution in blocks of channels: one source, compiled once for each instruction set
 * (SIMD_NAME, SIMD_BLOCK), in the vectors that gcc and clang both know: a block of channels is one vector.
 *
 * Each source row is copied once into a work row with its padding around it, as f32: from there on there are no borders at the
 * left and right, no element types, and the row is read K times from the first cache. Rows above and below the image are left out
 * of the sums. Measured against reading images in place with a branch at each border: see tests/core/bench_depthwise.c. */
#include <stdint.h>
#include <string.h>

#include "core/op/conv2d_depthwise.h"
#include "core/op/vectors.h"
#include "core/op/vectors_act.h"

enum { MAX_K = 7, MAX_TAPS = MAX_K * MAX_K };
enum { COLUMNS = LANES == 16 ? 8 : 4 }; /* outputs side by side: with their inputs and a tap they fill the registers */

/* --- vectors in memory ----------------------------------------------------------------------------------------------------- */

/* Vector i of a tensor. */
INLINE vec load_value(const void *tensor, int64_t i, bool bf16) { return load_element(tensor, i * LANES, bf16); }

INLINE void *vector_at(void *tensor, int64_t i, bool bf16) { return (char *)tensor + i * LANES * (bf16 ? 2 : 4); }

INLINE void store_value(void *tensor, int64_t i, vec v, bool bf16) { store_element(tensor, i * LANES, v, bf16); }

/* to [n,LANES] <- vectors i ... i+n-1 of a tensor */
static void values_read(float *to, const void *tensor, int64_t i, int64_t n, bool bf16)
{
    if (!bf16) {
        for (int64_t j = 0; j < n; j++)
            store(to + j * LANES, load_value(tensor, i + j, false));
        return;
    }
    for (int64_t j = 0; j < n; j++)
        store(to + j * LANES, load_value(tensor, i + j, true));
}

/* The same, activated on the way. */
INLINE void values_activate(float *to, const void *tensor, int64_t i, int64_t n, bool bf16, const prle_act_attrs *act)
{
    for (int64_t j = 0; j < n; j++)
        store(to + j * LANES, activate(load_value(tensor, i + j, bf16), act, bf16));
}

static void values_read_swish(float *to, const void *tensor, int64_t i, int64_t n, bool bf16)
{
    const prle_act_attrs swish = {.act = PRLE_ACT_SWISH};

    if (bf16)
        values_activate(to, tensor, i, n, true, &swish);
    else
        values_activate(to, tensor, i, n, false, &swish);
}

static void values_write(void *tensor, int64_t i, const float *from, int64_t n, bool bf16)
{
    if (!bf16) {
        for (int64_t j = 0; j < n; j++)
            store_value(tensor, i + j, load(from + j * LANES), false);
        return;
    }
    for (int64_t j = 0; j < n; j++)
        store_value(tensor, i + j, load(from + j * LANES), true);
}

/* --- work rows ------------------------------------------------------------------------------------------------------------- */

/* Rows of one plane [H,W], the latest `count` of them, each with zeros before and behind. */
typedef struct ring {
    const void *tensor;
    int64_t plane; /* first vector of the plane in the tensor */
    int64_t H, W, left, width, count;
    int64_t next; /* rows before it have been read */
    int64_t slot; /* where row `next` will lie */
    bool bf16;
    bool swish;  /* of what is read */
    float *rows; /* [count,width,LANES] */
} ring;

/* All slots zero: the padding stays so. */
static void ring_clear(ring *r) { memset(r->rows, 0, (size_t)(r->count * r->width * LANES) * sizeof *r->rows); }

static void ring_begin(ring *r, int64_t plane)
{
    r->plane = plane;
    r->next = r->slot = 0;
}

/* One of the latest rows. No division: a row of a small image costs no more than ten. */
static float *ring_row(const ring *r, int64_t h)
{
    const int64_t slot = r->slot - (r->next - h);

    return r->rows + (slot < 0 ? slot + r->count : slot) * r->width * LANES;
}

/* Rows first ... last-1 are there, as far as the plane has them. */
static void ring_advance(ring *r, int64_t first, int64_t last)
{
    if (first > r->next)
        r->next = first;
    for (; r->next < last && r->next < r->H; r->next++) {
        float *to = r->rows + (r->slot * r->width + r->left) * LANES;
        if (r->swish)
            values_read_swish(to, r->tensor, r->plane + r->next * r->W, r->W, r->bf16);
        else
            values_read(to, r->tensor, r->plane + r->next * r->W, r->W, r->bf16);
        r->slot = r->slot + 1 == r->count ? 0 : r->slot + 1;
    }
}

/* The bytes of `n` source vectors behind those that have been read: asked for while sums keep the processor busy, since the copy
 * of a row does nothing but wait for them otherwise. */
typedef struct ahead {
    const char *at;
    int vector_bytes;
} ahead;

static ahead ahead_of(const void *tensor, int64_t i, bool bf16)
{
    const int bytes = bf16 ? 2 * LANES : 4 * LANES;

    return (ahead){(const char *)tensor + i * bytes, bytes};
}

static ahead ring_ahead(const ring *r) { return ahead_of(r->tensor, r->plane + r->next * r->W, r->bf16); }

/* A few at a time: many at once would keep loads waiting. */
INLINE void ahead_ask(ahead a, int64_t first, const int n)
{
    const char *at = a.at + first * a.vector_bytes;

    UNROLLED for (int i = 0; i < n; i++) __builtin_prefetch(at + i * a.vector_bytes);
}

static int64_t max(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t min(int64_t a, int64_t b) { return a < b ? a : b; }

/* --- what follows the sum (inference) -------------------------------------------------------------------------------------- */

/* What is done to a row of sums on its way to a tensor. */
typedef struct finish {
    void *tensor;
    bool bf16, direct;    /* direct: nothing is done, sums are stored where they belong */
    const void *residual; /* or NULL */
    prle_act_attrs act;
} finish;

/* Lanes beyond C stay zero: sigmoid(0) is not. */
INLINE void finish_row(const finish *f, int64_t i, const float *line, int64_t n, const float *live, const prle_act_attrs *act,
                       bool bf16)
{
    for (int64_t q = 0; q < n; q++) {
        vec v = load(line + q * LANES);
        if (f->residual != NULL)
            v += load_value(f->residual, i + q, bf16);
        store_value(f->tensor, i + q, choose(load(live) > 0.0F, activate(v, act, bf16), (vec){0}), bf16);
    }
}

/* A line of n sums to vectors i ... of the tensor. */
static void finish_run(const finish *f, int64_t i, const float *line, int64_t n, const float *live)
{
    const prle_act_attrs none = {.act = PRLE_ACT_NONE}, relu = {.act = PRLE_ACT_RELU}, swish = {.act = PRLE_ACT_SWISH};

    switch (f->act.act) { /* a loop for each */
    case PRLE_ACT_NONE: finish_row(f, i, line, n, live, &none, f->bf16); break;
    case PRLE_ACT_RELU: finish_row(f, i, line, n, live, &relu, f->bf16); break;
    case PRLE_ACT_SWISH:
        if (f->bf16)
            finish_row(f, i, line, n, live, &swish, true);
        else
            finish_row(f, i, line, n, live, &swish, false);
        break;
    default: finish_row(f, i, line, n, live, &f->act, f->bf16); break;
    }
}

/* --- sums over a window: forward, and data gradients of stride 1 ----------------------------------------------------------- */

/* What a row of outputs is made of. */
typedef struct sweep {
    const float *row[MAX_K]; /* work row under kernel row r, r0 <= r < r1 */
    int r0, r1;
    const float *taps, *bias; /* [K,K,LANES], [LANES] */
    ahead next;
    bool bf16; /* the outputs are */
} sweep;

/* Outputs q ... q+n-1 of a row. */
INLINE void window_sums(void *to, int64_t q, const sweep *w, const int n, const int K, const int stride)
{
    const vec bias = load(w->bias);
    vec sum[COLUMNS], in[COLUMNS + MAX_K];

    UNROLLED for (int i = 0; i < n; i++) sum[i] = bias;
    for (int r = w->r0; r < w->r1; r++) {
        const float *x = w->row[r] + q * stride * LANES, *tap = w->taps + r * K * LANES;
        const int n_ask = (n * stride * stride + K - 1) / K;
        ahead_ask(w->next, q * stride * stride + r * n_ask, n_ask);
        if (stride == 1) {
            UNROLLED for (int i = 0; i < n + K - 1; i++) in[i] = load(x + i * LANES);
            UNROLLED for (int s = 0; s < K; s++)
            {
                const vec weight = load(tap + s * LANES);
                UNROLLED for (int i = 0; i < n; i++) sum[i] += in[i + s] * weight;
            }
        } else {
            UNROLLED for (int s = 0; s < K; s++)
            {
                const vec weight = load(tap + s * LANES);
                UNROLLED for (int i = 0; i < n; i++) sum[i] += load(x + (i * stride + s) * LANES) * weight;
            }
        }
    }
    if (w->bf16) {
        UNROLLED for (int i = 0; i < n; i++) store_bf16((uint16_t *)to + (q + i) * LANES, sum[i]);
    } else {
        UNROLLED for (int i = 0; i < n; i++) store((float *)to + (q + i) * LANES, sum[i]);
    }
}

/* All Q outputs of a row, the last few twice where Q is no multiple. */
INLINE void window_row(void *to, int64_t Q, const sweep *w, const int K, const int stride)
{
    if (Q >= COLUMNS)
        for (int64_t q = 0; q < Q; q += COLUMNS)
            window_sums(to, min(q, Q - COLUMNS), w, COLUMNS, K, stride);
    else if (Q >= 2)
        for (int64_t q = 0; q < Q; q += 2)
            window_sums(to, min(q, Q - 2), w, 2, K, stride);
    else
        window_sums(to, 0, w, 1, K, stride);
}

typedef void window_row_fn(void *to, int64_t Q, const sweep *w);

#define WINDOW_ROW(K, stride)                                                                                                    \
    static void window_row_##K##_##stride(void *to, int64_t Q, const sweep *w) { window_row(to, Q, w, K, stride); }
WINDOW_ROW(3, 1)
WINDOW_ROW(3, 2)
WINDOW_ROW(5, 1)
WINDOW_ROW(5, 2)
WINDOW_ROW(7, 1)
WINDOW_ROW(7, 2)

static window_row_fn *const window_rows[MAX_K + 1][3] = {[3] = {NULL, window_row_3_1, window_row_3_2},
                                                         [5] = {NULL, window_row_5_1, window_row_5_2},
                                                         [7] = {NULL, window_row_7_1, window_row_7_2}};

/* Image x [H,W] under windows that give y [P,Q]. */
typedef struct windows {
    int64_t H, W, P, Q, top, left;
    int stride;
    bool flip;  /* the kernel turned by half a turn */
    bool swish; /* of x first */
} windows;

static int64_t windows_width(const windows *v, int K) { return max(v->left + v->W, (v->Q - 1) * v->stride + K); }

static void taps_read(float *taps, const float *weights, int64_t block, int n_taps, bool flip)
{
    for (int i = 0; i < n_taps; i++)
        store(taps + i * LANES, load(weights + (block * n_taps + (flip ? n_taps - 1 - i : i)) * LANES));
}

/* What a block of channels has of its own. */
typedef struct channels {
    float taps[MAX_TAPS * LANES], bias[LANES], live[LANES]; /* live: 1, or 0 for lanes beyond C */
} channels;

static void channels_read(channels *c, const prle_depthwise *z, const float *weights, const float *bias, int64_t block, bool flip)
{
    taps_read(c->taps, weights, block, z->K * z->K, flip);
    for (int64_t i = 0; i < LANES; i++) {
        const bool live = block * LANES + i < z->C;
        c->bias[i] = live && bias != NULL ? bias[block * LANES + i] : 0;
        c->live[i] = live ? 1 : 0;
    }
}

static void windows_run(const prle_depthwise *z, const windows *v, const void *x, const float *weights, const float *bias,
                        const finish *f, int64_t first, int64_t last, float *work)
{
    ring in = {.tensor = x,
               .H = v->H,
               .W = v->W,
               .left = v->left,
               .width = windows_width(v, z->K),
               .count = z->K,
               .bf16 = z->bf16,
               .swish = v->swish,
               .rows = work};
    window_row_fn *run_row = window_rows[z->K][v->stride];
    float *line = work + in.count * in.width * LANES;
    sweep w = {.bf16 = z->bf16 && f->direct};
    channels c;

    w.taps = c.taps;
    w.bias = c.bias;
    ring_clear(&in);
    for (int64_t i = first, plane = first / v->P, p = first % v->P; i < last; i++) {
        const int64_t h = p * v->stride - v->top;
        void *to = vector_at(f->tensor, i * v->Q, z->bf16);

        if (i == first || p == 0) {
            ring_begin(&in, plane * v->H * v->W);
            channels_read(&c, z, weights, bias, plane % z->blocks, v->flip);
        }
        w.r0 = (int)min(max(0, -h), z->K);
        w.r1 = (int)max(w.r0, min(z->K, v->H - h));
        ring_advance(&in, h + w.r0, h + w.r1);
        for (int r = w.r0; r < w.r1; r++)
            w.row[r] = ring_row(&in, h + r);
        w.next = ring_ahead(&in);
        run_row(f->direct ? to : line, v->Q, &w);
        if (!f->direct)
            finish_run(f, i * v->Q, line, v->Q, c.live);
        if (++p == v->P) {
            p = 0;
            plane++;
        }
    }
}

static windows forward_windows(const prle_depthwise *z)
{
    return (windows){.H = z->H,
                     .W = z->W,
                     .P = z->P,
                     .Q = z->Q,
                     .top = z->top,
                     .left = z->left,
                     .stride = z->stride,
                     .swish = z->in_act.act == PRLE_ACT_SWISH};
}

/* dx is dy under the turned kernel. */
static windows backward_windows(const prle_depthwise *z)
{
    return (windows){.H = z->P,
                     .W = z->Q,
                     .P = z->H,
                     .Q = z->W,
                     .top = z->K - 1 - z->top,
                     .left = z->K - 1 - z->left,
                     .stride = 1,
                     .flip = true};
}

static void forward(const prle_depthwise *z, const prle_op_args *args, int64_t first, int64_t last, float *work)
{
    const windows v = forward_windows(z);
    const finish f = {.tensor = args->out,
                      .bf16 = z->bf16,
                      .direct = !z->residual && z->act.act == PRLE_ACT_NONE,
                      .residual = z->residual ? args->in[1] : NULL,
                      .act = z->act};

    windows_run(z, &v, args->in[0], args->param[0], z->bias ? args->param[1] : NULL, &f, first, last, work);
}

/* --- data gradients of stride 2 -------------------------------------------------------------------------------------------- */

/* Pairs j ... j+n-1 of a row of dx: columns 2 j and 2 j + 1, counted from the left padding on. row[i]: work row of dy that kernel
 * row e + 2 i meets, zeros before it; kernel columns 0, 2, ... reach the even column, 1, 3, ... the odd one. */
INLINE void pair_sums(float *line, int64_t j, const float *const *row, int e, int i0, int i1, const float *taps, ahead next,
                      const int n, const int K)
{
    enum { PAIRS = COLUMNS / 2 };
    vec even[PAIRS], odd[PAIRS], in[PAIRS + MAX_K];

    ahead_ask(next, j, n);
    UNROLLED for (int c = 0; c < n; c++) even[c] = odd[c] = (vec){0};
    for (int i = i0; i < i1; i++) {
        const float *tap = taps + (e + 2 * i) * K * LANES;
        /* in[c + d]: dy at j + c - (K/2 - d) */
        UNROLLED for (int c = 0; c < n + K / 2; c++) in[c] = load(row[i] + (j + c) * LANES);
        UNROLLED for (int s = 0; s < K; s++)
        {
            const vec w = load(tap + s * LANES);
            UNROLLED for (int c = 0; c < n; c++)
            {
                if (s % 2 == 0)
                    even[c] += in[c + K / 2 - s / 2] * w;
                else
                    odd[c] += in[c + K / 2 - s / 2] * w;
            }
        }
    }
    UNROLLED for (int c = 0; c < n; c++)
    {
        store(line + 2 * (j + c) * LANES, even[c]);
        store(line + (2 * (j + c) + 1) * LANES, odd[c]);
    }
}

INLINE void pair_row(float *line, int64_t n_pairs, const float *const *row, int e, int i0, int i1, const float *taps, ahead next,
                     const int K)
{
    const int64_t n = n_pairs >= COLUMNS / 2 ? COLUMNS / 2 : 1;

    for (int64_t j = 0; j < n_pairs; j += n) {
        const int64_t at = min(j, n_pairs - n);
        if (n == 1)
            pair_sums(line, at, row, e, i0, i1, taps, next, 1, K);
        else
            pair_sums(line, at, row, e, i0, i1, taps, next, COLUMNS / 2, K);
    }
}

static void pair_row_any(float *line, int64_t n_pairs, const float *const *row, int e, int i0, int i1, const float *taps,
                         ahead next, int K)
{
    switch (K) {
    case 3: pair_row(line, n_pairs, row, e, i0, i1, taps, next, 3); break;
    case 5: pair_row(line, n_pairs, row, e, i0, i1, taps, next, 5); break;
    default: pair_row(line, n_pairs, row, e, i0, i1, taps, next, 7); break;
    }
}

/* Columns of dx are 2 j + e - left: pairs from the padding to the last column. */
static int64_t n_pairs_of(const prle_depthwise *z) { return (z->left + z->W - 1) / 2 + 1; }

static ring pairs_ring(const prle_depthwise *z)
{
    return (ring){.H = z->P,
                  .W = z->Q,
                  .left = z->K / 2,
                  .width = z->K / 2 + max(z->Q, n_pairs_of(z)),
                  .count = (z->K + 1) / 2,
                  .bf16 = z->bf16};
}

static void pairs_run(const prle_depthwise *z, const prle_op_args *args, int64_t first, int64_t last, float *work)
{
    ring in = pairs_ring(z);
    float taps[MAX_TAPS * LANES], *line = work + in.count * in.width * LANES;
    const float *row[MAX_K];

    in.tensor = args->dout;
    in.rows = work;
    ring_clear(&in);
    for (int64_t k = first, plane = first / z->H, h = first % z->H; k < last; k++) {
        const int64_t p = (h + z->top) / 2; /* kernel row e + 2 i meets row p - i of dy */
        const int e = (int)((h + z->top) % 2), n = (z->K + 1 - e) / 2;
        const int i0 = (int)min(max(0, p - z->P + 1), n), i1 = (int)max(i0, min(n, p + 1));

        if (k == first || h == 0) {
            ring_begin(&in, plane * z->P * z->Q);
            taps_read(taps, args->param[0], plane % z->blocks, z->K * z->K, false);
        }
        ring_advance(&in, p - i1 + 1, p - i0 + 1);
        for (int i = i0; i < i1; i++)
            row[i] = ring_row(&in, p - i);
        pair_row_any(line, n_pairs_of(z), row, e, i0, i1, taps, ring_ahead(&in), z->K);
        values_write(args->din[0], k * z->W, line + z->left * LANES, z->W, z->bf16);
        if (++h == z->H) {
            h = 0;
            plane++;
        }
    }
}

static void backward(const prle_depthwise *z, const prle_op_args *args, int64_t first, int64_t last, float *work)
{
    const windows v = backward_windows(z);
    const finish f = {.tensor = args->din[0], .bf16 = z->bf16, .direct = true};

    if (z->stride == 1)
        windows_run(z, &v, args->dout, args->param[0], NULL, &f, first, last, work);
    else
        pairs_run(z, args, first, last, work);
}

/* --- weight gradients ------------------------------------------------------------------------------------------------------ */

enum { BATCH = 64, R_MAX = 5 }; /* products, at least, that are summed in registers before the sum goes to memory */

/* Rows of y taken together. */
static int64_t rows_together(const prle_depthwise *z) { return min(z->P, (BATCH + z->Q - 1) / z->Q); }

/* Rows that are summed together: of dy, n of them, and the work rows of x under them: row[p stride + r] under kernel row r. */
typedef struct strip {
    const float *row[2 * BATCH + MAX_K], *dy;
    int64_t n, Q;
    ahead next_x, next_dy; /* of the strip after this one */
} strip;

/* sum [R,K,LANES] += for kernel rows r0 ... r0+R-1: row x, shifted by s, times row dy. */
INLINE void strip_sums(float *sum, const strip *t, int r0, const int R, const int K, const int stride)
{
    vec total[R_MAX * MAX_K];

    sum += r0 * K * LANES;
    UNROLLED for (int i = 0; i < R * K; i++) total[i] = load(sum + i * LANES);
    for (int64_t p = 0; p < t->n; p++) {
        const float *const *row = t->row + p * stride + r0, *dy = t->dy + p * t->Q * LANES;

        for (int64_t q = 0; q < t->Q; q++) {
            const vec d = load(dy + q * LANES);
            if (r0 == 0) {
                ahead_ask(t->next_x, (p * t->Q + q) * stride * stride, stride * stride);
                ahead_ask(t->next_dy, p * t->Q + q, 1);
            }
            UNROLLED for (int r = 0; r < R; r++)
            {
                const float *x = row[r] + q * stride * LANES;
                UNROLLED for (int s = 0; s < K; s++) total[r * K + s] += load(x + s * LANES) * d;
            }
        }
    }
    UNROLLED for (int i = 0; i < R * K; i++) store(sum + i * LANES, total[i]);
}

/* As many kernel rows at a time as have their sums in registers. */
INLINE void strip_run(float *sum, const strip *t, const int K, const int stride)
{
    if (K == 3) {
        strip_sums(sum, t, 0, 3, K, stride);
    } else if (K == 5 && LANES == 16) {
        strip_sums(sum, t, 0, 5, K, stride);
    } else if (K == 5) {
        strip_sums(sum, t, 0, 2, K, stride);
        strip_sums(sum, t, 2, 2, K, stride);
        strip_sums(sum, t, 4, 1, K, stride);
    } else {
        for (int r = 0; r < K; r++)
            strip_sums(sum, t, r, 1, K, stride);
    }
}

static void strip_run_any(float *sum, const strip *t, int K, int stride)
{
    switch (K + stride) { /* 3, 5 or 7, and 1 or 2 */
    case 4: strip_run(sum, t, 3, 1); break;
    case 5: strip_run(sum, t, 3, 2); break;
    case 6: strip_run(sum, t, 5, 1); break;
    case 7: strip_run(sum, t, 5, 2); break;
    case 8: strip_run(sum, t, 7, 1); break;
    default: strip_run(sum, t, 7, 2); break;
    }
}

static ring weights_ring(const prle_depthwise *z)
{
    const windows v = forward_windows(z);

    return (ring){.H = z->H,
                  .W = z->W,
                  .left = z->left,
                  .width = windows_width(&v, z->K),
                  .count = (rows_together(z) - 1) * z->stride + z->K,
                  .bf16 = z->bf16};
}

/* sum [K K + 1,LANES] of one plane */
static void plane_weights(const prle_depthwise *z, float *sum, ring *x, const float *zeros, const void *dout, int64_t plane,
                          int64_t next_plane, float *line)
{
    const int64_t together = rows_together(z);
    strip t = {.Q = z->Q};

    ring_begin(x, plane * z->H * z->W);
    for (int64_t p = 0; p < z->P; p += t.n) {
        const int64_t h = p * z->stride - z->top, at = (plane * z->P + p) * z->Q;
        int64_t n_rows;

        t.n = min(together, z->P - p);
        n_rows = (t.n - 1) * z->stride + z->K;
        ring_advance(x, max(0, h), h + n_rows);
        for (int64_t r = 0; r < n_rows; r++)
            t.row[r] = h + r >= 0 && h + r < z->H ? ring_row(x, h + r) : zeros;
        t.dy = (const float *)dout + at * LANES;
        if (z->bf16) {
            values_read(line, dout, at, t.n * z->Q, true);
            t.dy = line;
        }
        t.next_x = p + t.n < z->P ? ring_ahead(x) : ahead_of(x->tensor, next_plane * z->H * z->W, z->bf16);
        t.next_dy = ahead_of(dout, p + t.n < z->P ? at + t.n * z->Q : next_plane * z->P * z->Q, z->bf16);
        strip_run_any(sum, &t, z->K, z->stride);
        if (z->bias) {
            vec total = load(sum + z->K * z->K * LANES);
            for (int64_t i = 0; i < t.n * z->Q; i++)
                total += load(t.dy + i * LANES);
            store(sum + z->K * z->K * LANES, total);
        }
    }
}

static void weights(const prle_depthwise *z, const prle_op_args *args, float *sums, int64_t first, int64_t last, float *work)
{
    ring x = weights_ring(z);
    const int n = z->K * z->K + 1;
    float *zeros = work + x.count * x.width * LANES, *line = zeros + x.width * LANES, one[(MAX_TAPS + 1) * LANES];

    x.tensor = args->in[0];
    x.rows = work;
    ring_clear(&x);
    memset(zeros, 0, (size_t)(x.width * LANES) * sizeof *zeros);
    for (int64_t i = first; i < last; i++) {
        const int64_t group = i / z->blocks, block = i % z->blocks;
        const int64_t b0 = group * z->B / z->groups, b1 = (group + 1) * z->B / z->groups;
        float *sum = sums + i * n * LANES;

        memset(sum, 0, (size_t)(n * LANES) * sizeof *sum);
        for (int64_t b = b0; b < b1; b++) { /* sums of sums: their errors do not grow with the batch */
            memset(one, 0, sizeof one);
            plane_weights(z, one, &x, zeros, args->dout, b * z->blocks + block,
                          b + 1 < b1 ? (b + 1) * z->blocks + block : b0 * z->blocks + block + 1, line);
            for (int j = 0; j < n; j++)
                store(sum + j * LANES, load(sum + j * LANES) + load(one + j * LANES));
        }
    }
}

static int64_t work_floats(const prle_depthwise *z, prle_op_pass pass)
{
    const windows v = pass == PRLE_PASS_FORWARD ? forward_windows(z) : backward_windows(z);

    if (pass == PRLE_PASS_WEIGHTS) {
        const ring x = weights_ring(z);
        return ((x.count + 1) * x.width + rows_together(z) * z->Q) * LANES;
    }
    if (pass == PRLE_PASS_BACKWARD && z->stride == 2) {
        const ring in = pairs_ring(z);
        return (in.count * in.width + 2 * n_pairs_of(z)) * LANES;
    }
    return (z->K * windows_width(&v, z->K) + v.Q) * LANES;
}

const prle_depthwise_kernels JOIN(prle_depthwise_, SIMD_NAME) = {.name = STRING(SIMD_NAME),
                                                                 .block = LANES,
                                                                 .work_floats = work_floats,
                                                                 .forward = forward,
                                                                 .backward = backward,
                                                                 .weights = weights};
