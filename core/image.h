/* image.h - 8-bit pictures: JPEG and PNG in and out, resize, crop, affine warp. The one door to TurboJPEG and libpng. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { PRLE_IMAGE_MAX_SIDE = 16384 };

/** A picture: RGB (channels 3) or gray (channels 1), rows from the top. */
typedef struct prle_image {
    int64_t height, width, channels;
    uint8_t *data; /* [height,width,channels] */
} prle_image;

typedef enum prle_image_format {
    PRLE_IMAGE_JPEG,
    PRLE_IMAGE_PNG,
} prle_image_format;

/** What a header says. channels: 1 for a gray file, 3 for every other. */
typedef struct prle_image_info {
    prle_image_format format;
    int64_t height, width, channels;
} prle_image_info;

/** A zeroed picture; sides 1 ... PRLE_IMAGE_MAX_SIDE, channels 1 or 3, else PRLE_ESHAPE. Yours to deinit. */
PRLE_NODISCARD prle_status prle_image_init(prle_image *out, int64_t height, int64_t width, int64_t channels);
void prle_image_deinit(prle_image *image); /* NULL and an all-zero picture are fine; leaves it all zero */

/** height * width * channels of a picture of legal sizes. */
size_t prle_image_bytes(const prle_image *image);

/* ---- files in memory ---- */

/** Format (by its first bytes) and size without decoding. PRLE_EFORMAT: not JPEG or PNG, a damaged header, too long a side. */
PRLE_NODISCARD prle_status prle_image_info_read(prle_image_info *out, const void *bytes, size_t n_bytes);

/**
 * Decodes a whole JPEG (accurate DCT; gray, YCbCr, RGB, CMYK, YCCK) or PNG (any depth, palette, interlaced; alpha over black).
 *
 * out       out  [H,W,channels], yours to deinit
 * channels  in   3: gray files become R = G = B; 1: colour files become Rec. 601 luma, gray files stay exact
 *
 * PRLE_EFORMAT names what is wrong: truncated or corrupt data (every warning of the decoders counts), unknown format, a side over
 * the limit.
 */
PRLE_NODISCARD prle_status prle_image_decode(prle_image *out, const void *bytes, size_t n_bytes, int channels);

/** Decodes many pictures into the caller's buffers and keeps its own scratch. One thread at a time. */
typedef struct prle_decoder prle_decoder;

PRLE_NODISCARD prle_status prle_decoder_create(prle_decoder **out);
void prle_decoder_destroy(prle_decoder *decoder);

/**
 * As prle_image_decode into image->data, which the caller owns and which holds capacity_bytes; sets the sizes in *image.
 * No allocation of ours per picture once the scratch has grown. PRLE_ESHAPE when the picture needs more than capacity_bytes.
 * On failure the sizes stay and the buffer's content is undefined.
 */
PRLE_NODISCARD prle_status prle_decoder_decode_into(prle_decoder *decoder, prle_image *image, size_t capacity_bytes,
                                                    const void *bytes, size_t n_bytes, int channels);

typedef enum prle_jpeg_sampling {
    PRLE_JPEG_420, /* colour at half size: what cameras and video do */
    PRLE_JPEG_444,
} prle_jpeg_sampling;

typedef struct prle_jpeg_opts {
    int quality; /* 1 ... 100 */
    prle_jpeg_sampling sampling;
} prle_jpeg_opts;

#define PRLE_JPEG_OPTS_DEFAULT ((prle_jpeg_opts){.quality = 92, .sampling = PRLE_JPEG_420})

/** The file's bytes into *bytes (prle_free it). Same picture and options: same bytes. */
PRLE_NODISCARD prle_status prle_image_encode_jpeg(uint8_t **bytes, size_t *n_bytes, const prle_image *image,
                                                  const prle_jpeg_opts *opts);
/** Encodes many pictures and keeps its memory. One thread at a time. */
typedef struct prle_jpeg_encoder prle_jpeg_encoder;

PRLE_NODISCARD prle_status prle_jpeg_encoder_create(prle_jpeg_encoder **out);
void prle_jpeg_encoder_destroy(prle_jpeg_encoder *encoder); /* NULL is fine */

/** As prle_image_encode_jpeg; *bytes is the encoder's until its next call. No allocation of ours once it has grown. */
PRLE_NODISCARD prle_status prle_jpeg_encoder_run(prle_jpeg_encoder *encoder, const uint8_t **bytes, size_t *n_bytes,
                                                 const prle_image *image, const prle_jpeg_opts *opts);

PRLE_NODISCARD prle_status prle_image_encode_png(uint8_t **bytes, size_t *n_bytes, const prle_image *image);

/* ---- files on disk: errors name the path ---- */

PRLE_NODISCARD prle_status prle_image_load(prle_image *out, const char *path, int channels);

/** By the name's end: .jpg or .jpeg (opts, NULL for the default) or .png. Atomic, as prle_file_write_atomic. */
PRLE_NODISCARD prle_status prle_image_save(const char *path, const prle_image *image, const prle_jpeg_opts *opts);

/* ---- geometry; pixel (x, y) is a square with its centre at the integer point (x, y) ---- */

typedef enum prle_resize_kind {
    PRLE_RESIZE_BILINEAR, /* half-pixel centres, edges clamped, no antialias: PyTorch interpolate(align_corners=False) */
    PRLE_RESIZE_AREA,     /* mean over the covered area along a side that shrinks; bilinear along one that grows */
} prle_resize_kind;

/** The weights of one resize, made once, and its scratch. One thread at a time. */
typedef struct prle_resizer prle_resizer;

PRLE_NODISCARD prle_status prle_resizer_create(prle_resizer **out, int64_t out_height, int64_t out_width, int64_t in_height,
                                               int64_t in_width, int64_t channels, prle_resize_kind kind);
void prle_resizer_destroy(prle_resizer *resizer);

/** out [out_height,out_width,C] from in [in_height,in_width,C], rounded to nearest, ties to even; no allocation. */
void prle_resizer_run(prle_resizer *resizer, uint8_t *out, const uint8_t *in);

/** One resize: to the sizes that *out (initialised) has. PRLE_ESHAPE when the channels differ. */
PRLE_NODISCARD prle_status prle_image_resize(prle_image *out, const prle_image *in, prle_resize_kind kind);

/** The rectangle of *out's size (initialised) whose top left pixel is (x, y). PRLE_ESHAPE when it leaves the picture. */
PRLE_NODISCARD prle_status prle_image_crop(prle_image *out, const prle_image *in, int64_t y, int64_t x);

/** (x, y) -> (xx x + xy y + x0, yx x + yy y + y0) */
typedef struct prle_affine {
    double xx, xy, x0;
    double yx, yy, y0;
} prle_affine;

typedef enum prle_border {
    PRLE_BORDER_EDGE, /* the nearest pixel of the edge */
    PRLE_BORDER_ZERO, /* black */
} prle_border;

/** out(p) = in(map(p)), bilinear, for every pixel p of *out (initialised). PRLE_ESHAPE when the channels differ. */
PRLE_NODISCARD prle_status prle_image_warp(prle_image *out, const prle_image *in, const prle_affine *map, prle_border border);

#ifdef __cplusplus
}
#endif
