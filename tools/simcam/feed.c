#include "feed.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

_Static_assert(offsetof(struct feed_header, written) == 64, "the layout is documented");
_Static_assert(offsetof(struct feed_header, read) == 128, "the layout is documented");
_Static_assert(offsetof(struct feed_header, ended) == 24, "the layout is documented");

static const char MAGIC[8] = {'S', 'I', 'M', 'F', 'E', 'E', 'D', '1'};

static bool problem_is(char *problem, size_t size, const char *path, const char *what) {
    snprintf(problem, size, "feed %s: %s", path, what);
    return false;
}

static bool header_fits(const struct feed_header *header, off_t file_size) {
    uint64_t room = (uint64_t)file_size - FEED_HEADER;
    return memcmp(header->magic, MAGIC, sizeof MAGIC) == 0 && header->version == FEED_VERSION &&
           header->width > 0 && header->ring_rows > 0 && header->ring_rows <= room / header->width;
}

/* Maps the file at feed->path; true also when there is none yet. */
static bool attach(struct feed *feed, char *problem, size_t size) {
    int file = open(feed->path, O_RDWR | O_CLOEXEC);
    if (file < 0) return errno == ENOENT || problem_is(problem, size, feed->path, strerror(errno));
    struct stat status;
    if (fstat(file, &status) != 0 || status.st_size < FEED_HEADER) {
        close(file);
        return problem_is(problem, size, feed->path, "is too short to be a feed");
    }
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(file, F_OFD_SETLK, &lock) != 0) {
        close(file);
        return problem_is(problem, size, feed->path, "is read by another camera; a feed has one reader");
    }
    void *memory = mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (memory == MAP_FAILED) {
        close(file);
        return problem_is(problem, size, feed->path, strerror(errno));
    }
    if (!header_fits(memory, status.st_size)) {
        munmap(memory, (size_t)status.st_size);
        close(file);
        return problem_is(problem, size, feed->path, "has no valid SIMFEED1 header");
    }
    feed->header = memory;
    feed->mapping_size = (size_t)status.st_size;
    feed->width = feed->header->width;
    feed->ring_rows = feed->header->ring_rows;
    feed->device = status.st_dev;
    feed->inode = status.st_ino;
    feed->file = file;
    return true;
}

static void detach(struct feed *feed) {
    if (!feed->header) return;
    munmap(feed->header, feed->mapping_size);
    close(feed->file); /* lets go of the lock */
    feed->header = NULL;
}

bool feed_open(struct feed *feed, const char *path, char *problem, size_t problem_size) {
    *feed = (struct feed){.path = strdup(path)};
    if (!feed->path) return problem_is(problem, problem_size, path, "out of memory");
    if (attach(feed, problem, problem_size)) return true;
    feed_close(feed);
    return false;
}

void feed_close(struct feed *feed) {
    detach(feed);
    free(feed->path);
    feed->path = NULL;
}

static bool was_replaced(const struct feed *feed) {
    struct stat status;
    return stat(feed->path, &status) == 0 && (status.st_ino != feed->inode || status.st_dev != feed->device);
}

uint64_t feed_available(struct feed *feed) {
    enum { POLLS_BETWEEN_LOOKS = 20 }; /* looking at the file system is dearer than at memory */
    char problem[256] = "";
    if (!feed->header) {
        if (feed->dry_polls++ % POLLS_BETWEEN_LOOKS != 0 || !attach(feed, problem, sizeof problem) ||
            !feed->header)
            return 0;
        feed->dry_polls = 0;
    }
    uint64_t written = atomic_load_explicit(&feed->header->written, memory_order_acquire);
    uint64_t read = atomic_load_explicit(&feed->header->read, memory_order_relaxed);
    if (written <= read) {
        if (feed->dry_polls++ % POLLS_BETWEEN_LOOKS == POLLS_BETWEEN_LOOKS - 1 && was_replaced(feed)) {
            feed->first_row += read;
            detach(feed);
            feed->dry_polls = 0;
        }
        return 0;
    }
    return written - read;
}

uint64_t feed_row(const struct feed *feed) {
    return feed->first_row +
           (feed->header ? atomic_load_explicit(&feed->header->read, memory_order_relaxed) : 0);
}

const uint8_t *feed_rows(const struct feed *feed, uint64_t row, size_t *rows) {
    uint64_t slot = (atomic_load_explicit(&feed->header->read, memory_order_relaxed) + row) % feed->ring_rows;
    *rows = (size_t)(feed->ring_rows - slot);
    return (const uint8_t *)feed->header + FEED_HEADER + slot * feed->width;
}

void feed_take(struct feed *feed, uint64_t rows) {
    atomic_fetch_add_explicit(&feed->header->read, rows, memory_order_release);
}
