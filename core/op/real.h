/* real.h - one source for two precisions: each *_ref.c is compiled with REAL_IS_DOUBLE 0 and 1. */
#pragma once
#include <math.h>

#include "core/hd.h"
#include "core/types.h"

#ifndef REAL_IS_DOUBLE
#define REAL_IS_DOUBLE 0
#endif

#if REAL_IS_DOUBLE
typedef double real;
#define REAL_NAME(name) name##_f64
#define REAL_DTYPE      PRLE_F64
#define real_exp        exp
#define real_sqrt       sqrt
#define real_abs        fabs
#define real_log1p      log1p
#define real_log10      log10
#else
typedef float real;
#define REAL_NAME(name) name##_f32
#define REAL_DTYPE      PRLE_F32
#define real_exp        expf
#define real_sqrt       sqrtf
#define real_abs        fabsf
#define real_log1p      log1pf
#define real_log10      log10f
#endif

PRLE_HD static inline real real_max(real a, real b) { return a > b ? a : b; }
