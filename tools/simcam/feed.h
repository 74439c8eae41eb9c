/* The shared-memory feed: a ring of web rows that another process writes and one camera reads.
 *
 * The file is FEED_HEADER bytes of header and ring_rows rows of width bytes; row r of the web lies in slot
 * r % ring_rows. The writer may write row w while w - read_row < ring_rows, then stores write_row = w + 1;
 * the reader takes rows below write_row, then stores read_row. Each counter has one writer and a cache line
 * of its own, and never goes back.
 */
#ifndef SIMCAM_FEED_H
#define SIMCAM_FEED_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { FEED_HEADER = 4096, FEED_VERSION = 1 };

struct feed_header {
    char magic[8];          /*   0: "SIMFEED1" */
    uint32_t version;       /*   8: FEED_VERSION */
    uint32_t width;         /*  12: bytes per row */
    uint64_t ring_rows;     /*  16: slots */
    _Atomic uint64_t ended; /*  24: 1 when the writer will write no more */
    uint8_t gap_1[32];
    _Alignas(64) _Atomic uint64_t written; /*  64: rows written so far */
    uint8_t gap_2[56];
    _Alignas(64) _Atomic uint64_t read; /* 128: rows taken so far */
    uint8_t gap_3[56];
};

struct feed {
    char *path;
    struct feed_header *header; /* null until the file is there */
    size_t mapping_size;
    size_t width; /* as they were when mapped: a writer that changes them later can't mislead us */
    uint64_t ring_rows;
    dev_t device;
    ino_t inode;
    int file;
    uint64_t
        first_row; /* rows of feeds seen before, so that the web's count goes on when a writer starts anew */
    unsigned dry_polls;
};

/* Opens the file, if it is there. False with a sentence when it is no feed or another camera reads it. */
bool feed_open(struct feed *feed, const char *path, char *problem, size_t problem_size);
void feed_close(struct feed *feed);
/* Rows that can be taken; also notices a feed that came or was replaced. */
uint64_t feed_available(struct feed *feed);
uint64_t feed_row(const struct feed *feed);
/* The run of rows from `row` rows after the next one on, up to the ring's end. */
const uint8_t *feed_rows(const struct feed *feed, uint64_t row, size_t *rows);
void feed_take(struct feed *feed, uint64_t rows);

#endif
