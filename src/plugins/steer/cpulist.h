/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of CPUs as the kernel writes them: "0-3,8". */
#ifndef STEER_CPULIST_H
#define STEER_CPULIST_H

#include <stddef.h>
#include <stdint.h>

/* Returns how many there are, in the order of the list, each once; 0 when it is no such list, or names one from `cap` on. */
uint32_t cpulist_read(const char *text, uint32_t *out, uint32_t cap);

#endif
