/* The library, its system, interface and devices; information; and everything called wrongly. */
#include "harness.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void test_before_the_library_is_open(void) {
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

void test_information(void) {
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

void test_wrong_handles_and_arguments(void) {
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

void test_one_consumer(void) {
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
