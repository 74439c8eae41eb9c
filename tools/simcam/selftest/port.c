/* Registers, their limits, and the GenApi descriptions. */
#include "harness.h"

#include <stdio.h>
#include <string.h>

void test_ports(void) {
    open_library();
    open_stream();
    const PORT_HANDLE all[] = {tl, interface, dev, ds, port};
    for (int i = 0; i < 5; i++) {
        char url[128], text[16];
        GOOD(GCGetPortURL(all[i], url, &(size_t){sizeof url}));
        unsigned address = 0;
        size_t length = 0;
        CHECK(sscanf(strchr(url, ';'), ";%x;%zx", &address, &length) == 2);
        char *xml = malloc(length);
        GOOD(GCReadPort(all[i], address, xml, &length));
        CHECK(memcmp(xml, "<?xml", 5) == 0 && memcmp(xml + length - 23, "</RegisterDescription>\n", 23) == 0);
        free(xml);
        BAD(GC_ERR_INVALID_ADDRESS, GCReadPort(all[i], address + length - 1, text, &(size_t){2}));
        BAD(GC_ERR_INVALID_ADDRESS, GCReadPort(all[i], UINT64_MAX, text, &(size_t){2}));
        if (all[i] == port) continue;
        BAD(GC_ERR_INVALID_ADDRESS, GCReadPort(all[i], 0, text, &(size_t){8}));
        BAD(GC_ERR_INVALID_ADDRESS, GCWritePort(all[i], 0, text, &(size_t){8}));
    }
    BAD(GC_ERR_INVALID_INDEX, GCGetPortURLInfo(port, 1, 0, NULL, NULL, &(size_t){0}));

    for (int r = 0; r < REG_COUNT; r++) {
        union value value;
        const struct feature *f = &FEATURES[r];
        if (f->kind == COMMAND)
            BAD(GC_ERR_ACCESS_DENIED, GCReadPort(port, 8u * (unsigned)r, &value, &(size_t){8}));
        else
            GOOD(GCReadPort(port, 8u * (unsigned)r, &value, &(size_t){8}));
        if (f->kind == COMMAND) continue;
        if (f->read_only) {
            BAD(GC_ERR_ACCESS_DENIED, try_set((enum reg)r, value));
            continue;
        }
        GC_ERROR expected = r == REG_FRAME_RATE ? GC_ERR_ACCESS_DENIED : GC_ERR_SUCCESS;
        BAD(expected, try_set((enum reg)r, value));
        if (f->kind == REAL) {
            BAD(GC_ERR_INVALID_VALUE, try_set((enum reg)r, (union value){.real = f->minimum - 1}));
            BAD(GC_ERR_INVALID_VALUE, try_set((enum reg)r, (union value){.real = f->maximum * 2}));
            BAD(GC_ERR_INVALID_VALUE, try_set((enum reg)r, (union value){.real = 0.0 / 0.0}));
        } else {
            BAD(GC_ERR_INVALID_VALUE, try_set((enum reg)r, (union value){.integer = -77}));
            BAD(GC_ERR_INVALID_VALUE, try_set((enum reg)r, (union value){.integer = INT64_MAX}));
        }
    }
    BAD(GC_ERR_INVALID_VALUE, try_set(REG_WIDTH, (union value){.integer = 65}));
    set(REG_WIDTH, SENSOR_WIDTH);
    BAD(GC_ERR_INVALID_VALUE, try_set(REG_OFFSET_X, (union value){.integer = 2}));
    set(REG_WIDTH, WIDTH);

    uint8_t bytes[600];
    BAD(GC_ERR_INVALID_ADDRESS, GCReadPort(port, 4, bytes, &(size_t){8}));
    BAD(GC_ERR_INVALID_ADDRESS, GCReadPort(port, 0, bytes, &(size_t){4}));
    BAD(GC_ERR_INVALID_ADDRESS, GCReadPort(port, 8 * REG_COUNT, bytes, &(size_t){8}));
    BAD(GC_ERR_INVALID_ADDRESS, GCWritePort(port, 8 * REG_COUNT, bytes, &(size_t){8}));
    BAD(GC_ERR_INVALID_ADDRESS, GCWritePort(port, STRING_ADDRESS, bytes, &(size_t){8}));
    BAD(GC_ERR_INVALID_ADDRESS, GCReadPort(port, STRING_ADDRESS, bytes, &(size_t){sizeof bytes}));
    BAD(GC_ERR_INVALID_PARAMETER, GCReadPort(port, 0, NULL, &(size_t){8}));
    BAD(GC_ERR_INVALID_PARAMETER, GCWritePort(port, 0, NULL, &(size_t){8}));
    GOOD(GCReadPort(port, STRING_ADDRESS + STRING_SERIAL * STRING_LENGTH, bytes, &(size_t){STRING_LENGTH}));
    CHECK(strcmp((char *)bytes, "SIM0001") == 0);

    int64_t width = 0, height = 10, wrong = -1;
    PORT_REGISTER_STACK_ENTRY writes[] = {
        {8 * REG_HEIGHT, &height, 8}, {8 * REG_HEIGHT, &wrong, 8}, {8 * REG_WIDTH, &height, 8}};
    size_t count = 3;
    BAD(GC_ERR_INVALID_VALUE, GCWritePortStacked(port, writes, &count));
    CHECK(count == 1 && get(REG_HEIGHT) == 10);
    PORT_REGISTER_STACK_ENTRY reads[] = {{8 * REG_HEIGHT, &height, 8}, {8 * REG_WIDTH, &width, 8}};
    count = 2;
    GOOD(GCReadPortStacked(port, reads, &count));
    CHECK(count == 2 && height == 10 && width == WIDTH);
    BAD(GC_ERR_INVALID_PARAMETER, GCReadPortStacked(port, NULL, &count));
    BAD(GC_ERR_INVALID_PARAMETER, GCWritePortStacked(port, writes, NULL));
    GOOD(GCCloseLib());
}
