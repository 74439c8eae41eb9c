#include "source.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    PATTERN_WIDTH = 16384,
    PATTERN_ROWS = 96,
    DEFAULT_WIDTH = 2048,
    DEFAULT_HEIGHT = 1024,
    SIDE_MAX = 65536
};

struct problem {
    char *text;
    size_t size;
};

static bool problem_is(struct problem problem, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool problem_is(struct problem problem, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(problem.text, problem.size, format, arguments);
    va_end(arguments);
    return false;
}

/* SIMCAM_X_2 is for the second camera alone, SIMCAM_X for all. */
static const char *environment(const char *name, unsigned number) {
    char own[64];
    snprintf(own, sizeof own, "%s_%u", name, number);
    const char *value = getenv(own);
    if (!value) value = getenv(name);
    return value && *value ? value : NULL;
}

static bool add_image(struct source *source, struct image image) {
    struct image *grown = realloc(source->images, (source->image_count + 1) * sizeof *grown);
    if (!grown) return false;
    source->images = grown;
    image.first_row = source->row_count;
    source->images[source->image_count++] = image;
    source->row_count += image.height;
    return true;
}

/* A whole file in memory, read-only; null with errno set. */
static const uint8_t *map_file(const char *path, size_t *size) {
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return NULL;
    struct stat status;
    void *memory = MAP_FAILED;
    if (fstat(file, &status) == 0) {
        if (!S_ISREG(status.st_mode) || status.st_size == 0)
            errno = EINVAL;
        else
            memory = mmap(NULL, *size = (size_t)status.st_size, PROT_READ, MAP_PRIVATE, file, 0);
    }
    int error = errno;
    close(file);
    errno = error;
    return memory == MAP_FAILED ? NULL : memory;
}

/* ---- stacked images, raw -------------------------------------------------------------------- */

static bool open_stack(struct source *source, const char *path, unsigned number, struct problem problem) {
    const char *width_text = environment("SIMCAM_WIDTH", number),
               *height_text = environment("SIMCAM_HEIGHT", number);
    long width = width_text ? strtol(width_text, NULL, 10) : 0;
    if (width < 1 || width > SIDE_MAX)
        return problem_is(problem, "%s holds raw pixels: set SIMCAM_WIDTH to the pixels of a row (1 to %d)",
                          path, SIDE_MAX);
    size_t size = 0;
    const uint8_t *pixels = map_file(path, &size);
    if (!pixels)
        return problem_is(problem, "%s can't be read as raw Mono8 images: %s", path, strerror(errno));
    size_t rows = size / (size_t)width;
    long height = height_text ? strtol(height_text, NULL, 10) : (long)rows;
    if (height < 1 || (size_t)height > rows) {
        munmap((void *)pixels, size);
        return problem_is(problem, "%s holds %zu rows of %ld pixels, but SIMCAM_HEIGHT is %ld", path, rows,
                          width, height);
    }
    for (size_t i = 0; i < rows / (size_t)height; i++) {
        struct image image = {.pixels = pixels + i * (size_t)(height * width),
                              .width = (size_t)width,
                              .height = (size_t)height};
        if (i == 0) image.mapping = (void *)pixels, image.mapping_size = size;
        if (!add_image(source, image)) return problem_is(problem, "%s: out of memory", path);
    }
    return true;
}

/* ---- a folder of PGM files ------------------------------------------------------------------ */

/* The next number of a PGM header, comments skipped; -1 when there is none. */
static long pgm_number(const uint8_t **at, const uint8_t *end) {
    while (*at < end && (isspace(**at) || **at == '#')) {
        if (**at == '#')
            while (*at < end && **at != '\n') ++*at;
        else
            ++*at;
    }
    long number = -1;
    for (; *at < end && isdigit(**at); ++*at) {
        number = (number < 0 ? 0 : number) * 10 + (**at - '0');
        if (number > SIDE_MAX) return -1;
    }
    return number;
}

static bool read_pgm(const char *path, struct image *image) {
    size_t size = 0;
    const uint8_t *file = map_file(path, &size);
    if (!file) return false;
    const uint8_t *at = file + 2, *end = file + size;
    bool good = size > 2 && file[0] == 'P' && file[1] == '5';
    long width = good ? pgm_number(&at, end) : -1;
    long height = good ? pgm_number(&at, end) : -1;
    long top = good ? pgm_number(&at, end) : -1;
    good = good && width > 0 && height > 0 && top == 255 && at < end && isspace(*at);
    if (!good || (size_t)(end - at - 1) < (size_t)width * (size_t)height) {
        munmap((void *)file, size);
        return false;
    }
    *image = (struct image){.pixels = at + 1,
                            .width = (size_t)width,
                            .height = (size_t)height,
                            .mapping = (void *)file,
                            .mapping_size = size};
    return true;
}

static int is_pgm_name(const struct dirent *entry) {
    size_t length = strlen(entry->d_name);
    return length > 4 && strcasecmp(entry->d_name + length - 4, ".pgm") == 0;
}

static int by_bytes(const struct dirent **a,
                    const struct dirent **b) { /* no locale: the same order everywhere */
    return strcmp((*a)->d_name, (*b)->d_name);
}

static bool open_folder(struct source *source, const char *folder, struct problem problem) {
    struct dirent **entries = NULL;
    int count = scandir(folder, &entries, is_pgm_name, by_bytes);
    if (count < 0) return problem_is(problem, "folder %s: %s", folder, strerror(errno));
    bool memory = true;
    for (int i = 0; i < count; i++) {
        char path[4096];
        struct image image;
        snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
        if (!read_pgm(path, &image))
            fprintf(stderr, "simcam: %s is not a whole 8-bit binary PGM (P5); left out\n", path);
        else if (!add_image(source, image)) {
            munmap(image.mapping, image.mapping_size);
            memory = false;
        }
        free(entries[i]);
    }
    free(entries);
    if (!memory) return problem_is(problem, "folder %s: out of memory", folder);
    if (source->image_count == 0)
        return problem_is(problem, "folder %s holds no 8-bit binary PGM (P5) image", folder);
    return true;
}

/* ---- the built-in pattern ------------------------------------------------------------------- */

/* A plain weave: warp and weft yarns of 12 px take turns on top, each rounded and with its own brightness. */
static bool open_pattern(struct source *source, struct problem problem) {
    enum { YARN = 12 };
    uint8_t *pixels = malloc((size_t)PATTERN_WIDTH * PATTERN_ROWS);
    if (!pixels) return problem_is(problem, "out of memory");
    for (size_t y = 0; y < PATTERN_ROWS; y++)
        for (size_t x = 0; x < PATTERN_WIDTH; x++) {
            size_t warp = x / YARN, weft = y / YARN;
            bool warp_on_top = (warp + weft) % 2 == 0;
            double across = ((double)((warp_on_top ? x : y) % YARN) + 0.5) / YARN;
            size_t yarn = warp_on_top ? warp * 7 : weft * 5 + 3;
            double level = 70.0 + 90.0 * sin(across * 3.14159265358979) + (double)(yarn % 11) - 5.0;
            pixels[y * PATTERN_WIDTH + x] = (uint8_t)level;
        }
    source->kind = SOURCE_PATTERN;
    if (add_image(source, (struct image){.pixels = pixels, .width = PATTERN_WIDTH, .height = PATTERN_ROWS}))
        return true;
    free(pixels);
    return problem_is(problem, "out of memory");
}

/* ---- any of them ---------------------------------------------------------------------------- */

static bool open_named(struct source *source, unsigned number, struct problem problem) {
    const char *feed = environment("SIMCAM_FEED", number), *images = environment("SIMCAM_IMAGES", number);
    if (feed) {
        source->kind = SOURCE_FEED;
        return feed_open(&source->feed, feed, problem.text, problem.size);
    }
    if (!images) return open_pattern(source, problem);
    struct stat status;
    if (stat(images, &status) != 0)
        return problem_is(problem, "SIMCAM_IMAGES = %s: %s", images, strerror(errno));
    return S_ISDIR(status.st_mode) ? open_folder(source, images, problem)
                                   : open_stack(source, images, number, problem);
}

struct source *source_open(unsigned number, char *problem, size_t problem_size) {
    struct source *source = calloc(1, sizeof *source);
    if (!source) {
        snprintf(problem, problem_size, "out of memory");
        return NULL;
    }
    if (open_named(source, number, (struct problem){problem, problem_size})) return source;
    source_close(source);
    return NULL;
}

void source_close(struct source *source) {
    if (!source) return;
    if (source->kind == SOURCE_FEED) feed_close(&source->feed);
    for (size_t i = 0; i < source->image_count; i++)
        if (source->images[i].mapping) munmap(source->images[i].mapping, source->images[i].mapping_size);
    if (source->kind == SOURCE_PATTERN && source->image_count) free((void *)source->images[0].pixels);
    free(source->images);
    free(source);
}

size_t source_width(const struct source *source) {
    if (source->kind == SOURCE_FEED && source->feed.header) return source->feed.width;
    return source->kind == SOURCE_IMAGES ? source->images[0].width : DEFAULT_WIDTH;
}

size_t source_height(const struct source *source) {
    return source->kind == SOURCE_IMAGES ? source->images[0].height : DEFAULT_HEIGHT;
}

bool source_ready(struct source *source, size_t height) {
    return source->kind != SOURCE_FEED || feed_available(&source->feed) >= height;
}

uint64_t source_row(const struct source *source) {
    return source->kind == SOURCE_FEED ? feed_row(&source->feed) : source->row;
}

static const struct image *image_at(const struct source *source, uint64_t row) {
    size_t low = 0, high = source->image_count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (source->images[middle].first_row <= row)
            low = middle;
        else
            high = middle;
    }
    return &source->images[low];
}

struct run source_run(const struct source *source, bool by_image, size_t row) {
    struct run run = {0};
    if (source->kind == SOURCE_FEED) {
        run.pixels = feed_rows(&source->feed, row, &run.rows);
        run.width = source->feed.width;
        return run;
    }
    const struct image *image;
    uint64_t y;
    if (by_image && source->kind == SOURCE_IMAGES) {
        image = &source->images[source->frame % source->image_count];
        y = row;
        if (y >= image->height) return run;
    } else {
        uint64_t at = (source->row + row) % source->row_count;
        image = image_at(source, at);
        y = at - image->first_row;
    }
    run.pixels = image->pixels + y * image->width;
    run.width = image->width;
    run.rows = (size_t)(image->height - y);
    return run;
}

void source_advance(struct source *source, size_t height) {
    source->frame++;
    if (source->kind == SOURCE_FEED)
        feed_take(&source->feed, height);
    else
        source->row += height;
}
