/* The registers behind the features: what reading and writing them does. */
#include "simcam.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static int64_t integer(const struct device *device, enum reg reg) { return device->reg[reg].integer; }

void remote_reset(struct device *device) {
    for (int r = 0; r < REG_COUNT; r++) {
        const struct feature *feature = &FEATURES[r];
        if (feature->kind == REAL)
            device->reg[r].real = feature->initial;
        else
            device->reg[r].integer = (int64_t)feature->initial;
    }
    size_t width = source_width(device->source) & ~(size_t)1, height = source_height(device->source);
    device->reg[REG_WIDTH].integer = (int64_t)(width < 16 ? 16 : width > SENSOR_WIDTH ? SENSOR_WIDTH : width);
    device->reg[REG_HEIGHT].integer = (int64_t)(height > FRAME_HEIGHT_MAX ? FRAME_HEIGHT_MAX : height);
    device->chunk_mask = (1u << CHUNK_COUNT) - 1;
    device->acquiring = false;
    device->block_id = device->triggers = 0;
    device->frames_to_start = UINT64_MAX;
    device->line0_seen = atomic_load(&device->control->line0_edges);
    device->encoder_zero = 0;
}

struct frame_layout remote_layout(const struct device *device) {
    struct frame_layout layout = {
        .width = (size_t)integer(device, REG_WIDTH),
        .height = (size_t)integer(device, REG_HEIGHT),
        .offset_x = (size_t)integer(device, REG_OFFSET_X),
        .padding_x = (size_t)integer(device, REG_PADDING_X),
        .pixel_format = (uint32_t)integer(device, REG_PIXEL_FORMAT),
        .chunks = integer(device, REG_CHUNK_MODE) ? device->chunk_mask : 0,
    };
    layout.row_bytes = pixels_row_bytes(layout.pixel_format, layout.width) + layout.padding_x;
    layout.image_bytes = layout.row_bytes * layout.height;
    layout.chunk_start = (layout.image_bytes + 7) & ~(size_t)7;
    layout.payload = layout.chunks
                         ? layout.chunk_start + CHUNK_BYTES * (size_t)__builtin_popcount(layout.chunks)
                         : layout.image_bytes;
    return layout;
}

double remote_frame_period_s(const struct device *device) {
    if (integer(device, REG_SCAN_TYPE) == LINESCAN)
        return (double)integer(device, REG_HEIGHT) / device->reg[REG_LINE_RATE].real;
    return 1.0 / device->reg[REG_FRAME_RATE].real;
}

/* ---- reading -------------------------------------------------------------------------------- */

static union value current(const struct device *device, enum reg reg) {
    union value value = device->reg[reg];
    switch (reg) {
    case REG_PAYLOAD_SIZE: value.integer = (int64_t)remote_layout(device).payload; break;
    case REG_FRAME_RATE:
        if (integer(device, REG_SCAN_TYPE) == LINESCAN) value.real = 1.0 / remote_frame_period_s(device);
        break;
    case REG_ENCODER_VALUE:
        value.integer = ((int64_t)source_row(device->source) - device->encoder_zero) *
                        integer(device, REG_ENCODER_DIVIDER);
        break;
    case REG_CHUNK_ENABLE:
        value.integer = device->chunk_mask >> integer(device, REG_CHUNK_SELECTOR) & 1;
        break;
    default: break;
    }
    return value;
}

static GC_ERROR read_string(const struct device *device, uint64_t address, void *out, size_t size) {
    char user_id[STRING_LENGTH];
    snprintf(user_id, sizeof user_id, "camera %u", device->index + 1);
    const char *const texts[STRING_COUNT] = {
        [STRING_VENDOR] = DEVICE_VENDOR,     [STRING_MODEL] = DEVICE_MODEL, [STRING_SERIAL] = device->id,
        [STRING_VERSION] = PRODUCER_VERSION, [STRING_USER_ID] = user_id,
    };
    char memory[STRING_COUNT * STRING_LENGTH] = {0};
    for (int s = 0; s < STRING_COUNT; s++)
        snprintf(memory + s * STRING_LENGTH, STRING_LENGTH, "%s", texts[s]);
    uint64_t offset = address - STRING_ADDRESS;
    if (size > sizeof memory || offset > sizeof memory - size)
        return fail(GC_ERR_INVALID_ADDRESS, "no register at 0x%llx", (unsigned long long)address);
    memcpy(out, memory + offset, size);
    return GC_ERR_SUCCESS;
}

/* The register at this address, or null with the error set: registers are read and written whole. */
static const struct feature *feature_at(uint64_t address, size_t size, enum reg *reg) {
    if (address % 8 == 0 && address / 8 < REG_COUNT && size == 8) {
        *reg = (enum reg)(address / 8);
        return &FEATURES[*reg];
    }
    fail(GC_ERR_INVALID_ADDRESS, "no %zu-byte register at 0x%llx", size, (unsigned long long)address);
    return NULL;
}

static GC_ERROR unplugged(const struct device *device) {
    return fail(GC_ERR_IO, "camera %s is unplugged, or was since it was opened", device->id);
}

GC_ERROR remote_read(struct device *device, uint64_t address, void *out, size_t size) {
    if (device_lost(device)) return unplugged(device);
    if (address >= STRING_ADDRESS) return read_string(device, address, out, size);
    enum reg reg;
    const struct feature *feature = feature_at(address, size, &reg);
    if (!feature) return GC_ERR_INVALID_ADDRESS;
    if (feature->kind == COMMAND) return fail(GC_ERR_ACCESS_DENIED, "%s can only be executed", feature->name);
    pthread_mutex_lock(&device->lock);
    union value value = current(device, reg);
    pthread_mutex_unlock(&device->lock);
    memcpy(out, &value, sizeof value);
    return GC_ERR_SUCCESS;
}

/* ---- writing -------------------------------------------------------------------------------- */

static GC_ERROR start(struct device *device) {
    const struct feed *feed = device->source->kind == SOURCE_FEED ? &device->source->feed : NULL;
    if (feed && feed->header && feed->ring_rows < (uint64_t)integer(device, REG_HEIGHT))
        return fail(GC_ERR_INVALID_VALUE, "the feed's ring holds %llu rows, fewer than Height = %lld",
                    (unsigned long long)feed->ring_rows, (long long)integer(device, REG_HEIGHT));
    int64_t mode = integer(device, REG_ACQUISITION_MODE);
    device->frames_to_start = mode == MODE_CONTINUOUS     ? UINT64_MAX
                              : mode == MODE_SINGLE_FRAME ? 1
                                                          : (uint64_t)integer(device, REG_FRAME_COUNT);
    device->triggers = 0;
    device->line0_seen = atomic_load(&device->control->line0_edges);
    device->acquiring = true;
    atomic_store(&device->control->acquiring, 1);
    return GC_ERR_SUCCESS;
}

static GC_ERROR execute(struct device *device, enum reg reg) {
    switch (reg) {
    case REG_START: return start(device);
    case REG_STOP:
        device->acquiring = false;
        atomic_store(&device->control->acquiring, 0);
        return GC_ERR_SUCCESS;
    case REG_TRIGGER_SOFTWARE:
        if (integer(device, REG_TRIGGER_MODE) && integer(device, REG_TRIGGER_SOURCE) == TRIGGER_SOFTWARE)
            device->triggers++;
        return GC_ERR_SUCCESS;
    case REG_ENCODER_RESET: device->encoder_zero = (int64_t)source_row(device->source); return GC_ERR_SUCCESS;
    case REG_TIMESTAMP_LATCH:
        device->reg[REG_TIMESTAMP_LATCH_VALUE].integer = (int64_t)now_ns();
        return GC_ERR_SUCCESS;
    case REG_UNPLUG: {
        /* Odd is unplugged: a second pull of the same cable changes nothing. */
        uint32_t count = atomic_load(&device->control->plug_count);
        if (count % 2 == 0) atomic_compare_exchange_strong(&device->control->plug_count, &count, count + 1);
        return GC_ERR_SUCCESS;
    }
    default: return fail(GC_ERR_NOT_IMPLEMENTED, "no such command");
    }
}

/* Limits that depend on other features. */
static GC_ERROR check_neighbours(const struct device *device, enum reg reg, union value value) {
    int64_t width = reg == REG_WIDTH ? value.integer : integer(device, REG_WIDTH);
    int64_t offset = reg == REG_OFFSET_X ? value.integer : integer(device, REG_OFFSET_X);
    if ((reg == REG_WIDTH || reg == REG_OFFSET_X) && width + offset > SENSOR_WIDTH)
        return fail(GC_ERR_INVALID_VALUE, "OffsetX + Width is %lld, the sensor has %d pixels",
                    (long long)(width + offset), SENSOR_WIDTH);
    if (reg == REG_FRAME_RATE && integer(device, REG_SCAN_TYPE) == LINESCAN)
        return fail(GC_ERR_ACCESS_DENIED, "DeviceScanType is Linescan: set AcquisitionLineRate instead");
    return GC_ERR_SUCCESS;
}

static GC_ERROR store(struct device *device, enum reg reg, union value value) {
    const struct feature *feature = &FEATURES[reg];
    if (feature->kind == COMMAND) return execute(device, reg);
    if (feature->locked && device->stream.running)
        return fail(GC_ERR_ACCESS_DENIED, "%s can't be changed while acquiring", feature->name);
    GC_ERROR error = check_neighbours(device, reg, value);
    if (error) return error;
    if (reg == REG_CHUNK_ENABLE) {
        unsigned bit = 1u << integer(device, REG_CHUNK_SELECTOR);
        device->chunk_mask = value.integer ? device->chunk_mask | bit : device->chunk_mask & ~bit;
    } else {
        device->reg[reg] = value;
    }
    return GC_ERR_SUCCESS;
}

GC_ERROR remote_write(struct device *device, uint64_t address, const void *in, size_t size) {
    if (device_lost(device)) return unplugged(device);
    enum reg reg;
    const struct feature *feature = feature_at(address, size, &reg);
    if (!feature) return GC_ERR_INVALID_ADDRESS;
    if (feature->read_only) return fail(GC_ERR_ACCESS_DENIED, "%s can't be written", feature->name);
    union value value;
    memcpy(&value, in, sizeof value);
    if (!feature_accepts(feature, value))
        return fail(GC_ERR_INVALID_VALUE, "%s does not take that value", feature->name);
    pthread_mutex_lock(&device->lock);
    GC_ERROR error = store(device, reg, value);
    pthread_cond_broadcast(&device->changed);
    pthread_mutex_unlock(&device->lock);
    return error;
}
