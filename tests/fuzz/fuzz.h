/* fuzz.h - what the targets have in common: each hands any bytes to one reader and uses what that gives, as a command would. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "core/status.h"

/** A target: libFuzzer (or replay.c) calls it with any bytes. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

/** The path of a file in memory that holds these bytes; good until the next call. */
const char *fuzz_file(const uint8_t *bytes, size_t n_bytes);

/**
 * The same for a reader of HDF5. What begins like an HDF5 file is one: damage, which its checksums must find. Other bytes say
 * what to change in a good file (edit.c), whose checksums are right then: a file that wants us to go wrong. seed makes the good
 * one.
 */
const char *fuzz_h5_file(const uint8_t *bytes, size_t n_bytes, prle_status (*seed)(const char *path));

/** A refusal is bad input (PRLE_EFORMAT, ...) in one line that names the file; else the process aborts. */
void fuzz_check(prle_status st, const char *name);

/** How a target ends: fuzz_check, and no more blocks are held than at its begin (live: prle_alloc_live() then). Always 0. */
int fuzz_end(prle_status st, int64_t live, const char *name);
