/* Calls every entry point, right and wrong, under whatever the compiler or valgrind watches for. */
#include "simcam.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WIDTH = 64, HEIGHT = 32, IMAGES = 3, BUFFERS = 4, WAIT_MS = 20000 };

static char folder[] = "/tmp/simcam-selftest-XXXXXX";
static int checks;

#define CHECK(truth)                                                                                         \
    do {                                                                                                     \
        checks++;                                                                                            \
        if (!(truth)) {                                                                                      \
            char why[512] = "";                                                                              \
            GC_ERROR code = 0;                                                                               \
            GCGetLastError(&code, why, &(size_t){sizeof why});                                               \
            fprintf(stderr, "%s:%d: not true: %s (last error %d: %s)\n", __FILE__, __LINE__, #truth, code,   \
                    why);                                                                                    \
            exit(1);                                                                                         \
        }                                                                                                    \
    } while (0)
#define GOOD(call) CHECK((call) == GC_ERR_SUCCESS)
#define BAD(code, call) CHECK((call) == (code))

static TL_HANDLE tl;
static IF_HANDLE interface;
static DEV_HANDLE dev;
static PORT_HANDLE port;
static DS_HANDLE ds;
static EVENT_HANDLE event;
static uint8_t *memory[BUFFERS];
static BUFFER_HANDLE buffers[BUFFERS];
static int nothing; /* its address is a handle of nothing */

static const char *file_in_folder(const char *name) {
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void write_file(const char *name, const void *bytes, size_t size) {
    FILE *file = fopen(file_in_folder(name), "wb");
    CHECK(file && fwrite(bytes, 1, size, file) == size && fclose(file) == 0);
}

static uint8_t pixel(uint64_t row, size_t x) { return (uint8_t)(row * 3 + x * 7); }

/* ---- registers ------------------------------------------------------------------------------ */

static GC_ERROR try_set(enum reg reg, union value value) {
    return GCWritePort(port, 8u * (unsigned)reg, &value, &(size_t){8});
}
static void set(enum reg reg, int64_t value) { GOOD(try_set(reg, (union value){.integer = value})); }
static void set_real(enum reg reg, double value) { GOOD(try_set(reg, (union value){.real = value})); }
static int64_t get(enum reg reg) {
    int64_t value;
    GOOD(GCReadPort(port, 8u * (unsigned)reg, &value, &(size_t){8}));
    return value;
}

/* ---- opening and closing -------------------------------------------------------------------- */

static void open_library(void) {
    GOOD(GCInitLib());
    GOOD(TLOpen(&tl));
    GOOD(TLOpenInterface(tl, "SimIF0", &interface));
    GOOD(IFUpdateDeviceList(interface, NULL, 0));
}

static void open_stream(void) {
    GOOD(IFOpenDevice(interface, "SIM0001", DEVICE_ACCESS_EXCLUSIVE, &dev));
    GOOD(DevGetPort(dev, &port));
    GOOD(DevOpenDataStream(dev, "Stream0", &ds));
    GOOD(GCRegisterEvent(ds, EVENT_NEW_BUFFER, &event));
    set_real(REG_LINE_RATE, 1e6);
}

static size_t payload(void) {
    size_t size;
    GOOD(DSGetInfo(ds, STREAM_INFO_PAYLOAD_SIZE, NULL, &size, &(size_t){sizeof size}));
    return size;
}

static void begin(void) {
    for (int i = 0; i < BUFFERS; i++) {
        memory[i] = malloc(payload());
        GOOD(DSAnnounceBuffer(ds, memory[i], payload(), &memory[i], &buffers[i]));
        GOOD(DSQueueBuffer(ds, buffers[i]));
    }
    GOOD(DSStartAcquisition(ds, 0, GENTL_INFINITE));
    set(REG_START, 1);
}

static void end(void) {
    GOOD(DSStopAcquisition(ds, 1));
    GOOD(DSFlushQueue(ds, ACQ_QUEUE_ALL_DISCARD));
    for (int i = 0; i < BUFFERS; i++) {
        void *back, *user;
        GOOD(DSRevokeBuffer(ds, buffers[i], &back, &user));
        CHECK(back == memory[i] && user == &memory[i]);
        free(memory[i]);
    }
}

static BUFFER_HANDLE next(void) {
    EVENT_NEW_BUFFER_DATA data;
    GOOD(EventGetData(event, &data, &(size_t){sizeof data}, WAIT_MS));
    return data.BufferHandle;
}

static bool nothing_comes(void) {
    EVENT_NEW_BUFFER_DATA data;
    return EventGetData(event, &data, &(size_t){sizeof data}, 30) == GC_ERR_TIMEOUT;
}

static uint64_t info(BUFFER_HANDLE buffer, int32_t cmd) {
    uint64_t value = 0;
    GOOD(DSGetBufferInfo(ds, buffer, cmd, NULL, &value, &(size_t){sizeof value}));
    return value;
}

static const uint8_t *base(BUFFER_HANDLE buffer) {
    void *pointer;
    GOOD(DSGetBufferInfo(ds, buffer, BUFFER_INFO_BASE, NULL, &pointer, &(size_t){sizeof pointer}));
    return pointer;
}

static void use_stack(void) {
    uint8_t stack[IMAGES * HEIGHT * WIDTH];
    for (size_t i = 0; i < sizeof stack; i++) stack[i] = pixel(i / WIDTH, i % WIDTH);
    write_file("stack.raw", stack, sizeof stack);
    setenv("SIMCAM_IMAGES", file_in_folder("stack.raw"), 1);
    setenv("SIMCAM_WIDTH", "64", 1);
    setenv("SIMCAM_HEIGHT", "32", 1);
}

/* ---- the tests ------------------------------------------------------------------------------ */

static void test_before_the_library_is_open(void) {
    char text[256];
    GC_ERROR code;
    BAD(GC_ERR_NOT_INITIALIZED, TLOpen(&tl));
    BAD(GC_ERR_NOT_INITIALIZED, GCCloseLib());
    GOOD(GCGetLastError(&code, NULL, &(size_t){0}));
    CHECK(code == GC_ERR_NOT_INITIALIZED);
    BAD(GC_ERR_BUFFER_TOO_SMALL, GCGetLastError(&code, text, &(size_t){3}));
    BAD(GC_ERR_INVALID_PARAMETER, GCGetLastError(NULL, text, &(size_t){3}));
    GOOD(GCGetLastError(&code, text, &(size_t){sizeof text}));
    CHECK(code == GC_ERR_NOT_INITIALIZED && strstr(text, "GCInitLib"));

    setenv("SIMCAM_DEVICES", "17", 1);
    BAD(GC_ERR_ERROR, GCInitLib());
    unsetenv("SIMCAM_DEVICES");
    setenv("SIMCAM_CTRL", "/nonexistent/ctrl", 1);
    BAD(GC_ERR_IO, GCInitLib());
    uint8_t foreign[100] = {1, 2, 3};
    write_file("foreign", foreign, sizeof foreign);
    setenv("SIMCAM_CTRL", file_in_folder("foreign"), 1);
    BAD(GC_ERR_IO, GCInitLib());
    unsetenv("SIMCAM_CTRL");
    struct stat status;
    CHECK(stat(file_in_folder("foreign"), &status) == 0 && status.st_size == sizeof foreign); /* left alone */
}

/* Each information that exists: its size, a buffer too small, and whole. */
typedef GC_ERROR ask(int32_t cmd, INFO_DATATYPE *type, void *out, size_t *size);
static BUFFER_HANDLE asked;
static GC_ERROR ask_tl(int32_t c, INFO_DATATYPE *t, void *o, size_t *s) { return TLGetInfo(tl, c, t, o, s); }
static GC_ERROR ask_tl_if(int32_t c, INFO_DATATYPE *t, void *o, size_t *s) {
    return TLGetInterfaceInfo(tl, "SimIF0", c, t, o, s);
}
static GC_ERROR ask_if(int32_t c, INFO_DATATYPE *t, void *o, size_t *s) {
    return IFGetInfo(interface, c, t, o, s);
}
static GC_ERROR ask_if_dev(int32_t c, INFO_DATATYPE *t, void *o, size_t *s) {
    return IFGetDeviceInfo(interface, "SIM0002", c, t, o, s);
}
static GC_ERROR ask_dev(int32_t c, INFO_DATATYPE *t, void *o, size_t *s) {
    return DevGetInfo(dev, c, t, o, s);
}
static GC_ERROR ask_ds(int32_t c, INFO_DATATYPE *t, void *o, size_t *s) { return DSGetInfo(ds, c, t, o, s); }
static GC_ERROR ask_buffer(int32_t c, INFO_DATATYPE *t, void *o, size_t *s) {
    return DSGetBufferInfo(ds, asked, c, t, o, s);
}
static GC_ERROR ask_event(int32_t c, INFO_DATATYPE *t, void *o, size_t *s) {
    return EventGetInfo(event, c, t, o, s);
}
static GC_ERROR ask_port(int32_t c, INFO_DATATYPE *t, void *o, size_t *s) {
    return GCGetPortInfo(port, c, t, o, s);
}
static GC_ERROR ask_url(int32_t c, INFO_DATATYPE *t, void *o, size_t *s) {
    return GCGetPortURLInfo(port, 0, c, t, o, s);
}

static void ask_all(ask *question, int expected) {
    int known = 0;
    for (int32_t cmd = -1; cmd < 40; cmd++) {
        INFO_DATATYPE type = 0;
        size_t size = 0;
        uint8_t answer[512];
        if (question(cmd, &type, NULL, &size) != GC_ERR_SUCCESS) {
            BAD(GC_ERR_NOT_AVAILABLE, question(cmd, &type, answer, &(size_t){sizeof answer}));
            continue;
        }
        known++;
        CHECK(type != 0 && size > 0 && size <= sizeof answer);
        size_t small = size - 1;
        BAD(GC_ERR_BUFFER_TOO_SMALL, question(cmd, &type, answer, &small));
        CHECK(small == size);
        GOOD(question(cmd, NULL, answer, &size));
        BAD(GC_ERR_INVALID_PARAMETER, question(cmd, &type, answer, NULL));
    }
    CHECK(known == expected);
}

static void test_information(void) {
    open_library();
    open_stream();
    begin();
    asked = next();
    ask_all(GCGetInfo, 11);
    ask_all(ask_tl, 11);
    ask_all(ask_tl_if, 3);
    ask_all(ask_if, 3);
    ask_all(ask_if_dev, 10);
    ask_all(ask_dev, 10);
    ask_all(ask_ds, 14);
    ask_all(ask_buffer, 29);
    ask_all(ask_event, 5);
    ask_all(ask_port, 13);
    ask_all(ask_url, 10);
    CHECK(info(asked, BUFFER_INFO_PIXELFORMAT_NAMESPACE) == 4);

    EVENT_NEW_BUFFER_DATA data = {asked, &memory[0]};
    void *pointer;
    GOOD(EventGetDataInfo(event, &data, sizeof data, EVENT_DATA_ID, NULL, &pointer,
                          &(size_t){sizeof pointer}));
    CHECK(pointer == asked);
    GOOD(EventGetDataInfo(event, &data, sizeof data, EVENT_DATA_VALUE, NULL, &pointer,
                          &(size_t){sizeof pointer}));
    CHECK(pointer == &memory[0]);
    BAD(GC_ERR_NOT_AVAILABLE,
        EventGetDataInfo(event, &data, sizeof data, 9, NULL, &pointer, &(size_t){sizeof pointer}));
    BAD(GC_ERR_INVALID_PARAMETER,
        EventGetDataInfo(event, &data, 3, EVENT_DATA_ID, NULL, &pointer, &(size_t){sizeof pointer}));
    end();
    GOOD(GCCloseLib());
}

static void test_wrong_handles_and_arguments(void) {
    void *bad = &nothing, *out;
    char text[64];
    size_t size = sizeof text;
    uint32_t count;
    SINGLE_CHUNK_DATA chunk[CHUNK_COUNT];
    open_library();
    BAD(GC_ERR_RESOURCE_IN_USE, GCInitLib());
    BAD(GC_ERR_RESOURCE_IN_USE, TLOpen(&out));
    BAD(GC_ERR_INVALID_PARAMETER, TLOpen(NULL));
    BAD(GC_ERR_RESOURCE_IN_USE, TLOpenInterface(tl, "SimIF0", &out));
    BAD(GC_ERR_INVALID_ID, TLOpenInterface(tl, "other", &out));
    BAD(GC_ERR_INVALID_PARAMETER, TLOpenInterface(tl, NULL, &out));
    BAD(GC_ERR_INVALID_ID, TLGetInterfaceInfo(tl, "other", 0, NULL, text, &size));
    GOOD(TLGetNumInterfaces(tl, &count));
    CHECK(count == 1);
    GOOD(TLGetInterfaceID(tl, 0, text, &size));
    size = sizeof text;
    BAD(GC_ERR_INVALID_INDEX, TLGetInterfaceID(tl, 1, text, &size));
    BAD(GC_ERR_INVALID_PARAMETER, TLGetNumInterfaces(tl, NULL));
    GOOD(TLUpdateInterfaceList(tl, &(bool8_t){1}, 0));
    GOOD(IFGetParentTL(interface, &out));
    CHECK(out == tl);
    BAD(GC_ERR_INVALID_PARAMETER, IFGetParentTL(interface, NULL));
    GOOD(IFGetNumDevices(interface, &count));
    CHECK(count == 2);
    BAD(GC_ERR_INVALID_PARAMETER, IFGetNumDevices(interface, NULL));
    GOOD(IFGetDeviceID(interface, 1, text, &size));
    CHECK(strcmp(text, "SIM0002") == 0);
    size = sizeof text;
    BAD(GC_ERR_INVALID_INDEX, IFGetDeviceID(interface, 2, text, &size));
    BAD(GC_ERR_INVALID_ID, IFGetDeviceInfo(interface, "SIM9999", 0, NULL, text, &size));
    BAD(GC_ERR_INVALID_ID, IFGetDeviceInfo(interface, NULL, 0, NULL, text, &size));
    BAD(GC_ERR_INVALID_ID, IFOpenDevice(interface, "SIM9999", DEVICE_ACCESS_EXCLUSIVE, &out));
    BAD(GC_ERR_INVALID_PARAMETER, IFOpenDevice(interface, "SIM0001", 0, &out));
    BAD(GC_ERR_INVALID_PARAMETER, IFOpenDevice(interface, NULL, DEVICE_ACCESS_EXCLUSIVE, &out));
    open_stream();
    BAD(GC_ERR_RESOURCE_IN_USE, IFOpenDevice(interface, "SIM0001", DEVICE_ACCESS_EXCLUSIVE, &out));
    BAD(GC_ERR_RESOURCE_IN_USE, DevOpenDataStream(dev, "Stream0", &out));
    BAD(GC_ERR_INVALID_ID, DevOpenDataStream(dev, "other", &out));
    BAD(GC_ERR_INVALID_PARAMETER, DevOpenDataStream(dev, NULL, &out));
    BAD(GC_ERR_RESOURCE_IN_USE, GCRegisterEvent(ds, EVENT_NEW_BUFFER, &out));
    BAD(GC_ERR_NOT_IMPLEMENTED, GCRegisterEvent(ds, 0, &out));
    BAD(GC_ERR_INVALID_PARAMETER, GCRegisterEvent(ds, EVENT_NEW_BUFFER, NULL));
    BAD(GC_ERR_NOT_IMPLEMENTED, GCUnregisterEvent(ds, 0));
    GOOD(DevGetNumDataStreams(dev, &count));
    CHECK(count == 1);
    size = sizeof text;
    GOOD(DevGetDataStreamID(dev, 0, text, &size));
    BAD(GC_ERR_INVALID_INDEX, DevGetDataStreamID(dev, 1, text, &size));
    GOOD(DevGetParentIF(dev, &out));
    CHECK(out == interface);
    GOOD(DSGetParentDev(ds, &out));
    CHECK(out == dev);
    BAD(GC_ERR_INVALID_PARAMETER, DevGetPort(dev, NULL));
    BAD(GC_ERR_INVALID_PARAMETER, DevGetNumDataStreams(dev, NULL));
    BAD(GC_ERR_INVALID_PARAMETER, DevGetParentIF(dev, NULL));
    BAD(GC_ERR_INVALID_PARAMETER, DSGetParentDev(ds, NULL));
    BAD(GC_ERR_INVALID_PARAMETER, GCGetNumPortURLs(port, NULL));
    BAD(GC_ERR_INVALID_PARAMETER, DSGetBufferID(ds, 0, NULL));
    BAD(GC_ERR_INVALID_INDEX, DSGetBufferID(ds, 0, &out));
    BAD(GC_ERR_INVALID_PARAMETER, DSStartAcquisition(ds, 7, 1));
    BAD(GC_ERR_INVALID_PARAMETER, DSStartAcquisition(ds, 0, 0));
    BAD(GC_ERR_ERROR, DSStopAcquisition(ds, 0));
    BAD(GC_ERR_INVALID_PARAMETER, DSFlushQueue(ds, 9));

#define WRONG(call) BAD(GC_ERR_INVALID_HANDLE, call)
    size = sizeof text;
    WRONG(TLClose(bad));
    WRONG(TLGetInfo(bad, 0, NULL, text, &size));
    WRONG(TLGetNumInterfaces(bad, &count));
    WRONG(TLGetInterfaceID(bad, 0, text, &size));
    WRONG(TLGetInterfaceInfo(bad, "SimIF0", 0, NULL, text, &size));
    WRONG(TLOpenInterface(bad, "SimIF0", &out));
    WRONG(TLUpdateInterfaceList(bad, NULL, 0));
    WRONG(IFClose(bad));
    WRONG(IFGetInfo(bad, 0, NULL, text, &size));
    WRONG(IFGetNumDevices(bad, &count));
    WRONG(IFGetDeviceID(bad, 0, text, &size));
    WRONG(IFUpdateDeviceList(bad, NULL, 0));
    WRONG(IFGetDeviceInfo(bad, "SIM0001", 0, NULL, text, &size));
    WRONG(IFGetParentTL(bad, &out));
    WRONG(IFOpenDevice(bad, "SIM0001", DEVICE_ACCESS_EXCLUSIVE, &out));
    WRONG(DevGetPort(bad, &out));
    WRONG(DevGetNumDataStreams(bad, &count));
    WRONG(DevGetDataStreamID(bad, 0, text, &size));
    WRONG(DevOpenDataStream(bad, "Stream0", &out));
    WRONG(DevGetInfo(bad, 0, NULL, text, &size));
    WRONG(DevClose(bad));
    WRONG(DevGetParentIF(bad, &out));
    WRONG(DSGetParentDev(bad, &out));
    WRONG(DSAnnounceBuffer(bad, text, size, NULL, &out));
    WRONG(DSAllocAndAnnounceBuffer(bad, 9, NULL, &out));
    WRONG(DSRevokeBuffer(bad, bad, NULL, NULL));
    WRONG(DSQueueBuffer(bad, bad));
    WRONG(DSFlushQueue(bad, 0));
    WRONG(DSStartAcquisition(bad, 0, 1));
    WRONG(DSStopAcquisition(bad, 0));
    WRONG(DSGetInfo(bad, 0, NULL, text, &size));
    WRONG(DSGetBufferID(bad, 0, &out));
    WRONG(DSGetBufferInfo(bad, bad, 0, NULL, text, &size));
    WRONG(DSClose(bad));
    WRONG(DSGetBufferChunkData(bad, bad, chunk, &size));
    WRONG(DSGetNumBufferParts(bad, bad, &count));
    WRONG(DSGetBufferPartInfo(bad, bad, 0, 0, NULL, text, &size));
    WRONG(DSRevokeBuffer(ds, bad, NULL, NULL));
    WRONG(DSQueueBuffer(ds, bad));
    WRONG(DSQueueBuffer(ds, NULL));
    WRONG(DSGetBufferInfo(ds, bad, 0, NULL, text, &size));
    WRONG(DSGetBufferChunkData(ds, bad, chunk, &size));
    WRONG(DSGetNumBufferParts(ds, bad, &count));
    WRONG(DSGetBufferPartInfo(ds, bad, 0, 0, NULL, text, &size));
    WRONG(GCRegisterEvent(bad, EVENT_NEW_BUFFER, &out));
    WRONG(GCUnregisterEvent(bad, EVENT_NEW_BUFFER));
    WRONG(EventGetData(bad, text, &size, 0));
    WRONG(EventGetInfo(bad, 0, NULL, text, &size));
    WRONG(EventFlush(bad));
    WRONG(EventKill(bad));
    WRONG(EventGetDataInfo(bad, text, size, 0, NULL, text, &size));
    WRONG(GCReadPort(bad, 0, text, &size));
    WRONG(GCWritePort(bad, 0, text, &size));
    WRONG(GCGetPortURL(bad, text, &size));
    WRONG(GCGetNumPortURLs(bad, &count));
    WRONG(GCGetPortURLInfo(bad, 0, 0, NULL, text, &size));
    WRONG(GCGetPortInfo(bad, 0, NULL, text, &size));

#define ABSENT(call) BAD(GC_ERR_NOT_IMPLEMENTED, call)
    ABSENT(DSAnnounceCompositeBuffer(ds, 1, &out, &size, NULL, &out));
    ABSENT(DSGetNumFlows(ds, &count));
    ABSENT(DSGetFlowInfo(ds, 0, 0, NULL, text, &size));
    ABSENT(DSGetNumBufferSegments(ds, bad, &count));
    ABSENT(DSGetBufferSegmentInfo(ds, bad, 0, 0, NULL, text, &size));

    DEV_HANDLE closed = dev;
    GOOD(DevClose(dev));
    WRONG(DevClose(closed));
    WRONG(DSClose(ds));
    WRONG(EventFlush(event));
    WRONG(GCReadPort(port, 0, text, &size));
    GOOD(IFClose(interface));
    WRONG(IFClose(interface));
    GOOD(TLClose(tl));
    WRONG(TLClose(tl));
    GOOD(GCCloseLib());
}

static void test_one_consumer(void) {
    char lock_path[160];
    snprintf(lock_path, sizeof lock_path, "%s/simcam-SIM0001.lock", folder);
    int file = open(lock_path, O_RDWR | O_CREAT, 0666);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    CHECK(file >= 0 && fcntl(file, F_OFD_SETLK, &lock) == 0); /* as another process would hold it */
    open_library();
    int32_t status;
    GOOD(IFGetDeviceInfo(interface, "SIM0001", DEVICE_INFO_ACCESS_STATUS, NULL, &status, &(size_t){4}));
    CHECK(status == DEVICE_ACCESS_STATUS_BUSY);
    BAD(GC_ERR_ACCESS_DENIED, IFOpenDevice(interface, "SIM0001", DEVICE_ACCESS_EXCLUSIVE, &dev));
    close(file);
    GOOD(IFOpenDevice(interface, "SIM0001", DEVICE_ACCESS_EXCLUSIVE, &dev));
    GOOD(IFGetDeviceInfo(interface, "SIM0001", DEVICE_INFO_ACCESS_STATUS, NULL, &status, &(size_t){4}));
    CHECK(status == DEVICE_ACCESS_STATUS_OPEN_READWRITE);
    setenv("SIMCAM_LOCK_DIR", "/nonexistent", 1);
    DEV_HANDLE other;
    BAD(GC_ERR_IO, IFOpenDevice(interface, "SIM0002", DEVICE_ACCESS_EXCLUSIVE, &other));
    setenv("SIMCAM_LOCK_DIR", folder, 1);
    GOOD(GCCloseLib()); /* closes the device as well */
}

static void test_ports(void) {
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

static void test_frames(void) {
    open_library();
    open_stream();
    set(REG_CHUNK_MODE, 1);
    set(REG_ENCODER_DIVIDER, 5);
    for (int cycle = 0; cycle < 20; cycle++) {
        begin();
        uint64_t last = 0, first = cycle ? 1 : 0;
        for (uint64_t n = 0; n < 7; n++) {
            BUFFER_HANDLE b = next();
            size_t count = CHUNK_COUNT, room = 1;
            SINGLE_CHUNK_DATA chunks[CHUNK_COUNT];
            CHECK(info(b, BUFFER_INFO_FRAMEID) >= n && info(b, BUFFER_INFO_TIMESTAMP_NS) > last);
            last = info(b, BUFFER_INFO_TIMESTAMP_NS);
            GOOD(DSGetBufferChunkData(ds, b, NULL, &count));
            BAD(GC_ERR_BUFFER_TOO_SMALL, DSGetBufferChunkData(ds, b, chunks, &room));
            GOOD(DSGetBufferChunkData(ds, b, chunks, &count));
            CHECK(count == CHUNK_COUNT && chunks[0].ChunkID == CHUNK_ID_BASE);
            int64_t encoder;
            memcpy(&encoder, base(b) + chunks[0].ChunkOffset, 8);
            if (!first) CHECK(encoder == (int64_t)info(b, BUFFER_INFO_FRAMEID) * HEIGHT * 5);
            uint64_t row = (uint64_t)encoder / 5 % (IMAGES * HEIGHT);
            for (size_t i = 0; i < WIDTH * HEIGHT; i++)
                CHECK(base(b)[i] == pixel(row + i / WIDTH, i % WIDTH));
            BAD(GC_ERR_INVALID_PARAMETER, DSGetNumBufferParts(ds, b, NULL));
            uint32_t parts = 9;
            GOOD(DSGetNumBufferParts(ds, b, &parts));
            CHECK(parts == 0);
            BAD(GC_ERR_INVALID_INDEX, DSGetBufferPartInfo(ds, b, 0, 0, NULL, NULL, NULL));
            GOOD(DSQueueBuffer(ds, b));
        }
        BAD(GC_ERR_RESOURCE_IN_USE, DSStartAcquisition(ds, 0, GENTL_INFINITE));
        BAD(GC_ERR_ACCESS_DENIED, try_set(REG_WIDTH, (union value){.integer = 32}));
        set(REG_STOP, 1);
        end();
    }
    GOOD(DSClose(ds));
    GOOD(DevClose(dev));
    GOOD(GCCloseLib());
}

static void test_formats(void) {
    static const int64_t formats[] = {MONO8, MONO10, MONO12, MONO12P, MONO12PACKED, BAYERRG8, RGB8};
    open_library();
    open_stream();
    for (unsigned f = 0; f < sizeof formats / sizeof *formats; f++)
        for (int offset = 0; offset <= 32; offset += 32)
            for (int padding = 0; padding <= 5; padding += 5) {
                set(REG_PIXEL_FORMAT, formats[f]);
                set(REG_OFFSET_X, offset); /* 32: half of the frame is beyond the source */
                set(REG_PADDING_X, padding);
                set_real(REG_GAIN, f % 2 ? 6 : 0);
                begin();
                BUFFER_HANDLE b = next();
                CHECK(info(b, BUFFER_INFO_PIXELFORMAT) == (uint64_t)formats[f]);
                CHECK(info(b, BUFFER_INFO_SIZE_FILLED) == payload());
                CHECK(info(b, BUFFER_INFO_XPADDING) == (uint64_t)padding);
                end();
            }
    set(REG_SCAN_TYPE, AREASCAN);
    set_real(REG_FRAME_RATE, 2000);
    set(REG_HEIGHT, HEIGHT + 8); /* rows beyond the image */
    set(REG_OFFSET_X, WIDTH);    /* wholly beside it */
    begin();
    GOOD(DSQueueBuffer(ds, next()));
    end();
    GOOD(GCCloseLib());
}

static void test_buffers_and_queues(void) {
    BUFFER_HANDLE own, many[BUFFERS_MAX], out;
    void *back = &nothing, *user = NULL;
    open_library();
    open_stream();
    BAD(GC_ERR_INVALID_PARAMETER, DSAnnounceBuffer(ds, NULL, 10, NULL, &out));
    BAD(GC_ERR_INVALID_PARAMETER, DSAnnounceBuffer(ds, folder, 0, NULL, &out));
    BAD(GC_ERR_INVALID_PARAMETER, DSAllocAndAnnounceBuffer(ds, 0, NULL, &out));
    GOOD(DSAllocAndAnnounceBuffer(ds, 100, &user, &own));
    GOOD(DSGetBufferID(ds, 0, &out));
    CHECK(out == own);
    BAD(GC_ERR_NO_DATA, DSGetBufferChunkData(ds, own, NULL, &(size_t){0}));
    BAD(GC_ERR_INVALID_PARAMETER, DSGetBufferChunkData(ds, own, NULL, NULL));
    GOOD(DSQueueBuffer(ds, own));
    BAD(GC_ERR_BUSY, DSQueueBuffer(ds, own));
    BAD(GC_ERR_BUSY, DSRevokeBuffer(ds, own, &back, &user));
    GOOD(DSFlushQueue(ds, ACQ_QUEUE_INPUT_TO_OUTPUT));
    CHECK(next() == own && !info(own, BUFFER_INFO_NEW_DATA));
    GOOD(DSFlushQueue(ds, ACQ_QUEUE_UNQUEUED_TO_INPUT));
    BAD(GC_ERR_BUSY, DSRevokeBuffer(ds, own, NULL, NULL));
    GOOD(DSFlushQueue(ds, ACQ_QUEUE_INPUT_TO_OUTPUT));
    GOOD(DSFlushQueue(ds, ACQ_QUEUE_OUTPUT_DISCARD));
    CHECK(!info(own, BUFFER_INFO_IS_QUEUED));
    GOOD(DSFlushQueue(ds, ACQ_QUEUE_ALL_TO_INPUT));
    CHECK(info(own, BUFFER_INFO_IS_QUEUED));
    GOOD(DSFlushQueue(ds, ACQ_QUEUE_ALL_DISCARD));
    GOOD(DSRevokeBuffer(ds, own, &back, &user));
    CHECK(back == NULL);
    BAD(GC_ERR_INVALID_HANDLE, DSRevokeBuffer(ds, own, NULL, NULL));

    for (int i = 0; i < BUFFERS_MAX; i++) GOOD(DSAllocAndAnnounceBuffer(ds, 8, NULL, &many[i]));
    BAD(GC_ERR_RESOURCE_EXHAUSTED, DSAllocAndAnnounceBuffer(ds, 8, NULL, &out));
    GOOD(DSFlushQueue(ds, ACQ_QUEUE_ALL_TO_INPUT));
    GOOD(DSFlushQueue(ds, ACQ_QUEUE_ALL_DISCARD));
    for (int i = 0; i < BUFFERS_MAX; i += 2)
        GOOD(DSRevokeBuffer(ds, many[i], NULL, NULL)); /* the rest goes with the stream */

    /* A buffer that is too small gets the rows that fit. */
    GOOD(DSAllocAndAnnounceBuffer(ds, WIDTH * 10 + 1, NULL, &own));
    GOOD(DSQueueBuffer(ds, own));
    GOOD(DSStartAcquisition(ds, 0, 1));
    set(REG_START, 1);
    CHECK(next() == own);
    CHECK(info(own, BUFFER_INFO_IS_INCOMPLETE) && info(own, BUFFER_INFO_DATA_LARGER_THAN_BUFFER));
    CHECK(info(own, BUFFER_INFO_DELIVERED_IMAGEHEIGHT) == 10 &&
          info(own, BUFFER_INFO_SIZE_FILLED) == WIDTH * 10);
    CHECK(info(own, BUFFER_INFO_DATA_SIZE) == WIDTH * HEIGHT);
    GOOD(DSQueueBuffer(ds, own));
    CHECK(nothing_comes()); /* one frame was asked for */
    GOOD(DSClose(ds));      /* with a buffer queued and the camera acquiring */
    GOOD(GCCloseLib());
}

static void test_events(void) {
    EVENT_NEW_BUFFER_DATA data;
    size_t size = sizeof data;
    open_library();
    open_stream();
    BAD(GC_ERR_INVALID_PARAMETER, EventGetData(event, NULL, &size, 0));
    BAD(GC_ERR_BUFFER_TOO_SMALL, EventGetData(event, &data, &(size_t){4}, 0));
    BAD(GC_ERR_TIMEOUT, EventGetData(event, &data, &size, 0));
    CHECK(nothing_comes());
    GOOD(EventKill(event)); /* nobody waits: the next wait ends */
    BAD(GC_ERR_ABORT, EventGetData(event, &data, &size, GENTL_INFINITE));
    begin();
    next();
    while (info(buffers[1], BUFFER_INFO_NEW_DATA) == 0) usleep(100);
    GOOD(EventFlush(event));
    end();
    GOOD(GCUnregisterEvent(ds, EVENT_NEW_BUFFER));
    BAD(GC_ERR_INVALID_PARAMETER, GCUnregisterEvent(ds, EVENT_NEW_BUFFER));
    BAD(GC_ERR_INVALID_HANDLE, EventGetData(event, &data, &size, 0));
    GOOD(GCRegisterEvent(ds, EVENT_NEW_BUFFER, &event));
    GOOD(GCCloseLib());
}

static void *wait_for_ever(void *result) {
    EVENT_NEW_BUFFER_DATA data;
    GC_ERROR error;
    do error = EventGetData(event, &data, &(size_t){sizeof data}, GENTL_INFINITE);
    while (error == GC_ERR_SUCCESS);
    *(GC_ERROR *)result = error;
    return NULL;
}

/* A thread waiting for buffers is let go by a kill, by unregistering, and by closing anything above it. */
static void test_waits_end(void) {
    for (int way = 0; way < 6; way++) {
        GC_ERROR error = 0;
        pthread_t thread;
        open_library();
        open_stream();
        struct event *inside = &library.devices[0].stream.event;
        CHECK(pthread_create(&thread, NULL, wait_for_ever, &error) == 0);
        for (unsigned waiting = 0; !waiting; usleep(100)) {
            pthread_mutex_lock(&library.devices[0].lock);
            waiting = inside->waiting;
            pthread_mutex_unlock(&library.devices[0].lock);
        }
        switch (way) {
        case 0: GOOD(EventKill(event)); break;
        case 1: GOOD(GCUnregisterEvent(ds, EVENT_NEW_BUFFER)); break;
        case 2: GOOD(DSClose(ds)); break;
        case 3: GOOD(DevClose(dev)); break;
        case 4: GOOD(TLClose(tl)); break;
        case 5: break;
        }
        if (way < 5) pthread_join(thread, NULL);
        GOOD(GCCloseLib());
        if (way == 5) pthread_join(thread, NULL);
        CHECK(error == GC_ERR_ABORT);
    }
}

static void test_triggers_and_counts(void) {
    setenv("SIMCAM_CTRL", file_in_folder("ctrl"), 1);
    open_library();
    open_stream();
    struct control_block *control = library.devices[0].control;
    set(REG_TRIGGER_MODE, 1);
    begin();
    CHECK(nothing_comes());
    set(REG_TRIGGER_SOFTWARE, 1);
    CHECK(info(next(), BUFFER_INFO_FRAMEID) == 0);
    set(REG_TRIGGER_SOURCE, TRIGGER_LINE0);
    set(REG_TRIGGER_SOFTWARE, 1);
    CHECK(nothing_comes());
    atomic_fetch_add(&control->line0_edges, 2);
    CHECK(info(next(), BUFFER_INFO_FRAMEID) == 1);
    CHECK(info(next(), BUFFER_INFO_FRAMEID) == 2);
    CHECK(nothing_comes());
    end();
    set(REG_TRIGGER_MODE, 0);
    for (int mode = MODE_SINGLE_FRAME; mode <= MODE_MULTI_FRAME; mode++) {
        set(REG_ACQUISITION_MODE, mode);
        set(REG_FRAME_COUNT, 3);
        begin();
        for (int n = 0; n < (mode == MODE_SINGLE_FRAME ? 1 : 3); n++) GOOD(DSQueueBuffer(ds, next()));
        CHECK(nothing_comes());
        end();
    }
    set(REG_ENCODER_RESET, 1);
    CHECK(get(REG_ENCODER_VALUE) == 0);
    set(REG_TIMESTAMP_LATCH, 1);
    CHECK(get(REG_TIMESTAMP_LATCH_VALUE) > 0);
    GOOD(GCCloseLib());
    unsetenv("SIMCAM_CTRL");
}

static void test_spoilt_frames(void) {
    open_library();
    open_stream();
    struct control_block *control = library.devices[0].control;
    set(REG_TRIGGER_MODE, 1);
    set(REG_DROP_EVERY, 2);
    begin();
    for (int n = 0; n < 3; n++) set(REG_TRIGGER_SOFTWARE, 1);
    CHECK(info(next(), BUFFER_INFO_FRAMEID) == 0);
    CHECK(info(next(), BUFFER_INFO_FRAMEID) == 2);
    set(REG_DROP_EVERY, 0);
    atomic_store(&control->incomplete_next, 1);
    set(REG_TRIGGER_SOFTWARE, 1);
    BUFFER_HANDLE b = next();
    CHECK(info(b, BUFFER_INFO_IS_INCOMPLETE) && info(b, BUFFER_INFO_DELIVERED_IMAGEHEIGHT) == HEIGHT / 2);
    atomic_store(&control->corrupt_next, 1);
    set(REG_TRIGGER_SOFTWARE, 1);
    b = next();
    CHECK(!info(b, BUFFER_INFO_IS_INCOMPLETE) && base(b)[1] != pixel(0, 1) + (base(b)[0] - pixel(0, 0)));
    set(REG_TRIGGER_SOFTWARE, 1); /* no buffer is left: an underrun */
    uint64_t underruns = 0;
    while (underruns == 0) GOOD(DSGetInfo(ds, STREAM_INFO_NUM_UNDERRUN, NULL, &underruns, &(size_t){8}));
    end();
    GOOD(GCCloseLib());
}

static void test_unplugged(void) {
    open_library();
    open_stream();
    struct control_block *control = library.devices[0].control;
    begin();
    next();
    set(REG_UNPLUG, 1);
    int32_t status;
    int64_t value;
    bool8_t changed;
    uint32_t count;
    GOOD(DevGetInfo(dev, DEVICE_INFO_ACCESS_STATUS, NULL, &status, &(size_t){4}));
    CHECK(status == DEVICE_ACCESS_STATUS_NOACCESS);
    BAD(GC_ERR_IO, GCReadPort(port, 0, &value, &(size_t){8}));
    BAD(GC_ERR_IO, try_set(REG_STOP, (union value){.integer = 1}));
    GOOD(IFUpdateDeviceList(interface, &changed, 0));
    GOOD(IFGetNumDevices(interface, &count));
    CHECK(changed && count == 1);
    EVENT_NEW_BUFFER_DATA data; /* what had been delivered still comes, then nothing */
    while (EventGetData(event, &data, &(size_t){sizeof data}, 30) == GC_ERR_SUCCESS) continue;
    end();
    atomic_fetch_add(&control->plug_count, 1);
    BAD(GC_ERR_IO, GCReadPort(port, 0, &value, &(size_t){8})); /* it has to be opened anew */
    GOOD(DevClose(dev));
    open_stream();
    begin();
    next();
    end();
    GOOD(GCCloseLib());
}

/* ---- feed ----------------------------------------------------------------------------------- */

enum { RING = 100 };

static struct feed_header *make_feed(uint32_t width, uint64_t ring) {
    const char *path = file_in_folder("feed");
    unlink(path);
    int file = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
    size_t size = FEED_HEADER + (size_t)RING * WIDTH;
    CHECK(file >= 0 && ftruncate(file, (off_t)size) == 0);
    struct feed_header *header = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    CHECK(header != MAP_FAILED);
    header->version = FEED_VERSION;
    header->width = width;
    header->ring_rows = ring;
    memcpy(header->magic, "SIMFEED1", 8);
    return header;
}

static void drop_feed(struct feed_header *header) { munmap(header, FEED_HEADER + (size_t)RING * WIDTH); }

static void *weave(void *argument) {
    struct feed_header *header = argument;
    for (uint64_t row = 0; row < 20 * HEIGHT; row++) {
        while (row - atomic_load_explicit(&header->read, memory_order_acquire) >= RING) usleep(100);
        uint8_t *slot = (uint8_t *)header + FEED_HEADER + row % RING * WIDTH;
        for (size_t x = 0; x < WIDTH; x++) slot[x] = pixel(row, x);
        atomic_store_explicit(&header->written, row + 1, memory_order_release);
    }
    atomic_store(&header->ended, 1);
    return NULL;
}

static void test_feed(void) {
    setenv("SIMCAM_FEED", file_in_folder("feed"), 1);
    unlink(file_in_folder("feed"));
    open_library();
    open_stream();
    set(REG_WIDTH, WIDTH);
    set(REG_HEIGHT, HEIGHT);
    set(REG_TRIGGER_MODE, 1); /* so that a buffer is always there, however slow this runs */
    begin();
    set(REG_TRIGGER_SOFTWARE, 1);
    CHECK(nothing_comes()); /* no file yet */
    struct feed_header *header = make_feed(WIDTH, RING);
    pthread_t weaver;
    CHECK(pthread_create(&weaver, NULL, weave, header) == 0);
    for (uint64_t n = 0; n < 20; n++) {
        if (n) set(REG_TRIGGER_SOFTWARE, 1);
        BUFFER_HANDLE b = next();
        CHECK(info(b, BUFFER_INFO_FRAMEID) == n);
        for (size_t i = 0; i < WIDTH * HEIGHT; i++)
            CHECK(base(b)[i] == pixel(n * HEIGHT + i / WIDTH, i % WIDTH));
        GOOD(DSQueueBuffer(ds, b));
    }
    pthread_join(weaver, NULL);
    DEV_HANDLE other;
    BAD(GC_ERR_IO, IFOpenDevice(interface, "SIM0002", DEVICE_ACCESS_EXCLUSIVE, &other)); /* one reader */
    CHECK(nothing_comes());
    end();
    drop_feed(header);
    GOOD(DevClose(dev));

    static const struct {
        uint32_t width;
        uint64_t ring;
    } wrong[] = {{0, RING}, {WIDTH, 0}, {WIDTH, RING + 1}, {WIDTH, UINT64_MAX}, {UINT32_MAX, RING}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        drop_feed(make_feed(wrong[i].width, wrong[i].ring));
        BAD(GC_ERR_IO, IFOpenDevice(interface, "SIM0001", DEVICE_ACCESS_EXCLUSIVE, &dev));
    }
    write_file("feed", "short", 5);
    BAD(GC_ERR_IO, IFOpenDevice(interface, "SIM0001", DEVICE_ACCESS_EXCLUSIVE, &dev));
    drop_feed(make_feed(WIDTH, 16));
    open_stream();
    BAD(GC_ERR_INVALID_VALUE,
        try_set(REG_START, (union value){.integer = 1})); /* Height is more than the ring */
    GOOD(GCCloseLib());
    unsetenv("SIMCAM_FEED");
}

/* ---- other sources -------------------------------------------------------------------------- */

static void test_folder(void) {
    static const char *const broken[] = {"P6 16 2 255\n", "P5 16 2 65535\n", "P5 99999999 2 255\n",
                                         "P5 16",         "P5 # 16",         "P5 16 2 255"};
    char images[128];
    snprintf(images, sizeof images, "%s/images", folder);
    CHECK(mkdir(images, 0700) == 0);
    open_library();
    setenv("SIMCAM_IMAGES", images, 1);
    BAD(GC_ERR_IO, IFOpenDevice(interface, "SIM0001", DEVICE_ACCESS_EXCLUSIVE, &dev));
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        char name[64];
        snprintf(name, sizeof name, "images/broken%zu.pgm", i);
        write_file(name, broken[i], strlen(broken[i]));
    }
    write_file("images/empty.pgm", "", 0);
    BAD(GC_ERR_IO, IFOpenDevice(interface, "SIM0001", DEVICE_ACCESS_EXCLUSIVE, &dev));
    write_file("images/good.pgm", "P5\n# a comment\n16 2\n255\n0123456789abcdefFEDCBA9876543210", 56);
    write_file("images/wider.PGM", "P5 18 1 255 ABCDEFGHIJKLMNOPQR", 30);
    open_stream();
    CHECK(get(REG_WIDTH) == 16 && get(REG_HEIGHT) == 2);
    set(REG_HEIGHT, 4); /* two rows of the first, one of the second, and round again */
    begin();
    CHECK(memcmp(base(next()), "0123456789abcdefFEDCBA9876543210ABCDEFGHIJKLMNOP0123456789abcdef", 64) == 0);
    end();
    GOOD(DevClose(dev));

    setenv("SIMCAM_IMAGES", "/nonexistent", 1);
    BAD(GC_ERR_IO, IFOpenDevice(interface, "SIM0001", DEVICE_ACCESS_EXCLUSIVE, &dev));
    use_stack();
    setenv("SIMCAM_HEIGHT", "97", 1);
    BAD(GC_ERR_IO, IFOpenDevice(interface, "SIM0001", DEVICE_ACCESS_EXCLUSIVE, &dev));
    setenv("SIMCAM_WIDTH", "0", 1);
    BAD(GC_ERR_IO, IFOpenDevice(interface, "SIM0001", DEVICE_ACCESS_EXCLUSIVE, &dev));
    setenv("SIMCAM_IMAGES_1", file_in_folder("images/empty.pgm"), 1); /* this camera's own */
    setenv("SIMCAM_WIDTH", "64", 1);
    BAD(GC_ERR_IO, IFOpenDevice(interface, "SIM0001", DEVICE_ACCESS_EXCLUSIVE, &dev));
    unsetenv("SIMCAM_IMAGES_1");

    unsetenv("SIMCAM_IMAGES");
    open_stream(); /* the built-in pattern */
    begin();
    next();
    end();
    GOOD(GCCloseLib());
    use_stack();
}

int main(void) {
    CHECK(mkdtemp(folder) != NULL);
    unsetenv("SIMCAM_FEED");
    unsetenv("SIMCAM_CTRL");
    unsetenv("SIMCAM_DEVICES");
    setenv("SIMCAM_LOCK_DIR", folder, 1);
    use_stack();
    test_before_the_library_is_open();
    test_information();
    test_wrong_handles_and_arguments();
    test_one_consumer();
    test_ports();
    test_frames();
    test_formats();
    test_buffers_and_queues();
    test_events();
    test_waits_end();
    test_triggers_and_counts();
    test_spoilt_frames();
    test_unplugged();
    test_feed();
    test_folder();
    printf("simcam self-test: %d checks hold\n", checks);
    char command[64];
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command) == 0 ? 0 : 1;
}
