/* Calls every entry point, right and wrong, under whatever the compiler or valgrind watches for. */
#include "selftest/harness.h"

#include <stdio.h>
#include <unistd.h>

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
