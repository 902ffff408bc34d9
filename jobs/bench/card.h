/* card.h - `prle bench --model`: what one network costs. */
#pragma once
#include "core/json.h"
#include "jobs/bench/bench.h"
#include "nets/card.h"

/** A network, in one element type. */
typedef struct prle_card_run {
    prle_dtype dtype;
    size_t inference_bytes, training_bytes; /* arena: activations and their gradients, by liveness */
    prle_rate infer, train;                 /* images/s; 0: not measured */
} prle_card_run;

enum { PRLE_CARD_MAX_RUNS = 3 };

typedef struct prle_model_card {
    const char *net;
    int64_t size, batch, logits;
    prle_card count;
    int n_runs;
    prle_card_run run[PRLE_CARD_MAX_RUNS];
} prle_model_card;

/** Counts; plans without memory, to see how much it would be; measures where o->seconds is above 0 (with two logits). */
PRLE_NODISCARD prle_status prle_model_card_make(prle_model_card *card, const prle_bench_opts *o, const char *net, int64_t logits,
                                                const prle_dtype *dtypes, int n_dtypes);

/** To stdout; beside the figures of arXiv 2307.12534, Table VIII, where that has some of the network at this size and batch. */
PRLE_NODISCARD prle_status prle_model_card_print(const prle_model_card *card);
void prle_model_card_add_json(const prle_model_card *card, prle_json_writer *json);
