/* prepare.c - see prepare.h. */
#include "augment/prepare.h"

#include <string.h>
#include <time.h>

#include "core/alloc.h"
#include "core/image.h"

struct prle_preparer {
    const prle_faces *faces;
    const prle_maps *maps;
    const prle_loader_opts *opts;
    uint8_t mean[3];
    prle_decoder *decoder;
    prle_augmenter *augmenter; /* NULL: none */
    prle_resizer *resizer;     /* NULL: the store has the network's size */
    uint8_t *file;             /* [faces->max_image_bytes] */
    prle_image image;          /* of the store's size */
    uint8_t *hidden;           /* [H,W] of the store */
    uint16_t *rank;            /* [H,W] of the store; NULL: no maps */
    double mask_cpu_s;
};

static prle_status scratch_make(prle_preparer *p)
{
    const prle_loader_opts *opts = p->opts;
    const int64_t height = p->faces->height, width = p->faces->width;

    PRLE_TRY(prle_decoder_create(&p->decoder));
    PRLE_TRY(PRLE_NEW(p->file, p->faces->max_image_bytes));
    PRLE_TRY(prle_image_init(&p->image, height, width, 3));
    PRLE_TRY(PRLE_NEW(p->hidden, height * width));
    if (p->maps != NULL)
        PRLE_TRY(PRLE_NEW(p->rank, height * width));
    if (opts->augment != PRLE_AUGMENT_NONE)
        PRLE_TRY(prle_augmenter_create(&p->augmenter, height, width));
    if (opts->height != height || opts->width != width) {
        PRLE_TRY(prle_resizer_create(&p->resizer, opts->height, opts->width, height, width, 3, PRLE_RESIZE_BILINEAR));
    }
    return PRLE_OK;
}

prle_status prle_preparer_create(prle_preparer **out, const prle_faces *faces, const prle_maps *maps,
                                 const prle_loader_opts *opts)
{
    prle_preparer *p = NULL;
    prle_status st = PRLE_OK;

    PRLE_TRY(PRLE_NEW(p, 1));
    p->faces = faces;
    p->maps = maps;
    p->opts = opts;
    for (int c = 0; c < 3; c++)
        p->mean[c] = (uint8_t)lrintf(fminf(fmaxf(255.0f * opts->mean[c], 0.0f), 255.0f));
    PRLE_TRY_OUT(scratch_make(p));
    *out = p;
    p = NULL;
out:
    prle_preparer_destroy(p);
    return st;
}

void prle_preparer_destroy(prle_preparer *preparer)
{
    if (preparer == NULL)
        return;
    prle_decoder_destroy(preparer->decoder);
    prle_augmenter_destroy(preparer->augmenter);
    prle_resizer_destroy(preparer->resizer);
    prle_free(preparer->file);
    prle_image_deinit(&preparer->image);
    prle_free(preparer->hidden);
    prle_free(preparer->rank);
    prle_free(preparer);
}

double prle_preparer_thread_cpu_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

double prle_preparer_mask_cpu_s(const prle_preparer *preparer) { return preparer->mask_cpu_s; }

static prle_status decode(prle_preparer *p, uint32_t sample)
{
    const prle_faces *faces = p->faces;

    PRLE_TRY(prle_faces_read(faces, sample, p->file));
    const prle_status st = prle_decoder_decode_into(p->decoder, &p->image, (size_t)(faces->height * faces->width * 3), p->file,
                                                    prle_faces_image_bytes(faces, sample), 3);
    PRLE_CHECK(st != PRLE_ESHAPE, PRLE_EFORMAT, "not of the store's size: %s", prle_error_message());
    PRLE_TRY(st);
    PRLE_CHECK(p->image.height == faces->height && p->image.width == faces->width, PRLE_EFORMAT,
               "%lld x %lld pixels, the store's images have %lld x %lld", (long long)p->image.width, (long long)p->image.height,
               (long long)faces->width, (long long)faces->height);
    return PRLE_OK;
}

/* Reads the rank map only where it is about to be used: that costs more than the mask. */
static prle_status mask_apply(prle_preparer *p, uint32_t epoch, uint32_t sample, prle_mask_result *out)
{
    const prle_mask_opts *opts = &p->opts->mask;
    const prle_mask_subject subject = {
        .image = p->image.data,
        .height = p->image.height,
        .width = p->image.width,
        .mean = {p->mean[0], p->mean[1], p->mean[2]},
        .epoch = epoch,
        .sample = sample,
        .with_maps = p->maps != NULL,
        .area = p->maps != NULL ? p->maps->area[sample] : PRLE_MAPS_NO_AREA,
        .rank = p->rank,
        .landmarks = p->faces->landmarks + (int64_t)sample * 2 * PRLE_FACES_LANDMARKS,
        .hidden = p->hidden,
    };
    const bool has_region = subject.area != PRLE_MAPS_NO_AREA && subject.area != 0;

    if (prle_mask_needs_rank(opts->kind) && has_region && prle_mask_wanted(opts, epoch, sample))
        PRLE_TRY(prle_maps_read_rank(p->maps, sample, p->rank));
    return prle_mask_apply(&subject, opts, out);
}

static prle_status mask_timed(prle_preparer *p, uint32_t epoch, uint32_t sample, prle_mask_result *out)
{
    const double start_s = prle_preparer_thread_cpu_s();
    const prle_status st = mask_apply(p, epoch, sample, out);

    p->mask_cpu_s += prle_preparer_thread_cpu_s() - start_s;
    return st;
}

static prle_status augment(prle_preparer *p, uint32_t epoch, uint32_t sample)
{
    if (p->augmenter == NULL)
        return PRLE_OK;
    const prle_augment_params params = prle_augment_draw(p->opts->augment, p->opts->seed, epoch, sample);
    return prle_augmenter_run(p->augmenter, &p->image, &params);
}

static prle_status prepare(prle_preparer *p, uint32_t epoch, uint32_t sample, uint8_t *out, prle_mask_result *mask)
{
    PRLE_TRY(decode(p, sample));
    PRLE_TRY(mask_timed(p, epoch, sample, mask));
    PRLE_TRY(augment(p, epoch, sample));
    if (p->resizer != NULL)
        prle_resizer_run(p->resizer, out, p->image.data);
    else
        memcpy(out, p->image.data, (size_t)(p->image.height * p->image.width * 3));
    return PRLE_OK;
}

prle_status prle_preparer_run(prle_preparer *preparer, uint32_t epoch, uint32_t sample, uint8_t *out, prle_mask_result *mask)
{
    const prle_faces *faces = preparer->faces;
    const prle_status st = prepare(preparer, epoch, sample, out, mask);

    if (st == PRLE_OK)
        return PRLE_OK;
    return prle_error_prefix("%s: image %u (video %s, frame %u)", faces->path, sample, faces->video_names[faces->video[sample]],
                             faces->frame[sample]);
}
