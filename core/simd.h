/* simd.h - one attribute for hot loops: the compiler makes an AVX-512, an AVX2 and a baseline copy and the loader picks one. */
#pragma once

/* gcc on x86-64 only, and not under a sanitizer, whose runtime is not up yet when the loader chooses. */
#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) &&                         \
    !defined(__SANITIZE_THREAD__)
#define PRLE_HAVE_CLONES 1
#define PRLE_SIMD_CLONES __attribute__((target_clones("arch=x86-64-v4", "avx2", "default")))
#else
#define PRLE_HAVE_CLONES 0
#define PRLE_SIMD_CLONES
#endif
