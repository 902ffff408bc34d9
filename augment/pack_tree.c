/* pack_tree.c - see pack_tree.h. */
#include "augment/pack_tree.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/alloc.h"
#include "core/file.h"
#include "core/hash.h"
#include "core/log.h"

static const char *const label_names[2] = {"real", "fake"};

/* Where the walk is. */
typedef struct place {
    prle_tree *tree;
    const char *dataset, *compression;
    int64_t frames;
    prle_split split;
    int label;
    const char *method;
} place;

static bool is_image(const char *name)
{
    const char *dot = strrchr(name, '.');

    return dot != NULL && (strcasecmp(dot, ".jpg") == 0 || strcasecmp(dot, ".jpeg") == 0 || strcasecmp(dot, ".png") == 0);
}

/* The last run of digits of a name without its ending, 0 when there is none; too long a number keeps its last nine digits. */
static uint32_t frame_number(const char *name)
{
    const char *end = strrchr(name, '.');

    while (end > name && !isdigit((unsigned char)end[-1]))
        end--;
    const char *first = end;
    while (first > name && end - first < 9 && isdigit((unsigned char)first[-1]))
        first--;
    return (uint32_t)strtoul(first, NULL, 10);
}

static void image_deinit(prle_tree_image *image)
{
    prle_free(image->path);
    prle_free(image->mask);
}

static int by_frame(const void *a, const void *b)
{
    const prle_tree_image *x = a, *y = b;

    return x->frame != y->frame ? (x->frame < y->frame ? -1 : 1) : strcmp(x->path, y->path);
}

/* Images [first, n) are one video: put them in order and keep `frames` of them. */
static void video_end(prle_tree *tree, int64_t first, int64_t frames)
{
    const int64_t n = tree->n - first, take = frames == 0 || n < frames ? n : frames;
    prle_tree_image *images = tree->images + first;

    if (n == 0)
        return;
    qsort(images, (size_t)n, sizeof *images, by_frame);
    for (int64_t i = 0, j = 0; i < n; i++) {
        if (j < take && i == prle_spaced(n, take, j)) {
            const prle_tree_image kept = images[i];
            images[i] = (prle_tree_image){0};
            images[j++] = kept; /* j <= i, and what stood there was moved or freed */
        } else {
            image_deinit(&images[i]);
            images[i] = (prle_tree_image){0};
        }
    }
    tree->n = first + take;
}

/* The number of a video's name. One that another split or label has already gets its own, so that they never become one video. */
static prle_status video_number(const place *at, const char *video, int64_t *out)
{
    prle_status st = PRLE_OK;
    prle_tree *tree = at->tree;
    char *name = NULL;

    PRLE_TRY(prle_asprintf(&name, "%s/%s/%s/%s", at->dataset, at->method, at->compression, video));
    if (prle_names_find(&tree->videos, name) >= 0) {
        prle_free(name);
        PRLE_TRY(prle_asprintf(&name, "%s/%s/%s/%s-%s-%s", at->dataset, at->method, at->compression, prle_split_name(at->split),
                               label_names[at->label], video));
    }
    PRLE_TRY_OUT(prle_names_intern(&tree->videos, name, out));
out:
    prle_free(name);
    return st;
}

static prle_status image_add(const place *at, const char *folder, const char *name, int64_t video)
{
    prle_status st = PRLE_OK;
    prle_tree *tree = at->tree;
    prle_tree_image image = {.split = at->split, .label = at->label, .video = video, .frame = frame_number(name), .row = -1};

    if (tree->n == tree->capacity) {
        const int64_t grown = tree->capacity == 0 ? 1024 : 2 * tree->capacity;
        PRLE_TRY(prle_realloc((size_t)tree->n, (size_t)grown, sizeof image, (prle_any_ptr *)&tree->images));
        tree->capacity = grown;
    }
    PRLE_TRY_OUT(prle_names_intern(&tree->methods, at->method, &image.method));
    PRLE_TRY_OUT(prle_path_join(folder, name, &image.path));
    tree->images[tree->n++] = image;
    image = (prle_tree_image){0};
out:
    image_deinit(&image);
    return st;
}

/* The images of one folder are a video; its folders are named in *inner where given, else ignored. */
static prle_status video_scan(const place *at, const char *folder, prle_strings *inner)
{
    prle_status st = PRLE_OK;
    prle_tree *tree = at->tree;
    prle_strings names = {0};
    char *path = NULL, *below = NULL;
    const int64_t first = tree->n;
    int64_t video = -1;

    PRLE_TRY_OUT(prle_path_join(tree->root, folder, &path));
    PRLE_TRY_OUT(prle_folder_list(path, &names));
    for (int64_t i = 0; i < names.n; i++) {
        prle_free(below);
        below = NULL;
        PRLE_TRY_OUT(prle_path_join(path, names.item[i], &below));
        const bool is_folder = prle_folder_exists(below);
        if (is_folder && inner != NULL) {
            PRLE_TRY_OUT(prle_strings_add(inner, names.item[i]));
        } else if (!is_folder && is_image(names.item[i])) {
            if (video < 0)
                PRLE_TRY_OUT(video_number(at, prle_path_name(folder), &video));
            PRLE_TRY_OUT(image_add(at, folder, names.item[i], video));
        } else {
            tree->n_ignored++;
        }
    }
    tree->n_found += tree->n - first;
    video_end(tree, first, at->frames);
out:
    prle_free(path);
    prle_free(below);
    prle_strings_deinit(&names);
    return st;
}

/* A folder below real or fake: a video, or a method with its videos. */
static prle_status entry_scan(place *at, const char *folder, const char *name)
{
    prle_status st = PRLE_OK;
    prle_strings inner = {0};
    char *path = NULL, *below = NULL;

    at->method = label_names[at->label];
    PRLE_TRY_OUT(prle_path_join(folder, name, &path));
    PRLE_TRY_OUT(video_scan(at, path, &inner));
    at->method = name;
    for (int64_t i = 0; i < inner.n; i++) {
        prle_free(below);
        below = NULL;
        PRLE_TRY_OUT(prle_path_join(path, inner.item[i], &below));
        PRLE_TRY_OUT(video_scan(at, below, NULL));
    }
out:
    prle_strings_deinit(&inner);
    prle_free(path);
    prle_free(below);
    return st;
}

static prle_status label_scan(place *at)
{
    prle_status st = PRLE_OK;
    prle_tree *tree = at->tree;
    prle_strings names = {0};
    char *folder = NULL, *path = NULL, *below = NULL;

    PRLE_TRY_OUT(prle_asprintf(&folder, "%s/%s", prle_split_name(at->split), label_names[at->label]));
    PRLE_TRY_OUT(prle_path_join(tree->root, folder, &path));
    if (!prle_folder_exists(path))
        goto out;
    PRLE_TRY_OUT(prle_folder_list(path, &names));
    for (int64_t i = 0; i < names.n; i++) {
        prle_free(below);
        below = NULL;
        PRLE_TRY_OUT(prle_path_join(path, names.item[i], &below));
        if (prle_folder_exists(below))
            PRLE_TRY_OUT(entry_scan(at, folder, names.item[i]));
        else
            tree->n_ignored++;
    }
out:
    prle_strings_deinit(&names);
    prle_free(folder);
    prle_free(path);
    prle_free(below);
    return st;
}

/* Masks lie at the images' paths below masks/, as PNG. */
static prle_status masks_find(prle_tree *tree)
{
    prle_status st = PRLE_OK;
    char *folder = NULL, *path = NULL;

    PRLE_TRY_OUT(prle_path_join(tree->root, "masks", &folder));
    for (int64_t i = 0; prle_folder_exists(folder) && i < tree->n; i++) {
        prle_tree_image *image = &tree->images[i];
        const int stem = (int)(strrchr(image->path, '.') - image->path);
        prle_free(path);
        path = NULL;
        PRLE_TRY_OUT(prle_asprintf(&path, "%s/%.*s.png", folder, stem, image->path));
        if (prle_file_exists(path))
            PRLE_TRY_OUT(prle_asprintf(&image->mask, "masks/%.*s.png", stem, image->path));
    }
out:
    prle_free(folder);
    prle_free(path);
    return st;
}

/* Row r of the table is name r: the paths are all different. */
static prle_status rows_index(const prle_tree *tree, int64_t path_column, prle_names *rows)
{
    int64_t index;

    for (int64_t r = 0; r < tree->csv.n_rows; r++) {
        const char *path = prle_csv_text(&tree->csv, r, path_column);
        PRLE_TRY(prle_names_intern(rows, path, &index));
        PRLE_CHECK(index == r, PRLE_EFORMAT, "%s:%lld: %s is there twice", tree->csv.name,
                   (long long)prle_csv_line(&tree->csv, r), path);
    }
    return PRLE_OK;
}

static prle_status landmarks_find(prle_tree *tree)
{
    prle_status st = PRLE_OK;
    prle_names rows = {0};
    char *path = NULL;
    int64_t path_column, last, n_used = 0;

    PRLE_TRY_OUT(prle_path_join(tree->root, "landmarks.csv", &path));
    if (!prle_file_exists(path))
        goto out;
    PRLE_TRY_OUT(prle_csv_load(&tree->csv, path));
    PRLE_TRY_OUT(prle_csv_column(&tree->csv, "path", &path_column));
    PRLE_TRY_OUT(prle_csv_column(&tree->csv, "identity", &tree->csv_identity));
    PRLE_TRY_OUT(prle_csv_column(&tree->csv, "source", &tree->csv_source));
    PRLE_TRY_OUT(prle_csv_column(&tree->csv, "x0", &tree->csv_first));
    PRLE_TRY_OUT(prle_csv_column(&tree->csv, "y67", &last));
    PRLE_CHECK_OUT(last - tree->csv_first == 2 * PRLE_FACES_LANDMARKS - 1, PRLE_EFORMAT,
                   "%s: columns x0, y0 ... x67, y67 must stand side by side in this order", path);
    PRLE_TRY_OUT(rows_index(tree, path_column, &rows));
    for (int64_t i = 0; i < tree->n; i++) {
        tree->images[i].row = prle_names_find(&rows, tree->images[i].path);
        n_used += tree->images[i].row >= 0;
    }
    if (n_used < tree->n)
        prle_log(PRLE_LOG_INFO, "pack", "%s: %lld of %lld images have no line in it", path, (long long)(tree->n - n_used),
                 (long long)tree->n);
out:
    prle_names_deinit(&rows);
    prle_free(path);
    return st;
}

static void hash_text(uint64_t *hash, const char *text) { *hash = prle_hash(*hash, text, strlen(text) + 1); }

static prle_status hash_file(uint64_t *hash, const prle_tree *tree, const char *name)
{
    char *path = NULL;
    uint64_t n_bytes;
    int64_t changed_ns;

    PRLE_TRY(prle_path_join(tree->root, name, &path));
    const prle_status st = prle_file_stamp(path, &n_bytes, &changed_ns);
    prle_free(path);
    PRLE_TRY(st);
    hash_text(hash, name);
    *hash = prle_hash(*hash, &n_bytes, sizeof n_bytes);
    *hash = prle_hash(*hash, &changed_ns, sizeof changed_ns);
    return PRLE_OK;
}

static prle_status tree_hash(prle_tree *tree)
{
    uint64_t hash = PRLE_HASH_INIT;

    for (int64_t i = 0; i < tree->n; i++) {
        const prle_tree_image *image = &tree->images[i];
        PRLE_TRY(hash_file(&hash, tree, image->path));
        hash_text(&hash, tree->videos.list.item[image->video]);
        if (image->mask != NULL)
            PRLE_TRY(hash_file(&hash, tree, image->mask));
    }
    if (tree->csv.name != NULL)
        PRLE_TRY(hash_file(&hash, tree, "landmarks.csv"));
    tree->hash = hash;
    return PRLE_OK;
}

prle_status prle_tree_scan(prle_tree *tree, const char *root, const char *dataset, const char *compression, int64_t frames)
{
    place at = {.tree = tree, .dataset = dataset, .compression = compression, .frames = frames};

    *tree = (prle_tree){.root = root};
    for (int split = 0; split < PRLE_SPLITS; split++) {
        for (int label = 0; label < 2; label++) {
            at.split = (prle_split)split;
            at.label = label;
            PRLE_TRY(label_scan(&at));
        }
    }
    PRLE_CHECK(tree->n > 0, PRLE_EINVAL, "%s: no images at {train,val,test}/{real,fake}/[METHOD/]VIDEO/FRAME.{jpg,png}", root);
    PRLE_TRY(masks_find(tree));
    PRLE_TRY(landmarks_find(tree));
    return tree_hash(tree);
}

void prle_tree_deinit(prle_tree *tree)
{
    for (int64_t i = 0; i < tree->n; i++)
        image_deinit(&tree->images[i]);
    prle_free(tree->images);
    prle_names_deinit(&tree->methods);
    prle_names_deinit(&tree->videos);
    prle_csv_deinit(&tree->csv);
    *tree = (prle_tree){0};
}

static const char *name_at(const prle_tree *tree, int64_t i, int64_t column)
{
    const int64_t row = tree->images[i].row;
    const char *text = row < 0 ? "" : prle_csv_text(&tree->csv, row, column);

    return text[0] == '\0' ? NULL : text;
}

const char *prle_tree_identity(const prle_tree *tree, int64_t i) { return name_at(tree, i, tree->csv_identity); }
const char *prle_tree_source(const prle_tree *tree, int64_t i) { return name_at(tree, i, tree->csv_source); }

prle_status prle_tree_landmarks(const prle_tree *tree, int64_t i, float points[2 * PRLE_FACES_LANDMARKS], bool *known)
{
    const int64_t row = tree->images[i].row;
    double value;

    *known = row >= 0 && prle_csv_text(&tree->csv, row, tree->csv_first)[0] != '\0';
    for (int64_t k = 0; *known && k < 2 * PRLE_FACES_LANDMARKS; k++) {
        PRLE_TRY(prle_csv_number(&tree->csv, row, tree->csv_first + k, &value));
        points[k] = (float)value;
    }
    return PRLE_OK;
}
