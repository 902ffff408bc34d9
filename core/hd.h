/* hd.h - PRLE_HD marks functions that CPU and GPU code share. */
#pragma once

#ifdef __CUDACC__
#define PRLE_HD __host__ __device__
#else
#define PRLE_HD
#endif
