/* png.c - the wrapper of libpng. Whatever a longjmp may cross lives in one struct, outside the frames that it unwinds. */
#include <png.h>
#include <string.h>

#include "core/alloc.h"
#include "core/codec.h"
#include "core/version.h"

enum {
    HEADER_BYTES = 33, /* signature 8, length 4, "IHDR" 4, content 13, checksum 4 */
    COMPRESSION = 6,
};

typedef struct session {
    png_structp png;
    png_infop info;
    const uint8_t *in; /* reading: what is left */
    size_t n_in;
    uint8_t *out; /* writing: what has come */
    size_t n_out, capacity;
    uint8_t *pixels;
    int64_t height, width, channels;
    char message[160];
} session;

static uint32_t be32(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

bool prle_png_recognise(const uint8_t *bytes, size_t n_bytes)
{
    return n_bytes >= 8 && memcmp(bytes, "\x89PNG\r\n\x1a\n", 8) == 0;
}

prle_status prle_png_info_read(prle_image_info *out, const uint8_t *bytes, size_t n_bytes)
{
    PRLE_CHECK(n_bytes >= HEADER_BYTES && memcmp(bytes + 8, "\0\0\0\rIHDR", 8) == 0, PRLE_EFORMAT,
               "PNG: bad or truncated header");
    const uint32_t width = be32(bytes + 16), height = be32(bytes + 20);
    PRLE_CHECK(width >= 1 && height >= 1 && width <= PRLE_IMAGE_MAX_SIDE && height <= PRLE_IMAGE_MAX_SIDE, PRLE_EFORMAT,
               "PNG: %u x %u pixels: sides of 1 to %d are read", width, height, PRLE_IMAGE_MAX_SIDE);
    const bool gray = (bytes[25] & PNG_COLOR_MASK_COLOR) == 0;
    *out = (prle_image_info){.format = PRLE_IMAGE_PNG, .height = height, .width = width, .channels = gray ? 1 : 3};
    return PRLE_OK;
}

static void on_error(png_structp png, png_const_charp text)
{
    session *s = png_get_error_ptr(png);

    snprintf(s->message, sizeof s->message, "%s", text);
    png_longjmp(png, 1);
}

/* Ancillary chunks that libpng mends or skips: the pixels are what counts, and their damage is an error. */
static void on_warning(png_structp png, png_const_charp text)
{
    (void)png;
    (void)text;
}

static png_voidp on_malloc(png_structp png, png_alloc_size_t n_bytes)
{
    uint8_t *block = NULL;

    (void)png;
    return PRLE_NEW(block, n_bytes) == PRLE_OK ? block : NULL;
}

static void on_free(png_structp png, png_voidp block)
{
    (void)png;
    prle_free(block);
}

static void on_read(png_structp png, png_bytep to, size_t n)
{
    session *s = png_get_io_ptr(png);

    if (n > s->n_in)
        png_error(png, "the file ends early");
    memcpy(to, s->in, n);
    s->in += n;
    s->n_in -= n;
}

static void on_write(png_structp png, png_bytep from, size_t n)
{
    session *s = png_get_io_ptr(png);

    if (n > s->capacity - s->n_out) {
        const size_t grown = 2 * s->capacity + n;
        if (prle_realloc(s->n_out, grown, 1, (prle_any_ptr *)&s->out) != PRLE_OK)
            png_error(png, "out of memory");
        s->capacity = grown;
    }
    memcpy(s->out + s->n_out, from, n);
    s->n_out += n;
}

static void on_flush(png_structp png) { (void)png; }

/* Everything but libpng's own palette, depth and gray conversions is left to the caller: rows of s->channels bytes a pixel.
 * Chunks that do not change pixels are stepped over: libpng gives some of them the memory they claim before it reads them. */
static bool rows_read(session *s)
{
    if (setjmp(png_jmpbuf(s->png)) != 0)
        return false;
    png_set_user_limits(s->png, PRLE_IMAGE_MAX_SIDE, PRLE_IMAGE_MAX_SIDE);
    png_set_keep_unknown_chunks(s->png, PNG_HANDLE_CHUNK_NEVER, NULL, -1);
    png_set_read_fn(s->png, s, on_read);
    png_read_info(s->png, s->info);
    png_set_expand(s->png);
    png_set_scale_16(s->png);
    if (s->channels != 1)
        png_set_gray_to_rgb(s->png);
    if (s->channels == 4)
        png_set_add_alpha(s->png, 0xFF, PNG_FILLER_AFTER);
    const int n_passes = png_set_interlace_handling(s->png);
    png_read_update_info(s->png, s->info);
    if (png_get_rowbytes(s->png, s->info) != (size_t)(s->width * s->channels))
        png_error(s->png, "rows of an unexpected size");
    for (int pass = 0; pass < n_passes; pass++)
        for (int64_t y = 0; y < s->height; y++)
            png_read_row(s->png, s->pixels + y * s->width * s->channels, NULL);
    png_read_end(s->png, NULL);
    return true;
}

/* Does a tRNS chunk stand before the pixels? Colour types with alpha say so in the header. */
static bool has_alpha(const uint8_t *bytes, size_t n_bytes)
{
    if ((bytes[25] & PNG_COLOR_MASK_ALPHA) != 0)
        return true;
    for (size_t at = HEADER_BYTES; n_bytes - at >= 12;) {
        const uint32_t n = be32(bytes + at);
        if (memcmp(bytes + at + 4, "tRNS", 4) == 0)
            return true;
        if (memcmp(bytes + at + 4, "IDAT", 4) == 0 || n > n_bytes - at - 12)
            return false;
        at += 12 + (size_t)n;
    }
    return false;
}

static prle_status decode_to(uint8_t *pixels, const prle_image_info *info, int channels, const uint8_t *bytes, size_t n_bytes)
{
    session s = {
        .in = bytes, .n_in = n_bytes, .pixels = pixels, .height = info->height, .width = info->width, .channels = channels};
    prle_status st = PRLE_OK;

    s.png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, &s, on_error, on_warning, NULL, on_malloc, on_free);
    PRLE_CHECK_OUT(s.png != NULL, PRLE_ENOMEM, "PNG: cannot start the decoder: out of memory");
    s.info = png_create_info_struct(s.png);
    PRLE_CHECK_OUT(s.info != NULL, PRLE_ENOMEM, "PNG: cannot start the decoder: out of memory");
    PRLE_CHECK_OUT(rows_read(&s), PRLE_EFORMAT, "PNG: truncated or corrupt: %s", s.message);
out:
    png_destroy_read_struct(&s.png, &s.info, NULL);
    return st;
}

prle_status prle_png_decode(uint8_t *pixels, const prle_image_info *info, int channels, const uint8_t *bytes, size_t n_bytes,
                            prle_codec_scratch *scratch)
{
    const int64_t n = info->height * info->width;

    if (!has_alpha(bytes, n_bytes) && channels >= info->channels)
        return decode_to(pixels, info, channels, bytes, n_bytes);
    PRLE_TRY(prle_codec_scratch_grow(scratch, (size_t)n * 4));
    PRLE_TRY(decode_to(scratch->bytes, info, 4, bytes, n_bytes));
    for (int64_t i = 0; i < n; i++) {
        const uint8_t *p = scratch->bytes + 4 * i;
        const unsigned r = prle_codec_scale(p[0], p[3]), g = prle_codec_scale(p[1], p[3]), b = prle_codec_scale(p[2], p[3]);
        if (channels == 1) {
            pixels[i] = prle_codec_luma(r, g, b);
            continue;
        }
        pixels[3 * i] = (uint8_t)r;
        pixels[3 * i + 1] = (uint8_t)g;
        pixels[3 * i + 2] = (uint8_t)b;
    }
    return PRLE_OK;
}

static bool rows_write(session *s)
{
    if (setjmp(png_jmpbuf(s->png)) != 0)
        return false;
    png_set_write_fn(s->png, s, on_write, on_flush);
    png_set_compression_level(s->png, COMPRESSION);
    png_set_IHDR(s->png, s->info, (png_uint_32)s->width, (png_uint_32)s->height, 8,
                 s->channels == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    png_write_info(s->png, s->info);
    for (int64_t y = 0; y < s->height; y++)
        png_write_row(s->png, s->pixels + y * s->width * s->channels);
    png_write_end(s->png, s->info);
    return true;
}

prle_status prle_image_encode_png(uint8_t **bytes, size_t *n_bytes, const prle_image *image)
{
    session s = {.pixels = image->data, .height = image->height, .width = image->width, .channels = image->channels};
    prle_status st = PRLE_OK;

    s.png = png_create_write_struct_2(PNG_LIBPNG_VER_STRING, &s, on_error, on_warning, NULL, on_malloc, on_free);
    PRLE_CHECK_OUT(s.png != NULL, PRLE_ENOMEM, "PNG: cannot start the encoder: out of memory");
    s.info = png_create_info_struct(s.png);
    PRLE_CHECK_OUT(s.info != NULL, PRLE_ENOMEM, "PNG: cannot start the encoder: out of memory");
    PRLE_CHECK_OUT(rows_write(&s), PRLE_ENOMEM, "PNG: cannot encode: %s", s.message);
    *bytes = s.out;
    *n_bytes = s.n_out;
    s.out = NULL;
out:
    prle_free(s.out);
    png_destroy_write_struct(&s.png, &s.info);
    return st;
}

const char *prle_version_png(void) { return png_get_libpng_ver(NULL); }
