/* jpeg.c - the wrapper of TurboJPEG: accurate DCT always, and no warning passes for success. */
#include <jconfig.h>
#include <limits.h>
#include <turbojpeg.h>

#include "core/alloc.h"
#include "core/codec.h"
#include "core/version.h"

enum { DECODE_FLAGS = TJFLAG_ACCURATEDCT | TJFLAG_STOPONWARNING | TJFLAG_LIMITSCANS };

bool prle_jpeg_recognise(const uint8_t *bytes, size_t n_bytes)
{
    return n_bytes >= 3 && bytes[0] == 0xFF && bytes[1] == 0xD8 && bytes[2] == 0xFF;
}

prle_status prle_jpeg_reader_create(void **out)
{
    const tjhandle reader = tjInitDecompress();

    PRLE_CHECK(reader != NULL, PRLE_ENOMEM, "cannot start the JPEG decoder: %s", tjGetErrorStr2(NULL));
    *out = reader;
    return PRLE_OK;
}

void prle_jpeg_reader_destroy(void *reader)
{
    if (reader != NULL)
        tjDestroy(reader);
}

static prle_status header_read(tjhandle reader, prle_image_info *out, int *colour, const uint8_t *bytes, size_t n_bytes)
{
    int width = 0, height = 0, sampling = 0;

    PRLE_CHECK(n_bytes <= ULONG_MAX, PRLE_EFORMAT, "JPEG: %zu bytes are too many", n_bytes);
    PRLE_CHECK(tjDecompressHeader3(reader, bytes, (unsigned long)n_bytes, &width, &height, &sampling, colour) == 0, PRLE_EFORMAT,
               "JPEG: bad header: %s", tjGetErrorStr2(reader));
    PRLE_CHECK(width >= 1 && height >= 1 && width <= PRLE_IMAGE_MAX_SIDE && height <= PRLE_IMAGE_MAX_SIDE, PRLE_EFORMAT,
               "JPEG: %d x %d pixels: sides of 1 to %d are read", width, height, PRLE_IMAGE_MAX_SIDE);
    *out =
        (prle_image_info){.format = PRLE_IMAGE_JPEG, .height = height, .width = width, .channels = *colour == TJCS_GRAY ? 1 : 3};
    return PRLE_OK;
}

prle_status prle_jpeg_info_read(void *reader, prle_image_info *out, const uint8_t *bytes, size_t n_bytes)
{
    int colour = 0;

    return header_read(reader, out, &colour, bytes, n_bytes);
}

static prle_status pixels_read(tjhandle reader, uint8_t *pixels, const prle_image_info *info, int pixel_format,
                               const uint8_t *bytes, size_t n_bytes)
{
    PRLE_CHECK(tjDecompress2(reader, bytes, (unsigned long)n_bytes, pixels, (int)info->width, 0, (int)info->height, pixel_format,
                             DECODE_FLAGS) == 0,
               PRLE_EFORMAT, "JPEG: truncated or corrupt: %s", tjGetErrorStr2(reader));
    return PRLE_OK;
}

/* Adobe's convention, which all writers follow: 255 is no ink. */
static void cmyk_convert(uint8_t *pixels, int channels, const uint8_t *cmyk, int64_t n)
{
    for (int64_t i = 0; i < n; i++, cmyk += 4, pixels += channels) {
        const unsigned r = prle_codec_scale(cmyk[0], cmyk[3]), g = prle_codec_scale(cmyk[1], cmyk[3]),
                       b = prle_codec_scale(cmyk[2], cmyk[3]);
        if (channels == 1) {
            pixels[0] = prle_codec_luma(r, g, b);
            continue;
        }
        pixels[0] = (uint8_t)r;
        pixels[1] = (uint8_t)g;
        pixels[2] = (uint8_t)b;
    }
}

prle_status prle_jpeg_decode(void *reader, uint8_t *pixels, const prle_image_info *info, int channels, const uint8_t *bytes,
                             size_t n_bytes, prle_codec_scratch *scratch)
{
    const int64_t n = info->height * info->width;
    prle_image_info again;
    int colour = 0;

    PRLE_TRY(header_read(reader, &again, &colour, bytes, n_bytes));
    if (colour != TJCS_CMYK && colour != TJCS_YCCK)
        return pixels_read(reader, pixels, info, channels == 1 ? TJPF_GRAY : TJPF_RGB, bytes, n_bytes);
    PRLE_TRY(prle_codec_scratch_grow(scratch, (size_t)n * 4));
    PRLE_TRY(pixels_read(reader, scratch->bytes, info, TJPF_CMYK, bytes, n_bytes));
    cmyk_convert(pixels, channels, scratch->bytes, n);
    return PRLE_OK;
}

struct prle_jpeg_encoder {
    tjhandle writer;
    prle_codec_scratch file;
};

prle_status prle_jpeg_encoder_create(prle_jpeg_encoder **out)
{
    prle_jpeg_encoder *encoder = NULL;
    prle_status st = PRLE_OK;

    PRLE_TRY_OUT(PRLE_NEW(encoder, 1));
    encoder->writer = tjInitCompress();
    PRLE_CHECK_OUT(encoder->writer != NULL, PRLE_ENOMEM, "cannot start the JPEG encoder: %s", tjGetErrorStr2(NULL));
    *out = encoder;
    encoder = NULL;
out:
    prle_jpeg_encoder_destroy(encoder);
    return st;
}

void prle_jpeg_encoder_destroy(prle_jpeg_encoder *encoder)
{
    if (encoder == NULL)
        return;
    if (encoder->writer != NULL)
        tjDestroy(encoder->writer);
    prle_free(encoder->file.bytes);
    prle_free(encoder);
}

prle_status prle_jpeg_encoder_run(prle_jpeg_encoder *encoder, const uint8_t **bytes, size_t *n_bytes, const prle_image *image,
                                  const prle_jpeg_opts *opts)
{
    const int sampling = image->channels == 1 ? TJSAMP_GRAY : opts->sampling == PRLE_JPEG_444 ? TJSAMP_444 : TJSAMP_420;
    const int pixel_format = image->channels == 1 ? TJPF_GRAY : TJPF_RGB;
    unsigned long size = tjBufSize((int)image->width, (int)image->height, sampling);

    PRLE_CHECK(opts->quality >= 1 && opts->quality <= 100, PRLE_EINVAL, "JPEG quality %d: 1 to 100 are allowed", opts->quality);
    PRLE_TRY(prle_codec_scratch_grow(&encoder->file, size));
    PRLE_CHECK(tjCompress2(encoder->writer, image->data, (int)image->width, 0, (int)image->height, pixel_format,
                           &encoder->file.bytes, &size, sampling, opts->quality, TJFLAG_ACCURATEDCT | TJFLAG_NOREALLOC) == 0,
               PRLE_EFORMAT, "JPEG: cannot encode %lld x %lld: %s", (long long)image->width, (long long)image->height,
               tjGetErrorStr2(encoder->writer));
    *bytes = encoder->file.bytes;
    *n_bytes = size;
    return PRLE_OK;
}

prle_status prle_image_encode_jpeg(uint8_t **bytes, size_t *n_bytes, const prle_image *image, const prle_jpeg_opts *opts)
{
    prle_jpeg_encoder *encoder = NULL;
    const uint8_t *file = NULL;
    size_t size = 0;
    prle_status st = PRLE_OK;

    PRLE_TRY(prle_jpeg_encoder_create(&encoder));
    PRLE_TRY_OUT(prle_jpeg_encoder_run(encoder, &file, &size, image, opts));
    *bytes = encoder->file.bytes;
    *n_bytes = size;
    encoder->file.bytes = NULL;
out:
    prle_jpeg_encoder_destroy(encoder);
    return st;
}

#define TEXT_OF(x) #x
#define TEXT(x)    TEXT_OF(x)

const char *prle_version_jpeg(void) { return TEXT(LIBJPEG_TURBO_VERSION); }
