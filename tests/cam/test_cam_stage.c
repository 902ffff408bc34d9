/* test_cam_stage.c - prle_cam_stage_run on one rank: the maps of the engine, and each allocation and file call failing once. */
#include "augment/faces.h"
#include "cam/cam_file.h"
#include "cam/stage.h"
#include "tests/augment/fixture.h"
#include "tests/faults.h"
#include "tests/folder.h"

enum { N = 3, SIDE = 64 };

typedef struct stage {
    prle_model *model;
    prle_faces *faces;
    char out[192];
    prle_cam_stage_opts opts;
} stage;

static void stage_make(stage *s)
{
    const prle_net_opts net = {.height = SIDE, .width = SIDE, .classes = 2};
    const fixture f = {.n = N, .height = SIDE, .width = SIDE, .bad = -1, .other_size = -1};

    *s = (stage){.opts = {.member = "a", .split = PRLE_SPLIT_ANY, .cam = {.batch = 2}, .loader_threads = 1, .std = {1, 1, 1}}};
    snprintf(s->out, sizeof s->out, "%s", in_folder("cams"));
    s->opts.out = s->out;
    assert_ok(prle_model_create(&s->model, "meso4", &net, PRLE_F32));
    prle_model_init(s->model, 3);
    assert_ok(fixture_faces(&f, in_folder("faces.h5")));
    assert_ok(prle_faces_open(in_folder("faces.h5"), &s->faces));
}

static prle_status stage_work(void *user)
{
    const stage *s = user;
    prle_cam_stage_report report;

    PRLE_TRY(prle_cam_stage_run(&report, s->model, s->faces, &s->opts, prle_comm_self()));
    assert_int_equal(report.images, N);
    return PRLE_OK;
}

/* A whole file or none; the next run begins anew. */
static void stage_check(void *user, bool done)
{
    prle_cam *cam = NULL;
    float map[16];

    (void)user;
    assert_true(!done || prle_file_exists(in_folder("cams/a.h5")));
    if (prle_file_exists(in_folder("cams/a.h5"))) {
        assert_ok(prle_cam_open(in_folder("cams/a.h5"), &cam));
        for (int64_t i = 0; i < N; i++)
            assert_ok(prle_cam_read(cam, i, map));
        prle_cam_close(cam);
    }
    assert_ok(prle_folder_remove(in_folder("cams")));
}

static void test_every_call_fails(void **state)
{
    (void)state;
    stage s;

    stage_make(&s);
    faults_sparse(stage_work, stage_check, &s);
    prle_faces_close(s.faces);
    prle_model_destroy(s.model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_call_fails)};

    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
