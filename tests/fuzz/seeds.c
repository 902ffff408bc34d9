/* seeds.c - see seeds.h. */
#include "tests/fuzz/seeds.h"

#include "augment/faces.h"
#include "augment/maps.h"
#include "cam/cam_file.h"
#include "core/alloc.h"
#include "core/file.h"
#include "core/image.h"
#include "core/rankmap.h"
#include "nets/checkpoint.h"

enum { SIDE = 16, CELLS = SIDE * SIDE, IMAGES = 4 };

/* The same picture for every image. */
static prle_status picture_make(uint8_t **png, size_t *n_bytes)
{
    prle_image image = {0};

    PRLE_TRY(prle_image_init(&image, SIDE, SIDE, 1));
    for (int64_t at = 0; at < CELLS; at++)
        image.data[at] = (uint8_t)(at * 5 + at / 50);
    const prle_status st = prle_image_encode_png(png, n_bytes, &image);
    prle_image_deinit(&image);
    return st;
}

prle_status seed_faces(const char *path)
{
    static float landmarks[2 * PRLE_FACES_LANDMARKS], box[4] = {1, 2, 3, 4};
    prle_faces_writer *writer = NULL;
    uint8_t *png = NULL;
    size_t n_bytes = 0;
    prle_status st = PRLE_OK;

    PRLE_TRY_OUT(picture_make(&png, &n_bytes));
    PRLE_TRY_OUT(prle_faces_writer_create(path, SIDE, SIDE, IMAGES * n_bytes, IMAGES / 2 * n_bytes, &writer));
    for (int i = 0; i < IMAGES; i++) {
        const bool fake = i >= IMAGES / 2;
        const prle_faces_item item = {.image = png,
                                      .image_bytes = n_bytes,
                                      .mask = fake ? png : NULL,
                                      .mask_bytes = fake ? n_bytes : 0,
                                      .label = fake,
                                      .split = fake ? PRLE_SPLIT_TEST : PRLE_SPLIT_TRAIN,
                                      .method = fake ? "swap" : "real",
                                      .video = fake ? "a/swap/b" : "a/real/b",
                                      .frame = (uint32_t)i,
                                      .identity = "7",
                                      .source = fake ? "8" : NULL,
                                      .box = fake ? NULL : box,
                                      .landmarks = fake ? landmarks : NULL};
        PRLE_TRY_OUT(prle_faces_writer_add(writer, &item));
    }
    PRLE_TRY_OUT(prle_faces_writer_commit(writer));
out:
    prle_free(png);
    prle_faces_writer_destroy(writer);
    return st;
}

prle_status seed_maps(const char *path)
{
    static uint16_t rank[2 * CELLS];
    static uint8_t attention[2 * CELLS];
    const uint32_t area[2] = {CELLS / 2, 0};
    const int64_t index[2] = {0, 3};
    const prle_maps_info info = {.n = IMAGES,
                                 .height = SIDE,
                                 .width = SIDE,
                                 .rule = "expand",
                                 .tau1 = 0.3,
                                 .lambda = 0.15,
                                 .radius = 1,
                                 .zoo = "a,b",
                                 .cams = "1,2",
                                 .faces = "0123456789abcdef"};
    char *parts = NULL, *part = NULL;
    prle_status st = PRLE_OK;

    for (int at = 0; at < 2 * CELLS; at++) {
        rank[at] = at < CELLS / 2 ? (uint16_t)at : PRLE_RANK_NONE;
        attention[at] = (uint8_t)at;
    }
    PRLE_TRY_OUT(prle_asprintf(&parts, "%s.parts", path));
    PRLE_TRY_OUT(prle_folder_make(parts));
    PRLE_TRY_OUT(prle_rows_part_path(parts, 0, &part));
    PRLE_TRY_OUT(prle_maps_part_write(part, &info, index, 2, rank, attention, area));
    PRLE_TRY_OUT(prle_maps_compact(path, &info, parts, 1, NULL));
    PRLE_TRY_OUT(prle_folder_remove(parts));
out:
    prle_free(parts);
    prle_free(part);
    return st;
}

prle_status seed_cam(const char *path)
{
    static float cam[2 * CELLS];
    const int64_t index[2] = {1, 2};
    const prle_cam_info info = {.n = IMAGES,
                                .height = SIDE,
                                .width = SIDE,
                                .face_height = 64,
                                .face_width = 64,
                                .net = "meso4",
                                .node = "act4",
                                .method = "gradcam",
                                .target = "label",
                                .score = "prob",
                                .dtype = "f32",
                                .weights = "0123456789abcdef",
                                .faces = "fedcba9876543210"};
    char *parts = NULL, *part = NULL;
    prle_status st = PRLE_OK;

    for (int at = 0; at < 2 * CELLS; at++)
        cam[at] = (float)(at % CELLS) / CELLS;
    PRLE_TRY_OUT(prle_asprintf(&parts, "%s.parts", path));
    PRLE_TRY_OUT(prle_folder_make(parts));
    PRLE_TRY_OUT(prle_rows_part_path(parts, 0, &part));
    PRLE_TRY_OUT(prle_cam_part_write(part, &info, index, 2, cam));
    PRLE_TRY_OUT(prle_cam_compact(path, &info, parts, 1, NULL));
    PRLE_TRY_OUT(prle_folder_remove(parts));
out:
    prle_free(parts);
    prle_free(part);
    return st;
}

prle_status seed_checkpoint(const char *path)
{
    const prle_net_opts net = {.height = 32, .width = 32, .classes = 1};
    const prle_checkpoint_info info = {
        .mean = {0.5F, 0.5F, 0.5F}, .std = {0.25F, 0.25F, 0.25F}, .threshold_eer = 0.5, .epoch = 1, .step = 9, .val_auc = 0.75};
    prle_model *model = NULL;
    prle_optim *optim = NULL;
    prle_h5 *file = NULL;
    prle_status st = PRLE_OK;

    PRLE_TRY_OUT(prle_model_create(&model, "meso4", &net, PRLE_F32));
    PRLE_TRY_OUT(prle_optim_create(&optim, model, &PRLE_OPTIM_OPTS_DEFAULT));
    PRLE_TRY_OUT(prle_h5_create(path, PRLE_CHECKPOINT_SCHEMA, PRLE_CHECKPOINT_VERSION, &file));
    PRLE_TRY_OUT(prle_checkpoint_write(file, model, &info, optim));
    PRLE_TRY_OUT(prle_h5_commit(file));
out:
    prle_h5_close(file);
    prle_optim_destroy(optim);
    prle_model_destroy(model);
    return st;
}
