/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/net/shed.h"

uint32_t shed_next(uint32_t keep, uint64_t received, uint64_t taken)
{
	/* a quarter more than is taken on, which also finds out when more can be; a window may be an odd one */
	uint64_t next = received ? keep * 5 * taken / (4 * received) : SHED_KEEP_ALL;

	if (next < keep / 2)
		next = keep / 2;
	if (next > keep + keep / 2)
		next = keep + keep / 2;
	return next > SHED_KEEP_ALL ? SHED_KEEP_ALL : next < SHED_KEEP_MIN ? SHED_KEEP_MIN : (uint32_t)next;
}
