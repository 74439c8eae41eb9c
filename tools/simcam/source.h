/* Where a camera's pixels come from: a file of stacked images, a folder, a shared-memory feed, or a pattern.
 *
 * All are Mono8 and are seen as one endless web of rows; files and the pattern repeat.
 */
#ifndef SIMCAM_SOURCE_H
#define SIMCAM_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "feed.h"

struct image {
    const uint8_t *pixels;
    size_t width, height;
    uint64_t first_row; /* in the stack of all */
    void *mapping;      /* null when it lies within another's */
    size_t mapping_size;
};

struct source {
    enum { SOURCE_IMAGES, SOURCE_PATTERN, SOURCE_FEED } kind;
    struct image *images;
    size_t image_count;
    uint64_t row_count; /* of all images */
    uint64_t row;       /* next row to be seen; the feed has its own count */
    uint64_t frame;
    struct feed feed;
};

/* Opens what the environment names for this device (number from 1). Null with a sentence in `problem`. */
struct source *source_open(unsigned number, char *problem, size_t problem_size);
void source_close(struct source *source);

/* Size a camera starts with. */
size_t source_width(const struct source *source);
size_t source_height(const struct source *source);

/* A frame of `height` rows can be taken now; only a feed may have to wait. */
bool source_ready(struct source *source, size_t height);
/* Number of the next row along the web. */
uint64_t source_row(const struct source *source);

/* A run of rows that lie together in memory. */
struct run {
    const uint8_t *pixels;
    size_t width; /* also the stride */
    size_t rows;  /* 0: nothing more, the rest of the frame is dark */
};
/* Rows from `row` of the coming frame on. With `by_image` a frame is one image, else it is the next rows of
 * the web. */
struct run source_run(const struct source *source, bool by_image, size_t row);
/* The coming frame of `height` rows has been seen, or lost. */
void source_advance(struct source *source, size_t height);

#endif
