/* zoo.h - a zoo of three members with made-up maps, and the check that maps.h5 holds what fusing them one by one gives. */
#pragma once
#include "augment/maps.h"
#include "cam/cam_file.h"
#include "core/alloc.h"
#include "core/attention.h"
#include "core/half.h"
#include "core/rng.h"
#include "core/rows.h"
#include "fusion/stage.h"
#include "tests/folder.h"

enum { ZOO_IMAGES = 200, ZOO_FIRST = 10, ZOO_END = 190, ZOO_H = 24, ZOO_W = 20, ZOO_MEMBERS = 3, ZOO_UNITS = 3 };
#define ZOO_FACES "0123456789abcdef"

static const struct {
    const char *name;
    int64_t height, width;
} zoo_members[ZOO_MEMBERS] = {{"alpha", 8, 8}, {"beta", 4, 6}, {"gamma", 16, 16}};

/* The map of one image as it comes back from the disk. Every twelfth image has constant maps: fused to nothing. */
static inline void zoo_map(int member, int64_t image, float out[256])
{
    const int64_t n = zoo_members[member].height * zoo_members[member].width;
    prle_rng rng = prle_rng_make(4, (uint32_t)member, (uint64_t)image, PRLE_RNG_TEST);
    double map[256];

    for (int64_t i = 0; i < n; i++)
        map[i] = image % 12 == 0 ? 0 : prle_rng_uniform(&rng) * prle_rng_uniform(&rng);
    assert_ok(prle_attention_normalise(map, zoo_members[member].height, zoo_members[member].width));
    for (int64_t i = 0; i < n; i++)
        out[i] = prle_half_to_float(prle_half_from_float((float)map[i]));
}

/* cams/NAME.h5 with maps of that method, of images first ... end - 1 of a store with that hash. */
static inline void zoo_write(const char *cams, const char *name, const char *method, int member, const char *faces, int64_t first,
                             int64_t end)
{
    const prle_cam_info info = {.n = ZOO_IMAGES,
                                .height = zoo_members[member].height,
                                .width = zoo_members[member].width,
                                .face_height = ZOO_H,
                                .face_width = ZOO_W,
                                .net = name,
                                .node = "node",
                                .method = method,
                                .target = "label",
                                .score = "prob",
                                .dtype = "f32",
                                .weights = "aaaaaaaaaaaaaaaa",
                                .faces = faces};
    const int64_t cells = info.height * info.width;
    int64_t index[ZOO_IMAGES];
    float *cam = NULL, map[256];
    char *part = NULL, parts[256], path[256];

    snprintf(path, sizeof path, "%s/%s.h5", cams, name);
    snprintf(parts, sizeof parts, "%s/%s.parts", cams, name);
    assert_ok(PRLE_NEW(cam, ZOO_IMAGES * cells));
    for (int64_t i = first; i < end; i++) {
        index[i - first] = i;
        zoo_map(member, i, map);
        memcpy(cam + (i - first) * cells, map, (size_t)cells * sizeof *map);
    }
    assert_ok(prle_folder_make(parts));
    assert_ok(prle_rows_part_path(parts, 0, &part));
    assert_ok(prle_cam_part_write(part, &info, index, end - first, cam));
    assert_ok(prle_cam_compact(path, &info, parts, 1, NULL));
    assert_ok(prle_folder_remove(parts));
    prle_free(part);
    prle_free(cam);
}

/* The three members into a folder. */
static inline void zoo_make(const char *cams)
{
    assert_ok(prle_folder_make(cams));
    for (int t = 0; t < ZOO_MEMBERS; t++)
        zoo_write(cams, zoo_members[t].name, "gradcam", t, ZOO_FACES, ZOO_FIRST, ZOO_END);
}

/* Every image of maps.h5 against a fuser fed by hand; members: indices into zoo_members, in the order of the zoo. */
static inline void zoo_check(const char *path, const prle_fuse_opts *opts, const int *members, int n_members)
{
    enum { SIZE = ZOO_H * ZOO_W };
    static uint16_t q[ZOO_MEMBERS * SIZE], rank[SIZE], want_rank[SIZE];
    static uint8_t attention[SIZE], want_attention[SIZE];
    prle_maps *maps = NULL;
    prle_fuser *fuser = NULL;

    assert_ok(prle_maps_open(path, &maps));
    assert_ok(prle_fuser_create(opts, n_members, ZOO_H, ZOO_W, &fuser));
    assert_int_equal(maps->info.n, ZOO_IMAGES);
    assert_int_equal(maps->count, ZOO_END - ZOO_FIRST);
    for (int64_t image = 0; image < ZOO_IMAGES; image++) {
        uint32_t area = 0;

        assert_true(prle_maps_has(maps, image) == (image >= ZOO_FIRST && image < ZOO_END));
        if (!prle_maps_has(maps, image))
            continue;
        for (int t = 0; t < n_members; t++) {
            float map[256];
            zoo_map(members[t], image, map);
            assert_ok(prle_attention_quantise(map, zoo_members[members[t]].height, zoo_members[members[t]].width, ZOO_H, ZOO_W,
                                              q + t * SIZE));
        }
        assert_ok(prle_fuser_run(fuser, q, want_rank, want_attention, &area));
        assert_ok(prle_maps_read_rank(maps, image, rank));
        assert_ok(prle_maps_read_attention(maps, image, attention));
        assert_int_equal(maps->area[image], area);
        assert_memory_equal(rank, want_rank, sizeof rank);
        assert_memory_equal(attention, want_attention, sizeof attention);
    }
    prle_fuser_destroy(fuser);
    prle_maps_close(maps);
}
