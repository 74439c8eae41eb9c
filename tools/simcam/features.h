/* The remote device's features: one table from which its registers, their limits and its GenApi XML follow.
 */
#ifndef SIMCAM_FEATURES_H
#define SIMCAM_FEATURES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A numeric feature is one 8-byte little-endian register at address 8 * number, an int64 or a double. */
enum reg {
    REG_WIDTH,
    REG_HEIGHT,
    REG_OFFSET_X,
    REG_PIXEL_FORMAT,
    REG_WIDTH_MAX,
    REG_HEIGHT_MAX,
    REG_PAYLOAD_SIZE,
    REG_SCAN_TYPE,
    REG_ACQUISITION_MODE,
    REG_FRAME_COUNT,
    REG_START,
    REG_STOP,
    REG_LINE_RATE,
    REG_FRAME_RATE,
    REG_EXPOSURE_TIME,
    REG_GAIN,
    REG_TRIGGER_SELECTOR,
    REG_TRIGGER_MODE,
    REG_TRIGGER_SOURCE,
    REG_TRIGGER_SOFTWARE,
    REG_ENCODER_DIVIDER,
    REG_ENCODER_VALUE,
    REG_ENCODER_RESET,
    REG_TIMESTAMP_LATCH,
    REG_TIMESTAMP_LATCH_VALUE,
    REG_CHUNK_MODE,
    REG_CHUNK_SELECTOR,
    REG_CHUNK_ENABLE,
    REG_PADDING_X,
    REG_DROP_EVERY,
    REG_INCOMPLETE_EVERY,
    REG_CORRUPT_EVERY,
    REG_UNPLUG,
    REG_TL_PARAMS_LOCKED,
    REG_COUNT
};

enum {
    STRING_ADDRESS = 0x4000, /* strings follow each other, STRING_LENGTH bytes each */
    STRING_LENGTH = 64,
    XML_ADDRESS = 0x10000,
};
enum string { STRING_VENDOR, STRING_MODEL, STRING_SERIAL, STRING_VERSION, STRING_USER_ID, STRING_COUNT };

enum { LINESCAN, AREASCAN };
enum { MODE_CONTINUOUS, MODE_SINGLE_FRAME, MODE_MULTI_FRAME };
enum { TRIGGER_SOFTWARE, TRIGGER_LINE0 };

/* Chunks, in the order in which they follow the image; the numbers are the selector's values. */
enum chunk { CHUNK_ENCODER_VALUE, CHUNK_TIMESTAMP, CHUNK_FRAME_ID, CHUNK_COUNT };
enum { CHUNK_ID_BASE = 0x1001, CHUNK_BYTES = 8 };

enum { SENSOR_WIDTH = 16384, FRAME_HEIGHT_MAX = 16384 };

union value {
    int64_t integer;
    double real;
};

enum kind { INTEGER, REAL, ENUMERATION, BOOLEAN, COMMAND };

struct entry {
    const char *name;
    int64_t value;
};

struct feature {
    const char *name;
    enum kind kind;
    bool read_only;
    bool locked; /* not while acquiring: it changes the size or layout of a frame */
    double minimum, maximum, initial;
    int64_t increment;
    const char *unit;
    const char *category;
    const char *tip;
    const struct entry *entries; /* ends with a null name */
    const char *const *selects;  /* ends with a null; the features this selector is for */
};

extern const struct feature FEATURES[REG_COUNT];

/* The feature's value fits its limits and increment, or is one of its entries. */
bool feature_accepts(const struct feature *feature, union value value);

/* The device's GenApi description; malloc'd, null when memory is out. */
char *remote_device_xml(void);
/* A description without features for the system, interface, local device and stream. */
char *empty_xml(const char *port_name);

#endif
