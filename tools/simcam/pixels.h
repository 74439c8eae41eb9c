/* From the source's Mono8 rows to the camera's pixel format, at its exposure and gain. */
#ifndef SIMCAM_PIXELS_H
#define SIMCAM_PIXELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { /* PFNC, 32-bit */
       MONO8 = 0x01080001,
       MONO10 = 0x01100003,
       MONO12 = 0x01100005,
       MONO12P = 0x010C0047,
       MONO12PACKED = 0x010C0006,
       BAYERRG8 = 0x01080009,
       RGB8 = 0x02180014,
};

#define EXPOSURE_TIME_NEUTRAL_US 40.0 /* at this and 0 dB the pixels are the source's */

/* How one frame lies in a buffer. */
struct frame_layout {
    size_t width, height, offset_x, padding_x;
    uint32_t pixel_format;
    size_t row_bytes; /* padding included */
    size_t image_bytes;
    size_t chunk_start;
    unsigned chunks;
    size_t payload;
};

size_t pixels_row_bytes(uint32_t pixel_format, size_t width);

/* Brightness: what each grey level becomes, made anew only when a setting changed. */
struct tone {
    double factor;
    uint32_t pixel_format;
    bool neutral;        /* Mono8 as it is: rows may be copied whole */
    uint16_t level[256]; /* at the format's depth */
};
void tone_set(struct tone *tone, uint32_t pixel_format, double exposure_us, double gain_db);

/* Writes `rows` rows, `count` columns of `source` each `stride` bytes apart, as `layout` wants them; columns
 * beyond `count` are dark. `row` is the first row's number in the frame: a Bayer pattern depends on it. */
void pixels_write(uint8_t *out, const struct frame_layout *layout, const struct tone *tone,
                  const uint8_t *source, size_t stride, size_t count, size_t row, size_t rows);
void pixels_write_dark(uint8_t *out, const struct frame_layout *layout, size_t rows);
void pixels_write_noise(uint8_t *out, size_t size, uint64_t seed);

#endif
