#include "harness.h"

#include <stdio.h>
#include <string.h>

char folder[] = "/tmp/simcam-selftest-XXXXXX";
int checks;

void check_failed(const char *file, int line, const char *truth) {
    char why[512] = "";
    GC_ERROR code = 0;
    GCGetLastError(&code, why, &(size_t){sizeof why});
    fprintf(stderr, "%s:%d: not true: %s (last error %d: %s)\n", file, line, truth, code, why);
    exit(1);
}

TL_HANDLE tl;
IF_HANDLE interface;
DEV_HANDLE dev;
PORT_HANDLE port;
DS_HANDLE ds;
EVENT_HANDLE event;
uint8_t *memory[BUFFERS];
BUFFER_HANDLE buffers[BUFFERS];
int nothing; /* its address is a handle of nothing */

const char *file_in_folder(const char *name) {
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

void write_file(const char *name, const void *bytes, size_t size) {
    FILE *file = fopen(file_in_folder(name), "wb");
    CHECK(file && fwrite(bytes, 1, size, file) == size && fclose(file) == 0);
}

uint8_t pixel(uint64_t row, size_t x) { return (uint8_t)(row * 3 + x * 7); }

/* ---- registers ------------------------------------------------------------------------------ */

GC_ERROR try_set(enum reg reg, union value value) {
    return GCWritePort(port, 8u * (unsigned)reg, &value, &(size_t){8});
}
void set(enum reg reg, int64_t value) { GOOD(try_set(reg, (union value){.integer = value})); }
void set_real(enum reg reg, double value) { GOOD(try_set(reg, (union value){.real = value})); }
int64_t get(enum reg reg) {
    int64_t value;
    GOOD(GCReadPort(port, 8u * (unsigned)reg, &value, &(size_t){8}));
    return value;
}

/* ---- opening and closing -------------------------------------------------------------------- */

void open_library(void) {
    GOOD(GCInitLib());
    GOOD(TLOpen(&tl));
    GOOD(TLOpenInterface(tl, "SimIF0", &interface));
    GOOD(IFUpdateDeviceList(interface, NULL, 0));
}

void open_stream(void) {
    GOOD(IFOpenDevice(interface, "SIM0001", DEVICE_ACCESS_EXCLUSIVE, &dev));
    GOOD(DevGetPort(dev, &port));
    GOOD(DevOpenDataStream(dev, "Stream0", &ds));
    GOOD(GCRegisterEvent(ds, EVENT_NEW_BUFFER, &event));
    set_real(REG_LINE_RATE, 1e6);
}

size_t payload(void) {
    size_t size;
    GOOD(DSGetInfo(ds, STREAM_INFO_PAYLOAD_SIZE, NULL, &size, &(size_t){sizeof size}));
    return size;
}

void begin(void) {
    for (int i = 0; i < BUFFERS; i++) {
        memory[i] = malloc(payload());
        GOOD(DSAnnounceBuffer(ds, memory[i], payload(), &memory[i], &buffers[i]));
        GOOD(DSQueueBuffer(ds, buffers[i]));
    }
    GOOD(DSStartAcquisition(ds, 0, GENTL_INFINITE));
    set(REG_START, 1);
}

void end(void) {
    GOOD(DSStopAcquisition(ds, 1));
    GOOD(DSFlushQueue(ds, ACQ_QUEUE_ALL_DISCARD));
    for (int i = 0; i < BUFFERS; i++) {
        void *back, *user;
        GOOD(DSRevokeBuffer(ds, buffers[i], &back, &user));
        CHECK(back == memory[i] && user == &memory[i]);
        free(memory[i]);
    }
}

BUFFER_HANDLE next(void) {
    EVENT_NEW_BUFFER_DATA data;
    GOOD(EventGetData(event, &data, &(size_t){sizeof data}, WAIT_MS));
    return data.BufferHandle;
}

bool nothing_comes(void) {
    EVENT_NEW_BUFFER_DATA data;
    return EventGetData(event, &data, &(size_t){sizeof data}, 30) == GC_ERR_TIMEOUT;
}

uint64_t info(BUFFER_HANDLE buffer, int32_t cmd) {
    uint64_t value = 0;
    GOOD(DSGetBufferInfo(ds, buffer, cmd, NULL, &value, &(size_t){sizeof value}));
    return value;
}

const uint8_t *base(BUFFER_HANDLE buffer) {
    void *pointer;
    GOOD(DSGetBufferInfo(ds, buffer, BUFFER_INFO_BASE, NULL, &pointer, &(size_t){sizeof pointer}));
    return pointer;
}

void use_stack(void) {
    uint8_t stack[IMAGES * HEIGHT * WIDTH];
    for (size_t i = 0; i < sizeof stack; i++) stack[i] = pixel(i / WIDTH, i % WIDTH);
    write_file("stack.raw", stack, sizeof stack);
    setenv("SIMCAM_IMAGES", file_in_folder("stack.raw"), 1);
    setenv("SIMCAM_WIDTH", "64", 1);
    setenv("SIMCAM_HEIGHT", "32", 1);
}
