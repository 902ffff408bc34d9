/* hash.h - CRC-32 for manifests and a 64-bit hash that names contents. Neither is cryptographic. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** CRC-32 of zlib, PNG and gzip (polynomial 0xEDB88320). Start with crc = 0; feed pieces by passing the last result. */
uint32_t prle_crc32(uint32_t crc, const void *bytes, size_t n_bytes);

/** The start value of prle_hash. */
#define PRLE_HASH_INIT UINT64_C(0xCBF29CE484222325)

/** FNV-1a 64: hash = (hash ^ byte) * 0x100000001B3. Feed pieces by passing the last result. */
uint64_t prle_hash(uint64_t hash, const void *bytes, size_t n_bytes);

/** 16 lower-case hexadecimal digits, as hashes stand in attributes; returns text. */
const char *prle_hash_print(uint64_t hash, char text[17]);

#ifdef __cplusplus
}
#endif
