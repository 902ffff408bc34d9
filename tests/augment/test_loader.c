/* test_loader.c - batches: right values, the same for any threads, bad images, stops at any time. */
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "augment/loader.h"
#include "tests/augment/fixture.h"
#include "tests/check.h"
#include "tests/folder.h"

enum { N = 36, H = 40, W = 48, CELLS = H * W, MAX_BATCH = 8 };

static const fixture plain = {.n = N, .height = H, .width = W, .bad = -1, .other_size = -1};

static prle_faces *faces_open(const fixture *f)
{
    static int turn;
    char name[32];
    prle_faces *faces = NULL;

    snprintf(name, sizeof name, "faces%d.h5", turn++);
    assert_ok(fixture_faces(f, in_folder(name)));
    assert_ok(prle_faces_open(in_folder(name), &faces));
    return faces;
}

static prle_maps *maps_open(const fixture *f, const prle_faces *faces)
{
    static int turn;
    char name[32], parts[32];
    prle_maps *maps = NULL;

    snprintf(name, sizeof name, "maps%d.h5", turn);
    snprintf(parts, sizeof parts, "parts%d", turn++);
    assert_ok(fixture_maps(f, faces, in_folder(parts), in_folder(name)));
    assert_ok(prle_maps_open(in_folder(name), &maps));
    return maps;
}

static prle_loader_opts small_opts(void)
{
    prle_loader_opts opts = PRLE_LOADER_OPTS_DEFAULT;

    opts.height = H;
    opts.width = W;
    return opts;
}

/* Batches of 8, 0, 5, 1, 8, 8, 0, 6: all N images, in another order than the store's. */
static const int64_t sizes[] = {8, 0, 5, 1, 8, 8, 0, 6};
enum { BATCHES = sizeof sizes / sizeof sizes[0] };

static uint32_t sample_at(int64_t k) { return (uint32_t)(k * 7 % N); }

static void samples_fill(uint32_t samples[N])
{
    for (int64_t k = 0; k < N; k++)
        samples[k] = sample_at(k);
}

static void begin(prle_loader *loader, uint32_t epoch)
{
    uint32_t samples[N];

    samples_fill(samples);
    assert_ok(prle_loader_begin(loader, epoch, samples, sizes, BATCHES));
}

static const prle_batch *next(prle_loader *loader)
{
    const prle_batch *batch = NULL;

    assert_ok(prle_loader_next(loader, &batch));
    return batch;
}

/* Every byte of what a batch says. */
static uint64_t batch_hash(uint64_t hash, const prle_batch *b, size_t image_bytes)
{
    const size_t n = (size_t)b->n;

    hash = prle_hash(hash, &b->n, sizeof b->n);
    hash = prle_hash(hash, b->images, n * image_bytes);
    hash = prle_hash(hash, b->labels, n);
    hash = prle_hash(hash, b->weights, n * sizeof *b->weights);
    hash = prle_hash(hash, b->samples, n * sizeof *b->samples);
    return prle_hash(hash, b->masked, n * sizeof *b->masked);
}

/* The pixels that were put into the store. */
static void test_values(void **state)
{
    (void)state;
    prle_faces *faces = faces_open(&plain);
    prle_loader *loader = NULL;
    prle_image image = {0};
    prle_loader_opts opts = small_opts();
    int64_t k = 0;

    assert_ok(prle_image_init(&image, H, W, 3));
    assert_ok(prle_loader_create(&loader, faces, NULL, &opts, MAX_BATCH));
    begin(loader, 0);
    for (int b = 0; b < BATCHES; b++) {
        const prle_batch *batch = next(loader);
        assert_int_equal(batch->n, sizes[b]);
        for (int64_t i = 0; i < batch->n; i++, k++) {
            assert_int_equal(batch->samples[i], sample_at(k));
            assert_int_equal(batch->labels[i], sample_at(k) / 4 % 2);
            assert_true(!batch->masked[i] && batch->weights[i] >= 1 && batch->weights[i] <= 1);
            fixture_pixels(&image, sample_at(k));
            assert_memory_equal(batch->images + i * 3 * CELLS, image.data, 3 * CELLS);
        }
    }
    assert_int_equal(k, N);
    const prle_batch *batch = NULL;
    assert_fails(prle_loader_next(loader, &batch), PRLE_EINVAL, "all 8 batches");
    assert_int_equal(prle_loader_stats_get(loader).images, N);
    assert_int_equal(prle_loader_stats_get(loader).masked, 0);
    prle_image_deinit(&image);
    prle_loader_destroy(loader);
    prle_faces_close(faces);
}

typedef struct tally {
    int64_t masked, without_map, empty_map, without_landmarks;
} tally;

/* One image against prle_mask_apply on the pixels of the fixture. */
static void masked_check(const prle_batch *batch, int64_t i, const prle_mask_opts *mask, const prle_maps *maps,
                         const prle_faces *faces, uint32_t epoch, tally *count)
{
    static uint16_t rank[CELLS];
    static uint8_t hidden[CELLS];
    const uint64_t s = batch->samples[i];
    prle_image image = {0};
    prle_mask_result result;

    assert_ok(prle_image_init(&image, H, W, 3));
    fixture_pixels(&image, (int64_t)s);
    if (prle_maps_has(maps, (int64_t)s))
        assert_ok(prle_maps_read_rank(maps, (int64_t)s, rank));
    const prle_mask_subject subject = {.image = image.data,
                                       .height = H,
                                       .width = W,
                                       .mean = {128, 128, 128},
                                       .epoch = epoch,
                                       .sample = s,
                                       .with_maps = true,
                                       .area = maps->area[s],
                                       .rank = rank,
                                       .landmarks = faces->landmarks + s * 2 * PRLE_FACES_LANDMARKS,
                                       .hidden = hidden};
    assert_ok(prle_mask_apply(&subject, mask, &result));
    assert_memory_equal(batch->images + i * 3 * CELLS, image.data, 3 * CELLS);
    assert_int_equal(batch->masked[i], result.masked);
    assert_true(fabs(batch->weights[i] - (result.masked ? 0.25 : 1)) <= 0);
    count->masked += result.masked;
    count->without_map += result.lack == PRLE_MASK_LACKS_MAP;
    count->empty_map += result.lack == PRLE_MASK_LACKS_AREA;
    count->without_landmarks += result.lack == PRLE_MASK_LACKS_LANDMARKS;
    prle_image_deinit(&image);
}

static void test_masks(void **state)
{
    (void)state;
    prle_faces *faces = faces_open(&plain);
    prle_maps *maps = maps_open(&plain, faces);

    for (unsigned kind = PRLE_MASK_PRIMARY; kind < PRLE_MASK_N_KINDS; kind++) {
        prle_loader *loader = NULL;
        prle_loader_opts opts = small_opts();
        tally count = {0};
        opts.mask.kind = (prle_mask_kind)kind;
        opts.mask.fill = (prle_mask_fill)(kind % PRLE_FILL_N_KINDS);
        opts.mask.p = 0.7;
        opts.mask.gamma = 0.25;
        opts.mask.seed = 5;
        opts.threads = 2;
        assert_ok(prle_loader_create(&loader, faces, maps, &opts, MAX_BATCH));
        for (uint32_t epoch = 0; epoch < 3; epoch++) {
            begin(loader, epoch);
            for (int b = 0; b < BATCHES; b++) {
                const prle_batch *batch = next(loader);
                for (int64_t i = 0; i < batch->n; i++)
                    masked_check(batch, i, &opts.mask, maps, faces, epoch, &count);
            }
        }
        const prle_loader_stats stats = prle_loader_stats_get(loader);
        assert_int_equal(stats.images, 3 * N);
        assert_int_equal(stats.masked, count.masked);
        assert_int_equal(stats.without_map, count.without_map);
        assert_int_equal(stats.empty_map, count.empty_map);
        assert_int_equal(stats.without_landmarks, count.without_landmarks);
        assert_true(count.masked > N && (kind == PRLE_MASK_LANDMARK ? count.without_landmarks : count.without_map) > 0);
        assert_true(kind == PRLE_MASK_LANDMARK || count.empty_map > 0);
        assert_true(stats.mask_cpu_s > 0 && stats.cpu_s > stats.mask_cpu_s && stats.wait_s > 0);
        prle_loader_destroy(loader);
    }
    prle_maps_close(maps);
    prle_faces_close(faces);
}

/* Everything on: JPEG, noise, all augmentations, another size. hash[b]: of batch b alone. */
static void run_hashed(const prle_faces *faces, const prle_maps *maps, int threads, int prefetch, uint32_t epoch, int from,
                       uint64_t hash[BATCHES])
{
    prle_loader *loader = NULL;
    prle_loader_opts opts = small_opts();
    uint32_t samples[N];
    int64_t skipped = 0;

    opts.height = 33;
    opts.width = 60;
    opts.mask.kind = PRLE_MASK_PRIMARY;
    opts.mask.fill = PRLE_FILL_NOISE;
    opts.augment = PRLE_AUGMENT_BENCH;
    opts.threads = threads;
    opts.prefetch = prefetch;
    opts.seed = 3;
    samples_fill(samples);
    for (int b = 0; b < from; b++)
        skipped += sizes[b];
    assert_ok(prle_loader_create(&loader, faces, maps, &opts, MAX_BATCH));
    assert_ok(prle_loader_begin(loader, epoch, samples + skipped, sizes + from, BATCHES - from));
    for (int b = from; b < BATCHES; b++)
        hash[b] = batch_hash(PRLE_HASH_INIT, next(loader), 3 * 33 * 60);
    prle_loader_destroy(loader);
}

static void test_same_bits(void **state)
{
    (void)state;
    fixture f = plain;
    f.jpeg = true;
    prle_faces *faces = faces_open(&f);
    prle_maps *maps = maps_open(&f, faces);
    uint64_t one[BATCHES], other[BATCHES];

    run_hashed(faces, maps, 1, 1, 4, 0, one);
    for (int threads = 1; threads <= 4; threads *= 2) {
        for (int prefetch = 1; prefetch <= 9; prefetch += 4) {
            run_hashed(faces, maps, threads, prefetch, 4, 0, other);
            assert_memory_equal(one, other, sizeof one);
        }
    }
    memset(other, 0, sizeof other);
    run_hashed(faces, maps, 2, 2, 4, 4, other); /* resumed in the middle of the epoch */
    assert_memory_equal(one + 4, other + 4, (BATCHES - 4) * sizeof *one);
    run_hashed(faces, maps, 2, 2, 5, 0, other);
    for (int b = 0; b < BATCHES; b++)
        assert_true((one[b] == other[b]) == (sizes[b] == 0)); /* another epoch, other draws */
    prle_maps_close(maps);
    prle_faces_close(faces);
}

/* A pass left at any batch leaves nothing behind, in the next pass and at the end. */
static void test_abandon(void **state)
{
    (void)state;
    const int64_t live = prle_alloc_live();
    prle_faces *faces = faces_open(&plain);
    prle_loader_opts opts = small_opts();
    uint64_t want = PRLE_HASH_INIT;

    opts.mask.kind = PRLE_MASK_RANDOM;
    opts.threads = 3;
    for (int stop = -1; stop <= BATCHES; stop++) {
        prle_loader *loader = NULL;
        uint64_t have = PRLE_HASH_INIT;
        assert_ok(prle_loader_create(&loader, faces, NULL, &opts, MAX_BATCH));
        if (stop >= 0)
            begin(loader, 1);
        for (int b = 0; b < stop; b++)
            next(loader);
        if (stop % 2 == 0) {
            begin(loader, 2);
            for (int b = 0; b < BATCHES; b++)
                have = batch_hash(have, next(loader), 3 * CELLS);
            if (stop == 0)
                want = have;
            assert_true(have == want);
        }
        prle_loader_destroy(loader);
    }
    prle_faces_close(faces);
    assert_int_equal(prle_alloc_live(), live);
}

static void test_no_allocation(void **state)
{
    (void)state;
    fixture f = plain;
    f.jpeg = true;
    prle_faces *faces = faces_open(&f);
    prle_maps *maps = maps_open(&f, faces);
    prle_loader *loader = NULL;
    prle_loader_opts opts = small_opts();
    int64_t count = 0;

    opts.height = H + 3;
    opts.mask.kind = PRLE_MASK_PRIMARY;
    opts.augment = PRLE_AUGMENT_BENCH;
    assert_ok(prle_loader_create(&loader, faces, maps, &opts, MAX_BATCH));
    for (uint32_t epoch = 0; epoch < 3; epoch++) {
        if (epoch == 1)
            count = prle_alloc_count();
        begin(loader, epoch);
        for (int b = 0; b < BATCHES; b++)
            next(loader);
    }
    assert_int_equal(prle_alloc_count(), count);
    prle_loader_destroy(loader);
    prle_maps_close(maps);
    prle_faces_close(faces);
}

/* The error of a batch's first bad image, again and again; then another pass goes well. */
static void test_bad_image(void **state)
{
    (void)state;
    fixture f = plain;
    f.bad = 17;
    f.other_size = 21;
    prle_faces *faces = faces_open(&f);
    const uint32_t samples[] = {0, 1, 2, 3, 4, 21, 5, 17, 6, 7, 8, 9};
    const int64_t batches[] = {4, 4, 4};

    for (int threads = 1; threads <= 4; threads++) {
        prle_loader *loader = NULL;
        prle_loader_opts opts = small_opts();
        const prle_batch *batch = NULL;
        opts.threads = threads;
        opts.prefetch = 1 + threads % 2;
        assert_ok(prle_loader_create(&loader, faces, NULL, &opts, MAX_BATCH));
        assert_ok(prle_loader_begin(loader, 0, samples, batches, 3));
        assert_int_equal(next(loader)->n, 4);
        for (int again = 0; again < 3; again++) {
            assert_fails(prle_loader_next(loader, &batch), PRLE_EFORMAT,
                         "h5: image 21 (video set/swap/raw/5, frame 10): not of the store's size");
            assert_null(batch);
        }
        assert_ok(prle_loader_begin(loader, 0, samples + 6, batches, 1));
        assert_fails(prle_loader_next(loader, &batch), PRLE_EFORMAT,
                     "h5: image 17 (video set/real/raw/4, frame 10): neither JPEG nor PNG");
        assert_ok(prle_loader_begin(loader, 0, samples + 8, batches, 1));
        assert_int_equal(next(loader)->samples[3], 9);
        assert_ok(prle_loader_begin(loader, 0, samples + 4, batches, 2));
        prle_loader_destroy(loader); /* while the bad ones may be under way */
    }
    prle_faces_close(faces);
    f.other_size = 20; /* a row less */
    faces = faces_open(&f);
    prle_loader *loader = NULL;
    const prle_batch *batch = NULL;
    const prle_loader_opts opts = small_opts();
    assert_ok(prle_loader_create(&loader, faces, NULL, &opts, MAX_BATCH));
    assert_ok(prle_loader_begin(loader, 0, (const uint32_t[]){20}, (const int64_t[]){1}, 1));
    assert_fails(prle_loader_next(loader, &batch), PRLE_EFORMAT,
                 "image 20 (video set/swap/raw/5, frame 0): 48 x 39 pixels, the store's");
    assert_ok(truncate(faces->path, 5000) == 0 ? PRLE_OK : PRLE_EIO); /* the store shrinks under our hands */
    begin(loader, 0);
    prle_status st = PRLE_OK;
    for (int b = 0; b < BATCHES && st == PRLE_OK; b++)
        st = prle_loader_next(loader, &batch);
    assert_true(st == PRLE_EIO || st == PRLE_EFORMAT);
    assert_non_null(strstr(prle_error_message(), ".h5: image "));
    prle_loader_destroy(loader);
    prle_faces_close(faces);
}

static void test_refusals(void **state)
{
    (void)state;
    fixture other = plain;
    other.n = N - 1;
    prle_faces *faces = faces_open(&plain), *shorter = faces_open(&other);
    prle_maps *maps = maps_open(&plain, faces);
    prle_loader *loader = NULL;
    prle_loader_opts opts = small_opts();

#define REFUSED(field, value, code, text)                                                                                        \
    do {                                                                                                                         \
        opts = small_opts();                                                                                                     \
        opts.field = (value);                                                                                                    \
        assert_fails(prle_loader_create(&loader, faces, NULL, &opts, MAX_BATCH), code, text);                                    \
        assert_null(loader);                                                                                                     \
    } while (0)
    REFUSED(height, 0, PRLE_EINVAL, "48 x 0");
    REFUSED(width, 20000, PRLE_EINVAL, "20000 x 40");
    REFUSED(mean[2], NAN, PRLE_EINVAL, "mean nan");
    REFUSED(threads, 0, PRLE_EINVAL, "0 threads");
    REFUSED(prefetch, 65, PRLE_EINVAL, "65 batches ahead");
    REFUSED(mask.p, 2.0, PRLE_EINVAL, "p 2");
    REFUSED(mask.kind, PRLE_MASK_PRIMARY, PRLE_EINVAL, "mask primary needs maps");
    REFUSED(mask.kind, PRLE_MASK_FIXED, PRLE_EINVAL, "mask fixed needs maps");
#undef REFUSED
    opts = small_opts();
    assert_fails(prle_loader_create(&loader, faces, NULL, &opts, 0), PRLE_EINVAL, "at most 0 images");
    assert_fails(prle_loader_create(&loader, shorter, maps, &opts, MAX_BATCH), PRLE_EFORMAT,
                 "made for the face store with content");
    prle_maps wrong = *maps;
    wrong.info.n = N - 1;
    assert_fails(prle_loader_create(&loader, faces, &wrong, &opts, MAX_BATCH), PRLE_EFORMAT, "of 35 images");
    wrong = *maps;
    wrong.info.height = H + 1;
    assert_fails(prle_loader_create(&loader, faces, &wrong, &opts, MAX_BATCH), PRLE_ESHAPE, "maps of 48 x 41 pixels");
    assert_ok(prle_loader_create(&loader, faces, maps, &opts, MAX_BATCH));
    const prle_batch *batch = NULL;
    const uint32_t beyond = N;
    const int64_t one = 1, nine = MAX_BATCH + 1, negative = -1;
    assert_fails(prle_loader_next(loader, &batch), PRLE_EINVAL, "all 0 batches");
    assert_fails(prle_loader_begin(loader, 0, &beyond, &one, 1), PRLE_EINVAL, "sample 36");
    assert_fails(prle_loader_begin(loader, 0, &beyond, &nine, 1), PRLE_EINVAL, "batch 0 of 9 images");
    assert_fails(prle_loader_begin(loader, 0, &beyond, &negative, 1), PRLE_EINVAL, "batch 0 of -1 images");
    assert_fails(prle_loader_begin(loader, 1 << 24, &beyond, &one, 1), PRLE_EINVAL, "epoch 16777216");
    begin(loader, 0);
    assert_fails(prle_loader_begin(loader, 0, NULL, NULL, -1), PRLE_EINVAL, "-1 batches");
    assert_fails(prle_loader_next(loader, &batch), PRLE_EINVAL, "all 0 batches"); /* the failed begin has ended the pass */
    assert_ok(prle_loader_begin(loader, 0, NULL, NULL, 0));
    assert_fails(prle_loader_next(loader, &batch), PRLE_EINVAL, "all 0 batches");
    prle_loader_destroy(loader);
    prle_loader_destroy(NULL);
    prle_maps_close(maps);
    prle_faces_close(faces);
    prle_faces_close(shorter);
}

static volatile sig_atomic_t n_signals;

static void on_signal(int number)
{
    (void)number;
    n_signals++;
}

/* A stop signal waits for the thread that wants it: the loader's threads never take one. */
static void test_signals(void **state)
{
    (void)state;
    prle_faces *faces = faces_open(&plain);
    prle_loader *loader = NULL;
    const prle_loader_opts opts = small_opts();
    const struct sigaction action = {.sa_handler = on_signal};
    struct sigaction before;
    sigset_t usr1;

    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    assert_int_equal(sigaction(SIGUSR1, &action, &before), 0);
    assert_ok(prle_loader_create(&loader, faces, NULL, &opts, MAX_BATCH));
    begin(loader, 0);
    pthread_sigmask(SIG_BLOCK, &usr1, NULL);
    kill(getpid(), SIGUSR1);
    for (int b = 0; b < BATCHES; b++)
        next(loader);
    assert_int_equal(n_signals, 0);
    pthread_sigmask(SIG_UNBLOCK, &usr1, NULL);
    assert_int_equal(n_signals, 1);
    sigaction(SIGUSR1, &before, NULL);
    prle_loader_destroy(loader);
    prle_faces_close(faces);
}

static prle_status whole_run(const prle_faces *faces, const prle_maps *maps)
{
    prle_loader *loader = NULL;
    const prle_batch *batch = NULL;
    prle_loader_opts opts = small_opts();
    uint32_t samples[N];
    prle_status st = PRLE_OK;

    samples_fill(samples);
    opts.height = 30;
    opts.mask.kind = PRLE_MASK_PRIMARY;
    opts.augment = PRLE_AUGMENT_BENCH;
    opts.threads = 2;
    PRLE_TRY(prle_loader_create(&loader, faces, maps, &opts, MAX_BATCH));
    PRLE_TRY_OUT(prle_loader_begin(loader, 0, samples, sizes, 3));
    for (int b = 0; b < 3; b++)
        PRLE_TRY_OUT(prle_loader_next(loader, &batch));
out:
    prle_loader_destroy(loader);
    return st;
}

static void test_every_call_fails(void **state)
{
    (void)state;
    fixture f = plain;
    f.jpeg = true;
    prle_faces *faces = faces_open(&f);
    prle_maps *maps = maps_open(&f, faces);

    assert_ok(whole_run(faces, maps)); /* maps keep what they open first */
    const int64_t live = prle_alloc_live();
    for (int kind = 0; kind < 2; kind++) {
        void (*fail_at)(int64_t) = kind == 0 ? prle_alloc_fail_at : prle_io_fail_at;
        prle_status st = PRLE_EIO;
        int nth = 0;
        while (st != PRLE_OK) {
            fail_at(++nth);
            st = whole_run(faces, maps);
            fail_at(0);
            assert_true(st == PRLE_OK || (kind == 0 ? st == PRLE_ENOMEM : st == PRLE_EIO || st == PRLE_EFORMAT));
            assert_int_equal(prle_alloc_live(), live);
        }
        assert_true(nth > 10 && nth < 1000);
    }
    prle_maps_close(maps);
    prle_faces_close(faces);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),        cmocka_unit_test(test_masks),     cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_abandon),       cmocka_unit_test(test_bad_image), cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_no_allocation), cmocka_unit_test(test_signals),   cmocka_unit_test(test_every_call_fails),
    };

    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
