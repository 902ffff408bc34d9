/* codec.h - what image.c asks of jpeg.c and png.c; nobody else includes it. */
#pragma once
#include "core/image.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Memory that a decoder keeps from picture to picture. */
typedef struct prle_codec_scratch {
    uint8_t *bytes;
    size_t capacity;
} prle_codec_scratch;

/** Makes scratch->bytes hold at least n_bytes; old content is lost. */
PRLE_NODISCARD prle_status prle_codec_scratch_grow(prle_codec_scratch *scratch, size_t n_bytes);

/** One RGB pixel as Rec. 601 luma, in integers, rounded. */
static inline uint8_t prle_codec_luma(unsigned r, unsigned g, unsigned b)
{
    return (uint8_t)((19595u * r + 38470u * g + 7471u * b + 32768u) >> 16);
}

/** a * b / 255, rounded. */
static inline unsigned prle_codec_scale(unsigned a, unsigned b) { return (a * b + 127u) / 255u; }

bool prle_jpeg_recognise(const uint8_t *bytes, size_t n_bytes);
PRLE_NODISCARD prle_status prle_jpeg_reader_create(void **out);
void prle_jpeg_reader_destroy(void *reader);
PRLE_NODISCARD prle_status prle_jpeg_info_read(void *reader, prle_image_info *out, const uint8_t *bytes, size_t n_bytes);

/** pixels [info->height, info->width, channels], info from the same bytes. */
PRLE_NODISCARD prle_status prle_jpeg_decode(void *reader, uint8_t *pixels, const prle_image_info *info, int channels,
                                            const uint8_t *bytes, size_t n_bytes, prle_codec_scratch *scratch);

bool prle_png_recognise(const uint8_t *bytes, size_t n_bytes);
PRLE_NODISCARD prle_status prle_png_info_read(prle_image_info *out, const uint8_t *bytes, size_t n_bytes);
PRLE_NODISCARD prle_status prle_png_decode(uint8_t *pixels, const prle_image_info *info, int channels, const uint8_t *bytes,
                                           size_t n_bytes, prle_codec_scratch *scratch);

#ifdef __cplusplus
}
#endif
