/* forge.c - see forge.h: options, the folder's settings, the loop over videos, the table of landmarks. */
#include "augment/forge/forge.h"

#include <stdio.h>
#include <string.h>

#include "augment/forge/failure.h"
#include "augment/forge/render.h"
#include "core/alloc.h"
#include "core/csv.h"
#include "core/file.h"
#include "core/hash.h"
#include "core/log.h"
#include "core/text.h"

enum {
    GENERATOR_VERSION = 1, /* raise when the same settings give other pixels */
    LOCK_WAIT_S = 2,
};

typedef struct job {
    const prle_forge_opts *opts;
    prle_forge_photos photos;
    prle_forge_plan plan;
    int64_t n_done, n_found;
    int lock; /* file descriptor */
} job;

static prle_status opts_check(const prle_forge_opts *o)
{
    PRLE_CHECK(o->src != NULL && o->out != NULL, PRLE_EINVAL, "forge needs a source and an output folder");
    PRLE_CHECK(o->methods != 0 && (o->methods & ~(unsigned)PRLE_FORGE_ALL) == 0, PRLE_EINVAL, "forge: methods 0x%x: bits of 0x%x",
               o->methods, (unsigned)PRLE_FORGE_ALL);
    PRLE_CHECK(o->size >= 32 && o->size <= 1024, PRLE_EINVAL, "forge: size %d: 32 to 1024", o->size);
    PRLE_CHECK(o->frames >= 1 && o->frames <= 1000, PRLE_EINVAL, "forge: %d frames: 1 to 1000", o->frames);
    PRLE_CHECK(o->margin >= 1 && o->margin <= 3, PRLE_EINVAL, "forge: margin %g: 1 to 3", o->margin);
    PRLE_CHECK(o->val_share >= 0 && o->val_share < 1 && o->test_share >= 0 && o->test_share < 1, PRLE_EINVAL,
               "forge: shares %g for val and %g for test: each from 0 to below 1", o->val_share, o->test_share);
    PRLE_CHECK(o->quality_min >= 1 && o->quality_min <= o->quality_max && o->quality_max <= 100, PRLE_EINVAL,
               "forge: JPEG quality %d to %d: within 1 to 100, the lower one first", o->quality_min, o->quality_max);
    return PRLE_OK;
}

static prle_status path_in(const job *j, const char *below, const char *name, char **out)
{
    return prle_asprintf(out, "%s/%s%s", j->opts->out, below, name);
}

/* ---- settings ---- */

static prle_status settings_print(const job *j, char **out)
{
    const prle_forge_opts *o = j->opts;
    prle_text text = {0};
    char number[32], hash[17];
    const char *comma = "";

    prle_text_add(&text, "{\n  \"schema\": \"prle.forge\",\n  \"version\": %d,\n  \"photographs\": %lld,\n", GENERATOR_VERSION,
                  (long long)j->photos.n);
    prle_text_add(&text, "  \"fingerprint\": \"%s\",\n  \"methods\": [", prle_hash_print(j->photos.fingerprint, hash));
    for (int m = 0; m < PRLE_FORGE_METHODS; m++)
        if ((o->methods & (1u << m)) != 0) {
            prle_text_add(&text, "%s\"%s\"", comma, prle_forge_method_names[m]);
            comma = ", ";
        }
    prle_text_add(&text, "],\n  \"size_px\": %d,\n  \"frames\": %d,\n", o->size, o->frames);
    prle_text_add(&text, "  \"margin\": %s,\n", prle_text_double(o->margin, number));
    prle_text_add(&text, "  \"val_share\": %s,\n", prle_text_double(o->val_share, number));
    prle_text_add(&text, "  \"test_share\": %s,\n", prle_text_double(o->test_share, number));
    prle_text_add(&text, "  \"quality\": [%d, %d],\n", o->quality_min, o->quality_max);
    prle_text_add(&text, "  \"seed\": %llu\n}\n", (unsigned long long)o->seed);
    return prle_text_take(&text, out);
}

/* The first line in which two settings part, into text. */
static void first_difference(const char *a, const char *b, char text[80])
{
    size_t line = 0;

    for (size_t i = 0; a[i] == b[i] && a[i] != '\0'; i++)
        if (a[i] == '\n')
            line = i + 1;
    while (a[line] == ' ')
        line++;
    const size_t n = strcspn(a + line, ",\n");
    snprintf(text, 80, "%.*s", n < 79 ? (int)n : 79, a + line);
}

/* Nobody else fills the folder as long as this run lives. */
static prle_status folder_lock(job *j)
{
    char *path = NULL;

    PRLE_TRY(prle_folder_make(j->opts->out));
    PRLE_TRY(path_in(j, "", ".lock", &path));
    const prle_status st = prle_file_lock(path, false, LOCK_WAIT_S, &j->lock);
    prle_free(path);
    return st;
}

/* Claims the folder for these settings, or finds that it was made with them. */
static prle_status settings_claim(const job *j)
{
    char *path = NULL, *text = NULL, *old = NULL, difference[80];
    size_t n_bytes = 0;
    prle_status st = PRLE_OK;

    PRLE_TRY_OUT(path_in(j, "", "forge.json", &path));
    PRLE_TRY_OUT(settings_print(j, &text));
    if (!prle_file_exists(path)) {
        PRLE_TRY_OUT(prle_file_write_atomic(path, text, strlen(text)));
        goto out;
    }
    PRLE_TRY_OUT(prle_file_read_all(path, (uint8_t **)&old, &n_bytes));
    first_difference(old, text, difference);
    PRLE_CHECK_OUT(strcmp(old, text) == 0, PRLE_EINVAL,
                   "%s: made with other settings or photographs (there: %s); give them again or choose another folder", path,
                   difference);
out:
    prle_free(path);
    prle_free(text);
    prle_free(old);
    return st;
}

/* ---- videos ---- */

/* Frames and masks are filled under temporary names; the masks get theirs first, so that a video that is there is whole. */
static prle_status video_make(prle_render *render, const job *j, int64_t index)
{
    const prle_forge_video *video = &j->plan.video[index];
    const bool fake = video->method != PRLE_FORGE_REAL;
    char *folder = NULL, *masks = NULL, *folder_tmp = NULL, *masks_tmp = NULL;
    prle_status st = PRLE_OK;

    PRLE_TRY_OUT(path_in(j, "", video->folder, &folder));
    PRLE_TRY_OUT(path_in(j, "masks/", video->folder, &masks));
    PRLE_TRY_OUT(prle_file_temp_path(folder, &folder_tmp));
    PRLE_TRY_OUT(prle_file_temp_path(masks, &masks_tmp));
    PRLE_TRY_OUT(prle_folder_make(folder_tmp));
    if (fake) {
        PRLE_TRY_OUT(prle_folder_remove(masks));
        PRLE_TRY_OUT(prle_folder_make(masks_tmp));
    }
    PRLE_TRY_OUT(prle_render_video(render, video, index, folder_tmp, masks_tmp));
    if (fake)
        PRLE_TRY_OUT(prle_file_publish(masks_tmp, masks));
    PRLE_TRY_OUT(prle_file_publish(folder_tmp, folder));
out:
    if (st != PRLE_OK && folder_tmp != NULL && masks_tmp != NULL) {
        (void)!prle_folder_remove(folder_tmp);
        (void)!prle_folder_remove(masks_tmp);
    }
    prle_free(folder);
    prle_free(masks);
    prle_free(folder_tmp);
    prle_free(masks_tmp);
    return st;
}

static void video_count(job *j, bool found)
{
#pragma omp critical(prle_forge_progress)
    {
        j->n_done++;
        j->n_found += found;
        if (j->opts->progress != NULL)
            j->opts->progress(j->opts->user, j->n_done, j->plan.n_videos);
    }
}

static prle_status video_need(prle_render *render, job *j, int64_t index)
{
    char *folder = NULL;

    PRLE_TRY(path_in(j, "", j->plan.video[index].folder, &folder));
    const bool found = prle_file_exists(folder);
    prle_free(folder);
    if (!found)
        PRLE_TRY(video_make(render, j, index));
    video_count(j, found);
    return PRLE_OK;
}

static prle_status videos_make(job *j)
{
    prle_failure failure = {0};

#pragma omp parallel
    {
        prle_render render = {0};
        prle_failure_note(&failure, prle_render_init(&render, j->opts, &j->photos));
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < j->plan.n_videos; i++)
            if (!prle_failure_seen(&failure))
                prle_failure_note(&failure, video_need(&render, j, i));
        prle_render_deinit(&render);
    }
    return prle_failure_raise(&failure);
}

/* What a killed run left under temporary names beside this video. */
static prle_status leftovers_remove_at(const job *j, const char *below, const prle_forge_video *video)
{
    char *path = NULL, *folder = NULL;
    prle_status st = PRLE_OK;

    PRLE_TRY_OUT(path_in(j, below, video->folder, &path));
    PRLE_TRY_OUT(prle_path_folder(path, &folder));
    PRLE_TRY_OUT(prle_file_remove_stale(folder, NULL));
out:
    prle_free(path);
    prle_free(folder);
    return st;
}

static prle_status leftovers_remove(const job *j)
{
    const prle_forge_video *last = NULL;

    for (int64_t i = 0; i < j->plan.n_videos; i++) {
        const prle_forge_video *video = &j->plan.video[i];
        if (last != NULL && video->split == last->split && video->method == last->method)
            continue;
        PRLE_TRY(leftovers_remove_at(j, "", video));
        PRLE_TRY(leftovers_remove_at(j, "masks/", video));
        last = video;
    }
    return PRLE_OK;
}

/* ---- landmarks ---- */

static prle_status frame_row_add(prle_text *text, const job *j, int64_t index, int frame)
{
    const prle_forge_video *video = &j->plan.video[index];
    const prle_forge_photo *photo = j->photos.photo;
    const char *target = j->photos.identity[photo[video->target].identity];
    const char *donor = video->donor < 0 ? "" : j->photos.identity[photo[video->donor].identity];
    prle_point at[PRLE_LANDMARKS];

    PRLE_TRY(prle_render_landmarks(at, j->opts, &j->photos, video, index, frame));
    prle_text_add(text, "%s/%04d.jpg,", video->folder, frame);
    prle_csv_add_field(text, target);
    prle_text_add(text, ",");
    prle_csv_add_field(text, donor);
    for (int i = 0; i < PRLE_LANDMARKS; i++)
        prle_text_add(text, ",%.2f,%.2f", at[i].x, at[i].y);
    prle_text_add(text, "\n");
    return PRLE_OK;
}

static prle_status landmarks_write(const job *j)
{
    prle_text text = {0};
    char *path = NULL, *table = NULL;
    prle_status st = PRLE_OK;

    prle_text_add(&text, "path,identity,source");
    for (int i = 0; i < PRLE_LANDMARKS; i++)
        prle_text_add(&text, ",x%d,y%d", i, i);
    prle_text_add(&text, "\n");
    for (int64_t i = 0; i < j->plan.n_videos; i++)
        for (int frame = 0; frame < j->opts->frames; frame++)
            PRLE_TRY_OUT(frame_row_add(&text, j, i, frame));
    PRLE_TRY_OUT(prle_text_take(&text, &table));
    PRLE_TRY_OUT(path_in(j, "", "landmarks.csv", &path));
    PRLE_TRY_OUT(prle_file_write_atomic(path, table, strlen(table)));
out:
    prle_text_drop(&text);
    prle_free(table);
    prle_free(path);
    return st;
}

prle_status prle_forge_run(const prle_forge_opts *opts, prle_forge_report *report)
{
    job j = {.opts = opts, .lock = -1};
    prle_status st = PRLE_OK;

    PRLE_TRY_OUT(opts_check(opts));
    PRLE_TRY_OUT(prle_forge_photos_load(&j.photos, opts->src));
    PRLE_TRY_OUT(prle_forge_plan_make(&j.plan, &j.photos, opts));
    PRLE_TRY_OUT(folder_lock(&j));
    PRLE_TRY_OUT(settings_claim(&j));
    PRLE_TRY_OUT(leftovers_remove(&j));
    PRLE_TRY_OUT(videos_make(&j));
    PRLE_TRY_OUT(landmarks_write(&j));
    if (report != NULL) {
        *report = (prle_forge_report){.n_photos = j.photos.n,
                                      .n_videos = j.plan.n_videos,
                                      .n_found = j.n_found,
                                      .n_frames = (j.plan.n_videos - j.n_found) * opts->frames};
        memcpy(report->n_identities, j.plan.n_identities, sizeof report->n_identities);
    }
out:
    prle_file_close(j.lock);
    prle_forge_plan_deinit(&j.plan);
    prle_forge_photos_deinit(&j.photos);
    return st;
}
