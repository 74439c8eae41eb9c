#include "pixels.h"

#include <math.h>
#include <string.h>

size_t pixels_row_bytes(uint32_t pixel_format, size_t width) {
    size_t bits = (pixel_format >> 16) & 0xff; /* PFNC carries the bits per pixel in its third byte */
    return (width * bits + 7) / 8;
}

void tone_set(struct tone *tone, uint32_t pixel_format, double exposure_us, double gain_db) {
    double factor = exposure_us / EXPOSURE_TIME_NEUTRAL_US * pow(10.0, gain_db / 20.0);
    if (tone->factor == factor && tone->pixel_format == pixel_format) return;
    unsigned depth = pixel_format == MONO10                                                      ? 10
                     : pixel_format == MONO8 || pixel_format == BAYERRG8 || pixel_format == RGB8 ? 8
                                                                                                 : 12;
    double top = (double)((1u << depth) - 1);
    for (int grey = 0; grey < 256; grey++)
        tone->level[grey] = (uint16_t)fmin(top, round(grey * factor * top / 255.0));
    tone->factor = factor;
    tone->pixel_format = pixel_format;
    tone->neutral = pixel_format == MONO8 && factor == 1.0;
}

/* Colour is made up so that swapped channels show: red as bright as the source, green 3/4, blue half. */
static uint8_t red(uint16_t level) { return (uint8_t)level; }
static uint8_t green(uint16_t level) { return (uint8_t)(level * 3 / 4); }
static uint8_t blue(uint16_t level) { return (uint8_t)(level / 2); }

static void write_row(uint8_t *out, uint32_t format, const uint16_t level[256], const uint8_t *in,
                      size_t count, size_t row) {
    switch (format) {
    case MONO8:
        for (size_t x = 0; x < count; x++) out[x] = (uint8_t)level[in[x]];
        break;
    case MONO10:
    case MONO12:
        for (size_t x = 0; x < count; x++) {
            out[2 * x] = (uint8_t)(level[in[x]] & 0xff);
            out[2 * x + 1] = (uint8_t)(level[in[x]] >> 8);
        }
        break;
    case MONO12P: /* PFNC: a bit stream, least significant bits first */
        for (size_t x = 0; x < count; x += 2) {
            uint16_t a = level[in[x]], b = x + 1 < count ? level[in[x + 1]] : 0;
            *out++ = (uint8_t)(a & 0xff);
            *out++ = (uint8_t)(a >> 8 | (b & 0xf) << 4);
            if (x + 1 < count) *out++ = (uint8_t)(b >> 4);
        }
        break;
    case MONO12PACKED: /* GigE Vision: high bytes outside, both low nibbles between */
        for (size_t x = 0; x < count; x += 2) {
            uint16_t a = level[in[x]], b = x + 1 < count ? level[in[x + 1]] : 0;
            *out++ = (uint8_t)(a >> 4);
            *out++ = (uint8_t)((a & 0xf) | (b & 0xf) << 4);
            if (x + 1 < count) *out++ = (uint8_t)(b >> 4);
        }
        break;
    case BAYERRG8: /* R G / G B */
        for (size_t x = 0; x < count; x++) {
            uint16_t v = level[in[x]];
            out[x] = (row + x) % 2 ? green(v) : row % 2 ? blue(v) : red(v);
        }
        break;
    case RGB8:
        for (size_t x = 0; x < count; x++) {
            uint16_t v = level[in[x]];
            out[3 * x] = red(v);
            out[3 * x + 1] = green(v);
            out[3 * x + 2] = blue(v);
        }
        break;
    default: break;
    }
}

void pixels_write(uint8_t *out, const struct frame_layout *layout, const struct tone *tone,
                  const uint8_t *source, size_t stride, size_t count, size_t row, size_t rows) {
    if (tone->neutral && count == layout->width && stride == layout->row_bytes) {
        memcpy(out, source, rows * stride); /* the fast path: the source already lies as the frame wants it */
        return;
    }
    for (size_t y = 0; y < rows; y++, out += layout->row_bytes, source += stride) {
        size_t used = pixels_row_bytes(layout->pixel_format, count);
        if (tone->neutral)
            memcpy(out, source, count);
        else
            write_row(out, layout->pixel_format, tone->level, source, count, row + y);
        memset(out + used, 0, layout->row_bytes - used);
    }
}

void pixels_write_dark(uint8_t *out, const struct frame_layout *layout, size_t rows) {
    memset(out, 0, rows * layout->row_bytes);
}

void pixels_write_noise(uint8_t *out, size_t size, uint64_t seed) {
    uint64_t state = seed * 0x9E3779B97F4A7C15u + 0x1234567;
    for (size_t i = 0; i < size; i++) { /* xorshift64 */
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out[i] = (uint8_t)state;
    }
}
