/* parity.h - a network against what PyTorch computed in double precision (tests/golden): the parts of test_parity_NET.c. */
#pragma once
#include "nets/loss.h"
#include "nets/optim.h"
#include "nets/plan.h"
#include "tests/golden/golden.h"

enum { PARITY_MAX_BATCH = 4 };

/** As in CASES of tests/golden/make.py. */
typedef struct parity_case {
    const char *net;
    int64_t batch, size, classes; /* size: pixels */
    double variance;              /* factor of running variances; 0 means 1 */
    bool bf16_as_torch;           /* logits in bf16 may be as far off as PyTorch's own: see parity_infer */
    struct {
        int64_t size;
        const char *input;
    } smooth; /* of the comparison of f32 with f64: tests/golden/margins.py; 0: `size` and "input" */
} parity_case;

/** How a trajectory was made; tolerances of losses and of the weights after it, relative to the largest. */
typedef struct parity_path {
    const char *set;
    int n_steps;
    prle_optim_opts optim;
    double lr, clip; /* clip: largest norm of all gradients, 0 for none */
    double loss_tolerance, weight_tolerance;
} parity_path;

/** All of these end the test (cmocka) on a difference, and print the largest one. */

/**
 * Batch norm by the batch. f64 within 1e-8: logits, loss, every gradient, running statistics. f32: the median over tensors of the
 * L2 distance of gradients to ours in f64 is at most twice PyTorch's own. A relu or maximum that rounding moves to the other side
 * changes gradients by 1e-3, whoever computes them: networks of millions of units are compared on a smooth input.
 */
void parity_train(const parity_case *c);

/**
 * Batch norm frozen: the same in f64; in f32 the distance of each gradient is at most 5e-3, 1e-3 in the median. Where PyTorch's
 * own is larger, at most that: of f3net_both only, whose logarithms of small coefficients move by 1.2e-2 as soon as the pictures
 * are rounded to float, in whatever precision the rest is computed.
 */
void parity_frozen(const parity_case *c);

/** A variant of a network, batch norm by the batch, in f64 within 1e-8: logits, loss, and the gradients that were recorded. */
void parity_variant(const parity_case *c);

/** Binary cross-entropy on one logit, in f64, batch norm by the batch. */
void parity_one_logit(const parity_case *c);

/**
 * Inference of images of `size` pixels (256, 299), folded and fused: logits within 1e-5 in f32 and 2e-2 in bf16, of the largest.
 * Of f3net_both, in bf16 at most PyTorch's own distance under autocast: its logits move by 3.5e-2 at 299 in exact arithmetic as
 * soon as its second Xception's weights alone are rounded to bfloat16.
 */
void parity_infer(const parity_case *c, int64_t size);

/** Losses over the optimiser's steps, each with a batch of its own, and the weights after them, in f64. */
void parity_trajectory(const parity_case *c, const parity_path *path);
