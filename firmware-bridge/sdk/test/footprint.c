/* Nothing but the library, linked as a firmware links it: what it takes of flash and RAM. SPDX-License-Identifier: Apache-2.0 */
#include "skylink.h"

/* Its size is the library's RAM. */
skylink the_link;

const void *const volatile all_of_it[] = {
    (const void *)skylink_begin,         (const void *)skylink_poll,      (const void *)skylink_is_idle,
    (const void *)skylink_files_changed, (const void *)skylink_button,    (const void *)skylink_battery,
    (const void *)skylink_recording,     (const void *)skylink_log,       (const void *)skylink_time,
    (const void *)skylink_set_time,      (const void *)skylink_crc32c};

int main(void) { return all_of_it[0] == 0; }
