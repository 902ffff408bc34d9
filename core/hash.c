/* hash.c - see hash.h. The CRC takes eight bytes a step from eight tables ("slicing by eight"). */
#include "core/hash.h"

#include <pthread.h>
#include <stdio.h>

enum { SLICES = 8 };

static uint32_t table[SLICES][256];
static pthread_once_t table_once = PTHREAD_ONCE_INIT;

static void table_make(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0);
        table[0][byte] = crc;
    }
    for (int slice = 1; slice < SLICES; slice++)
        for (uint32_t byte = 0; byte < 256; byte++)
            table[slice][byte] = table[slice - 1][byte] >> 8 ^ table[0][table[slice - 1][byte] & 0xFF];
}

uint32_t prle_crc32(uint32_t crc, const void *bytes, size_t n_bytes)
{
    const uint8_t *p = bytes;

    pthread_once(&table_once, table_make);
    crc = ~crc;
    for (; n_bytes >= SLICES; n_bytes -= SLICES, p += SLICES) {
        const uint32_t low = crc ^ ((uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24);
        crc = table[7][low & 0xFF] ^ table[6][low >> 8 & 0xFF] ^ table[5][low >> 16 & 0xFF] ^ table[4][low >> 24] ^
              table[3][p[4]] ^ table[2][p[5]] ^ table[1][p[6]] ^ table[0][p[7]];
    }
    for (; n_bytes > 0; n_bytes--)
        crc = crc >> 8 ^ table[0][(crc ^ *p++) & 0xFF];
    return ~crc;
}

uint64_t prle_hash(uint64_t hash, const void *bytes, size_t n_bytes)
{
    const uint8_t *p = bytes;

    for (size_t i = 0; i < n_bytes; i++)
        hash = (hash ^ p[i]) * UINT64_C(0x100000001B3);
    return hash;
}

const char *prle_hash_print(uint64_t hash, char text[17])
{
    snprintf(text, 17, "%016llx", (unsigned long long)hash);
    return text;
}
