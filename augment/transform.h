/* transform.h - the augmentations of the `bench` protocol (DeepfakeBench-like): each a pure function of image and parameters. */
#pragma once
#include <stdint.h>

#include "core/image.h"
#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum prle_augment {
    PRLE_AUGMENT_NONE,
    PRLE_AUGMENT_BENCH,
} prle_augment;

/** For option tables: "none", "bench", NULL. */
extern const char *const prle_augment_words[];

typedef enum prle_colour_kind {
    PRLE_COLOUR_KEEP,
    PRLE_COLOUR_LINEAR, /* brightness and contrast */
    PRLE_COLOUR_HSV,
} prle_colour_kind;

typedef struct prle_colour_params {
    prle_colour_kind kind;
    float brightness, contrast; /* linear: x (1 + contrast) + 255 brightness; [-0.1, 0.1] each */
    float hue_deg;              /* HSV: added to the hue, [-40, 40] degrees */
    float saturation, value;    /* HSV: added to S in [0,1], [-30/255, 30/255], and V in [0,1], [-20/255, 20/255] */
} prle_colour_params;

/** What happens to one sample, in this order. All zero: nothing. */
typedef struct prle_augment_params {
    bool flip;
    double angle_deg; /* of the rotation, anticlockwise; 0: none */
    int blur_size;    /* pixels of the Gaussian kernel along a side: 3, 5 or 7; 0: none */
    prle_colour_params colour;
    int jpeg_quality; /* 40 ... 100; 0: none */
} prle_augment_params;

/**
 * The draws of one sample from (seed, epoch, sample, PRLE_RNG_AUGMENT). Always all of them, in this order, so that each has its
 * place whatever the others say:
 *   flip?  ·  rotate? angle ~ U[-10,10)  ·  blur? size of {3,5,7}  ·  colour? kind of {linear, HSV}, three amounts, uniform in
 * the ranges above (linear: brightness, contrast, unused; HSV: hue, saturation, value)  ·  JPEG? quality of {40 ... 100} Each
 * question is answered yes with probability one half.
 */
prle_augment_params prle_augment_draw(prle_augment kind, uint64_t seed, uint32_t epoch, uint64_t sample);

/* The transforms. Pictures are [H,W,3]; borders continue the nearest pixel; results are rounded to nearest. */

/** Left to right, in place. */
void prle_augment_flip(prle_image *image);

/** About the centre ((W-1)/2, (H-1)/2), bilinear; *out has the size of *in. */
PRLE_NODISCARD prle_status prle_augment_rotate(prle_image *out, const prle_image *in, double angle_deg);

/**
 * Gaussian of `size` x `size` taps (3, 5, 7), sigma = 0.3 ((size - 1) / 2 - 1) + 0.8 (OpenCV's rule), weights normalised to
 * sum 1.
 *
 * out  out  [H,W,3]  of the size of *in, another buffer
 * row  scratch  [W + size - 1, 3]
 */
void prle_augment_blur(prle_image *out, const prle_image *in, int size, float *row);

/** In place; results are clipped to 0 ... 255. HSV is the hexagonal model: V = max, S = (max - min) / max. */
void prle_augment_colour(prle_image *image, const prle_colour_params *params);

/** All transforms of a sample, with their scratch: one per thread. */
typedef struct prle_augmenter prle_augmenter;

PRLE_NODISCARD prle_status prle_augmenter_create(prle_augmenter **out, int64_t height, int64_t width);
void prle_augmenter_destroy(prle_augmenter *augmenter); /* NULL is fine */

/** In place on an image of the augmenter's size; allocates nothing of ours. JPEG is 4:2:0, accurate DCT both ways. */
PRLE_NODISCARD prle_status prle_augmenter_run(prle_augmenter *augmenter, prle_image *image, const prle_augment_params *params);

#ifdef __cplusplus
}
#endif
