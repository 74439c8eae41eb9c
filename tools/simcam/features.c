#include "simcam.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const struct entry PIXEL_FORMATS[] = {
    {"Mono8", MONO8},
    {"Mono10", MONO10},
    {"Mono12", MONO12},
    {"Mono12p", MONO12P},
    {"Mono12Packed", MONO12PACKED},
    {"BayerRG8", BAYERRG8},
    {"RGB8", RGB8},
    {NULL, 0},
};
static const struct entry SCAN_TYPES[] = {{"Linescan", LINESCAN}, {"Areascan", AREASCAN}, {NULL, 0}};
static const struct entry MODES[] = {{"Continuous", MODE_CONTINUOUS},
                                     {"SingleFrame", MODE_SINGLE_FRAME},
                                     {"MultiFrame", MODE_MULTI_FRAME},
                                     {NULL, 0}};
static const struct entry OFF_ON[] = {{"Off", 0}, {"On", 1}, {NULL, 0}};
static const struct entry TRIGGERS[] = {{"FrameStart", 0}, {NULL, 0}};
static const struct entry TRIGGER_SOURCES[] = {
    {"Software", TRIGGER_SOFTWARE}, {"Line0", TRIGGER_LINE0}, {NULL, 0}};
static const struct entry CHUNKS[] = {{"EncoderValue", CHUNK_ENCODER_VALUE},
                                      {"Timestamp", CHUNK_TIMESTAMP},
                                      {"FrameID", CHUNK_FRAME_ID},
                                      {NULL, 0}};

static const char *const SELECTED_BY_CHUNK[] = {"ChunkEnable", NULL};
static const char *const SELECTED_BY_TRIGGER[] = {"TriggerMode", "TriggerSource", "TriggerSoftware", NULL};

static const char IMAGE[] = "ImageFormatControl";
static const char ACQUISITION[] = "AcquisitionControl";
static const char ANALOG[] = "AnalogControl";
static const char ENCODER[] = "EncoderControl";
static const char DEVICE[] = "DeviceControl";
static const char CHUNK[] = "ChunkDataControl";
static const char TRANSPORT[] = "TransportLayerControl";
static const char SIMULATION[] = "SimulationControl";
static const char *const CATEGORIES[] = {DEVICE,  IMAGE, ACQUISITION, ANALOG,
                                         ENCODER, CHUNK, TRANSPORT,   SIMULATION};
enum { CATEGORY_COUNT = sizeof CATEGORIES / sizeof *CATEGORIES };

#define COUNTS 2147483647.0

const struct feature FEATURES[REG_COUNT] = {
    [REG_WIDTH] = {"Width", INTEGER, false, true, 16, SENSOR_WIDTH, 2048, 2, NULL, IMAGE,
                   "Pixels per row; starts as the width of the source", NULL, NULL},
    [REG_HEIGHT] = {"Height", INTEGER, false, true, 1, FRAME_HEIGHT_MAX, 1024, 1, NULL, IMAGE,
                    "Rows per frame; starts as the height of the source", NULL, NULL},
    [REG_OFFSET_X] = {"OffsetX", INTEGER, false, true, 0, SENSOR_WIDTH - 16, 0, 2, NULL, IMAGE,
                      "First column of the source that is seen", NULL, NULL},
    [REG_PIXEL_FORMAT] = {"PixelFormat", ENUMERATION, false, true, 0, 0, MONO8, 1, NULL, IMAGE,
                          "Other formats than Mono8 are made up from the Mono8 source", PIXEL_FORMATS, NULL},
    [REG_WIDTH_MAX] = {"WidthMax", INTEGER, true, false, 0, SENSOR_WIDTH, SENSOR_WIDTH, 1, NULL, IMAGE, "",
                       NULL, NULL},
    [REG_HEIGHT_MAX] = {"HeightMax", INTEGER, true, false, 0, FRAME_HEIGHT_MAX, FRAME_HEIGHT_MAX, 1, NULL,
                        IMAGE, "", NULL, NULL},
    [REG_PAYLOAD_SIZE] = {"PayloadSize", INTEGER, true, false, 0, 4e9, 0, 1, "B", TRANSPORT,
                          "Bytes a buffer needs: rows with their padding, and chunks", NULL, NULL},
    [REG_SCAN_TYPE] = {"DeviceScanType", ENUMERATION, false, true, 0, 0, LINESCAN, 1, NULL, DEVICE,
                       "Linescan: AcquisitionLineRate rules, images follow each other row by row. Areascan: "
                       "AcquisitionFrameRate rules, one image is one frame",
                       SCAN_TYPES, NULL},
    [REG_ACQUISITION_MODE] = {"AcquisitionMode", ENUMERATION, false, true, 0, 0, MODE_CONTINUOUS, 1, NULL,
                              ACQUISITION, "", MODES, NULL},
    [REG_FRAME_COUNT] = {"AcquisitionFrameCount", INTEGER, false, true, 1, COUNTS, 1, 1, NULL, ACQUISITION,
                         "Frames of a MultiFrame acquisition", NULL, NULL},
    [REG_START] = {"AcquisitionStart", COMMAND, false, false, 0, 0, 0, 1, NULL, ACQUISITION, "", NULL, NULL},
    [REG_STOP] = {"AcquisitionStop", COMMAND, false, false, 0, 0, 0, 1, NULL, ACQUISITION, "", NULL, NULL},
    [REG_LINE_RATE] = {"AcquisitionLineRate", REAL, false, false, 1, 1e7, 10000, 1, "Hz", ACQUISITION,
                       "Rows per second; a frame is complete Height / AcquisitionLineRate after it began",
                       NULL, NULL},
    [REG_FRAME_RATE] =
        {"AcquisitionFrameRate", REAL, false, false, 0.001, 1e5, 30, 1, "Hz", ACQUISITION,
         "Frames per second of an Areascan camera; AcquisitionLineRate / Height of a Linescan one, "
         "which cannot be set",
         NULL, NULL},
    [REG_EXPOSURE_TIME] = {"ExposureTime", REAL, false, false, 1, 1e6, EXPOSURE_TIME_NEUTRAL_US, 1, "us",
                           ACQUISITION,
                           "Brightness is the source's at the initial value and in proportion to this", NULL,
                           NULL},
    [REG_GAIN] = {"Gain", REAL, false, false, -24, 24, 0, 1, "dB", ANALOG, "20 dB are ten times as bright",
                  NULL, NULL},
    [REG_TRIGGER_SELECTOR] = {"TriggerSelector", ENUMERATION, false, false, 0, 0, 0, 1, NULL, ACQUISITION, "",
                              TRIGGERS, SELECTED_BY_TRIGGER},
    [REG_TRIGGER_MODE] = {"TriggerMode", ENUMERATION, false, false, 0, 0, 0, 1, NULL, ACQUISITION,
                          "On: one frame per trigger", OFF_ON, NULL},
    [REG_TRIGGER_SOURCE] = {"TriggerSource", ENUMERATION, false, false, 0, 0, TRIGGER_SOFTWARE, 1, NULL,
                            ACQUISITION, "Line0 is raised through the control file", TRIGGER_SOURCES, NULL},
    [REG_TRIGGER_SOFTWARE] = {"TriggerSoftware", COMMAND, false, false, 0, 0, 0, 1, NULL, ACQUISITION, "",
                              NULL, NULL},
    [REG_ENCODER_DIVIDER] = {"EncoderDivider", INTEGER, false, false, 1, 65535, 1, 1, NULL, ENCODER,
                             "Encoder counts per row", NULL, NULL},
    [REG_ENCODER_VALUE] = {"EncoderValue", INTEGER, true, false, -9e15, 9e15, 0, 1, NULL, ENCODER,
                           "Encoder count at the next row", NULL, NULL},
    [REG_ENCODER_RESET] = {"EncoderReset", COMMAND, false, false, 0, 0, 0, 1, NULL, ENCODER,
                           "The next row becomes count 0", NULL, NULL},
    [REG_TIMESTAMP_LATCH] = {"TimestampLatch", COMMAND, false, false, 0, 0, 0, 1, NULL, DEVICE, "", NULL,
                             NULL},
    [REG_TIMESTAMP_LATCH_VALUE] = {"TimestampLatchValue", INTEGER, true, false, 0, 9e18, 0, 1, "ns", DEVICE,
                                   "CLOCK_MONOTONIC when last latched", NULL, NULL},
    [REG_CHUNK_MODE] = {"ChunkModeActive", BOOLEAN, false, true, 0, 1, 0, 1, NULL, CHUNK, "", NULL, NULL},
    [REG_CHUNK_SELECTOR] = {"ChunkSelector", ENUMERATION, false, false, 0, 0, 0, 1, NULL, CHUNK, "", CHUNKS,
                            SELECTED_BY_CHUNK},
    [REG_CHUNK_ENABLE] = {"ChunkEnable", BOOLEAN, false, true, 0, 1, 1, 1, NULL, CHUNK, "", NULL, NULL},
    [REG_PADDING_X] = {"SimPaddingX", INTEGER, false, true, 0, 4096, 0, 1, "B", SIMULATION,
                       "Bytes of padding after every row", NULL, NULL},
    [REG_DROP_EVERY] = {"SimDropEvery", INTEGER, false, false, 0, COUNTS, 0, 1, NULL, SIMULATION,
                        "Lose every n-th frame; 0: none", NULL, NULL},
    [REG_INCOMPLETE_EVERY] = {"SimIncompleteEvery", INTEGER, false, false, 0, COUNTS, 0, 1, NULL, SIMULATION,
                              "Deliver every n-th frame half filled; 0: none", NULL, NULL},
    [REG_CORRUPT_EVERY] = {"SimCorruptEvery", INTEGER, false, false, 0, COUNTS, 0, 1, NULL, SIMULATION,
                           "Fill every n-th frame with noise; 0: none", NULL, NULL},
    [REG_UNPLUG] = {"SimUnplug", COMMAND, false, false, 0, 0, 0, 1, NULL, SIMULATION,
                    "Pull the cable; only the control file puts it back", NULL, NULL},
    [REG_TL_PARAMS_LOCKED] = {"TLParamsLocked", INTEGER, false, false, 0, 1, 0, 1, NULL, TRANSPORT,
                              "The consumer sets 1 while it acquires", NULL, NULL},
};

static const char *const STRING_NAMES[STRING_COUNT] = {
    [STRING_VENDOR] = "DeviceVendorName",   [STRING_MODEL] = "DeviceModelName",
    [STRING_SERIAL] = "DeviceSerialNumber", [STRING_VERSION] = "DeviceVersion",
    [STRING_USER_ID] = "DeviceUserID",
};

bool feature_accepts(const struct feature *f, union value value) {
    switch (f->kind) {
    case COMMAND: return true;
    case REAL: return isfinite(value.real) && value.real >= f->minimum && value.real <= f->maximum;
    case ENUMERATION:
        for (const struct entry *e = f->entries; e->name; e++)
            if (e->value == value.integer) return true;
        return false;
    case INTEGER:
    case BOOLEAN:
        return (double)value.integer >= f->minimum && (double)value.integer <= f->maximum &&
               value.integer % f->increment == 0;
    }
    return false;
}

/* ---- GenApi XML ----------------------------------------------------------------------------- */

static void print_head(FILE *out, const char *model) {
    fprintf(
        out,
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n"
        "<RegisterDescription ModelName=\"%s\" VendorName=\"SimCam\" StandardNameSpace=\"None\" "
        "SchemaMajorVersion=\"1\" SchemaMinorVersion=\"1\" SchemaSubMinorVersion=\"0\" MajorVersion=\"1\" "
        "MinorVersion=\"0\" SubMinorVersion=\"0\" ToolTip=\"Virtual line scan camera\" "
        "ProductGuid=\"1B0A6D3C-0C1A-4B6E-9E55-5C1E00000001\" "
        "VersionGuid=\"1B0A6D3C-0C1A-4B6E-9E55-5C1E00000002\" "
        "xmlns=\"http://www.genicam.org/GenApi/Version_1_1\" "
        "xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" "
        "xsi:schemaLocation=\"http://www.genicam.org/GenApi/Version_1_1 "
        "http://www.genicam.org/GenApi/GenApiSchema_Version_1_1.xsd\">\n",
        model);
}

static void print_categories(FILE *out) {
    fprintf(out, "<Category Name=\"Root\" NameSpace=\"Standard\">");
    for (int c = 0; c < CATEGORY_COUNT; c++) fprintf(out, "<pFeature>%s</pFeature>", CATEGORIES[c]);
    fprintf(out, "</Category>\n");
    for (int c = 0; c < CATEGORY_COUNT; c++) {
        fprintf(out, "<Category Name=\"%s\" NameSpace=\"Standard\">", CATEGORIES[c]);
        for (int s = 0; CATEGORIES[c] == DEVICE && s < STRING_COUNT; s++)
            fprintf(out, "<pFeature>%s</pFeature>", STRING_NAMES[s]);
        for (int r = 0; r < REG_COUNT; r++)
            if (FEATURES[r].category == CATEGORIES[c])
                fprintf(out, "<pFeature>%s</pFeature>", FEATURES[r].name);
        for (int k = 0; CATEGORIES[c] == CHUNK && k < CHUNK_COUNT; k++)
            fprintf(out, "<pFeature>Chunk%s</pFeature>", CHUNKS[k].name);
        fprintf(out, "</Category>\n");
    }
}

static void print_register(FILE *out, const struct feature *f, int reg) {
    const char *access = f->kind == COMMAND ? "WO" : f->read_only ? "RO" : "RW";
    const char *element = f->kind == REAL ? "FloatReg" : "IntReg";
    fprintf(out,
            "<%s Name=\"%sReg\"><Address>0x%x</Address><Length>8</Length><AccessMode>%s</AccessMode>"
            "<pPort>Device</pPort><Cachable>NoCache</Cachable>",
            element, f->name, 8 * reg, access);
    if (f->kind != REAL) fprintf(out, "<Sign>Signed</Sign>");
    fprintf(out, "<Endianess>LittleEndian</Endianess></%s>\n", element);
}

static void print_feature(FILE *out, const struct feature *f) {
    static const char *const ELEMENTS[] = {[INTEGER] = "Integer",
                                           [REAL] = "Float",
                                           [ENUMERATION] = "Enumeration",
                                           [BOOLEAN] = "Boolean",
                                           [COMMAND] = "Command"};
    const char *element = ELEMENTS[f->kind];
    fprintf(out, "<%s Name=\"%s\" NameSpace=\"%s\">", element, f->name,
            f->category == SIMULATION ? "Custom" : "Standard");
    if (f->tip[0]) fprintf(out, "<ToolTip>%s</ToolTip>", f->tip);
    if (f->locked) fprintf(out, "<pIsLocked>TLParamsLocked</pIsLocked>");
    for (const struct entry *e = f->entries; e && e->name; e++)
        fprintf(out, "<EnumEntry Name=\"%s\" NameSpace=\"Standard\"><Value>%lld</Value></EnumEntry>", e->name,
                (long long)e->value);
    fprintf(out, "<pValue>%sReg</pValue>", f->name);
    if (f->kind == COMMAND) fprintf(out, "<CommandValue>1</CommandValue>");
    if (f->kind == BOOLEAN) fprintf(out, "<OnValue>1</OnValue><OffValue>0</OffValue>");
    if (f->kind == INTEGER) fprintf(out, "<Min>%.0f</Min><Max>%.0f</Max>", f->minimum, f->maximum);
    if (f->kind == REAL) fprintf(out, "<Min>%g</Min><Max>%g</Max>", f->minimum, f->maximum);
    if (f->kind == INTEGER) fprintf(out, "<Inc>%lld</Inc>", (long long)f->increment);
    if (f->unit) fprintf(out, "<Unit>%s</Unit>", f->unit);
    for (const char *const *s = f->selects; s && *s; s++) fprintf(out, "<pSelected>%s</pSelected>", *s);
    fprintf(out, "</%s>\n", element);
}

static void print_chunk(FILE *out, int chunk) {
    const char *name = CHUNKS[chunk].name;
    fprintf(out,
            "<Integer Name=\"Chunk%s\" NameSpace=\"Standard\"><pValue>Chunk%sReg</pValue></Integer>\n"
            "<IntReg Name=\"Chunk%sReg\"><Address>0x0</Address><Length>%d</Length><AccessMode>RO</AccessMode>"
            "<pPort>Chunk%sPort</pPort><Cachable>NoCache</Cachable><Sign>Signed</Sign>"
            "<Endianess>LittleEndian</Endianess></IntReg>\n"
            "<Port Name=\"Chunk%sPort\" NameSpace=\"Standard\"><ChunkID>%x</ChunkID></Port>\n",
            name, name, name, CHUNK_BYTES, name, name, CHUNK_ID_BASE + chunk);
}

static char *close_text(FILE *out, char **text) {
    bool failed = ferror(out) != 0;
    if (fclose(out) != 0 || failed) {
        free(*text);
        return NULL;
    }
    return *text;
}

char *remote_device_xml(void) {
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out) return NULL;
    print_head(out, DEVICE_MODEL);
    print_categories(out);
    for (int s = 0; s < STRING_COUNT; s++)
        fprintf(out,
                "<StringReg Name=\"%s\" NameSpace=\"Standard\"><Address>0x%x</Address><Length>%d</Length>"
                "<AccessMode>RO</AccessMode><pPort>Device</pPort></StringReg>\n",
                STRING_NAMES[s], STRING_ADDRESS + s * STRING_LENGTH, STRING_LENGTH);
    for (int r = 0; r < REG_COUNT; r++) {
        print_feature(out, &FEATURES[r]);
        print_register(out, &FEATURES[r], r);
    }
    for (int k = 0; k < CHUNK_COUNT; k++) print_chunk(out, k);
    fprintf(out, "<Port Name=\"Device\" NameSpace=\"Standard\"></Port>\n</RegisterDescription>\n");
    return close_text(out, &text);
}

char *empty_xml(const char *port_name) {
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out) return NULL;
    print_head(out, port_name);
    fprintf(out,
            "<Category Name=\"Root\" NameSpace=\"Standard\"></Category>\n"
            "<Port Name=\"%s\" NameSpace=\"Standard\"></Port>\n</RegisterDescription>\n",
            port_name);
    return close_text(out, &text);
}
