/* Feed, folder, and sources that are no use. */
#include "harness.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- feed ----------------------------------------------------------------------------------- */

enum { RING = 100 };

static struct feed_header *make_feed(uint32_t width, uint64_t ring) {
    const char *path = file_in_folder("feed");
    unlink(path);
    int file = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
    size_t size = FEED_HEADER + (size_t)RING * WIDTH;
    CHECK(file >= 0 && ftruncate(file, (off_t)size) == 0);
    struct feed_header *header = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    CHECK(header != MAP_FAILED);
    header->version = FEED_VERSION;
    header->width = width;
    header->ring_rows = ring;
    memcpy(header->magic, "SIMFEED1", 8);
    return header;
}

static void drop_feed(struct feed_header *header) { munmap(header, FEED_HEADER + (size_t)RING * WIDTH); }

static void *weave(void *argument) {
    struct feed_header *header = argument;
    for (uint64_t row = 0; row < 20 * HEIGHT; row++) {
        while (row - atomic_load_explicit(&header->read, memory_order_acquire) >= RING) usleep(100);
        uint8_t *slot = (uint8_t *)header + FEED_HEADER + row % RING * WIDTH;
        for (size_t x = 0; x < WIDTH; x++) slot[x] = pixel(row, x);
        atomic_store_explicit(&header->written, row + 1, memory_order_release);
    }
    atomic_store(&header->ended, 1);
    return NULL;
}

void test_feed(void) {
    setenv("SIMCAM_FEED", file_in_folder("feed"), 1);
    unlink(file_in_folder("feed"));
    open_library();
    open_stream();
    set(REG_WIDTH, WIDTH);
    set(REG_HEIGHT, HEIGHT);
    set(REG_TRIGGER_MODE, 1); /* so that a buffer is always there, however slow this runs */
    begin();
    set(REG_TRIGGER_SOFTWARE, 1);
    CHECK(nothing_comes()); /* no file yet */
    struct feed_header *header = make_feed(WIDTH, RING);
    pthread_t weaver;
    CHECK(pthread_create(&weaver, NULL, weave, header) == 0);
    for (uint64_t n = 0; n < 20; n++) {
        if (n) set(REG_TRIGGER_SOFTWARE, 1);
        BUFFER_HANDLE b = next();
        CHECK(info(b, BUFFER_INFO_FRAMEID) == n);
        for (size_t i = 0; i < WIDTH * HEIGHT; i++)
            CHECK(base(b)[i] == pixel(n * HEIGHT + i / WIDTH, i % WIDTH));
        GOOD(DSQueueBuffer(ds, b));
    }
    pthread_join(weaver, NULL);
    DEV_HANDLE other;
    BAD(GC_ERR_IO, IFOpenDevice(interface, "SIM0002", DEVICE_ACCESS_EXCLUSIVE, &other)); /* one reader */
    CHECK(nothing_comes());
    end();
    drop_feed(header);
    GOOD(DevClose(dev));

    static const struct {
        uint32_t width;
        uint64_t ring;
    } wrong[] = {{0, RING}, {WIDTH, 0}, {WIDTH, RING + 1}, {WIDTH, UINT64_MAX}, {UINT32_MAX, RING}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        drop_feed(make_feed(wrong[i].width, wrong[i].ring));
        BAD(GC_ERR_IO, IFOpenDevice(interface, "SIM0001", DEVICE_ACCESS_EXCLUSIVE, &dev));
    }
    write_file("feed", "short", 5);
    BAD(GC_ERR_IO, IFOpenDevice(interface, "SIM0001", DEVICE_ACCESS_EXCLUSIVE, &dev));
    drop_feed(make_feed(WIDTH, 16));
    open_stream();
    BAD(GC_ERR_INVALID_VALUE,
        try_set(REG_START, (union value){.integer = 1})); /* Height is more than the ring */
    GOOD(GCCloseLib());
    unsetenv("SIMCAM_FEED");
}

/* ---- other sources -------------------------------------------------------------------------- */

void test_folder(void) {
    static const char *const broken[] = {"P6 16 2 255\n", "P5 16 2 65535\n", "P5 99999999 2 255\n",
                                         "P5 16",         "P5 # 16",         "P5 16 2 255"};
    char images[128];
    snprintf(images, sizeof images, "%s/images", folder);
    CHECK(mkdir(images, 0700) == 0);
    open_library();
    setenv("SIMCAM_IMAGES", images, 1);
    BAD(GC_ERR_IO, IFOpenDevice(interface, "SIM0001", DEVICE_ACCESS_EXCLUSIVE, &dev));
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        char name[64];
        snprintf(name, sizeof name, "images/broken%zu.pgm", i);
        write_file(name, broken[i], strlen(broken[i]));
    }
    write_file("images/empty.pgm", "", 0);
    BAD(GC_ERR_IO, IFOpenDevice(interface, "SIM0001", DEVICE_ACCESS_EXCLUSIVE, &dev));
    write_file("images/good.pgm", "P5\n# a comment\n16 2\n255\n0123456789abcdefFEDCBA9876543210", 56);
    write_file("images/wider.PGM", "P5 18 1 255 ABCDEFGHIJKLMNOPQR", 30);
    open_stream();
    CHECK(get(REG_WIDTH) == 16 && get(REG_HEIGHT) == 2);
    set(REG_HEIGHT, 4); /* two rows of the first, one of the second, and round again */
    begin();
    CHECK(memcmp(base(next()), "0123456789abcdefFEDCBA9876543210ABCDEFGHIJKLMNOP0123456789abcdef", 64) == 0);
    end();
    GOOD(DevClose(dev));

    setenv("SIMCAM_IMAGES", "/nonexistent", 1);
    BAD(GC_ERR_IO, IFOpenDevice(interface, "SIM0001", DEVICE_ACCESS_EXCLUSIVE, &dev));
    use_stack();
    setenv("SIMCAM_HEIGHT", "97", 1);
    BAD(GC_ERR_IO, IFOpenDevice(interface, "SIM0001", DEVICE_ACCESS_EXCLUSIVE, &dev));
    setenv("SIMCAM_WIDTH", "0", 1);
    BAD(GC_ERR_IO, IFOpenDevice(interface, "SIM0001", DEVICE_ACCESS_EXCLUSIVE, &dev));
    setenv("SIMCAM_IMAGES_1", file_in_folder("images/empty.pgm"), 1); /* this camera's own */
    setenv("SIMCAM_WIDTH", "64", 1);
    BAD(GC_ERR_IO, IFOpenDevice(interface, "SIM0001", DEVICE_ACCESS_EXCLUSIVE, &dev));
    unsetenv("SIMCAM_IMAGES_1");

    unsetenv("SIMCAM_IMAGES");
    open_stream(); /* the built-in pattern */
    begin();
    next();
    end();
    GOOD(GCCloseLib());
    use_stack();
}
