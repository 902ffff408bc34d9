/* pack.c - see pack.h: the tree in units, each committed as one part; at the end the parts become the store. */
#include "augment/pack.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "augment/pack_tree.h"
#include "core/alloc.h"
#include "core/file.h"
#include "core/hash.h"
#include "core/hdf5.h"
#include "core/image.h"
#include "core/log.h"
#include "core/progress.h"
#include "core/rows.h"

#define PART_SCHEMA "prle.faces.part"

enum { PART_VERSION = 1, UNIT = 256, MAX_FILE_BYTES = 1 << 26, MAX_SKIPS_LOGGED = 20, MESSAGE_BYTES = 256, LOCK_WAIT_S = 2 };

/* What became of an image; a bit each in the part's `state`. */
enum { SKIPPED = 1, RESIZED = 2, MASK_BAD = 4 };

typedef struct job {
    const prle_pack_opts *opts;
    prle_tree tree;
    int64_t height, width, n_units;
    char *parts;   /* folder */
    char plan[17]; /* hash of the tree and the options: parts of another plan are made anew */
    int64_t n_logged;
    int lock; /* file descriptor */
} job;

/* One image on its way into a part. */
typedef struct packed {
    uint8_t *image, *mask;
    size_t image_bytes, mask_bytes;
    uint32_t height, width; /* as found */
    uint8_t state;
    prle_status st; /* only what is not the image's fault */
    char message[MESSAGE_BYTES];
} packed;

static void packed_deinit(packed *p)
{
    prle_free(p->image);
    prle_free(p->mask);
}

/* Making parts. */

/* A file's bytes when it is of the right size and format, else its picture resized by area, as PNG. */
static prle_status file_fit(const job *j, const char *name, bool png_only, int channels, uint8_t **bytes, size_t *n_bytes,
                            prle_image_info *info)
{
    prle_status st = PRLE_OK;
    prle_image found = {0}, fitted = {0};
    uint8_t *file = NULL;
    size_t file_bytes = 0;
    char *path = NULL;

    PRLE_TRY_OUT(prle_path_join(j->tree.root, name, &path));
    PRLE_TRY_OUT(prle_file_read_limited(path, MAX_FILE_BYTES, &file, &file_bytes));
    PRLE_TRY_OUT(prle_image_info_read(info, file, file_bytes));
    PRLE_TRY_OUT(prle_image_decode(&found, file, file_bytes, channels)); /* also to know that the loader will be able to */
    if (info->height == j->height && info->width == j->width && (info->format == PRLE_IMAGE_PNG || !png_only)) {
        *bytes = file;
        *n_bytes = file_bytes;
        file = NULL;
        goto out;
    }
    PRLE_TRY_OUT(prle_image_init(&fitted, j->height, j->width, channels));
    PRLE_TRY_OUT(prle_image_resize(&fitted, &found, PRLE_RESIZE_AREA));
    PRLE_TRY_OUT(prle_image_encode_png(bytes, n_bytes, &fitted));
out:
    prle_image_deinit(&found);
    prle_image_deinit(&fitted);
    prle_free(file);
    prle_free(path);
    return st;
}

/* Memory that ends is our trouble; anything else is the file's. */
static void note_failure(packed *p, prle_status st, uint8_t bit)
{
    if (st == PRLE_ENOMEM)
        p->st = st;
    p->state |= bit;
    snprintf(p->message, sizeof p->message, "%s", prle_error_message());
}

static void image_pack(const job *j, int64_t i, packed *p)
{
    const prle_tree_image *image = &j->tree.images[i];
    prle_image_info info = {0}, mask_info;

    prle_status st = file_fit(j, image->path, false, 3, &p->image, &p->image_bytes, &info);
    if (st != PRLE_OK) {
        note_failure(p, st, SKIPPED);
        return;
    }
    p->height = (uint32_t)info.height;
    p->width = (uint32_t)info.width;
    if (info.height != j->height || info.width != j->width)
        p->state |= RESIZED;
    if (image->mask == NULL)
        return;
    st = file_fit(j, image->mask, true, 1, &p->mask, &p->mask_bytes, &mask_info);
    if (st != PRLE_OK)
        note_failure(p, st, MASK_BAD);
}

/* In the tree's order, after the threads have gone. */
static prle_status failures_log(job *j, int64_t first, const packed *items, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        PRLE_CHECK(items[i].st == PRLE_OK, items[i].st, "%s: %s", j->tree.images[first + i].path, items[i].message);
        if ((items[i].state & (SKIPPED | MASK_BAD)) == 0 || j->n_logged > MAX_SKIPS_LOGGED)
            continue;
        if (j->n_logged++ == MAX_SKIPS_LOGGED)
            prle_log(PRLE_LOG_WARN, "pack", "more files that cannot be read: they are only counted");
        else
            prle_log(PRLE_LOG_WARN, "pack", "%s: %s %s", j->tree.images[first + i].path,
                     items[i].state & SKIPPED ? "image skipped:" : "mask left out:", items[i].message);
    }
    return PRLE_OK;
}

/* Files end to end, and where each ends. */
static prle_status files_write(prle_h5 *file, const char *bytes_name, const char *offset_name, const packed *items, int64_t n,
                               bool masks)
{
    prle_status st = PRLE_OK;
    uint8_t *bytes = NULL;
    uint64_t *offset = NULL;

    PRLE_TRY_OUT(PRLE_NEW(offset, n + 1));
    for (int64_t i = 0; i < n; i++)
        offset[i + 1] = offset[i] + (masks ? items[i].mask_bytes : items[i].image_bytes);
    PRLE_TRY_OUT(PRLE_NEW(bytes, offset[n]));
    for (int64_t i = 0; i < n; i++)
        if (offset[i + 1] > offset[i])
            memcpy(bytes + offset[i], masks ? items[i].mask : items[i].image, (size_t)(offset[i + 1] - offset[i]));
    PRLE_TRY_OUT(prle_h5_write(file, offset_name, PRLE_H5_U64, &PRLE_SHAPE(n + 1), offset));
    PRLE_TRY_OUT(prle_h5_write(file, bytes_name, PRLE_H5_U8, &PRLE_SHAPE((int64_t)offset[n]), bytes));
out:
    prle_free(bytes);
    prle_free(offset);
    return st;
}

static prle_status part_write(const job *j, const char *path, const packed *items, int64_t n)
{
    prle_status st = PRLE_OK;
    prle_h5 *file = NULL;
    uint32_t size[UNIT][2];
    uint8_t state[UNIT];

    for (int64_t i = 0; i < n; i++) {
        size[i][0] = items[i].height;
        size[i][1] = items[i].width;
        state[i] = items[i].state;
    }
    PRLE_TRY(prle_h5_create(path, PART_SCHEMA, PART_VERSION, &file));
    PRLE_TRY_OUT(prle_h5_attr_write_string(file, "plan", j->plan));
    PRLE_TRY_OUT(files_write(file, "bytes", "offset", items, n, false));
    PRLE_TRY_OUT(files_write(file, "mask_bytes", "mask_offset", items, n, true));
    PRLE_TRY_OUT(prle_h5_write(file, "size", PRLE_H5_U32, &PRLE_SHAPE(n, 2), size));
    PRLE_TRY_OUT(prle_h5_write(file, "state", PRLE_H5_U8, &PRLE_SHAPE(n), state));
    PRLE_TRY_OUT(prle_h5_commit(file));
out:
    prle_h5_close(file);
    return st;
}

static int64_t unit_images(const job *j, int64_t unit)
{
    const int64_t left = j->tree.n - unit * UNIT;

    return left < UNIT ? left : UNIT;
}

static prle_status unit_make(job *j, int64_t unit, const char *path)
{
    prle_status st = PRLE_OK;
    packed *items = NULL;
    const int64_t first = unit * UNIT, n = unit_images(j, unit);

    PRLE_TRY(PRLE_NEW(items, n));
#pragma omp parallel for schedule(dynamic, 4)
    for (int64_t i = 0; i < n; i++)
        image_pack(j, first + i, &items[i]);
    PRLE_TRY_OUT(failures_log(j, first, items, n));
    PRLE_TRY_OUT(part_write(j, path, items, n));
out:
    for (int64_t i = 0; i < n; i++)
        packed_deinit(&items[i]);
    prle_free(items);
    return st;
}

/* Reading parts. */

typedef struct part {
    uint8_t *bytes, *mask_bytes, *state;
    uint64_t *offset, *mask_offset; /* [n + 1] */
    uint32_t *size;                 /* [n,2] */
} part;

static void part_deinit(part *p)
{
    prle_free(p->bytes);
    prle_free(p->mask_bytes);
    prle_free(p->state);
    prle_free(p->offset);
    prle_free(p->mask_offset);
    prle_free(p->size);
    *p = (part){0};
}

static prle_status plan_check(const job *j, prle_h5 *file)
{
    prle_status st = PRLE_OK;
    char *plan = NULL;

    PRLE_TRY(prle_h5_attr_read_string(file, "plan", &plan));
    PRLE_CHECK_OUT(strcmp(plan, j->plan) == 0, PRLE_EFORMAT, "%s: was made of other images or with other options",
                   prle_h5_path(file));
out:
    prle_free(plan);
    return st;
}

static prle_status files_load(prle_h5 *file, const char *bytes_name, const char *offset_name, int64_t n, uint8_t **bytes,
                              uint64_t **offset)
{
    prle_shape shape = PRLE_SHAPE(-1);

    PRLE_TRY(prle_h5_read_alloc(file, offset_name, PRLE_H5_U64, &PRLE_SHAPE(n + 1), (prle_any_ptr *)offset));
    PRLE_TRY(prle_h5_read_alloc(file, bytes_name, PRLE_H5_U8, &shape, (prle_any_ptr *)bytes));
    PRLE_CHECK((*offset)[0] == 0 && (*offset)[n] == (uint64_t)shape.dim[0], PRLE_EFORMAT, "%s: '%s' does not fit '%s'",
               prle_h5_path(file), offset_name, bytes_name);
    for (int64_t i = 0; i < n; i++)
        PRLE_CHECK((*offset)[i] <= (*offset)[i + 1], PRLE_EFORMAT, "%s: '%s' goes back at %lld", prle_h5_path(file), offset_name,
                   (long long)i);
    return PRLE_OK;
}

/* part_deinit *out, whatever is returned. */
static prle_status part_load(const job *j, int64_t unit, part *out)
{
    prle_status st = PRLE_OK;
    prle_h5 *file = NULL;
    char *path = NULL;
    const int64_t n = unit_images(j, unit);

    PRLE_TRY_OUT(prle_rows_part_path(j->parts, unit, &path));
    PRLE_TRY_OUT(prle_h5_open(path, PART_SCHEMA, PART_VERSION, &file));
    PRLE_TRY_OUT(plan_check(j, file));
    PRLE_TRY_OUT(files_load(file, "bytes", "offset", n, &out->bytes, &out->offset));
    PRLE_TRY_OUT(files_load(file, "mask_bytes", "mask_offset", n, &out->mask_bytes, &out->mask_offset));
    PRLE_TRY_OUT(prle_h5_read_alloc(file, "size", PRLE_H5_U32, &PRLE_SHAPE(n, 2), (prle_any_ptr *)&out->size));
    PRLE_TRY_OUT(prle_h5_read_alloc(file, "state", PRLE_H5_U8, &PRLE_SHAPE(n), (prle_any_ptr *)&out->state));
out:
    prle_h5_close(file);
    prle_free(path);
    return st;
}

static bool part_is_done(const job *j, const char *path)
{
    prle_h5 *file = NULL;

    if (!prle_file_exists(path))
        return false;
    const bool done = prle_h5_open(path, PART_SCHEMA, PART_VERSION, &file) == PRLE_OK && plan_check(j, file) == PRLE_OK;
    prle_h5_close(file);
    if (!done)
        prle_log(PRLE_LOG_INFO, "pack", "%s; it is made anew", prle_error_message());
    return done;
}

/* Putting the store together. */

typedef struct totals {
    uint64_t image_bytes, mask_bytes;
    int64_t n_images, n_resized;
} totals;

static prle_status totals_add(const job *j, int64_t unit, totals *sum)
{
    prle_status st = PRLE_OK;
    part p = {0};
    const int64_t n = unit_images(j, unit);

    PRLE_TRY_OUT(part_load(j, unit, &p));
    sum->image_bytes += p.offset[n];
    sum->mask_bytes += p.mask_offset[n];
    for (int64_t i = 0; i < n; i++) {
        sum->n_images += p.offset[i + 1] > p.offset[i];
        sum->n_resized += (p.state[i] & RESIZED) != 0;
    }
out:
    part_deinit(&p);
    return st;
}

/* From pixels of the file to pixels of the stored image; a pixel's centre is its integer point. */
static void points_scale(float points[2 * PRLE_FACES_LANDMARKS], double scale_x, double scale_y)
{
    for (int k = 0; k < 2 * PRLE_FACES_LANDMARKS; k++)
        points[k] = (float)(((double)points[k] + 0.5) * (k % 2 == 0 ? scale_x : scale_y) - 0.5);
}

static prle_status image_store(const job *j, prle_faces_writer *writer, const part *p, int64_t i, int64_t at)
{
    const prle_tree_image *image = &j->tree.images[i];
    float points[2 * PRLE_FACES_LANDMARKS];
    bool known;

    PRLE_TRY(prle_tree_landmarks(&j->tree, i, points, &known));
    if (known && (p->state[at] & RESIZED))
        points_scale(points, (double)j->width / p->size[2 * at + 1], (double)j->height / p->size[2 * at]);
    const prle_faces_item item = {
        .image = p->bytes + p->offset[at],
        .image_bytes = (size_t)(p->offset[at + 1] - p->offset[at]),
        .mask = p->mask_bytes == NULL ? NULL : p->mask_bytes + p->mask_offset[at],
        .mask_bytes = (size_t)(p->mask_offset[at + 1] - p->mask_offset[at]),
        .label = image->label,
        .split = image->split,
        .method = j->tree.methods.list.item[image->method],
        .video = j->tree.videos.list.item[image->video],
        .frame = image->frame,
        .identity = prle_tree_identity(&j->tree, i),
        .source = prle_tree_source(&j->tree, i),
        .landmarks = known ? points : NULL,
    };
    return prle_faces_writer_add(writer, &item);
}

static prle_status unit_store(const job *j, prle_faces_writer *writer, int64_t unit)
{
    prle_status st = PRLE_OK;
    part p = {0};

    PRLE_TRY_OUT(part_load(j, unit, &p));
    for (int64_t at = 0; at < unit_images(j, unit); at++)
        if (p.offset[at + 1] > p.offset[at])
            PRLE_TRY_OUT(image_store(j, writer, &p, unit * UNIT + at, at));
out:
    part_deinit(&p);
    return st;
}

static prle_status store_write(const job *j, int64_t *n_resized)
{
    prle_status st = PRLE_OK;
    prle_faces_writer *writer = NULL;
    totals sum = {0};

    for (int64_t unit = 0; unit < j->n_units; unit++)
        PRLE_TRY(totals_add(j, unit, &sum));
    PRLE_CHECK(sum.n_images > 0, PRLE_EFORMAT, "%s: not one of %lld images can be read; the first ones are in the log",
               j->tree.root, (long long)j->tree.n);
    PRLE_TRY(prle_faces_writer_create(j->opts->out, j->height, j->width, sum.image_bytes, sum.mask_bytes, &writer));
    PRLE_TRY_OUT(prle_faces_writer_note(writer, "plan", j->plan));
    for (int64_t unit = 0; unit < j->n_units; unit++)
        PRLE_TRY_OUT(unit_store(j, writer, unit));
    PRLE_TRY_OUT(prle_faces_writer_commit(writer));
    *n_resized = sum.n_resized;
out:
    prle_faces_writer_destroy(writer);
    return st;
}

/* The whole. */

/* Height and width that every image gets. */
static prle_status size_find(job *j)
{
    prle_status st = PRLE_EFORMAT;
    prle_image_info info;

    if (j->opts->size > 0) {
        j->height = j->width = j->opts->size;
        return PRLE_OK;
    }
    for (int64_t i = 0; i < j->tree.n && st != PRLE_OK; i++) {
        uint8_t *bytes = NULL;
        size_t n_bytes = 0;
        char *path = NULL;
        PRLE_TRY(prle_path_join(j->tree.root, j->tree.images[i].path, &path));
        st = prle_file_read_limited(path, MAX_FILE_BYTES, &bytes, &n_bytes);
        if (st == PRLE_OK)
            st = prle_image_info_read(&info, bytes, n_bytes);
        prle_free(bytes);
        prle_free(path);
    }
    PRLE_CHECK(st == PRLE_OK, PRLE_EFORMAT, "%s: not one of %lld images can be read, the last one: %s", j->tree.root,
               (long long)j->tree.n, prle_error_message());
    j->height = info.height;
    j->width = info.width;
    return PRLE_OK;
}

static prle_status dataset_name(const char *src, char **out)
{
    char whole[4096];

    PRLE_CHECK(realpath(src, whole) != NULL, PRLE_EIO, "%s: no such folder", src);
    return prle_strdup(prle_path_name(whole), out);
}

static prle_status tree_scan(const prle_pack_opts *opts, prle_tree *tree)
{
    prle_status st = PRLE_OK;
    char *dataset = NULL;

    PRLE_CHECK(prle_folder_exists(opts->src), PRLE_EIO, "%s: is no folder", opts->src);
    PRLE_TRY(opts->dataset == NULL ? dataset_name(opts->src, &dataset) : prle_strdup(opts->dataset, &dataset));
    PRLE_TRY_OUT(prle_tree_scan(tree, opts->src, dataset, opts->compression, opts->frames));
out:
    prle_free(dataset);
    return st;
}

static prle_status job_begin(job *j)
{
    const prle_pack_opts *opts = j->opts;
    char *folder = NULL;

    PRLE_CHECK(opts->frames >= 0 && opts->size >= 0 && opts->size <= PRLE_IMAGE_MAX_SIDE, PRLE_EINVAL,
               "frames %lld or size %lld is out of range", (long long)opts->frames, (long long)opts->size);
    PRLE_TRY(tree_scan(opts, &j->tree));
    PRLE_TRY(size_find(j));
    const int64_t sides[] = {j->height, j->width};
    prle_hash_print(prle_hash(j->tree.hash, sides, sizeof sides), j->plan);
    j->n_units = (j->tree.n + UNIT - 1) / UNIT;
    PRLE_TRY(prle_asprintf(&j->parts, "%s.parts", opts->out));
    PRLE_TRY(prle_path_folder(opts->out, &folder));
    const prle_status st = prle_folder_make(folder);
    prle_free(folder);
    return st;
}

/* From here on nobody else makes this store. */
static prle_status folder_claim(job *j)
{
    char *path = NULL;

    PRLE_TRY(prle_folder_make(j->parts));
    PRLE_TRY(prle_path_join(j->parts, "lock", &path));
    const prle_status st = prle_file_lock(path, false, LOCK_WAIT_S, &j->lock);
    prle_free(path);
    PRLE_TRY(st);
    PRLE_TRY(prle_file_remove_stale_of(j->opts->out));
    return prle_file_remove_stale(j->parts, NULL);
}

static prle_status part_make(job *j, int64_t unit)
{
    prle_status st = PRLE_OK;
    char *path = NULL;

    PRLE_CHECK(j->opts->stop == NULL || !j->opts->stop(), PRLE_ESTOP, "stopped after %lld of %lld parts: run again to go on",
               (long long)unit, (long long)j->n_units);
    PRLE_TRY(prle_rows_part_path(j->parts, unit, &path));
    if (!part_is_done(j, path))
        st = unit_make(j, unit, path);
    prle_free(path);
    return st;
}

static prle_status parts_make(job *j)
{
    prle_status st = PRLE_OK;
    prle_progress *progress = NULL;
    prle_progress_opts opts = PRLE_PROGRESS_OPTS_DEFAULT;

    PRLE_TRY(folder_claim(j));
    opts.what = "pack";
    opts.total = j->tree.n;
    if (j->opts->progress)
        PRLE_TRY(prle_progress_create(&progress, &opts));
    for (int64_t unit = 0; unit < j->n_units; unit++) {
        PRLE_TRY_OUT(part_make(j, unit));
        prle_progress_add(progress, unit_images(j, unit));
    }
    prle_progress_end(progress);
out:
    prle_progress_destroy(progress);
    return st;
}

/* Made of the same images in the same way. */
static bool store_is_done(const job *j)
{
    prle_h5 *file = NULL;

    if (!prle_file_exists(j->opts->out))
        return false;
    const bool done =
        prle_h5_open(j->opts->out, PRLE_FACES_SCHEMA, PRLE_FACES_VERSION, &file) == PRLE_OK && plan_check(j, file) == PRLE_OK;
    prle_h5_close(file);
    return done;
}

static void classes_warn(const prle_pack_report *report)
{
    for (int split = 0; split < PRLE_SPLITS; split++) {
        const int64_t *count = report->count[split];
        if (count[0] == 0 || count[1] == 0)
            prle_log(PRLE_LOG_WARN, "pack", "split %s has no %simages", prle_split_name((prle_split)split),
                     count[0] != 0   ? "fake "
                     : count[1] != 0 ? "real "
                                     : "");
    }
}

/* What is in the store, as its reader sees it. */
static prle_status report_make(const job *j, prle_pack_report *report)
{
    prle_faces *faces = NULL;

    PRLE_TRY(prle_faces_open(j->opts->out, &faces));
    report->n_found = j->tree.n_found;
    report->n_ignored = j->tree.n_ignored;
    report->n_chosen = j->tree.n;
    report->n_packed = faces->n;
    report->n_skipped = j->tree.n - faces->n;
    report->n_videos = faces->n_videos;
    report->height = faces->height;
    report->width = faces->width;
    for (int64_t i = 0; i < faces->n; i++) {
        report->count[faces->split[i]][faces->label[i]]++;
        report->n_masks += prle_faces_mask_bytes(faces, i) > 0;
        report->n_landmarks += !isnan(faces->landmarks[i * 2 * PRLE_FACES_LANDMARKS]);
    }
    prle_faces_close(faces);
    return PRLE_OK;
}

prle_status prle_pack_run(const prle_pack_opts *opts, prle_pack_report *report)
{
    prle_status st = PRLE_OK;
    job j = {.opts = opts, .lock = -1};
    prle_pack_report made = {0};

    PRLE_TRY_OUT(job_begin(&j));
    made.already = store_is_done(&j);
    if (!made.already) {
        PRLE_TRY_OUT(parts_make(&j));
        PRLE_TRY_OUT(store_write(&j, &made.n_resized));
    }
    PRLE_TRY_OUT(prle_folder_remove(j.parts));
    PRLE_TRY_OUT(report_make(&j, &made));
    classes_warn(&made);
    *report = made;
out:
    prle_file_close(j.lock);
    prle_tree_deinit(&j.tree);
    prle_free(j.parts);
    return st;
}
