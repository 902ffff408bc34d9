/* image.c - see image.h: storage, choice of decoder, files. Geometry is in resample.c. */
#include "core/image.h"

#include <string.h>
#include <strings.h>

#include "core/alloc.h"
#include "core/codec.h"
#include "core/file.h"

enum {
    FREE_PIXELS = 1 << 24,        /* decoded whatever the file's length */
    MAX_PIXELS_A_BYTE = 1100 * 8, /* deflate's limit is 1032 : 1, a pixel has a bit; JPEG stays far below */
};

struct prle_decoder {
    void *jpeg;
    prle_codec_scratch scratch;
};

prle_status prle_image_init(prle_image *out, int64_t height, int64_t width, int64_t channels)
{
    uint8_t *data = NULL;

    PRLE_CHECK(height >= 1 && width >= 1 && height <= PRLE_IMAGE_MAX_SIDE && width <= PRLE_IMAGE_MAX_SIDE, PRLE_ESHAPE,
               "picture of %lld x %lld pixels: sides of 1 to %d are allowed", (long long)width, (long long)height,
               PRLE_IMAGE_MAX_SIDE);
    PRLE_CHECK(channels == 1 || channels == 3, PRLE_ESHAPE, "picture of %lld channels: 1 or 3 are allowed", (long long)channels);
    PRLE_TRY(PRLE_NEW(data, height * width * channels));
    *out = (prle_image){.height = height, .width = width, .channels = channels, .data = data};
    return PRLE_OK;
}

void prle_image_deinit(prle_image *image)
{
    if (image == NULL)
        return;
    prle_free(image->data);
    *image = (prle_image){0};
}

size_t prle_image_bytes(const prle_image *image) { return (size_t)(image->height * image->width * image->channels); }

prle_status prle_codec_scratch_grow(prle_codec_scratch *scratch, size_t n_bytes)
{
    if (scratch->capacity >= n_bytes)
        return PRLE_OK;
    prle_free(scratch->bytes);
    *scratch = (prle_codec_scratch){0};
    PRLE_TRY(PRLE_NEW(scratch->bytes, n_bytes));
    scratch->capacity = n_bytes;
    return PRLE_OK;
}

prle_status prle_decoder_create(prle_decoder **out)
{
    prle_decoder *decoder = NULL;
    prle_status st = PRLE_OK;

    PRLE_TRY_OUT(PRLE_NEW(decoder, 1));
    PRLE_TRY_OUT(prle_jpeg_reader_create(&decoder->jpeg));
    *out = decoder;
    decoder = NULL;
out:
    prle_decoder_destroy(decoder);
    return st;
}

void prle_decoder_destroy(prle_decoder *decoder)
{
    if (decoder == NULL)
        return;
    prle_jpeg_reader_destroy(decoder->jpeg);
    prle_free(decoder->scratch.bytes);
    prle_free(decoder);
}

static prle_status info_read(prle_decoder *decoder, prle_image_info *out, const uint8_t *bytes, size_t n_bytes)
{
    prle_image_info info;

    if (prle_jpeg_recognise(bytes, n_bytes)) {
        PRLE_TRY(prle_jpeg_info_read(decoder->jpeg, &info, bytes, n_bytes));
    } else {
        PRLE_CHECK(prle_png_recognise(bytes, n_bytes), PRLE_EFORMAT, "neither JPEG nor PNG (%zu bytes)", n_bytes);
        PRLE_TRY(prle_png_info_read(&info, bytes, n_bytes));
    }
    const int64_t pixels = info.height * info.width;
    PRLE_CHECK(pixels <= FREE_PIXELS || (size_t)pixels / MAX_PIXELS_A_BYTE <= n_bytes, PRLE_EFORMAT,
               "claims %lld x %lld pixels, which its %zu bytes cannot hold", (long long)info.width, (long long)info.height,
               n_bytes);
    *out = info;
    return PRLE_OK;
}

static prle_status pixels_read(prle_decoder *decoder, uint8_t *pixels, const prle_image_info *info, int channels,
                               const uint8_t *bytes, size_t n_bytes)
{
    if (info->format == PRLE_IMAGE_JPEG)
        return prle_jpeg_decode(decoder->jpeg, pixels, info, channels, bytes, n_bytes, &decoder->scratch);
    return prle_png_decode(pixels, info, channels, bytes, n_bytes, &decoder->scratch);
}

static prle_status channels_check(int channels)
{
    PRLE_CHECK(channels == 1 || channels == 3, PRLE_ESHAPE, "decoding to %d channels: 1 or 3 are allowed", channels);
    return PRLE_OK;
}

prle_status prle_decoder_decode_into(prle_decoder *decoder, prle_image *image, size_t capacity_bytes, const void *bytes,
                                     size_t n_bytes, int channels)
{
    prle_image_info info;

    PRLE_TRY(channels_check(channels));
    PRLE_TRY(info_read(decoder, &info, bytes, n_bytes));
    const size_t needed = (size_t)(info.height * info.width * channels);
    PRLE_CHECK(needed <= capacity_bytes, PRLE_ESHAPE, "picture of %lld x %lld x %d needs %zu bytes, the buffer holds %zu",
               (long long)info.height, (long long)info.width, channels, needed, capacity_bytes);
    PRLE_TRY(pixels_read(decoder, image->data, &info, channels, bytes, n_bytes));
    image->height = info.height;
    image->width = info.width;
    image->channels = channels;
    return PRLE_OK;
}

prle_status prle_image_info_read(prle_image_info *out, const void *bytes, size_t n_bytes)
{
    prle_decoder *decoder = NULL;
    prle_status st = PRLE_OK;

    PRLE_TRY(prle_decoder_create(&decoder));
    PRLE_TRY_OUT(info_read(decoder, out, bytes, n_bytes));
out:
    prle_decoder_destroy(decoder);
    return st;
}

prle_status prle_image_decode(prle_image *out, const void *bytes, size_t n_bytes, int channels)
{
    prle_decoder *decoder = NULL;
    prle_image image = {0};
    prle_image_info info;
    prle_status st = PRLE_OK;

    PRLE_TRY(channels_check(channels));
    PRLE_TRY(prle_decoder_create(&decoder));
    PRLE_TRY_OUT(info_read(decoder, &info, bytes, n_bytes));
    PRLE_TRY_OUT(prle_image_init(&image, info.height, info.width, channels));
    PRLE_TRY_OUT(pixels_read(decoder, image.data, &info, channels, bytes, n_bytes));
    *out = image;
    image = (prle_image){0};
out:
    prle_image_deinit(&image);
    prle_decoder_destroy(decoder);
    return st;
}

prle_status prle_image_load(prle_image *out, const char *path, int channels)
{
    uint8_t *bytes = NULL;
    size_t n_bytes = 0;

    PRLE_TRY(prle_file_read_all(path, &bytes, &n_bytes));
    const prle_status st = prle_image_decode(out, bytes, n_bytes, channels);
    prle_free(bytes);
    return st == PRLE_OK ? PRLE_OK : prle_error_prefix("%s", path);
}

static bool ends_with(const char *path, const char *end)
{
    const size_t n_path = strlen(path), n_end = strlen(end);

    return n_path >= n_end && strcasecmp(path + n_path - n_end, end) == 0;
}

prle_status prle_image_save(const char *path, const prle_image *image, const prle_jpeg_opts *opts)
{
    const prle_jpeg_opts jpeg_opts = opts != NULL ? *opts : PRLE_JPEG_OPTS_DEFAULT;
    uint8_t *bytes = NULL;
    size_t n_bytes = 0;
    prle_status st = PRLE_OK;

    if (ends_with(path, ".png"))
        PRLE_TRY_OUT(prle_image_encode_png(&bytes, &n_bytes, image));
    else if (ends_with(path, ".jpg") || ends_with(path, ".jpeg"))
        PRLE_TRY_OUT(prle_image_encode_jpeg(&bytes, &n_bytes, image, &jpeg_opts));
    else
        PRLE_CHECK_OUT(false, PRLE_EINVAL, "%s: cannot tell the format: the name must end in .jpg, .jpeg or .png", path);
    PRLE_TRY_OUT(prle_file_write_atomic(path, bytes, n_bytes));
out:
    prle_free(bytes);
    return st;
}
