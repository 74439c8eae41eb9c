/* Triggers, counts, spoilt frames and pulled cables. */
#include "harness.h"

void test_triggers_and_counts(void) {
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

void test_spoilt_frames(void) {
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

void test_unplugged(void) {
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
